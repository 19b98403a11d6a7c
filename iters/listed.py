"""Batches of a list in its order, from a record or straight from image files, decoded by OpenCV in threads."""
import collections
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from base.errors import InputError
from base.framework import mx
from iters.augmentation import validation_size
from iters.sources import open_source


def centre_crop(height, width):
    """The preparation for validation: shorter side 1.125 × the crop (360 for 320), cubic, then the centre.

    Sides are rounded down, as MXNet's reader does, whose pixels these are up to rounding.
    """
    side = validation_size(max(height, width))

    def prepare(image):
        shorter = min(image.shape[:2])
        rows, top = _cut(image.shape[0], side * image.shape[0] // shorter, height)
        columns, left = _cut(image.shape[1], side * image.shape[1] // shorter, width)
        resized = cv2.resize(image[rows.source, columns.source], (columns.size, rows.size),
                             interpolation=cv2.INTER_CUBIC)
        return resized[top:top + height, left:left + width]

    return prepare


def _cut(length, resized, crop):
    """Along one axis, the part of an image that must be resized for its centre to come out as if all of it had been.

    Pixel i of the resized image lies at i · length / resized; it can be cut where that is a whole number.
    """
    start = (resized - crop) // 2
    step = resized // math.gcd(length, resized)
    reach = 2 * resized // length + 2       # cubic interpolation looks at two pixels of the image on both sides
    first = max(0, (start - reach) // step * step)
    last = min(resized, -(-(start + crop + reach) // step) * step)
    return _Part(slice(first * length // resized, last * length // resized), last - first), start - first


class _Part(NamedTuple):
    source: slice
    size: int


def square_centre_crop(crop):
    """The original's preparation for AdaBN: resized to a square of 1.125 × `crop` pixels (360 for 320)
    without keeping the aspect ratio, cubic, then the centre of `crop` pixels."""
    side = validation_size(crop)
    margin = (side - crop) // 2

    def prepare(image):
        resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        return resized[margin:margin + crop, margin:margin + crop]

    return prepare


class ListedIter(mx.io.DataIter):
    """Batches of the images of a list, in its order, as bytes: raw RGB 0–255. The last batch may be smaller.

    Two to three times as fast as MXNet's reader, whose JPEG decoder was built without vector instructions.

    The `index` of a batch holds the places of its images in the list.

    Parameters
    ----------
    images : ImageList
    batch_size : int
    prepare : callable
        From an image (height, width, 3) of bytes to the network's size: `centre_crop`, `square_centre_crop`.
    threads : int
    packed : bool
        Read the record of the list instead of the image files; it may hold more images than the list.
    num_parts, part_index : int
        Read the given one of this many parts of the list: workers of a distributed run. Their sizes differ by one
        image at most.
    bad : list or None
        Images that are missing or cannot be decoded are left out of their batch, and what is wrong with them is
        added to this list. None: the first one raises.

    Raises: InputError that names an image which is missing or cannot be decoded.
    """

    def __init__(self, images, batch_size, prepare, threads=4, packed=False, num_parts=1, part_index=0, bad=None):
        super().__init__(batch_size)
        self._bad = bad
        self.images = images
        self._part = range(*(len(images) * (part_index + end) // num_parts for end in (0, 1)))
        self.num_images = len(self._part)
        self.batches_per_epoch = -(-self.num_images // batch_size)
        self._prepare = prepare
        self._size = prepare(np.zeros((2, 2, 3), np.uint8)).shape[:2]
        self._threads = threads
        self._source = open_source(images, packed)
        self.reset()

    def reset(self):
        """Begin again."""
        self._batches = self._read()

    def next(self):
        return next(self._batches)

    def _read(self):
        # OpenCV gives up Python's lock while it decodes; two batches ahead keep the threads busy.
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = collections.deque()
            for start in range(0, self.num_images, self.batch_size):
                places = self._part[start:start + self.batch_size]
                pixels = np.empty((len(places), 3, *self._size), np.uint8)
                shares = [slice(thread, None, self._threads) for thread in range(min(self._threads, len(places)))]
                waiting.append((places, pixels, [pool.submit(self._load, places[s], pixels[s]) for s in shares]))
                if len(waiting) > 2:
                    yield from self._batch(*waiting.popleft())
            while waiting:
                yield from self._batch(*waiting.popleft())

    def _batch(self, places, pixels, futures):
        unusable = {place: error for future in futures for place, error in future.result()}
        index = [place for place in places if place not in unusable]
        if unusable:
            self._bad += [unusable[place] for place in sorted(unusable)]
            pixels = pixels[[place - places.start for place in index]]
        if index:
            yield mx.io.DataBatch(data=[mx.nd.from_numpy(pixels)], label=[mx.nd.array(self.images.labels[index])],
                                  pad=0, index=index)

    def _load(self, places, pixels):
        """Fill in the pixels; return (place, error) of those that cannot be used."""
        unusable = []
        for place, channels in zip(places, pixels):
            try:
                image = self._prepare(self._source.pixels(place))
            except InputError as error:
                if self._bad is None:
                    raise
                unusable.append((place, error))
                continue
            for i, channel in enumerate(channels):
                cv2.extractChannel(image, i, channel)
        return unusable
