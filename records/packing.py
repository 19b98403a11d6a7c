"""The images of a list, packed to ``.rec`` and ``.idx`` beside it.

While it is packed, the record is ``.source.rec.partial``. What is complete in it stands in ``.source.rec.journal``,
whose lines are written after the images that they speak of: packing that was killed goes on behind them, and ends with
the same bytes. The ``.rec`` appears last and whole.

Who packs holds the lock ``.source.lock``, on this machine and, as far as its disk tells others of locks, on all that
share it. The system drops the lock of a process that dies; the file stays.
"""
import contextlib
import dataclasses
import functools
import json
import os
import zlib

import cv2
from filelock import FileLock, Timeout
from tqdm import tqdm

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import replacing
from transfer_gluon.base.log import log
from transfer_gluon.base.parallel import in_order
from transfer_gluon.base.regular import open_regular, read_regular
from transfer_gluon.base.watchdog import waiting
from transfer_gluon.iters.elsewhere import elsewhere
from transfer_gluon.iters.images import decode, is_plain, read_header, try_decoding
from transfer_gluon.iters.recordio import read_index, to_bytes, write_index
from transfer_gluon.records.encoding import Options
from transfer_gluon.records.manifest import (
    CHECK,
    digest,
    digest_of_files,
    digest_of_list,
    manifest_path,
    read_manifest,
    stamp,
    thinner,
    write_manifest,
)

_TOGETHER = 64      # images that are written before the journal says so: what a killed run does again


def is_packed(images, options=None):
    """Whether the record of a list is up to date: nothing would change if it was packed again.

    That is decided by the manifest: indices, paths and image files are the same, and `options` if they are given.
    Image files that are gone do not matter. A record without a manifest, from MXNet's ``im2rec.py`` say, is up to date
    when it holds the list's indices. The labels need not be looked at: they are read from the list.
    """
    if images.in_place or not (os.path.isfile(images.record) and _same_indices(images)):
        return False
    manifest = _own_manifest(images.record)
    if manifest is None:
        return options is None
    if options not in (None, manifest["options"]) or manifest["list"] != digest_of_list(images):
        return False
    return digest_of_files(images, manifest["options"].root) in (None, manifest["images"])


def _same_indices(images):
    try:
        return sorted(index for index, _ in read_index(images.record.with_suffix(".idx"))) == sorted(images.indices)
    except InputError:
        return False


def _own_manifest(record):
    """The manifest of a record that was packed here, with its `Options`; else None."""
    manifest = read_manifest(record)
    try:
        return {"list": manifest["list"], "images": manifest["images"], "options": Options(**manifest["options"])}
    except (KeyError, TypeError, InputError):
        return None


def ensure_packed(images, threads=4):
    """Pack a list unless its record is up to date, with the options it was packed with before.

    Several processes may ask at once: one packs, the others wait. Packing that was killed is gone on with. The folder
    of a record that is up to date need not be writable.

    Raises: InputError as `pack`.
    """
    if is_packed(images):
        return
    with _locked(images):
        if not is_packed(images):
            _pack(images, threads, _options_before(images), progress=True, resume=True)


def _options_before(images):
    """Options of the run that was killed, else those of the record that is no longer up to date, else the defaults."""
    try:
        with open_regular(_journal(images.record)) as journal:
            return Options(**json.loads(journal.readline())[1])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):       # not there, or not ours
        manifest = _own_manifest(images.record)
        return manifest["options"] if manifest else Options()


def pack(images, threads=4, options=None, progress=True, resume=False, overwrite=False):
    """Write the images of a list, in its order, to ``.rec`` and ``.idx`` beside it, and the manifest.

    Every image is decoded once, because MXNet's reader dies without a word on a record that is no image.

    Parameters
    ----------
    images : ImageList
    threads : int
    options : Options
    progress : bool
        Show a bar on a terminal.
    resume : bool
        Go on with what a killed run has packed, if list and options are the same.
    overwrite : bool
        Also a record that was not packed by this function.

    Returns: Path of the ``.rec``.

    Raises: InputError that counts the images which cannot be used, shows ten, and names the file ``LIST.bad.txt``
    that has all of them; for a full disk; for a record from elsewhere. No record is written then.
    """
    with _locked(images):
        return _pack(images, threads, options or Options(), progress, resume, overwrite)


