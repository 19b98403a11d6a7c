"""Training batches of a list in random order, augmented, from a record or straight from image files."""
import math
import random
import zlib

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters.image_source import open_source
from transfer_gluon.iters.loading import load
from transfer_gluon.iters.random_transform import RandomTransform


class ShuffledIter(mx.io.DataIter):
    """Shuffled, augmented batches of one domain: raw RGB, floats or bytes as the `augmentation` says.

    The order depends on (`seed`, name of the list, epoch), what happens to an image on these and its index: not on
    threads, nor on what was read before, nor on how many workers share the list. In the mode ``original``, a last batch
    that is not full is filled up with the first images of the epoch, which are augmented once more. In the mode
    ``bytes``, images that do not fill a batch are left out: others every epoch.

    Parameters
    ----------
    images : ImageList
    batch_size : int
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    augmentation : Augmentation
    threads : int
    seed : int
    packed : bool
        Read the record of the list instead of the image files; it may hold more images than the list.
    num_parts, part_index : int
        Read the given one of this many parts of every epoch: workers of a distributed run. Batch k of all parts, one
        behind the other, is batch k of a single worker whose batches are as large as theirs together.

    Raises: InputError for fewer images than a batch holds, and, from `next`, for an image that cannot be used.
    """

    def __init__(self, images, batch_size, image_shape, augmentation, threads=4, seed=0, packed=False, num_parts=1,
                 part_index=0):
        super().__init__(batch_size)
        self.images = images
        self.num_images = len(images) // num_parts
        check_batch_size(images, self.num_images, batch_size)
        filled_up = augmentation.mode == "original"
        whole = num_parts * batch_size
        self.batches_per_epoch = -(-len(images) // whole) if filled_up else len(images) // whole
        self._dtype = np.float32 if filled_up else np.uint8
        self.provide_data = [mx.io.DataDesc("data", (batch_size, *image_shape), self._dtype)]
        self.provide_label = [mx.io.DataDesc("softmax_label", (batch_size,))]
        self._num_parts, self._part_index = num_parts, part_index
        self._seed = seed, zlib.crc32(images.path.name.encode())
        self._transform = RandomTransform(augmentation, *image_shape[1:])
        self._size = image_shape[1:]
        self._threads = threads
        self._source = open_source(images, packed)
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Be at the beginning of epoch `epoch`, counted from 0."""
        self._epoch = epoch
        order = np.random.default_rng((*self._seed, epoch)).permutation(len(self.images))
        shape = self.batches_per_epoch, self._num_parts, self.batch_size
        # Cut off, or begun again: images that come once more in an epoch have places behind those of the list.
        order = np.resize(order, shape) + len(order) * (np.arange(math.prod(shape)).reshape(shape) // len(order))
        self._order = order[:, self._part_index]
        self._begin(0)

    def skip(self, count):
        """Be `count` batches further on in this epoch, at once."""
        self._begin(self._batch + count)

    def reset(self):
        """Go on to the next epoch."""
        self.set_epoch(self._epoch + 1)

    def next(self):
        places, pixels, errors = next(self._batches)
        if errors:
            raise errors[min(errors)]
        self._batch += 1
        labels = self.images.labels[places % len(self.images)]
        return mx.io.DataBatch(data=[mx.nd.from_numpy(pixels)], label=[mx.nd.array(labels)], pad=0)

    def _begin(self, batch):
        self._batch = batch
        key, source, transform, indices = (*self._seed, self._epoch), self._source, self._transform, self.images.indices

        def image(place):
            again, place = divmod(place, len(indices))
            seed = (*key, int(indices[place]), *["again"] * again)
            rng = random.Random(repr(seed))         # Python's are faster than NumPy's one by one
            return source.pixels(place, lambda pixels: transform(pixels, rng))

        self._batches = load(self._order[batch:], image, self._size, self._threads, self._dtype)


def check_batch_size(images, each, batch_size):
    """Raise InputError when the `each` images of a list that every worker has do not fill a batch."""
    if each < batch_size:
        raise InputError(
            f"{images.path}: {each} images{' for each worker' * (each < len(images))}; a batch takes {batch_size} of "
            "them. Give more images or a smaller --batch-size.")
