"""Batches from a ``.rec`` file, decoded and augmented by MXNet's threads."""
import itertools
import zlib

from base.errors import InputError
from base.framework import mx


class RecordIter(mx.io.DataIter):
    """Batches of one domain.

    Every epoch opens a reader of its own, seeded by (`seed`, name of the list, epoch), so that what an epoch
    holds depends on nothing that came before it. Within an epoch MXNet seeds the augmentation by the
    place in the batch, so the number of threads does not matter either.

    Training batches are shuffled, and the images that do not fill a batch are left out: others every
    epoch. Validation batches come in the order of the record, and the last one says in `pad` how many of
    its images are only there to fill it.

    Parameters
    ----------
    images : ImageList
        Packed to its `record`; the labels given out are the list's, whatever the record says.
    batch_size : int
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    augmentation : dict
        Arguments of `ImageRecordIter`: `Augmentation.training(…)` or `.validation(…)`.
    training : bool
        Shuffle, and leave incomplete batches out.
    threads : int
    seed : int
    num_parts, part_index : int
        Read the given one of this many parts of the record: workers of a distributed run. Parts of a training
        record are equally long, images beyond that are left out.

    Raises: InputError for fewer images than a training batch holds, and for a record that cannot be read.
    """

    def __init__(self, images, batch_size, image_shape, augmentation, training, threads=4, seed=0,
                 num_parts=1, part_index=0):
        # MXNet's parts are ⌈n / num_parts⌉ images, and the last ones what is left. Workers train on equal numbers of
        # batches, or those with more would wait for ever for the others.
        size = -(-len(images) // num_parts)
        self.num_images = min(max(len(images) - size * (num_parts - 1 if training else part_index), 0), size)
        if not training:
            batch_size = min(batch_size, self.num_images) or 1  # MXNet fills up a batch from one more epoch, not two
        super().__init__(batch_size)
        self.images = images
        if training and self.num_images < batch_size:
            raise InputError(
                f"{images.path}: {self.num_images} images{' a worker' * (num_parts > 1)}; a batch takes "
                f"{batch_size} of them. Give more images or a smaller --batch-size.")
        self._training = training
        self._seed = (seed, images.path.name)
        self._arguments = dict(
            augmentation, path_imgrec=str(images.record), path_imgidx=str(images.record.with_suffix(".idx")),
            path_imglist=str(images.path), data_shape=image_shape, batch_size=batch_size,
            preprocess_threads=threads, num_parts=num_parts, part_index=part_index,
            shuffle=training, round_batch=not training, verbose=False, device_id=-1)
        self.provide_data = [mx.io.DataDesc("data", (batch_size, *image_shape))]
        self.provide_label = [mx.io.DataDesc("softmax_label", (batch_size,))]
        self.set_epoch(0)

    @property
    def batches_per_epoch(self):
        """How many batches an epoch has."""
        full, rest = divmod(self.num_images, self.batch_size)
        return full + (rest > 0 and not self._training)

    def set_epoch(self, epoch):
        """Be at the beginning of epoch `epoch`, counted from 0."""
        self._epoch = epoch
        self._batches = 0
        seed = zlib.crc32(repr((self._seed, epoch)).encode()) % (2**31 - 2**16)
        if not self.num_images:
            return
        try:
            self._reader = mx.io.ImageRecordIter(seed=seed, seed_aug=seed, **self._arguments)
        except mx.MXNetError as error:
            raise InputError(f"{self._arguments['path_imgrec']}: cannot be read: {_reason(error)}. "
                             "Delete it to have it packed again.") from None

    def skip(self, count):
        """Be `count` batches further on in this epoch. They are read and dropped: MXNet's reader cannot jump."""
        for _ in itertools.islice(self, count):
            pass

    def reset(self):
        """Go on to the next epoch."""
        self.set_epoch(self._epoch + 1)

    def next(self):
        if self._batches == self.batches_per_epoch:
            raise StopIteration
        self._batches += 1
        try:
            return self._reader.next()
        except mx.MXNetError as error:
            raise InputError(f"{self._arguments['path_imgrec']}: a record of batch {self._batches} cannot be "
                             f"decoded: {_reason(error)}. Delete the file to have it packed anew.") from None


def _reason(error):
    return str(error).strip().splitlines()[-1].removeprefix("MXNetError: ") if str(error).strip() else "unknown"
