"""A packed list dealt out to the workers of a distributed run, like cards."""
import dataclasses

import numpy as np

from base.errors import InputError
from base.files import replacing
from base.framework import mx
from records.manifest import is_checked, remember_checked
from records.packing import is_packed, locked


def ensure_dealt(images, num_workers):
    """``source.rec`` → ``source-2workers.rec``, unless that is there and up to date.

    Every worker reads one part of a record, from one place to another. A list sorted by class would so give each
    worker other classes of the source and of the target, and the transfer loss would compare those. Dealt out,
    each part is a fair sample, and as long as the others: up to ``num_workers - 1`` images are left out.

    Parameters
    ----------
    images : ImageList
        Packed.
    num_workers : int

    Returns: `ImageList` in the order of that record; `images` itself for one worker.

    Raises: InputError for too few images.
    """
    each = len(images) // num_workers
    if num_workers == 1:
        return images
    if not each:
        raise InputError(f"{images.path}: {len(images)} images for {num_workers} workers; expected one for each.")
    order = np.arange(each * num_workers).reshape(each, num_workers).T.ravel()
    record = images.record.with_name(f"{images.record.stem}-{num_workers}workers.rec")
    dealt = dataclasses.replace(images, record=record, indices=images.indices[order], labels=images.labels[order],
                                files=[images.files[i] for i in order])
    with locked(images):
        if not is_packed(dealt) or dealt.record.stat().st_mtime < images.record.stat().st_mtime:
            _copy_records(images.record, dealt)
            if is_checked(images.record):
                remember_checked(dealt.record)
    return dealt


def _copy_records(source, dealt):
    index = dealt.record.with_suffix(".idx")
    reader = mx.recordio.MXIndexedRecordIO(str(source.with_suffix(".idx")), str(source), "r")
    with replacing(dealt.record) as new_record, replacing(index) as new_index:
        writer = mx.recordio.MXIndexedRecordIO(str(new_index), str(new_record), "w")
        for key in dealt.indices.tolist():
            writer.write_idx(key, reader.read_idx(key))
        writer.close()
        dealt.record.unlink(missing_ok=True)    # an old record must not stand beside the new index
    reader.close()
