"""RandAugment: a few operations on an image, drawn from fifteen, all of one strength."""
import math

import cv2
import numpy as np

from transfer_gluon.iters.augmentation import rand_augment_numbers

FILL = 124, 116, 104        # the mean colour of ImageNet: what geometric operations uncover
_MOST = 10       # magnitude
_PROBABILITY = 0.5
_NAMES = ("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast",
          "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
_LEVELS = np.arange(256)
# Pillow cuts off what is behind the point, OpenCV rounds; a whole number must stay what it is.
_CUT_OFF = -0.499


class RandAugment:
    """Of 15 operations, n are drawn with replacement; each is done with probability 1/2.

    The magnitude of each is drawn from the normal distribution N(m, mstd) and kept within 0 to 10.

    (Cubuk, Zoph, Shlens, Le: RandAugment: Practical automated data augmentation with a reduced search space, 2020,
    https://arxiv.org/abs/1909.13719; probability, noise, `inc` and syntax: timm, ``timm/data/auto_augment.py`` of 0.4.5
    to 0.4.9.) The operations are Pillow's, as timm calls them, done by OpenCV: look-ups give the same bytes; those that
    blend differ by one grey level at most. Geometric ones interpolate linearly, where timm draws linear or cubic, and
    at the rim of the image mix in the fill colour, which Pillow does not.

    Parameters
    ----------
    text : str
        In timm's syntax: ``rand``, then in any order, separated by ``-``: ``m9`` magnitude (whole number, default 10),
        ``n2`` operations an image (2), ``mstd0.5`` standard deviation of the magnitude (0), ``inc1`` the set of
        operations whose effect grows with the magnitude. As in timm any number behind ``inc`` means that set, 0 too.
    fill : (int, int, int)
        Red, green, blue of what rotation, shearing and translation uncover.

    Raises: InputError that names a part which is unknown, or has no such number, or comes twice.

    >>> import random
    >>> RandAugment("rand-m9-mstd0.5-inc1")(np.zeros((20, 30, 3), np.uint8), random.Random(0)).shape
    (20, 30, 3)
    >>> RandAugment("rand-m9-w0")
    Traceback (most recent call last):
    transfer_gluon.base.errors.InputError: `aa` is 'rand-m9-w0'; expected rand, then any of m9, n2, mstd0.5, inc1, \
separated by -. 'w0' is none of them.
    """

    def __init__(self, text, fill=FILL):
        told = rand_augment_numbers(text)
        self.magnitude, self.deviation, self.count = told["m"], told["mstd"], told["n"]
        self.increasing = told["inc"]
        self._fill = fill

    def __call__(self, image, rng):
        """From uint8 (h, w, 3), red, green, blue, to the same, by the numbers of a `random.Random`."""
        table = None        # look-ups that are still to be done, as one
        for name in [rng.choice(_NAMES) for _ in range(self.count)]:
            if rng.random() < _PROBABILITY:
                value = argument(name, self._magnitude(rng), self.increasing, rng)
                if name in LOOKUPS:
                    next_table = LOOKUPS[name](value)
                    table = next_table if table is None else next_table[table]
                else:
                    image = _looked_up(image, table)
                    table = None
                    if name in MEASURED_LOOKUPS:
                        table = MEASURED_LOOKUPS[name](image, value)
                    else:
                        image = CHANGES[name](image, value, self._fill)
        return _looked_up(image, table)

    def _magnitude(self, rng):
        drawn = rng.gauss(self.magnitude, self.deviation) if self.deviation else self.magnitude
        return min(_MOST, max(0, drawn))


def argument(name, magnitude, increasing, rng):
    """What an operation is told at a magnitude from 0 to 10; None for those that have no strength.

    | operation | told |
    | --- | --- |
    | Rotate | ± 0 to 30 degrees, counter-clockwise |
    | ShearX, ShearY | ± 0 to 0.3 pixels a pixel |
    | TranslateXRel, TranslateYRel | ± 0 to 0.45 of width, height |
    | Posterize | bits kept, 0 to 4; increasing: 4 to 0 |
    | Solarize | the level from which on colours are inverted, 0 to 256; increasing: 256 to 0 |
    | SolarizeAdd | what is added to levels below 128, 0 to 110 |
    | Color, Contrast, Brightness, Sharpness | factor, 0.1 to 1.9; increasing: 1 ± 0 to 0.9 |
    """
    part = magnitude / _MOST
    if name in _SIGNED:
        return _signed(part * _SIGNED[name], rng)
    if name in ("Color", "Contrast", "Brightness", "Sharpness"):
        return 1 + _signed(part * 0.9, rng) if increasing else part * 1.8 + 0.1
    if name in _STEPS:
        value = int(part * _STEPS[name])
        return _STEPS[name] - value if increasing and name != "SolarizeAdd" else value
    return None


_SIGNED = dict(Rotate=30, ShearX=0.3, ShearY=0.3, TranslateXRel=0.45, TranslateYRel=0.45)
_STEPS = dict(Posterize=4, Solarize=256, SolarizeAdd=110)


def _signed(value, rng):
    return -value if rng.random() < 0.5 else value


def _looked_up(image, table):
    """An image by a table (256,) of all its channels, or (256, 3) of each."""
    return image if table is None else cv2.LUT(image, table if table.ndim == 1 else table[None])


def _table(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def _blended(factor, other):
    """Of levels c, other + factor · (c − other), in the arithmetic of ``PIL.Image.blend``."""
    return _table(np.float32(other) + np.float32(factor) * (_LEVELS - other).astype(np.float32))


def _posterize(bits):
    return _table(_LEVELS & -(1 << (8 - bits)))


def _solarize(threshold):
    return _table(np.where(_LEVELS < threshold, _LEVELS, 255 - _LEVELS))


def _solarize_add(added):
    return _table(np.where(_LEVELS < 128, _LEVELS + added, _LEVELS))


# From what `argument` gives to a table (256,).
LOOKUPS = dict(Invert=lambda _: _table(255 - _LEVELS), Posterize=_posterize, Solarize=_solarize,
               SolarizeAdd=_solarize_add, Brightness=lambda factor: _blended(factor, 0))


def _histograms(image):
    return [cv2.calcHist([image], [channel], None, [256], [0, 256])[:, 0].astype(np.int64) for channel in range(3)]


def _auto_contrast(image, _):
    """Each channel's darkest level becomes 0, its brightest 255."""
    tables = []
    for counts in _histograms(image):
        there = np.flatnonzero(counts)
        low, high = int(there[0]), int(there[-1])
        scale = 255 / (high - low) if high > low else 1.0
        tables.append(_table(_LEVELS * scale - low * scale) if high > low else _table(_LEVELS))
    return np.column_stack(tables)


def _equalize(image, _):
    """Each channel's levels are spread so that equally many pixels have each: Pillow's way of rounding."""
    tables = []
    for counts in _histograms(image):
        step = int(counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        below = np.cumsum(counts) - counts
        tables.append(_table((step // 2 + below) // step) if step else _table(_LEVELS))
    return np.column_stack(tables)


def _contrast(image, factor):
    return _blended(factor, int(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0] + 0.5))


# From the image and what `argument` gives to a table (256,) or (256, 3).
MEASURED_LOOKUPS = dict(AutoContrast=_auto_contrast, Equalize=_equalize, Contrast=_contrast)


def _color(image, factor, _):
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, _CUT_OFF)


def _sharpness(image, factor, _):
    """Blended with the mean of 3 × 3 pixels, of which the middle one counts five times; the rim stays."""
    blurred, rest = cv2.blur(image, (3, 3)), (1 - factor) / 13
    sharpened = cv2.addWeighted(image, factor + 4 * rest, blurred, 9 * rest, _CUT_OFF)
    for rim in (np.s_[[0, -1]], np.s_[:, [0, -1]]):
        sharpened[rim] = image[rim]
    return sharpened


def _moved(image, matrix, fill):
    """An image whose pixel at (x, y) is what was at `matrix` (2, 3) times (x, y, 1); pixel i lies at i + 1/2."""
    matrix = np.array(matrix, float)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderValue=fill)


def _rotate(image, degrees, fill):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn, middle = np.array([[cos, -sin], [sin, cos]]), np.array(image.shape[1::-1]) / 2
    return _moved(image, np.column_stack([turn, middle - turn @ middle]), fill)


# From the image, what `argument` gives, and a fill colour to another image.
CHANGES = dict(
    Color=_color, Sharpness=_sharpness, Rotate=_rotate,
    ShearX=lambda image, shear, fill: _moved(image, [[1, shear, 0], [0, 1, 0]], fill),
    ShearY=lambda image, shear, fill: _moved(image, [[1, 0, 0], [shear, 1, 0]], fill),
    TranslateXRel=lambda image, part, fill: _moved(image, [[1, 0, part * image.shape[1]], [0, 1, 0]], fill),
    TranslateYRel=lambda image, part, fill: _moved(image, [[1, 0, 0], [0, 1, part * image.shape[0]]], fill))
