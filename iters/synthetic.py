"""Random batches, to measure computing without reading."""
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx


class SyntheticIter(mx.io.DataIter):
    """The same random batch again and again: pixels 0–255, labels below `num_classes`.

    Raises: InputError for a batch that MXNet cannot hold.

    >>> SyntheticIter(2, (3, 8, 8), num_classes=10).next().data[0].shape
    (2, 3, 8, 8)
    """

    def __init__(self, batch_size, image_shape, num_classes, num_images=1000):
        if batch_size * math.prod(image_shape) >= 2**31 - 1:
            raise InputError(f"batches of {batch_size} images of {' × '.join(map(str, image_shape))}: more numbers "
                             "than an array of MXNet holds, 2³¹. Give a smaller --batch-size.")
        super().__init__(batch_size)
        self.num_images = num_images
        self.batches_per_epoch = max(1, num_images // batch_size)
        self.provide_data = [mx.io.DataDesc("data", (batch_size, *image_shape))]
        self.provide_label = [mx.io.DataDesc("softmax_label", (batch_size,))]
        self._batch = mx.io.DataBatch(
            data=[mx.nd.random.uniform(0, 255, (batch_size, *image_shape))],
            label=[mx.nd.random.randint(0, num_classes, (batch_size,)).astype("float32")], pad=0)
        self._batches = 0

    def set_epoch(self, epoch):
        """Be at the beginning of an epoch; they are all alike."""
        self._batches = 0

    def skip(self, count):
        """Be `count` batches further on in this epoch."""
        self._batches = min(self._batches + count, self.batches_per_epoch)

    def reset(self):
        """Go on to the next epoch."""
        self._batches = 0

    def next(self):
        if self._batches == self.batches_per_epoch:
            raise StopIteration
        self._batches += 1
        return self._batch
