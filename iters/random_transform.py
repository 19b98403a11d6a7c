"""Random changes of a training image by OpenCV: its geometry in one or two steps, all of its colours in one."""
import itertools
import math

import cv2
import numpy as np

from transfer_gluon.iters.erasing import RandomErasing
from transfer_gluon.iters.rand_augment import RandAugment
from transfer_gluon.iters.transforms import Box, centre_box, check_side, first_size, resized_part

# Principal axes (columns) of the colours of ImageNet, red, green, blue from 0 to 255, times the standard deviations
# along them (Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep CNNs, 2012, section 4.1; figures: MXNet).
_AXES = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
_PRINCIPAL = _AXES * [55.46, 4.794, 1.148]
_GREY = 0.299, 0.587, 0.114     # of red, green, blue: ITU-R BT.601
_ORDERS = list(itertools.permutations(range(3)))
_TRIES = 10


class RandomTransform:
    """What an `Augmentation` says, done to one image.

    Parameters
    ----------
    augmentation : Augmentation
    height, width : int
        Of what comes out, in pixels.

    Raises: InputError for images that are first resized to less than a centre crop.

    >>> import random
    >>> from transfer_gluon.iters.augmentation import Augmentation
    >>> RandomTransform(Augmentation(), 20, 20)(np.zeros((48, 64, 3), np.uint8), random.Random(0)).shape
    (20, 20, 3)
    """

    def __init__(self, augmentation, height, width):
        self._given = given = augmentation
        self._width, self._height = width, height
        self._side = given.first_side(max(height, width))
        if not given.random_crop:
            check_side(self._side, height, width, "train_resize")
        # Crops of random aspect draw it with the box.
        self._aspect = 0.0 if given.resized_crop else given.max_random_aspect_ratio
        self._rand_augment = RandAugment(given.aa) if given.aa is not None else None
        self._erasing = RandomErasing(given.reprob, given.remode) if given.reprob else None
        self._warps = bool(given.max_random_rotate_angle or given.max_random_shear_ratio or self._aspect
                           or given.pad_size or (given.min_random_scale, given.max_random_scale) != (1, 1))

    def __call__(self, image, rng):
        """From uint8 (h, w, 3), red, green, blue, to (height, width, 3), by the numbers of a `random.Random`.

        What comes out is float32 in the mode ``original``, and uint8 in the mode ``bytes``.
        """
        image = self._warped(image, rng) if self._warps else self._cropped(image, rng)
        if self._given.random_mirror and rng.random() < 0.5:
            image = cv2.flip(image, 1)
        image = self._recoloured(self._shifted(image, rng), rng)
        return self._erasing(image, rng) if self._erasing else image

    def _cropped(self, image, rng):
        size = first_size(image, self._side, self._height, self._width)
        box = self._box(*size, rng)
        part = resized_part(image, size, box)
        if (box.width, box.height) == (self._width, self._height):
            return part
        return cv2.resize(part, (self._width, self._height), interpolation=cv2.INTER_CUBIC)

    def _box(self, width, height, rng):
        """Where to look, in an image of this size."""
        given = self._given
        if not given.random_crop:
            return centre_box(width, height, self._width, self._height)
        if given.crop == "plain":
            _, _, w, h = self._largest_box(width, height)
            return Box(rng.randrange(width - w + 1), rng.randrange(height - h + 1), w, h)
        return random_box(width, height, given.min_random_area, given.aspects, rng) or self._largest_box(width, height)

    def _largest_box(self, width, height):
        scale = min(1, width / self._width, height / self._height)
        return centre_box(width, height, *(max(1, int(side * scale)) for side in (self._width, self._height)))

    def _warped(self, image, rng):
        """Turned, sheared, scaled, and padded around the middle, and then cropped, in one interpolation."""
        given = self._given
        size = first_size(image, self._side, self._height, self._width)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        scale = rng.uniform(given.min_random_scale, given.max_random_scale)
        angle = math.radians(rng.uniform(-1, 1) * given.max_random_rotate_angle)
        shear = rng.uniform(-1, 1) * given.max_random_shear_ratio
        aspect = 1 + rng.uniform(-1, 1) * self._aspect
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        change = np.diag([1, aspect]) * (2 * scale / (1 + aspect)) @ np.array([[1, shear], [0, 1]]) @ turn
        canvas = [max(1, round(scale * side)) + 2 * given.pad_size for side in size]
        box = self._box(*canvas, rng)
        zoom = np.array([self._width / box.width, self._height / box.height])
        # The centre of pixel i lies at i + 1/2; the middle of the image becomes that of the canvas.
        matrix = zoom[:, None] * change
        offset = zoom * (np.array(canvas) / 2 - box[:2]) - matrix @ (np.array(size) / 2)
        offset += matrix @ [0.5, 0.5] - 0.5
        return cv2.warpAffine(image, np.column_stack([matrix, offset]), (self._width, self._height),
                              flags=cv2.INTER_CUBIC, borderValue=(given.fill_value,) * 3)

    def _shifted(self, image, rng):
        """With another hue, lightness and saturation, each by one number for the whole image."""
        most = self._given.max_random_h, self._given.max_random_l, self._given.max_random_s
        if not any(most):
            return image
        changed = np.arange(256)[:, None] + [round(rng.uniform(-1, 1) * one) for one in most]
        table = np.clip(changed, 0, 255)
        table[:, 0] = changed[:, 0] % 180       # a circle of 180 steps in OpenCV
        hls = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HLS), table[None].astype(np.uint8))
        return cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)

    def _recoloured(self, image, rng):
        """With jitter of brightness, contrast and saturation, and noise along the principal colour axes; or with the
        operations of RandAugment."""
        jitter, noise = self._given.jitter, self._given.pca_noise
        floats = self._given.mode != "bytes"
        if self._rand_augment:
            image, jitter, noise = self._rand_augment(image, rng), 0, 0
        if not jitter and not noise:
            return image.astype(np.float32) if floats else image
        factors = [1 + rng.uniform(-jitter, jitter) for _ in range(3)]
        own, grey, offset = jittered(rng.choice(_ORDERS), factors, _grey(cv2.mean(image)))
        shifts = _PRINCIPAL @ [rng.gauss(0, noise) for _ in range(3)]
        rows = [[*(grey * weight for weight in _GREY), offset + shift] for shift in shifts.tolist()]
        for i, row in enumerate(rows):
            row[i] += own
        return (_float_transform if floats else cv2.transform)(image, np.array(rows))


