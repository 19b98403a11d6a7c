"""What happens to a training image between the file and the network: the user's choice, whichever reader does it."""
from dataclasses import dataclass

from transfer_gluon.base.errors import InputError

MODES = "original", "bytes"


def training_size(crop):
    """The shorter side, in pixels, that training images are resized to: 1.6 × the crop (512 for 320), truncated."""
    return int(1.6 * crop)


def validation_size(crop):
    """The shorter side, in pixels, that validation images are resized to: 1.125 × the crop (360 for 320), truncated."""
    return int(1.125 * crop)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image, whose pixels stay raw RGB. The defaults are the original's.

    With `random_crop`, the shorter side is resized to 1.6 × the crop and a part of random area and aspect
    is resized to the crop. Without it, the image is prepared as for validation: shorter side 1.125 × the
    crop, centre crop. Everything else works with either.

    Attributes
    ----------
    mode : "original" or "bytes"
        ``original``: images are float32, and what jitter and noise make of their colours may lie below 0 and
        above 255; the last batch of an epoch is filled up. ``bytes``: colours are rounded and kept within 0 to
        255, a quarter of the memory; images that do not fill a batch are left out. All random numbers are the same.
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

    Raises: InputError for another mode.
    """

    random_crop: bool = True
    random_mirror: bool = True
    min_random_area: float = 0.08
    jitter: float = 0.4
    pca_noise: float = 0.1
    max_random_h: int = 0
    max_random_s: int = 0
    max_random_l: int = 0
    max_random_aspect_ratio: float = 0.0
    max_random_rotate_angle: int = 0
    max_random_shear_ratio: float = 0.0
    max_random_scale: float = 1.0
    min_random_scale: float = 1.0
    pad_size: int = 0
    fill_value: int = 255
    mode: str = "original"

    def __post_init__(self):
        if self.mode not in MODES:
            raise InputError.of("mode", self.mode, " or ".join(map(repr, MODES)))

    @property
    def aspects(self):
        """Smallest and largest width / height of a random crop."""
        return 3 / 4 / (1 + self.max_random_aspect_ratio), 4 / 3 * (1 + self.max_random_aspect_ratio)
