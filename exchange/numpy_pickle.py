"""Pickles of NumPy arrays, from strangers and from Python 2, read as data: nothing in such a file is ever run.

In a pickle an array is a call of ``numpy.core.multiarray._reconstruct``, whose state holds shape, type and bytes; since
protocol 5 a call of ``numpy.core.numeric._frombuffer``. A ``.npy`` file of a dictionary is a pickle behind a header.
"""
import math
import mmap
import os
import re

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import reading
from transfer_gluon.base.regular import open_regular
from transfer_gluon.exchange import pickle_machine
from transfer_gluon.exchange.pickle_machine import Damaged, Made, Name, Refused

# Truth values, numbers, and texts of a fixed length; O is what the dictionary of a .npy file lies in.
_CODES = re.compile(r"[<>=|]?(b1|\?|[iu][1248]|f[248]|c8|c16|[SU][0-9]{1,9}|O[48]?)")
_NPY = re.compile(rb"\x93NUMPY(?:\x01\x00..|[\x02\x03]\x00....)"
                  rb"\{'descr': '\|?O[48]?', 'fortran_order': (?:False|True), 'shape': \(\), \} *\n", re.DOTALL)
_DEEPEST = 100
_EXPECTED = "expected a pickle of NumPy arrays, dicts, lists, texts and numbers"
_SCALARS = (str, bytes, bytearray, bool, int, float, complex, type(None), np.generic)


def read_pickle(path):
    """The dicts, lists, texts, numbers and NumPy arrays of a pickle, of Python 2 and 3, protocols 0 to 5.

    Also of a ``.npy`` file that holds a dictionary. Texts of Python 2, which may be bytes, come with a letter a byte
    (latin-1); tuples stay tuples, sets come as lists. Arrays are of truth values, numbers, or texts of a fixed length;
    some are to be read only.

    Raises: InputError for a file that asks for anything else, by its name, and for one that is damaged or cut off.

    >>> import pickle
    >>> with open("/tmp/read-pickle-example.p", "wb") as file:
    ...     pickle.dump({"features": np.zeros((2, 3)), "labels": [0, 1]}, file)
    >>> pack = read_pickle("/tmp/read-pickle-example.p")
    >>> pack["features"].shape, pack["labels"]
    ((2, 3), [0, 1])
    """
    with reading(path), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise _no_pickle(path, "empty")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with content:
        try:
            header = _NPY.match(content)
            content.seek(header.end() if header else 0)
            reader = _Reader(2 * size)
            value = pickle_machine.read_pickle(content, reader.known)
            return reader.plain(_inside(value) if header else value)
        except Refused as refused:
            asked = "".join(letter if letter.isprintable() else "?" for letter in str(refused)[:200])
            raise InputError(f"{path}: holds more than data: it asks for {asked}, and could run code when it is read; "
                             f"{_EXPECTED}. It was refused, and nothing ran.") from None
        except (Damaged, MemoryError) as error:
            raise _no_pickle(path, str(error)) from None


def _no_pickle(path, reason):
    return InputError(f"{path}: {reason or 'damaged'} ({os.path.getsize(path)} bytes); {_EXPECTED}. "
                      "Fetch it again if it was cut off.")


def _inside(value):
    """What a .npy file of one object holds."""
    if type(value) is not _Array or type(value.values) is not list:
        raise Damaged("a .npy file without its object")
    return value.values[0]


class _Type(Made):
    """A dtype by its code, such as ``f4``; its state adds the order of its bytes."""

    __slots__ = ("dtype",)

    def __init__(self, code, _align=False, _copy=False):
        if type(code) is not str:
            raise Damaged("a type without a name")
        if not _CODES.fullmatch(code):
            raise Refused(f"an array of {code}")
        self.dtype = np.dtype("O" if code.lstrip("<>=|")[0] == "O" else code)
        if not self.dtype.itemsize:
            raise Damaged("an array of texts without letters")

    def set_state(self, state):
        if type(state) is not tuple or not 8 <= len(state) <= 9 or state[1] not in ("<", ">", "=", "|"):
            raise Damaged("a type with a strange state")
        if any(part is not None for part in state[2:5]) or state[5] not in (-1, self.dtype.itemsize):
            raise Refused("an array of parts with names")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(Made):
    """An array, which gets its numbers by its state."""

    __slots__ = ("reader", "values")

    def __init__(self, reader):
        self.reader, self.values = reader, None

    def set_state(self, state):
        if self.values is not None or type(state) is not tuple or len(state) != 5 or type(state[2]) is not _Type:
            raise Damaged("an array with a strange state")
        _, shape, kind, fortran, content = state
        if kind.dtype.kind == "O":
            if type(content) is not list or len(content) != 1:
                raise Refused("an array of objects")
            self.values = content
        else:
            self.values = self.reader.array(content, kind, shape, "F" if fortran else "C")


