"""Batches of features that were computed once, in the place of images: the same order, the same labels."""
import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.iters.epoch_order import EpochOrder
from transfer_gluon.iters.epochs import EpochIter


class _Rows(EpochIter):
    """What both iterators share: the rows of the images of a list among `features`."""

    def __init__(self, features, images, batch_size, num_images, batches_per_epoch):
        self.images, self._features = images, features
        rows = {index: row for row, index in enumerate(features.indices.tolist())}
        missing = [index for index in images.indices.tolist() if index not in rows]
        if missing:
            raise InputError(f"{features.path}: {len(missing)} of the {len(images)} images of {images.path} are not in "
                             f"it, by their index:{first_ten(missing)}")
        self._rows = np.array([rows[index] for index in images.indices.tolist()])
        super().__init__(batch_size, features.values.shape[1:], num_images, batches_per_epoch)

    def _batch(self, values, places):
        return self.batch_of(values[self._rows[places]], self.images.labels[places], list(map(int, places)))


class ShuffledFeatures(_Rows):
    """Shuffled batches of features: those that a frozen network would give for the batches of `ShuffledIter`.

    Epoch e takes view e modulo v, where there are v views, else what was computed of the images as for validation.

    Parameters
    ----------
    features : Features
    images : ImageList
        Its images, or a part of them; the labels are its own.
    batch_size : int
    mode : "original" or "bytes"
        As `Augmentation` has it: whether a last batch is filled up, or left out.
    seed : int
    num_parts, part_index : int
        As `ShuffledIter` takes them.

    Raises: InputError for fewer images than a batch holds, and for images whose features are not there.
    """

    def __init__(self, features, images, batch_size, mode="original", seed=0, num_parts=1, part_index=0):
        self._order = EpochOrder(images, batch_size, mode, seed, num_parts, part_index)
        super().__init__(features, images, batch_size, self._order.num_images, self._order.batches_per_epoch)

    def begin(self, epoch, batch):
        self._places = self._order(epoch) % len(self.images)

    def read(self, epoch, batch):
        views = self._features.views
        return self._batch(views[epoch % len(views)] if len(views) else self._features.values, self._places[batch])


class OrderedFeatures(_Rows):
    """Batches of features in the order of a list, as `OrderedIter` gives those of images.

    Parameters
    ----------
    features : Features
    images : ImageList
    batch_size : int
    num_parts, part_index : int
        As `OrderedIter` takes them.

    Raises: InputError for images whose features are not there.
    """

    def __init__(self, features, images, batch_size, num_parts=1, part_index=0):
        first, end = (len(images) * (part_index + more) // num_parts for more in (0, 1))
        self._batches = [np.arange(start, min(start + batch_size, end)) for start in range(first, end, batch_size)]
        super().__init__(features, images, batch_size, end - first, len(self._batches))

    def read(self, epoch, batch):
        return self._batch(self._features.values, self._batches[batch])
