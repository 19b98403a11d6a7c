"""What every iterator of batches is here: epochs that are reached by their number, and batches by theirs."""
import numpy as np

from transfer_gluon.base.framework import mx


class EpochIter(mx.io.DataIter):
    """Batches, epoch by epoch: what `fit`, `evaluate` and the others take, and the base of all iterators here.

    An iterator of one's own needs ``read(epoch, batch)`` only. It is always at a batch of an epoch; at the beginning,
    at the first batch of epoch 0. What a batch holds depends on the numbers of epoch and batch alone, whatever was read
    before: then a run that goes on is the run that was never stopped.

    Parameters
    ----------
    batch_size : int
    image_shape : (int, …)
        Of one image: channels, height, width, in pixels.
    num_images : int
        Of an epoch, each counted once.
    batches_per_epoch : int, optional
        Default: as many as `num_images` fill.
    dtype : type, default float32
        Of the images; labels are float32.
    label_shape : (int, …), default ()
        Of the label of one image: none for the number of a class.

    Attributes
    ----------
    batch_size, num_images, batches_per_epoch : int
    provide_data, provide_label : list of DataDesc
        Name, shape and type of what a batch holds. A batch may hold fewer images than it says.
    epoch, batch : int
        Where reading is, both counted from 0.

    A subclass sets what `begin` and `read` need before it calls ``super().__init__``, which begins epoch 0.

    `fit` calls `set_epoch`, then `skip` where it goes on in mid-epoch, then reads to the end of the epoch; it asks for
    `batch_size`, `batches_per_epoch`, `provide_data` and `provide_label`. `evaluate`, `predict` and `adapt` call
    `reset` and read to the end, so MXNet's own iterators serve them too: of a batch they take ``data[0]``,
    ``label[0]``, ``pad``, how many images at its end only fill it up, and ``index``, the places of its images in the
    list, where it has one.

    >>> class Rows(EpochIter):      # of an array, in another order every epoch
    ...     def __init__(self, images, labels, batch_size):
    ...         self._images, self._labels = images, labels
    ...         super().__init__(batch_size, images.shape[1:], len(images))
    ...     def read(self, epoch, batch):
    ...         order = np.random.default_rng(epoch).permutation(len(self._images))
    ...         places = order[batch * self.batch_size:(batch + 1) * self.batch_size]
    ...         return self.batch_of(self._images[places], self._labels[places])
    >>> rows = Rows(np.zeros((7, 3, 2, 2)), np.arange(7), batch_size=3)
    >>> [batch.label[0].asnumpy().tolist() for batch in rows]
    [[2.0, 4.0, 3.0], [6.0, 5.0, 0.0]]
    >>> rows.reset(); rows.epoch, rows.next().data[0].shape
    (1, (3, 3, 2, 2))
    """

    def __init__(self, batch_size, image_shape, num_images, batches_per_epoch=None, dtype="float32", label_shape=()):
        super().__init__(batch_size)
        self.num_images = num_images
        self.batches_per_epoch = num_images // batch_size if batches_per_epoch is None else batches_per_epoch
        self.provide_data = [mx.io.DataDesc("data", (batch_size, *image_shape), dtype)]
        self.provide_label = [mx.io.DataDesc("softmax_label", (batch_size, *label_shape))]
        self.set_epoch(0)

    def begin(self, epoch, batch):
        """Called wherever reading goes on elsewhere: `read` will be asked for this batch of this epoch, and for those
        behind it, in their order. Whoever reads ahead starts here."""

    def read(self, epoch, batch):
        """The DataBatch of this number in this epoch, both counted from 0; None for one of which nothing can be used,
        which is passed over; not in training, where a run that goes on counts its batches."""
        raise NotImplementedError

    def set_epoch(self, epoch):
        """Be at the beginning of epoch `epoch`, counted from 0."""
        self._go(epoch, 0)

    def skip(self, count):
        """Be `count` batches further on in this epoch, at its end at most."""
        if count:
            self._go(self.epoch, min(self.batch + count, self.batches_per_epoch))

    def reset(self):
        """Be at the beginning of the next epoch, whole, wherever reading is. Epochs may be all alike."""
        self.set_epoch(self.epoch + 1)

    def next(self):
        """The next batch of this epoch. Raises: StopIteration at its end."""
        while self.batch < self.batches_per_epoch:
            self.batch += 1
            batch = self.read(self.epoch, self.batch - 1)
            if batch is not None:
                return batch
        raise StopIteration

    def _go(self, epoch, batch):
        self.epoch, self.batch = epoch, batch
        self.begin(epoch, batch)

    def batch_of(self, images, labels, index=None):
        """A DataBatch of images (b, …) and labels (b,) in arrays of NumPy, `index` being their places in the list.

        Images that have the type and the order in memory already are not copied: nobody may write to them later.
        """
        images = np.ascontiguousarray(images, self.provide_data[0].dtype)
        return mx.io.DataBatch(data=[mx.nd.from_numpy(images)], label=[mx.nd.array(labels)], pad=0, index=index)
