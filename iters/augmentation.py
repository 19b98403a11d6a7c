"""What happens to a training image between the file and the network: the user's choice, whichever reader does it."""
import re
from dataclasses import dataclass
from typing import Optional, Union

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.parameters import Parameters, parameter

MODES = "original", "bytes"
CROPS = "resized", "plain"
REMODES = "const", "rand", "pixel"
SQUEEZE = "squeeze"


def training_size(crop):
    """The shorter side, in pixels, that training images are resized to: 1.6 × the crop (512 for 320), truncated."""
    return int(1.6 * crop)


def validation_size(crop):
    """The shorter side, in pixels, that validation images are resized to: 1.125 × the crop (360 for 320), truncated."""
    return int(1.125 * crop)


def rand_augment_numbers(text):
    """What a text for `RandAugment` says, in timm's syntax, as a dict. Raises: InputError that names the part to blame.

    >>> rand_augment_numbers("rand-m9-mstd0.5-inc1")
    {'m': 9, 'n': 2, 'mstd': 0.5, 'inc': True}
    """
    def refuse(why):
        raise InputError.of("aa", text, "rand, then any of m9, n2, mstd0.5, inc1, separated by -", why)

    first, *parts = text.split("-")
    if first != "rand":
        refuse(f"It begins with {first!r}.")
    found = {}
    for part in parts:
        name, number = re.fullmatch(r"([^\d]*)(.*)", part, re.DOTALL).groups()
        if name not in ("m", "n", "mstd", "inc"):
            refuse(f"{part!r} is none of them.")
        if name in found:
            refuse(f"{name} comes twice.")
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?" if name == "mstd" else "[0-9]{1,2}", number, re.ASCII):
            refuse(f"{part!r} has no number that {name} can be.")
        found[name] = number
    return {"m": int(found.get("m", 10)), "n": int(found.get("n", 2)), "mstd": float(found.get("mstd", 0)),
            "inc": "inc" in found}


@dataclass(frozen=True)
class Augmentation(Parameters):
    """Augmentation of training images.

    Random changes, whose pixels stay raw RGB. The defaults are the original's.

    With `random_crop`, the shorter side is resized to 1.6 × the crop and a part of random area and aspect
    is resized to the crop; or, with `crop` plain, to 1.125 × the crop, and a part of the network's size is taken at a
    random place. Without it, the image is prepared as for validation: shorter side 1.125 × the crop, centre crop.
    Everything else works with either. The order is: geometry, mirror, hue, colours or `aa`, erasing.

    Attributes
    ----------
    mode : "original", "bytes" or None
        ``original``: images are float32, and what jitter and noise make of their colours may lie below 0 and
        above 255; the last batch of an epoch is filled up. ``bytes``: colours are rounded and kept within 0 to
        255, a quarter of the memory; images that do not fill a batch are left out. All random numbers are the same.
        None: ``original`` with `ShuffledIter`; `RecordIter` reads bytes.
    random_crop, random_mirror : bool
    crop : "resized" or "plain"
        What a random crop takes: a part of random area and aspect, resized; or a part of the network's size, which is
        only resized where the image is too small for one.
    train_resize : int, "squeeze" or None
        The shorter side, in pixels, that images are resized to first; ``squeeze``: the whole image is resized to the
        crop without keeping its aspect, which leaves nothing for a random crop. None: as said above.
    aa : str or None
        `RandAugment` in timm's syntax, such as ``rand-m9-mstd0.5-inc1``. It takes the place of `jitter` and
        `pca_noise`, which are not applied beside it.
    reprob : float
        Probability that a rectangle is erased: `RandomErasing`.
    remode : "const", "rand" or "pixel"
        What takes its place: the mean colour, one colour, noise.
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

    Raises: InputError that names the attribute, for one beyond its range, and for ``squeeze`` with `random_crop`.
    """

    random_crop: bool = parameter(True, "1: random resized crops. 0: centre crops, as in validation.", kind="on_off")
    crop: str = parameter(
        "resized", "What a random crop takes. resized: a part of random area and aspect, which is resized. plain: a "
        "part of the network's size.", choices=CROPS)
    train_resize: Union[int, str, None] = parameter(
        None, "Shorter side, in pixels, that training images are resized to first; or squeeze: to the crop, without "
        "keeping the aspect, which needs `random_crop` 0.", least=1, most=10_000, kind="resize",
        default_words="1.6 × the crop; 1.125 × it for plain and centre crops")
    random_mirror: bool = parameter(True, "1: mirror every other image, by chance.", kind="on_off")
    min_random_area: float = parameter(0.08, "Smallest part of the image's area in a random crop.", above=0, most=1)
    jitter: float = parameter(0.4, "Largest relative change of brightness, contrast and saturation.",
                              least=0, most=100, flag="color-jitter")
    pca_noise: float = parameter(0.1, "Standard deviation of the noise along the principal colour axes.",
                                 least=0, most=1000)
    aa: Optional[str] = parameter(
        None, "RandAugment instead of jitter and noise of colours, in timm's syntax, such as rand-m9-mstd0.5-inc1.",
        default_words="none")
    reprob: float = parameter(0.0, "Probability that a rectangle of the image is erased.", least=0, most=1)
    remode: str = parameter(
        "const", "What takes its place: const, the mean colour; rand, a random colour; pixel, noise.",
        choices=REMODES)
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
        if self.train_resize == SQUEEZE and self.random_crop:
            raise InputError("`train_resize` is squeeze, which leaves nothing to choose for a random crop; give "
                             "`random_crop` 0 with it.", "train_resize", SQUEEZE, "squeeze with `random_crop` 0 only")
        if self.aa is not None:
            rand_augment_numbers(self.aa)

    @property
    def fixed(self):
        """Whether an image becomes the same in every epoch: nothing changes it by chance."""
        chances = (self.random_crop, self.random_mirror, self.jitter and self.aa is None,
                   self.pca_noise and self.aa is None, self.aa is not None, self.reprob, self.max_random_h,
                   self.max_random_s, self.max_random_l, self.max_random_aspect_ratio, self.max_random_rotate_angle,
                   self.max_random_shear_ratio, (self.min_random_scale, self.max_random_scale) != (1, 1))
        return not any(chances)

    @property
    def resized_crop(self):
        """Whether random crops have a random area and aspect."""
        return bool(self.random_crop and self.crop == "resized")

    def first_side(self, crop):
        """What images are resized to first, for the network's `crop` in pixels: the shorter side, or ``squeeze``."""
        return self.train_resize or (training_size if self.resized_crop else validation_size)(crop)

    @property
    def aspects(self):
        """Smallest and largest width / height of a random crop."""
        return 3 / 4 / (1 + self.max_random_aspect_ratio), 4 / 3 * (1 + self.max_random_aspect_ratio)
