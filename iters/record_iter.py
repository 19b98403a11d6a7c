"""Training batches from a ``.rec`` file by MXNet's own `ImageRecordIter`."""
import tempfile
import zlib
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters.augmentation import SQUEEZE
from transfer_gluon.iters.epoch_order import check_batch_size
from transfer_gluon.iters.epochs import EpochIter
from transfer_gluon.iters.image_list import list_text
from transfer_gluon.iters.recordio import read_index

_CUBIC = 2


class RecordIter(EpochIter):
    """As `ShuffledIter`, by MXNet's `ImageRecordIter`: the same kinds of changes by other random numbers, slower.

    Every epoch opens a reader of its own, seeded by (`seed`, name of the list, epoch), so that what an epoch
    holds depends on nothing that came before it. Within an epoch MXNet seeds the augmentation by the
    place in the batch, so the number of threads does not matter either. Images that do not fill a batch are
    left out: others every epoch. Images are bytes, whatever the mode of the augmentation: MXNet's reader has no other.

    Parameters are those of `ShuffledIter`; the `images` are packed to their `record`, whose labels do not matter.

    Raises: InputError for fewer images than a batch holds, for a record that cannot be read, and for one that
    holds other indices than the list.
    """

    def __init__(self, images, batch_size, image_shape, augmentation, threads=4, seed=0):
        self.images = images
        check_batch_size(images, len(images), batch_size)
        check_indices(images)
        self._seed = (seed, images.path.name)
        self._labels = list_text(images.labels, ["-"] * len(images), images.indices)
        self._arguments = dict(
            record_iter_arguments(augmentation, max(image_shape[1:])), path_imgrec=str(images.record),
            path_imgidx=str(images.record.with_suffix(".idx")), data_shape=image_shape, dtype="uint8",
            batch_size=batch_size, preprocess_threads=threads, shuffle=True, round_batch=False, verbose=False,
            device_id=-1)
        super().__init__(batch_size, image_shape, len(images), dtype="uint8")

    def begin(self, epoch, batch):
        """Batches before this one are read and dropped: MXNet's reader cannot jump."""
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
        for dropped in range(batch):
            self._next(dropped)

    def read(self, epoch, batch):
        batch = self._next(batch)
        # Copied, because MXNet writes a batch that it reads later into the same memory.
        return mx.io.DataBatch(data=[batch.data[0].copy()], label=[batch.label[0].copy()], pad=0)

    def _next(self, number):
        try:
            return self._reader.next()
        except mx.MXNetError as error:
            raise InputError(f"{self.images.record}: a record of batch {number + 1} cannot be decoded: "
                             f"{_reason(error)}. Delete the file to have it packed anew.") from None


def record_iter_arguments(augmentation, crop):
    """An `Augmentation` as arguments of `ImageRecordIter`, for training images of `crop` pixels.

    Raises: InputError for what MXNet's reader cannot do.
    """
    cannot = [name for name, there in (("aa", augmentation.aa is not None), ("reprob", augmentation.reprob),
                                       ("train_resize", augmentation.train_resize == SQUEEZE)) if there]
    if cannot:
        raise InputError(f"`{cannot[0]}` is {getattr(augmentation, cannot[0])!r}, which MXNet's reader cannot do; read "
                         "by another one.", cannot[0], getattr(augmentation, cannot[0]), "nothing with MXNet's reader")
    if augmentation.resized_crop:
        # MXNet draws the aspect of a random resized crop from this range, and from nothing else.
        least, most = augmentation.aspects
        geometry = dict(resize=augmentation.first_side(crop), random_resized_crop=True, max_random_area=1.0,
                        min_random_area=augmentation.min_random_area, min_aspect_ratio=least, max_aspect_ratio=most)
    else:
        geometry = dict(resize=augmentation.first_side(crop), max_aspect_ratio=augmentation.max_random_aspect_ratio)
        if augmentation.random_crop:
            geometry.update(rand_crop=True)
    jitter = augmentation.jitter
    return dict(
        geometry, rand_mirror=augmentation.random_mirror, inter_method=_CUBIC,
        brightness=jitter, contrast=jitter, saturation=jitter, pca_noise=augmentation.pca_noise,
        random_h=augmentation.max_random_h, random_s=augmentation.max_random_s, random_l=augmentation.max_random_l,
        max_rotate_angle=augmentation.max_random_rotate_angle, max_shear_ratio=augmentation.max_random_shear_ratio,
        max_random_scale=augmentation.max_random_scale, min_random_scale=augmentation.min_random_scale,
        pad=augmentation.pad_size, fill_value=augmentation.fill_value)


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