@contextlib.contextmanager
def _locked(images):
    """Wait until no other process packs this record, and keep them out within the block.

    On a file of its own, open for writing: NFS gives no exclusive lock on a file that is only read.
    """
    path = images.record.with_name(f".{images.record.stem}.lock")
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s is being packed by another process: waiting", images.record)
            with waiting():
                lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise InputError(f"{images.record}: cannot be packed, since {path} cannot be locked: "
                         f"{getattr(error, 'strerror', None) or error}. Packing needs a folder that can be written, on "
                         "a disk that knows locks.") from None
    try:
        yield
    finally:
        lock.release()


def _pack(images, threads, options, progress, resume, overwrite=False):
    record = images.record
    _nothing_in_the_way(record)
    if record.exists() and not overwrite and _own_manifest(record) is None:
        raise InputError(f"{record}: not known to be packed from {images.path} (no {manifest_path(record).name} speaks "
                         "of it), so it is not overwritten. Move it away to have the list packed, or give the list "
                         "whose indices it holds.")
    files = _files(images, options.root)
    try:
        with _Partial(images, files, options, resume) as partial:
            _write(partial, images, files, threads, options, progress)
            return partial.finish()
    except OSError as error:
        raise InputError(f"{record}: cannot be written: {error.strerror or error}.") from error


def _nothing_in_the_way(record):
    """Raise InputError for a folder, or what else is no file, under a name that packing writes."""
    for path in (record, record.with_suffix(".idx"), manifest_path(record), _partial(record), _journal(record)):
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{path}: there already, and no file. Packing writes a file of this name: move it away.")


def _files(images, root):
    """The image files of a list. Raises: InputError for paths that lead out of `root`."""
    if not root:
        return images.files
    outside = [file for file in images.files
               if os.path.isabs(file) or os.path.normpath(file).split(os.sep)[0] == os.pardir]
    if outside:
        raise InputError(f"{images.path}: {len(outside)} paths lead out of {root}:{first_ten(outside)}")
    return [os.path.join(root, file) for file in images.files]


def _write(partial, images, files, threads, options, progress):
    done, problems, reencoded = len(partial.entries), [], 0
    if done:
        log.info("%s: %d of %d images were packed before", images.path, done, len(images))
    bar = tqdm(total=len(images), initial=done, desc=f"packing {images.path}", unit=" images",
               disable=None if progress else True)
    packed = in_order(lambda file: _load(file, options), files[done:], threads)
    with bar, contextlib.closing(packed):
        for index, label, result in zip(images.indices[done:].tolist(), images.labels[done:].tolist(), packed):
            bar.update()
            if isinstance(result, InputError):
                problems.append(result)
            elif not problems:
                image, size, file_stamp, changed = result
                partial.add(index, to_bytes(index, label, image), file_stamp, size)
                reencoded += changed
    if problems:
        raise _unusable(images, problems)
    if reencoded:
        log.info("%s: %d of %d images were encoded anew: reduced, or not shown by MXNet's reader as they look",
                 images.path, reencoded, len(images) - done)


def _unusable(images, problems):
    report = images.path.with_suffix(".bad.txt")
    try:
        with replacing(report) as temporary:
            temporary.write_text("".join(f"{problem}\n" for problem in problems), encoding="utf-8")
        where = f"all of them in {report}"
    except InputError as error:
        where = f"not all of them are shown: {str(error).rstrip('.')}"
    return InputError(f"{images.path}: {len(problems)} of {len(images)} images cannot be used "
                      f"({where}):{first_ten(problems)}" + elsewhere(images.path, images.files).replace(" ", "\n", 1))


def _load(file, options):
    """What is packed of a file, width and height of that, the file's stamp, whether it was encoded anew; or an
    InputError."""
    try:
        before = stamp(file)
        data = read_regular(file)
        image, size = _encoded(data, options)
        if stamp(file) != before or len(data) != before[0]:
            raise InputError("changed while it was read")
    except OSError as error:
        return InputError(f"{file}: {error.strerror or error}")
    except InputError as error:
        return InputError(f"{file}: {error}")
    return image, size, before, image is not data


