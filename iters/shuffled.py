"""Training batches of a list in random order, augmented, from a record or straight from image files."""
import numpy as np

from transfer_gluon.iters.epoch_order import EpochOrder, random_numbers
from transfer_gluon.iters.epochs import EpochIter
from transfer_gluon.iters.image_source import open_source
from transfer_gluon.iters.loading import load
from transfer_gluon.iters.random_transform import RandomTransform


class ShuffledIter(EpochIter):
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
        self.images = images
        self._order = EpochOrder(images, batch_size, augmentation.mode, seed, num_parts, part_index)
        self._dtype = np.uint8 if augmentation.mode == "bytes" else np.float32
        self._transform = RandomTransform(augmentation, *image_shape[1:])
        self._size = image_shape[1:]
        self._threads = threads
        self._source = open_source(images, packed)
        super().__init__(batch_size, image_shape, self._order.num_images, self._order.batches_per_epoch, self._dtype)

    def begin(self, epoch, batch):
        key, source, transform, indices = self._order.key, self._source, self._transform, self.images.indices

        def image(place):
            again, place = divmod(place, len(indices))
            rng = random_numbers(key, epoch, indices[place], again)
            return source.pixels(place, lambda pixels: transform(pixels, rng))

        self._batches = load(self._order(epoch)[batch:], image, self._size, self._threads, self._dtype)

    def read(self, epoch, batch):
        places, pixels, errors = next(self._batches)
        if errors:
            raise errors[min(errors)]
        places = places % len(self.images)
        return self.batch_of(pixels, self.images.labels[places], places.tolist())
