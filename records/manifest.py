"""``source.manifest.json`` beside ``source.rec``: what the record was made from, and that it was checked.

| key | meaning |
| --- | --- |
| `bytes` | size of the ``.rec`` that the rest speaks of: another file under its name makes it void |
| `count` | records |
| `list` | SHA-256 of indices and paths of the list; not of labels, which are read from the list |
| `images` | SHA-256 of size and modification time of every image file |
| `options` | how it was packed |
| `checked` | sizes and modification times of the ``.rec`` and ``.idx`` whose records were all found good |

A record from elsewhere has `bytes` and `checked` only.
"""
import contextlib
import hashlib
import json
import os

from base.errors import InputError
from base.files import replacing


def manifest_path(record):
    """Path of a record's manifest."""
    return record.with_suffix(".manifest.json")


def read_manifest(record):
    """The manifest of a ``.rec`` file as a dict; empty if there is none, or it speaks of another file."""
    try:
        manifest = json.loads(manifest_path(record).read_text(encoding="utf-8"))
        return manifest if manifest["bytes"] == record.stat().st_size else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_manifest(path, manifest):
    """Write a manifest to a file."""
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def is_checked(record):
    """Whether these very files, ``.rec`` and ``.idx``, were checked before."""
    with contextlib.suppress(OSError):
        return read_manifest(record).get("checked") == stamps(record)
    return False


def remember_checked(record):
    """Note in the manifest that every record of the files as they are now is good; False if that cannot be written."""
    manifest = dict(read_manifest(record), bytes=record.stat().st_size, checked=stamps(record))
    try:
        with replacing(manifest_path(record)) as temporary:
            write_manifest(temporary, manifest)
    except InputError:
        return False
    return True


def stamps(record):
    """Size and modification time, in ns, of a ``.rec`` file and its ``.idx``."""
    return [stamp(record), stamp(record.with_suffix(".idx"))]


def stamp(path):
    """Size in bytes and modification time in ns of a file. Raises: OSError."""
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def digest(rows):
    """SHA-256 of a sequence of tuples.

    >>> digest([(0, "a.jpg"), (1, "b.jpg")])[:8]
    '5036731b'
    """
    sha = hashlib.sha256()
    for row in rows:
        sha.update(repr(tuple(row)).encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def digest_of_list(images):
    """What a record must be made anew for when it changes: indices and paths of an `ImageList`, in their order."""
    return digest(zip(images.indices.tolist(), images.files))


def digest_of_files(images, folder=""):
    """The image files themselves, by size and time; None when one of them is gone."""
    try:
        return digest(stamp(os.path.join(folder, file)) for file in images.files)
    except OSError:
        return None
