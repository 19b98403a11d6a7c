"""The order in which an epoch shows the images of a list, and the random numbers that each of them gets."""
import math
import random
import zlib

import numpy as np

from transfer_gluon.base.errors import InputError


class EpochOrder:
    """Places in a list, epoch by epoch, in random order.

    It depends on (`seed`, name of the list, epoch) alone. In the mode ``original``, a last batch that is not full is
    filled up with the first images of the epoch; in the mode ``bytes``, images that do not fill a batch are left out:
    others every epoch.

    Parameters
    ----------
    images : ImageList
    batch_size : int
    mode : "original" or "bytes"
    seed : int
    num_parts, part_index : int
        The given one of this many parts of every epoch: workers of a distributed run. Batch k of all parts, one behind
        the other, is batch k of a single worker whose batches are as large as theirs together.

    Attributes
    ----------
    num_images, batches_per_epoch : int
        Of an epoch of this part.

    Raises: InputError for fewer images than a batch holds.

    >>> from transfer_gluon.iters.image_list import ImageList
    >>> from pathlib import Path
    >>> images = ImageList(Path("a.lst"), np.arange(5), np.zeros(5), list("abcde"))
    >>> EpochOrder(images, 2)(epoch=0).tolist()
    [[0, 2], [1, 4], [3, 5]]
    """

    def __init__(self, images, batch_size, mode="original", seed=0, num_parts=1, part_index=0):
        self.num_images = len(images) // num_parts
        check_batch_size(images, self.num_images, batch_size)
        whole = num_parts * batch_size
        self.batches_per_epoch = len(images) // whole if mode == "bytes" else -(-len(images) // whole)
        self._shape = self.batches_per_epoch, num_parts, batch_size
        self._part_index, self._number = part_index, len(images)
        self.key = epoch_key(images, seed)

    def __call__(self, epoch):
        """A row a batch; images that come once more in an epoch have places behind those of the list."""
        order = np.random.default_rng((*self.key, epoch)).permutation(self._number)
        # Cut off, or begun again.
        again = np.arange(math.prod(self._shape)).reshape(self._shape) // self._number
        return (np.resize(order, self._shape) + self._number * again)[:, self._part_index]


def epoch_key(images, seed):
    """What the order of all epochs of a list, and the augmentation of its images, is drawn from."""
    return seed, zlib.crc32(images.path.name.encode())


def random_numbers(key, epoch, index, again=0):
    """What an image of this index draws its augmentation from in an epoch, where it comes for the first time, or
    `again`.

    `key`: of `epoch_key`. Python's are faster than NumPy's one by one.
    """
    return random.Random(repr((*key, epoch, int(index), *["again"] * again)))


def check_batch_size(images, each, batch_size):
    """Raise InputError when the `each` images of a list that every worker has do not fill a batch."""
    if each < batch_size:
        fewer = " for each worker, without those held out" * (each < len(images))
        raise InputError(f"{images.path}: {each} images{fewer}; a batch takes {batch_size} of them. Give more images "
                         "or a smaller `batch_size`.", "batch_size", batch_size, f"at most {each}")
