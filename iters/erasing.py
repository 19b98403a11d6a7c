"""Random erasing: a rectangle of an image is hidden."""
import math

import cv2
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters.augmentation import REMODES

# Of ImageNet's colours, red, green, blue from 0 to 255.
MEAN = np.array([0.485, 0.456, 0.406]) * 255
DEVIATION = np.array([0.229, 0.224, 0.225]) * 255
_AREAS = 0.02, 1 / 3
_ASPECTS = 0.3, 1 / 0.3
_TRIES = 10


class RandomErasing:
    """A rectangle somewhere in an image loses what it shows, with a probability.

    Its area is 2 to 33 % of the image's, evenly; height / width 0.3 to 3.3, evenly in its logarithm. Where ten such
    rectangles are not smaller than the image in both directions, nothing is erased.

    (Zhong, Zheng, Kang, Li, Yang: Random Erasing Data Augmentation, 2017, https://arxiv.org/abs/1708.04896; figures and
    modes: timm, ``timm/data/random_erasing.py`` of 0.4.5 to 0.4.9.) timm erases in the batch, normalised by ImageNet's
    mean and deviation, behind mixup: a hole hides both images that were mixed. Here each image is erased, before
    mixup, and images are raw RGB: 0 is there ImageNet's mean here, and normal noise has ImageNet's mean and deviation,
    whatever the network normalises by.

    Parameters
    ----------
    probability : float
        From 0 to 1.
    mode : "const", "rand" or "pixel"
        The mean colour; one colour with normal noise, the same for all of the rectangle; each pixel such a colour.

    Raises: InputError.

    >>> import random
    >>> image = np.zeros((20, 20, 3), np.float32)
    >>> [round(float(value), 2) for value in RandomErasing(1.0)(image, random.Random(0)).max(axis=(0, 1))]
    [123.68, 116.28, 103.53]
    """

    def __init__(self, probability, mode="const"):
        if not 0 <= probability <= 1:
            raise InputError.of("probability", probability, "a number from 0 to 1")
        if mode not in REMODES:
            raise InputError.of("mode", mode, f"one of {', '.join(REMODES)}")
        self._probability, self._mode = probability, mode

    def __call__(self, image, rng):
        """Erase in an array (h, w, 3), red, green, blue, and return it, by the numbers of a `random.Random`.

        Floats become what was drawn, even beyond 0 to 255; bytes are rounded and kept within.
        """
        if rng.random() < self._probability:
            part = self._rectangle(*image.shape[:2], rng)
            if part is not None and image[part].size:       # of a tiny image, 2 % may be no pixel
                self._fill(image[part], rng)
        return image

    def _rectangle(self, height, width, rng):
        for _ in range(_TRIES):
            area = rng.uniform(*_AREAS) * height * width
            aspect = math.exp(rng.uniform(*map(math.log, _ASPECTS)))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h < height and w < width:
                top, left = rng.randrange(height - h + 1), rng.randrange(width - w + 1)
                return slice(top, top + h), slice(left, left + w)
        return None

    def _fill(self, part, rng):
        if self._mode == "pixel":
            # OpenCV's numbers, of which every thread has its own, are drawn three times as fast as NumPy's, and while
            # other threads run. The first ones behind a seed are all alike.
            cv2.setRNGSeed(rng.getrandbits(31))
            cv2.randn(np.empty((4, 4, 3), np.float32), MEAN, DEVIATION)
            cv2.randn(part, MEAN, DEVIATION)
        else:
            colour = MEAN if self._mode == "const" else MEAN + DEVIATION * [rng.gauss(0, 1) for _ in range(3)]
            part[:] = colour if part.dtype.kind == "f" else np.clip(np.rint(colour), 0, 255)
