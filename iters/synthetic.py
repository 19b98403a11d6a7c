"""Random batches, to measure computing without reading."""
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters.epochs import EpochIter


class SyntheticIter(EpochIter):
    """The same random batch again and again: pixels 0–255, labels below `num_classes`.

    Raises: InputError for a batch that MXNet cannot hold.

    >>> SyntheticIter(2, (3, 8, 8), num_classes=10).next().data[0].shape
    (2, 3, 8, 8)
    """

    def __init__(self, batch_size, image_shape, num_classes, num_images=1000):
        if batch_size * math.prod(image_shape) >= 2**31 - 1:
            raise InputError(f"batches of {batch_size} images of {' × '.join(map(str, image_shape))}: more numbers "
                             "than an array of MXNet holds, 2³¹. Give a smaller `batch_size`.", "batch_size",
                             batch_size, "batches of less than 2³¹ numbers")
        self._batch = mx.io.DataBatch(
            data=[mx.nd.random.uniform(0, 255, (batch_size, *image_shape))],
            label=[mx.nd.random.randint(0, num_classes, (batch_size,)).astype("float32")], pad=0)
        super().__init__(batch_size, image_shape, num_images, max(1, num_images // batch_size))

    def read(self, epoch, batch):
        return self._batch
