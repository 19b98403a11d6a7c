"""MXNet's RecordIO files, read and written byte by byte in Python.

A file is a sequence of parts: the magic number, a word that holds the part's kind in its upper 3 bits and its length
in the lower 29, the bytes, zeros up to a multiple of 4. Where a record holds the magic number itself, at a multiple
of 4, it is cut there, and the number left out. Kinds: 0 a whole record, 1 the first part of several, 2 one in between,
3 the last. (``dmlc/recordio.h`` of MXNet.)

A record of an image is a header (``mx.recordio.IRHeader``) and the image file: the number of labels if they are a
vector, else 0; the label; the index; 8 bytes unused; the vector. The ``.idx`` file has a line a record: index, offset.

MXNet's own reader ends the process on damaged files, without a traceback; this one raises `InputError`.
"""
import os
import struct
from dataclasses import dataclass
from typing import Union

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.regular import open_regular, read_regular_text
from transfer_gluon.iters.image_list import MOST_INDEX, MOST_LABEL

_MAGIC = struct.pack("<I", 0xced7230a)
_WORDS = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LONGEST = 2**29 - 1
_MOST_OFFSET = 2**62    # beyond it the end of a record may lie where the system cannot count
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


@dataclass(frozen=True)
class Packed:
    """A record of an image: `index`, its number; `labels`, float32 (n,); `view`, the image file, bytes or a view."""

    index: int
    labels: np.ndarray
    view: Union[bytes, memoryview]

    @property
    def image(self):
        """The image file as bytes, which copies a view."""
        return bytes(self.view)

    def label(self):
        """The one label. Raises: InputError for a vector of several and for a number that is no label in a list."""
        if len(self.labels) != 1:
            raise InputError(f"its label is a vector of {len(self.labels)} numbers; expected one number")
        label, = self.labels.tolist()
        if not label >= 0 or label % 1:
            raise InputError(f"its label is {label:g}; expected a whole number from 0 up")
        if label > MOST_LABEL:
            raise InputError(f"its label is {label:g}; expected at most {MOST_LABEL}")
        return int(label)


def to_bytes(index, label, image):
    """A record as it stands in a file, with one label.

    >>> to_bytes(7, 3, b"image").hex(" ", 4)
    '0a23d7ce 1d000000 00000000 00004040 07000000 00000000 00000000 00000000 696d6167 65000000'
    """
    record = _HEADER.pack(0, label, index, 0) + image
    parts, start, search = [], 0, 0
    while (found := record.find(_MAGIC, search)) >= 0:
        search = found + 1
        if found % 4 == 0:
            parts.append(record[start:found])
            start = search = found + 4
    parts.append(record[start:])
    if max(map(len, parts)) > _LONGEST:
        raise InputError(f"{len(image)} bytes; a record holds {_LONGEST}")
    kinds = [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST] if len(parts) > 1 else [_WHOLE]
    return b"".join(_MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
                    for kind, part in zip(kinds, parts))


def open_record(path):
    """A ``.rec`` file, open for `read_at`. Raises: InputError that names it."""
    try:
        return open_regular(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from None


def read_at(file, offset):
    """The record that begins at a byte of an open ``.rec`` file, and the byte it ends at: (`Packed`, int).

    Where the file stands is neither asked nor changed: several threads may read at once.

    Raises: InputError that says what is wrong, but not in which file. EOFError at the end of the file.
    """
    parts, kind = [], None
    while kind not in (_WHOLE, _LAST):
        words = os.pread(file.fileno(), _WORDS.size, offset)
        if not words and not parts:
            raise EOFError
        if words[:4] != _MAGIC or len(words) < _WORDS.size:
            raise InputError("no record begins here" if not parts else "the record is cut off")
        kind, length = divmod(_WORDS.unpack(words)[1], 2**29)
        if kind not in ((_WHOLE, _FIRST) if not parts else (_MIDDLE, _LAST)):
            raise InputError("its parts are in disorder")
        padded = length + -length % 4
        part = os.pread(file.fileno(), padded, offset + _WORDS.size)
        if len(part) < padded:
            raise InputError("the record is cut off")
        parts.append(memoryview(part)[:length])
        offset += _WORDS.size + padded
    return _packed(parts[0] if kind == _WHOLE else memoryview(_MAGIC.join(parts))), offset


def _packed(record):
    if len(record) < _HEADER.size:
        raise InputError("too short for the header of an image")
    count, label, index, _ = _HEADER.unpack_from(record)
    end = _HEADER.size + 4 * count
    if len(record) < end:
        raise InputError(f"too short for its {count} labels")
    labels = np.frombuffer(record, "<f4", count, _HEADER.size) if count else np.array([label], np.float32)
    return Packed(index, labels, record[end:])


def read_index(path):
    """The lines of an ``.idx`` file: a list of (index, offset).

    Raises: InputError that names the file and the first line that cannot be used.
    """
    try:
        text = read_regular_text(path, "ascii")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not an index of a .rec file (byte {error.start}).") from None
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        index, _, offset = line.partition("\t")
        numbers = len(line) <= 40 and index.isdecimal() and offset.strip().isdecimal()
        if not numbers or int(index) > MOST_INDEX or int(offset) > _MOST_OFFSET:
            raise InputError(f"{path}: line {number} is {line[:40]!r}; expected index and offset, separated by a tab.")
        lines.append((int(index), int(offset)))
    return lines


def write_index(path, lines):
    """Write an ``.idx`` file from (index, offset) pairs."""
    path.write_text("".join(f"{index}\t{offset}\n" for index, offset in lines), encoding="ascii")
