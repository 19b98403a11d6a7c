"""Images as the network sees them, as data that stands in a page."""
import base64
from dataclasses import dataclass

import cv2
import numpy as np

from transfer_gluon.iters import Augmentation, OrderedIter, ViewIter, prepared

_SIDE = 96          # pixels that an image has in the page at most
_SMALL = 48         # up to which it is shown as it is, without loss


@dataclass(frozen=True)
class Picture:
    """An image of a page.

    Attributes
    ----------
    uri : str
        ``data:image/…``.
    caption : str
    alt : str
        What is read aloud in its place.
    wrong : bool or None
        Whether the caption is known to be wrong.
    """

    uri: str
    caption: str = ""
    alt: str = ""
    wrong: bool = None


def data_uri(pixels):
    """An image (height, width, 3), red, green, blue, from 0 to 255, as a small PNG or JPEG.

    >>> data_uri(np.zeros((8, 8, 3)))[:22]
    'data:image/png;base64,'
    """
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    side = max(pixels.shape[:2])
    if side > _SIDE:
        size = [max(round(length * _SIDE / side), 1) for length in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    kind, options = ("png", []) if side <= _SMALL else ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 80])
    content = cv2.imencode(f".{kind}", pixels[:, :, ::-1], options)[1]
    return f"data:image/{kind};base64,{base64.b64encode(content.tobytes()).decode()}"


def pixels_of(images, places, image_shape, val_resize=None):
    """Those images of a list, as the network is given them in use: list of arrays (height, width, 3)."""
    return _read(OrderedIter(images.part(places), 16, prepared(*image_shape[1:], val_resize), 2))


def augmented(images, places, image_shape, augmentation, seed=0):
    """The same as in an epoch of training."""
    return _read(ViewIter(images.part(places), 16, image_shape, augmentation, 0, seed, 2))


def _read(batches):
    batches.reset()
    rows = []
    for batch in batches:
        rows += list(batch.data[0].asnumpy().transpose(0, 2, 3, 1)[:len(batch.index)])
    return rows


def augmentation_of(settings):
    """The `Augmentation` that a run's settings tell; None where they tell none, or training reads features without
    views."""
    if not settings or settings.get("read") == "features" and not settings.get("feature_views"):
        return None
    values = {field.name: settings[name] for name, field in Augmentation.flags().items() if name in settings}
    values.update({name: bool(values[name]) for name in ("random_crop", "random_mirror") if name in values})
    return Augmentation(**values) if values else None


def spread(count, most=12):
    """Up to so many places of a list, evenly apart.

    >>> spread(5, 3).tolist(), spread(2, 3).tolist()
    ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