def _encoded(data, options):
    """What is packed of the bytes of an image file, and its (width, height)."""
    header = read_header(data)
    keep = options.encoding == "as-is" and is_plain(data, header)
    if keep and not options.resize:
        try_decoding(data)
        return data, header.size
    image = cv2.cvtColor(decode(data), cv2.COLOR_RGB2BGR)
    height, width = image.shape[:2]
    factor = options.resize / min(height, width)
    if 0 < factor < 1:
        image = cv2.resize(image, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    elif keep:
        return data, header.size
    kind = {"jpg": ".jpg", "png": ".png", "as-is": ".jpg" if data.startswith(b"\xff\xd8") else ".png"}[options.encoding]
    success, encoded = cv2.imencode(kind, image, [cv2.IMWRITE_JPEG_QUALITY, options.quality])
    if not success:
        raise InputError(f"{width} × {height} pixels cannot be encoded as {kind}")     # a JPEG holds 65500 a side
    return encoded.tobytes(), image.shape[1::-1]


def _partial(record):
    return record.with_name(f".{record.name}.partial")


def _journal(record):
    return record.with_name(f".{record.name}.journal")


class _Partial:
    """A record that is being packed: the file and its journal, a line of which is index, beginning and end in the
    record, size and time of the image file, width and height of what was packed, checksum of the record. Killed, it
    stays; an exception deletes it, but Ctrl-C does not."""

    def __init__(self, images, files, options, resume):
        self._images, self._options = images, options
        self._path = _partial(images.record)
        self._journal_path = _journal(images.record)
        self._title = json.dumps([digest_of_list(images), dataclasses.asdict(options), cv2.__version__])
        self.entries = self._kept(files) if resume else []

    def _kept(self, files):
        """The journal's entries up to the first that is torn, whose record is, or whose image file has changed."""
        entries = []
        try:
            title, *lines = read_regular(self._journal_path).decode().split("\n")[:-1]
            if title != self._title:
                return []
            with open_regular(self._path) as record:
                size = os.fstat(record.fileno()).st_size
                for line, index, file in zip(lines, self._images.indices.tolist(), files):
                    entry = json.loads(line)
                    start, end, width, height = entry[1], entry[2], *entry[5:7]
                    if not start <= end <= size or min(width, height) < 1:
                        break
                    data = record.read(end - record.tell())
                    if entry != self._entry(index, start, data, stamp(file), (width, height)):
                        break
                    entries.append(entry)
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            pass        # a file that is not there, a line that is not ours
        return entries

    @staticmethod
    def _entry(index, start, data, file_stamp, size):
        return [index, start, start + len(data), *file_stamp, *size, zlib.crc32(data)]

    def __enter__(self):
        self._record = open(self._path, "ab")
        self._record.truncate(self._end())
        self._record.seek(0, os.SEEK_END)
        with replacing(self._journal_path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in [self._title, *map(json.dumps, self.entries)]))
        self._journal = open(self._journal_path, "a")
        self._waiting = []
        return self

    def _end(self):
        return self.entries[-1][2] if self.entries else 0

    def add(self, index, data, file_stamp, size):
        """One more record, of an image whose file has this stamp, and which is packed in this (width, height)."""
        self._record.write(data)
        self.entries.append(self._entry(index, self._end(), data, file_stamp, size))
        self._waiting.append(self.entries[-1])
        if len(self._waiting) == _TOGETHER:
            self._flush()

    def _flush(self):
        self._record.flush()
        self._journal.write("".join(f"{json.dumps(entry)}\n" for entry in self._waiting))
        self._journal.flush()
        self._waiting = []

    def finish(self):
        """Give the files their names: index and manifest first, the record last."""
        self._record.flush()
        os.fsync(self._record.fileno())
        record = self._images.record
        with replacing(manifest_path(record)) as manifest, replacing(record.with_suffix(".idx")) as index:
            write_index(index, [entry[:2] for entry in self.entries])
            write_manifest(manifest, dict(
                bytes=self._end(), count=len(self.entries), list=digest_of_list(self._images),
                images=digest(entry[3:5] for entry in self.entries), options=dataclasses.asdict(self._options),
                checked=[stamp(self._path), stamp(index)], check=CHECK,
                thinnest=functools.reduce(thinner, ((entry[0], *entry[5:7]) for entry in self.entries))))
            record.unlink(missing_ok=True)      # an old record must not stand beside the new index
        os.replace(self._path, record)
        return record

    def __exit__(self, kind, error, traceback):
        with contextlib.suppress(OSError):      # of a full disk, once more
            self._record.close()
        with contextlib.suppress(OSError):
            self._journal.close()
        if kind is None or issubclass(kind, Exception):
            self._path.unlink(missing_ok=True)
            self._journal_path.unlink(missing_ok=True)
