"""What happens to a training image between the file and the network: the user's choice, whichever reader does it."""
from dataclasses import dataclass

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.parameters import Parameters, parameter

MODES = "original", "bytes"


def training_size(crop):
    """The shorter side, in pixels, that training images are resized to: 1.6 × the crop (512 for 320), truncated."""
    return int(1.6 * crop)


def validation_size(crop):
    """The shorter side, in pixels, that validation images are resized to: 1.125 × the crop (360 for 320), truncated."""
    return int(1.125 * crop)


@dataclass(frozen=True)
class Augmentation(Parameters):
    """Augmentation of training images.

    Random changes, whose pixels stay raw RGB. The defaults are the original's.

    With `random_crop`, the shorter side is resized to 1.6 × the crop and a part of random area and aspect
    is resized to the crop. Without it, the image is prepared as for validation: shorter side 1.125 × the
    crop, centre crop. Everything else works with either.

    Attributes
    ----------
    mode : "original", "bytes" or None
        ``original``: images are float32, and what jitter and noise make of their colours may lie below 0 and
        above 255; the last batch of an epoch is filled up. ``bytes``: colours are rounded and kept within 0 to
        255, a quarter of the memory; images that do not fill a batch are left out. All random numbers are the same.
        None: ``original`` with `ShuffledIter`; `RecordIter` reads bytes.
    random_crop, random_mirror : bool
    min_random_area : float
        Smallest part of the image's area that a random crop takes; the largest is all of it.
    jitter : float
        Brightness, contrast and saturation each change by a random part up to this.
    pca_noise : float
        Standard deviation of the noise along the principal colour axes.
    max_random_h, max_random_s, max_random_l : int
        Largest change of hue (of 180), saturation and lightness (of 255).
    max_random_aspect_ratio : float
        Aspect changes by a random factor of 1 ± this.
    max_random_rotate_angle : int
        Degrees.
    max_random_shear_ratio : float
    max_random_scale, min_random_scale : float
        Of the image before it is cropped. Random crops are parts of what comes out: they only become less sharp.
    pad_size : int
        Pixels of border added on every side.
    fill_value : int
        Grey value, 0 to 255, of what rotation, shearing, scaling and padding uncover.

    Raises: InputError that names the attribute, for one beyond its range.
    """

    random_crop: bool = parameter(True, "1: random resized crops. 0: centre crops, as in validation.", kind="on_off")
    random_mirror: bool = parameter(True, "1: mirror every other image, by chance.", kind="on_off")
    min_random_area: float = parameter(0.08, "Smallest part of the image's area in a random crop.", above=0, most=1)
    jitter: float = parameter(0.4, "Largest relative change of brightness, contrast and saturation.",
                              least=0, most=100, flag="color-jitter")
    pca_noise: float = parameter(0.1, "Standard deviation of the noise along the principal colour axes.",
                                 least=0, most=1000)
    max_random_h: int = parameter(0, "Largest change of hue, of 180.", least=0, most=180)
    max_random_s: int = parameter(0, "Largest change of saturation, of 255.", least=0, most=255)
    max_random_l: int = parameter(0, "Largest change of lightness, of 255.", least=0, most=255)
    max_random_aspect_ratio: float = parameter(
        0.0, "Largest relative change of the aspect ratio, beyond that of random crops.", least=0, below=1)
    max_random_rotate_angle: int = parameter(0, "Largest rotation, in degrees.", least=0, most=180)
    max_random_shear_ratio: float = parameter(0.0, "Largest shear.", least=0, most=1)
    max_random_scale: float = parameter(1.0, "Largest scale.", above=0, most=100)
    min_random_scale: float = parameter(1.0, "Smallest scale.", above=0, most=100)
    pad_size: int = parameter(0, "Border added around training images, in pixels.", least=0, most=10_000)
    fill_value: int = parameter(
        255, "Grey value of borders and of what rotation, shearing and scaling uncover.", least=0, most=255)
    mode: str = parameter(
        None, "original: colours change as floats that are not clipped, and the last batch of an epoch is filled up "
        "with its first images. bytes: colours are rounded and kept within 0 to 255, and images that do not fill a "
        "batch are left out.", choices=MODES, flag="augmentation",
        default_words="original; bytes through MXNet's reader")

    def __post_init__(self):
        super().__post_init__()
        if self.min_random_scale > self.max_random_scale:
            raise InputError(f"`min_random_scale` is {self.min_random_scale} and `max_random_scale` is "
                             f"{self.max_random_scale}; the smallest must not exceed the largest.",
                             "min_random_scale", self.min_random_scale, f"at most {self.max_random_scale}")

    @property
    def aspects(self):
        """Smallest and largest width / height of a random crop."""
        return 3 / 4 / (1 + self.max_random_aspect_ratio), 4 / 3 * (1 + self.max_random_aspect_ratio)