class _Reader:
    """What the pickle may mention, and how many bytes it may still make."""

    def __init__(self, most):
        self.left = most
        self.known = {"numpy.ndarray": None, "numpy.dtype": _Type, "_codecs.encode": self.encode}
        for core in ("numpy.core", "numpy._core"):
            self.known.update({f"{core}.multiarray._reconstruct": self.reconstruct,
                               f"{core}.multiarray.scalar": self.scalar,
                               f"{core}.numeric._frombuffer": self.from_buffer})
        for builtins in ("builtins", "__builtin__"):
            self.known.update({f"{builtins}.bytes": self.bytes, f"{builtins}.bytearray": self.bytes,
                               f"{builtins}.complex": self.complex,
                               f"{builtins}.set": self.members, f"{builtins}.frozenset": self.members})

    def spend(self, number):
        # Every byte stands in the file: once as what it is taken from, once as what it becomes.
        self.left -= number
        if self.left < 0:
            raise Damaged("more bytes than the file has")

    def reconstruct(self, kind, _shape, _code):
        if type(kind) is not Name or kind.name != "numpy.ndarray":
            raise Refused(f"an array of the class {kind.name if type(kind) is Name else type(kind).__name__}")
        return _Array(self)

    def from_buffer(self, content, kind, shape, order, _axis_order=None):
        made = _Array(self)
        if type(kind) is not _Type or order not in ("C", "F") or kind.dtype.kind == "O":
            raise Damaged("an array with a strange state")
        made.values = self.array(content, kind, shape, order)
        return made

    def scalar(self, kind, content):
        if type(kind) is not _Type or kind.dtype.kind == "O":
            raise Refused("a number that is an object")
        return self.array(content, kind, (), "C")[()]

    def array(self, content, kind, shape, order):
        """An array of `content`: bytes, or a text of Python 2."""
        if not (type(shape) is tuple and len(shape) <= 32
                and all(type(length) is int and 0 <= length < 2**48 for length in shape)
                and math.prod(length for length in shape if length) < 2**48):
            raise Damaged("an array of a shape that cannot be")
        if type(content) not in (bytes, bytearray, str) or len(content) != math.prod(shape) * kind.dtype.itemsize:
            raise Damaged(f"an array of shape {shape} with "
                          f"{len(content) if type(content) in (bytes, bytearray, str) else 'no'} bytes")
        self.spend(len(content))
        content = content.encode("latin-1") if type(content) is str else content
        values = np.frombuffer(content, kind.dtype) if len(content) else np.zeros(0, kind.dtype)
        return values.reshape(shape, order=order).astype(kind.dtype.newbyteorder("="), copy=False)

    def encode(self, text, encoding="latin1"):
        """The bytes of a text: so Python 3 writes bytes by the protocols 0 to 2."""
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise Refused("another encoding than latin1")
        self.spend(len(text))
        return text.encode("latin-1")

    def bytes(self, content=b"", encoding=None):
        """bytes() and bytearray(…), as protocols write them that have no operation for it."""
        return content if type(content) is bytes else self.encode(content, encoding or "latin-1")

    @staticmethod
    def complex(real, imaginary):
        return complex(real, imaginary)

    @staticmethod
    def members(values=()):
        """Those of a set: a list, as they are not compared."""
        if type(values) is not list:
            raise Damaged("a set of no list")
        return values

    def plain(self, value):
        """`value` with arrays in the place of what they were read to.

        Raises: Damaged where containers are too deep, such as one that holds itself; Refused for what is no data.
        """
        done = {}       # a container that is there often is walked through once

        def walk(value, above):
            if isinstance(value, _SCALARS):
                return value, 0
            if type(value) is _Array:
                if not isinstance(value.values, np.ndarray):
                    raise Refused("an array of objects") if value.values else Damaged("an array without numbers")
                return value.values, 0
            if not isinstance(value, (dict, list, tuple)):
                raise Refused(value.name if type(value) is Name else type(value).__name__)
            made, height = done.get(id(value), (None, 0))
            if above + height >= _DEEPEST:
                raise Damaged(f"containers more than {_DEEPEST} deep, or one that holds itself")
            if made is None:
                parts = [walk(part, above + 1) for part in (value.values() if isinstance(value, dict) else value)]
                inside = [part for part, _ in parts]
                made = dict(zip(value, inside)) if isinstance(value, dict) else type(value)(inside)
                height = 1 + max((below for _, below in parts), default=0)
                done[id(value)] = made, height
            return made, height

        return walk(value, 0)[0]