def _float_transform(image, matrix):
    """`cv2.transform` of an image of bytes to float32.

    A few rows at a time: memory of two whole images goes back to the system after each and is asked for anew, which
    takes longer than all the arithmetic.
    """
    values = np.empty(image.shape, np.float32)
    for top in range(0, len(image), 32):
        rows = slice(top, top + 32)
        cv2.transform(image[rows].astype(np.float32), matrix, dst=values[rows])
    return values


def _grey(colour):
    return _GREY[0] * colour[0] + _GREY[1] * colour[1] + _GREY[2] * colour[2]


def random_box(width, height, min_area, aspects, rng):
    """A `Box` of random area and aspect somewhere in an image of this size, or None if ten such boxes do not fit.

    Area from `min_area` to 1 of the image's, evenly; width / height between the two `aspects`, evenly in its
    logarithm (Szegedy et al., Going Deeper with Convolutions, 2015, section 6; as ``mx.image.random_size_crop``).
    """
    for _ in range(_TRIES):
        area = rng.uniform(min_area, 1) * width * height
        aspect = math.exp(rng.uniform(math.log(aspects[0]), math.log(aspects[1])))
        w, h = max(1, round(math.sqrt(area * aspect))), max(1, round(math.sqrt(area / aspect)))
        if w <= width and h <= height:
            return Box(rng.randrange(width - w + 1), rng.randrange(height - h + 1), w, h)
    return None


def jittered(order, factors, mean):
    """Brightness (0), contrast (1) and saturation (2) of an image, changed in an order, as one map of its colours.

    With factor f and grey g(c) = 0.299 r + 0.587 g + 0.114 b of a colour c, brightness maps c to f·c, contrast to
    f·c + (1 − f)·g(mean colour), saturation to f·c + (1 − f)·g(c), as ``mx.image.ColorJitterAug``. Each of these, and
    so all of them, map c to own·c + grey·g(c) + offset.

    Parameters
    ----------
    order : permutation of 0, 1, 2
    factors : three floats
        Of brightness, contrast and saturation.
    mean : float
        Grey of the mean colour.

    Returns: own, grey, offset.

    >>> jittered([0, 1, 2], [2, 1, 1], mean=9)
    (2.0, 0.0, 0.0)
    """
    own, grey, offset = 1.0, 0.0, 0.0
    for kind in order:
        # What is blended in: black; the grey of the mean colour; the grey of each colour.
        other_grey, other_offset = ((0.0, 0.0), (0.0, (own + grey) * mean + offset), (own + grey, offset))[kind]
        factor, rest = factors[kind], 1 - factors[kind]
        own, grey, offset = factor * own, factor * grey + rest * other_grey, factor * offset + rest * other_offset
    return own, grey, offset
