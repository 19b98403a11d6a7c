"""From an image to the network's size, as validation and AdaBN want it, and the resizing that training shares."""
import math
from typing import NamedTuple

import cv2
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters.augmentation import SQUEEZE, validation_size
from transfer_gluon.iters.images import MOST_PIXELS


class Box(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


def prepared(height, width, resize=None):
    """The preparation for validation, cubic.

    Parameters
    ----------
    height, width : int
        Of the crop, in pixels.
    resize : int, "squeeze" or None
        The shorter side, in pixels, that an image is resized to before its centre is cut out; None: 1.125 × the
        longer side of the crop (360 for 320). ``squeeze``: the whole image is resized to the crop, without keeping its
        aspect.

    Returns: callable from an image to (height, width, 3).

    Raises: InputError for a side shorter than the crop; it speaks of `val_resize`, as options and commands call it.

    >>> prepared(20, 20, "squeeze")(np.zeros((30, 60, 3), np.uint8)).shape
    (20, 20, 3)
    """
    side = validation_size(max(height, width)) if resize is None else resize
    check_side(side, height, width, "val_resize", "Where it was not given, the checkpoint says so.")

    def prepare(image):
        size = first_size(image, side, height, width)
        return resized_part(image, size, centre_box(*size, width, height))

    return prepare


def centre_crop(height, width):
    """`prepared` by the usual rule: shorter side 1.125 × the crop (360 for 320), cubic, then the centre.

    Returns: callable from an image to its part of (height, width, 3).
    """
    return prepared(height, width)


def check_side(resize, height, width, parameter, hint=""):
    """Raise InputError where an image whose shorter side is `resize` may have no part of this size; it blames a
    `parameter`."""
    crop = max(height, width)
    if resize != SQUEEZE and resize < crop:
        raise InputError.of(parameter, resize, f"at least {crop}, the longer side of the crop, or squeeze", hint)


def first_size(image, resize, height, width):
    """(width, height) that an image is resized to: its shorter side to `resize`, or all of it to the crop where that is
    ``squeeze``."""
    return (width, height) if resize == SQUEEZE else short_side_size(image, resize)


def square_centre_crop(height, width):
    """The original's preparation for AdaBN: resized to 1.125 × the crop, a square where the crop is one (360 × 360
    for 320 × 320), without keeping the aspect ratio, cubic, then the centre.

    It resizes floats, which cubic interpolation may carry below 0 and above 255.

    Returns: callable from an image to its part, float32 (height, width, 3).
    """
    size = validation_size(width), validation_size(height)
    box = centre_box(*size, width, height)

    def prepare(image):
        # One colour after another: as floats, a large image takes four times the memory of its bytes.
        colours = [cv2.resize(image[:, :, i].astype(np.float32), size, interpolation=cv2.INTER_CUBIC) for i in range(3)]
        return cv2.merge([colour[box.top:box.top + height, box.left:box.left + width] for colour in colours])

    return prepare


def centre_box(width, height, box_width, box_height):
    """The `Box` in the middle of an image of `width` × `height` pixels; the odd pixel lies below or on the right."""
    return Box((width - box_width) // 2, (height - box_height) // 2, box_width, box_height)


def short_side_size(image, side):
    """(width, height) of the image once its shorter side is `side`, rounded down as by MXNet's reader.

    Raises: InputError for a strip so thin that it would have more than `MOST_PIXELS`.

    >>> import numpy as np
    >>> short_side_size(np.zeros((480, 640, 3), np.uint8), 360)
    (480, 360)
    """
    height, width = image.shape[:2]
    size = tuple(side * length // min(height, width) for length in (width, height))
    if size[0] * size[1] > MOST_PIXELS:
        raise InputError(f"{width} × {height} pixels, which would be {size[0]} × {size[1]} when resized to the shorter "
                         f"side of {side}")
    return size


def resized_part(image, size, box):
    """A `Box` of the image that is resized to `size` (width, height), cubic, as if all of it had been resized."""
    columns, left = _cut(image.shape[1], size[0], box.left, box.width)
    rows, top = _cut(image.shape[0], size[1], box.top, box.height)
    resized = cv2.resize(image[rows.source, columns.source], (columns.size, rows.size), interpolation=cv2.INTER_CUBIC)
    return resized[top:top + box.height, left:left + box.width]


def _cut(length, resized, start, count):
    """Along one axis, what must be resized for `count` pixels from `start` to come out as if all of it had been.

    Pixel i of the resized image lies at i · length / resized; it can be cut where that is a whole number.
    """
    step = resized // math.gcd(length, resized)
    reach = 2 * resized // length + 2       # cubic interpolation looks at two pixels of the image on both sides
    first = max(0, (start - reach) // step * step)
    last = min(resized, -(-(start + count + reach) // step) * step)
    return _Part(slice(first * length // resized, last * length // resized), last - first), start - first


class _Part(NamedTuple):
    source: slice
    size: int
