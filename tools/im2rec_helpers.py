#!/usr/bin/env python3
"""Pack the images of an MXNet list into RecordIO: ``data/source.lst`` → ``data/source.rec`` and ``.idx``."""
import collections
import dataclasses
import fcntl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from base import installed  # noqa: F401

import click  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from base.errors import InputError, exit_codes, first_ten  # noqa: E402
from base.files import replacing  # noqa: E402
from base.framework import mx  # noqa: E402
from iters.lists import NULL_LABEL, list_text, read_list  # noqa: E402

_AHEAD = 64     # images read and checked before they are written, at most


def is_packed(images):
    """Whether the record of a list is there, is not older than the list, and holds its indices.

    The labels need not be looked at: they are read from the list.
    """
    record, index = images.record, images.record.with_suffix(".idx")
    if not (record.exists() and index.exists()) or record.stat().st_mtime < images.path.stat().st_mtime:
        return False
    try:
        keys = [int(line.split("\t")[0]) for line in index.read_text().splitlines()]
    except ValueError:
        return False
    return sorted(keys) == sorted(images.indices.tolist())


def ensure_packed(images, threads=4):
    """Pack a list unless that has been done. Several processes may ask at once: one packs, the others wait."""
    with open(images.path, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_packed(images):
            pack(images, threads)


def ensure_dealt(images, num_workers):
    """A packed list dealt out to workers like cards: ``source.lst`` → ``source-2workers.lst`` and ``.rec``.

    Every worker reads one part of a record, from one place to another. A list sorted by class would so give each
    worker other classes of the source and of the target, and the transfer loss would compare those. Dealt out,
    each part is a fair sample, and as long as the others: up to ``num_workers - 1`` images are left out.

    Parameters
    ----------
    images : ImageList
        Packed.
    num_workers : int

    Returns: `ImageList`, packed; `images` itself for one worker. Raises: InputError for too few images.
    """
    each = len(images) // num_workers
    if num_workers == 1:
        return images
    if not each:
        raise InputError(f"{images.path}: {len(images)} images for {num_workers} workers; expected one for each.")
    order = np.arange(each * num_workers).reshape(each, num_workers).T.ravel()
    dealt = dataclasses.replace(images, path=images.path.with_name(f"{images.path.stem}-{num_workers}workers.lst"),
                                indices=images.indices[order], labels=images.labels[order],
                                files=[images.files[i] for i in order])
    with open(images.path, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = list_text(dealt.labels, dealt.files, dealt.indices)
        if not dealt.path.exists() or dealt.path.read_text(encoding="utf-8") != text:
            with replacing(dealt.path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        if not is_packed(dealt) or dealt.record.stat().st_mtime < images.record.stat().st_mtime:
            _copy_records(images.record, dealt)
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


def pack(images, threads=4, resize=0, quality=95, progress=True):
    """Write the images of a list, in its order, to ``.rec`` and ``.idx`` beside it.

    Every image is decoded once, because MXNet's reader dies without a word on a record that is no image.
    The files' own bytes are packed unless `resize` asks for smaller images. The ``.rec`` appears last and
    whole: a run that dies leaves none.

    Parameters
    ----------
    images : ImageList
    threads : int
    resize : int, default 0
        Shorter side in pixels that larger images are reduced to, and written as JPEG. 0: bytes as they are.
    quality : int, default 95
        Of the JPEG, 1 to 100, where `resize` is given.
    progress : bool
        Show a bar on a terminal.

    Returns: Path of the ``.rec``.

    Raises: InputError that counts the images which are missing or cannot be decoded, shows ten, and names
    the file ``LIST.bad.txt`` that has all of them; no record is written then.
    """
    record = images.record
    index = record.with_suffix(".idx")
    bar = tqdm(total=len(images), desc=f"packing {images.path}", unit=" images", disable=None if progress else True)
    problems = []
    with bar, replacing(record) as new_record, replacing(index) as new_index:
        writer = mx.recordio.MXIndexedRecordIO(str(new_index), str(new_record), "w")
        for key, label, payload in _read_ahead(images, threads, resize, quality):
            bar.update()
            if isinstance(payload, InputError):
                problems.append(str(payload))
            elif not problems:
                writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), payload))
        writer.close()
        if problems:
            raise _unusable(images, problems)
        record.unlink(missing_ok=True)      # an old record must not stand beside the new index
    return record


def _unusable(images, problems):
    report = images.path.with_suffix(".bad.txt")
    with replacing(report) as temporary:
        temporary.write_text("".join(f"{problem}\n" for problem in problems))
    return InputError(f"{images.path}: {len(problems)} of {len(images)} images cannot be used "
                      f"(all of them in {report}):{first_ten(problems)}")


def _read_ahead(images, threads, resize, quality):
    """(index, label, bytes or InputError) of every image, in order, `threads` at a time."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = collections.deque()
        for key, label, file in zip(images.indices.tolist(), images.labels.tolist(), images.files):
            waiting.append((key, label, pool.submit(_load, file, resize, quality)))
            if len(waiting) >= _AHEAD:
                key, label, future = waiting.popleft()
                yield key, label, future.result()
        for key, label, future in waiting:
            yield key, label, future.result()


def _load(file, resize, quality):
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        return InputError(f"{file}: {error.strerror or error}")
    # A JPEG ends with FFD9 behind its scan, FFDA; MXNet's reader decodes one that was cut off without a word.
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda"):
        return InputError(f"{file}: a JPEG that was cut off")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        image = None
    if image is None:
        return InputError(f"{file}: {'cannot be decoded as an image' if data else 'empty'}")
    shorter = min(image.shape[:2])
    if not resize or shorter <= resize:
        return data
    height, width = (round(side * resize / shorter) for side in image.shape[:2])
    smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@click.group(context_settings=dict(show_default=True))
def commands():
    """Prepare data: lists of images and the RecordIO files that training reads."""


@commands.command("pack")
@click.argument("lists", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--threads", default=4, type=click.IntRange(min=1), help="Images read at the same time.")
@click.option("--resize", default=0, type=click.IntRange(min=0),
              help="Shorter side, in pixels, that larger images are reduced to; 0 packs the files as they are.")
@click.option("--quality", default=95, type=click.IntRange(1, 100), help="JPEG quality of reduced images.")
@click.option("--null-label", default=NULL_LABEL, help="The label that means 'unknown'.")
def pack_command(lists, threads, resize, quality, null_label):
    """Pack each of LISTS (index, label, path, tab-separated) to .rec and .idx beside it."""
    for path in lists:
        print(pack(read_list(path, null_label=null_label), threads, resize, quality))


if __name__ == "__main__":
    exit_codes(commands)()
