"""``source.manifest.json`` beside ``source.rec``: what the record was made from, and that it was checked.

| key | meaning |
| --- | --- |
| `bytes` | size of the ``.rec`` that the rest speaks of: another file under its name makes it void |
| `count` | records |
| `list` | SHA-256 of indices and paths of the list; not of labels, which are read from the list |
| `images` | SHA-256 of size and modification time of every image file |
| `options` | how it was packed |
| `checked` | sizes and modification times of the ``.rec`` and ``.idx`` whose records were all found good |
| `check` | `CHECK`, the number of the check that found them so |
| `thinnest` | index, width and height of the image whose sides differ most, by their ratio |

A record from elsewhere has `bytes`, `checked`, `check` and `thinnest` only.
"""
import hashlib
import json
import os

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing
from transfer_gluon.base.regular import read_regular_text

CHECK = 2       # grows when a check becomes stricter: records are then checked once more


def manifest_path(record):
    """Path of a record's manifest."""
    return record.with_suffix(".manifest.json")


def read_manifest(record):
    """The manifest of a ``.rec`` file as a dict; empty if there is none, or it speaks of another file."""
    try:
        manifest = json.loads(read_regular_text(manifest_path(record)))
        return manifest if manifest["bytes"] == record.stat().st_size else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):      # not there, or not ours
        return {}


def write_manifest(path, manifest):
    """Write a manifest to a file."""
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def checked_before(record):
    """The thinnest image, (index, width, height), if these very files, ``.rec`` and ``.idx``, were checked before, as
    strictly as today; else None."""
    manifest = read_manifest(record)
    try:
        if manifest["checked"] == stamps(record) and manifest["check"] == CHECK:
            index, width, height = manifest["thinnest"]
            return (index, width, height) if min(index, width - 1, height - 1) >= 0 else None
    except (OSError, KeyError, TypeError, ValueError):      # a file that is not there, a manifest that is not ours
        return None


def remember_checked(record, checked, thinnest):
    """Note in the manifest that every record of the files that `checked` are the `stamps` of is good, and which image
    is the `thinnest`; False if that cannot be written."""
    manifest = dict(read_manifest(record), bytes=checked[0][0], checked=checked, check=CHECK, thinnest=thinnest)
    try:
        with replacing(manifest_path(record)) as temporary:
            write_manifest(temporary, manifest)
    except InputError:
        return False
    return True


def thinner(one, other):
    """Which of two (index, width, height), or None, has the larger ratio of its longer to its shorter side.

    >>> thinner((0, 640, 480), (1, 10, 300)), thinner((0, 640, 480), None)
    ((1, 10, 300), (0, 640, 480))
    """
    return max(filter(None, (one, other)), key=lambda image: max(image[1:]) / min(image[1:]))


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
