"""Training batches from a ``.rec`` file, decoded and augmented by MXNet's threads."""
import itertools
import tempfile
import zlib
from pathlib import Path

from base.errors import InputError
from base.framework import mx
from iters.lists import list_text
from iters.recordio import read_index


class RecordIter(mx.io.DataIter):
    """Shuffled, augmented batches of one domain, as bytes: raw RGB 0–255.

    Every epoch opens a reader of its own, seeded by (`seed`, name of the list, epoch), so that what an epoch
    holds depends on nothing that came before it. Within an epoch MXNet seeds the augmentation by the
    place in the batch, so the number of threads does not matter either. Images that do not fill a batch are
    left out: others every epoch.

    Parameters
    ----------
    images : ImageList
        Packed to its `record`; the labels given out are the list's, whatever the record says.
    batch_size : int
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    augmentation : dict
        Arguments of `ImageRecordIter`: `Augmentation.training(…)`.
    threads : int
    seed : int
    num_parts, part_index : int
        Read the given one of this many parts of the record: workers of a distributed run. Each part has the same
        number of batches, or workers would wait for ever for those that have fewer.

    Raises: InputError for fewer images than a batch holds, for a record that cannot be read, and for one that
    holds other indices than the list.
    """

    def __init__(self, images, batch_size, image_shape, augmentation, threads=4, seed=0, num_parts=1, part_index=0):
        super().__init__(batch_size)
        self.images = images
        self.num_images = smallest_part(len(images), num_parts)
        check_batch_size(images, self.num_images, batch_size)
        check_indices(images)
        self.batches_per_epoch = self.num_images // batch_size
        self._seed = (seed, images.path.name)
        self._labels = list_text(images.labels, ["-"] * len(images), images.indices)
        self._arguments = dict(
            augmentation, path_imgrec=str(images.record), path_imgidx=str(images.record.with_suffix(".idx")),
            data_shape=image_shape, dtype="uint8", batch_size=batch_size, preprocess_threads=threads,
            num_parts=num_parts, part_index=part_index, shuffle=True, round_batch=False, verbose=False, device_id=-1)
        self.provide_data = [mx.io.DataDesc("data", (batch_size, *image_shape), "uint8")]
        self.provide_label = [mx.io.DataDesc("softmax_label", (batch_size,))]
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Be at the beginning of epoch `epoch`, counted from 0."""
        self._epoch = epoch
        self._batches = 0
        seed = zlib.crc32(repr((self._seed, epoch)).encode()) % (2**31 - 2**16)
        # MXNet is given the labels as they were checked: it would read a list with a byte order mark as other indices.
        # In a folder of their own, because MXNet looks at every file beside them, and fails if one of those vanishes.
        with tempfile.TemporaryDirectory() as folder:
            labels = Path(folder, "labels.lst")
            labels.write_text(self._labels, encoding="utf-8")
            try:
                self._reader = mx.io.ImageRecordIter(seed=seed, seed_aug=seed, path_imglist=str(labels),
                                                     **self._arguments)
            except mx.MXNetError as error:
                raise InputError(f"{self.images.record}: cannot be read: {_reason(error)}. "
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
            batch = self._reader.next()
        except mx.MXNetError as error:
            raise InputError(f"{self.images.record}: a record of batch {self._batches} cannot be decoded: "
                             f"{_reason(error)}. Delete the file to have it packed anew.") from None
        # Copied, because MXNet writes a batch that it reads later into the same memory.
        return mx.io.DataBatch(data=[batch.data[0].copy()], label=[batch.label[0].copy()], pad=0)


def smallest_part(num_images, num_parts):
    """Images of the smallest of the parts that MXNet's reader makes: ⌈n / parts⌉ each, and in the last what is left.

    >>> smallest_part(10, 4), smallest_part(9, 4)
    (1, 0)
    """
    size = -(-num_images // num_parts)
    return max(num_images - size * (num_parts - 1), 0)


def check_batch_size(images, each, batch_size):
    """Raise InputError when the `each` images of a list that every worker has do not fill a batch."""
    if each < batch_size:
        raise InputError(
            f"{images.path}: {each} images{' for each worker' * (each < len(images))}; a batch takes {batch_size} of "
            "them. Give more images or a smaller --batch-size.")


def check_indices(images):
    """Raise InputError when the record of a list lacks some of its indices, or holds others, without a label."""
    held = [index for index, _ in read_index(images.record.with_suffix(".idx"))]
    both = len(set(held).intersection(images.indices.tolist()))
    if not both == len(held) == len(images):
        raise InputError(f"{images.record} holds {len(held)} images, of which {both} have an index that stands in "
                         f"{images.path}, a list of {len(images)}; expected the same indices in both. Have the list "
                         "packed to a record of its own.")


def _reason(error):
    return str(error).strip().splitlines()[-1].removeprefix("MXNetError: ") if str(error).strip() else "unknown"
