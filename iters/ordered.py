"""Batches of a list in its order, from a record or straight from image files; as for validation, or augmented."""
import random

import numpy as np

from transfer_gluon.iters.epoch_order import epoch_key, random_numbers
from transfer_gluon.iters.epochs import EpochIter
from transfer_gluon.iters.image_source import open_source
from transfer_gluon.iters.loading import load
from transfer_gluon.iters.random_transform import RandomTransform


class OrderedIter(EpochIter):
    """Batches of the images of a list, in its order: raw RGB, bytes or floats as `prepare` gives.

    Epochs are all alike, and `reset` leads back to the beginning of the list. The last batch may be smaller. The
    `index` of a batch holds the places of its images in the list.

    Parameters
    ----------
    images : ImageList
    batch_size : int
    prepare : callable
        From an image (height, width, 3) of bytes to the network's size: `centre_crop` (bytes), `square_centre_crop`
        (floats).
    threads : int
    packed : bool
        Read the record of the list instead of the image files; it may hold more images than the list.
    num_parts, part_index : int
        Read the given one of this many parts of the list: workers of a distributed run. Their sizes differ by one
        image at most.
    bad : list or None
        Images that are missing or cannot be decoded are left out of their batch, and what is wrong with them is
        added to this list, which the beginning of an epoch empties. None: the first one raises.

    Raises: InputError that names an image which is missing or cannot be decoded.
    """

    def __init__(self, images, batch_size, prepare, threads=4, packed=False, num_parts=1, part_index=0, bad=None):
        self._bad = bad
        self.images = images
        part = range(*(len(images) * (part_index + end) // num_parts for end in (0, 1)))
        self._places = [part[start:start + batch_size] for start in range(0, len(part), batch_size)]
        sample = prepare(np.zeros((2, 2, 3), np.uint8))
        self._size, self._dtype, self._threads = sample.shape[:2], sample.dtype, threads
        self._image = self._maker(open_source(images, packed), prepare)
        super().__init__(batch_size, (3, *self._size), len(part), len(self._places), self._dtype)

    @staticmethod
    def _maker(source, prepare):
        """From a place in the list to what the network takes; it must not refer to the iterator: see `load`."""
        return lambda place: source.pixels(place, prepare)

    def begin(self, epoch, batch):
        if self._bad is not None and batch == 0:
            self._bad.clear()
        self._batches = load(self._places[batch:], self._image, self._size, self._threads, self._dtype)

    def read(self, epoch, batch):
        places, pixels, errors = next(self._batches)
        if errors and self._bad is None:
            raise errors[min(errors)]
        index = [place for place in places if place not in errors]
        if errors:
            self._bad += [errors[place] for place in sorted(errors)]
            pixels = pixels[[place - places.start for place in index]]
        return self.batch_of(pixels, self.images.labels[index], index) if index else None


class ViewIter(OrderedIter):
    """One augmented view of every image of a list, in its order: what `ShuffledIter` makes of the image in an epoch.

    Parameters
    ----------
    images, batch_size, threads, packed, bad
        As `OrderedIter` takes them.
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    augmentation : Augmentation
    view : int
        The number of the epoch, counted from 0.
    seed : int
    """

    def __init__(self, images, batch_size, image_shape, augmentation, view, seed=0, threads=4, packed=False, bad=None):
        self._drawn = epoch_key(images, seed), view, images.indices
        transform = RandomTransform(augmentation, *image_shape[1:])
        super().__init__(images, batch_size, lambda pixels, rng=None: transform(pixels, rng or random.Random(0)),
                         threads, packed, bad=bad)

    def _maker(self, source, prepare):
        key, view, indices = self._drawn

        def image(place):
            rng = random_numbers(key, view, indices[place])
            return source.pixels(place, lambda pixels: prepare(pixels, rng))
        return image
