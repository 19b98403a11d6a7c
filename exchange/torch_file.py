"""Files of ``torch.save``, read without PyTorch: its zip, and the stream that it wrote before version 1.6.

Both hold a pickle, in which a tensor is a call of ``torch._utils._rebuild_tensor_v2(storage, offset, shape, strides,
…)`` and a storage a persistent id: (``"storage"``, its type, its key, its device, how many numbers). The bytes of the
storages lie in the zip as ``data/KEY``, in the stream behind the pickle. The file is mapped into memory; a tensor
becomes an array when it is asked for its values.
"""
import math
import mmap
import os
import struct
import zipfile

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import reading
from transfer_gluon.exchange.pickle_machine import Damaged, Name, Refused, read_pickle

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_BFLOAT16 = "bfloat16"
_STORAGES = {"Double": "f8", "Float": "f4", "Half": "f2", "BFloat16": _BFLOAT16, "Long": "i8", "Int": "i4",
             "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "?"}
_TYPES = {**{f"torch.{name}Storage": kind for name, kind in _STORAGES.items()}, "torch.storage.UntypedStorage": "u1"}
_DTYPES = {f"torch.{name}": kind for name, kind in {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": _BFLOAT16, "int64": "i8", "int32": "i4",
    "int16": "i2", "int8": "i1", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "?"}.items()}
# Bytes of a zip's list of its files, which names some 80,000 storages and takes 100 MB of memory, and of a text.
_LARGEST_PIECE = 2**23


class StoredTensor:
    """A tensor in a file.

    Attributes
    ----------
    shape : tuple of int
    size : int
        How many numbers it has.
    """

    __slots__ = ("shape", "size", "_storage", "_kind", "_offset", "_strides")

    def __init__(self, storage, kind, offset, shape, strides):
        if not (type(storage) is _Storage and type(shape) is type(strides) is tuple and len(shape) == len(strides) <= 32
                and all(type(number) is int and 0 <= number < 2**48 for number in (offset, *shape, *strides))
                and math.prod(length for length in shape if length) < 2**48):
            raise Damaged("a tensor that cannot be")
        self.shape, self.size = shape, math.prod(shape)
        self._storage, self._kind, self._offset, self._strides = storage, kind, offset, strides
        last = offset + sum(stride * (length - 1) for stride, length in zip(strides, shape))
        if self.size and (last + 1) * _item_size(kind) > storage.count * _item_size(storage.kind):
            raise Damaged(f"a tensor of shape {shape} outside of its storage")

    def numpy(self):
        """The values: of the file where they lie in it as they are, to be read only; bfloat16 as float32."""
        root, kind = self._storage.root, "u2" if self._kind == _BFLOAT16 else self._kind
        dtype = np.dtype(root.file.byte_order + kind)
        if not self.size:
            values = np.zeros(self.shape, dtype)
        else:
            begin = root.begin + self._storage.first * _item_size(root.kind) + self._offset * dtype.itemsize
            values = np.ndarray(self.shape, dtype, root.file.content, begin,
                                [stride * dtype.itemsize for stride in self._strides])
        if self._kind == _BFLOAT16:     # the upper half of a 32-bit float
            return (values.astype(np.uint32) << 16).view(np.float32)
        return np.require(values, dtype.newbyteorder("="), "A")


def _item_size(kind):
    return 2 if kind == _BFLOAT16 else np.dtype(kind).itemsize


class _Root:
    """The bytes under a key: `count` numbers, which begin at byte `begin` of the file's content."""

    __slots__ = ("file", "kind", "count", "begin")

    def __init__(self, file, kind, count):
        self.file, self.kind, self.count, self.begin = file, kind, count, None


class _Storage:
    """A part of a root's numbers."""

    __slots__ = ("root", "first", "count")

    def __init__(self, root, first, count):
        self.root, self.first, self.count = root, first, count

    @property
    def kind(self):
        return self.root.kind


class _File:
    """What both formats have: content, byte order, storages by their keys, names that the pickle may mention."""

    def __init__(self, content):
        self.content, self.byte_order, self.roots = content, "<", {}
        self.known = {
            **dict.fromkeys((*_TYPES, *_DTYPES)),
            "torch._utils._rebuild_tensor": self._tensor, "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._typed_tensor, "torch._utils._rebuild_parameter": self._parameter,
            # What stands beside weights remains what it was made of.
            **dict.fromkeys(("torch.Size", "torch.device", "collections.Counter", "_codecs.encode", "builtins.set",
                             "__builtin__.set"), lambda *arguments: arguments)}

    @staticmethod
    def _tensor(storage, offset, shape, strides, _requires_grad=False, _hooks=None, metadata=None):
        if metadata:
            raise Refused("a tensor with metadata, such as a negated one")
        return StoredTensor(storage, storage.kind, offset, shape, strides)

    @staticmethod
    def _typed_tensor(storage, offset, shape, strides, _requires_grad, _hooks, dtype, metadata=None):
        if metadata:
            raise Refused("a tensor with metadata, such as a negated one")
        return StoredTensor(storage, _DTYPES[dtype.name], offset, shape, strides)

    @staticmethod
    def _parameter(data, _requires_grad, _hooks):
        if type(data) is not StoredTensor:
            raise Damaged("a parameter that is no tensor")
        return data

    def _persistent(self, key):
        if type(key) is not tuple or key[:1] != ("storage",):
            kind = key[0] if type(key) is tuple and key else key
            raise Refused(f"a persistent id of {kind if type(kind) is str else type(kind).__name__}")
        return self._stored(*key[1:])

    def _root(self, name, key, count):
        """The root of a storage."""
        if not (type(name) is Name and name.name in _TYPES and type(key) is str and type(count) is int and count >= 0):
            raise Damaged("a storage of another kind")
        root = self.roots.setdefault(key, _Root(self, _TYPES[name.name], count))
        if (root.kind, root.count) != (_TYPES[name.name], count):
            raise Damaged("a storage of two kinds")
        return root


class _Zip(_File):
    def __init__(self, content):
        super().__init__(content)
        self._entries = {entry.filename: entry for entry in zipfile.ZipFile(content).infolist()}
        pickles = [name for name in self._entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise Damaged(f"{len(pickles)} files data.pkl in a zip")
        self._folder = pickles[0][:-len("data.pkl")]
        if f"{self._folder}byteorder" in self._entries:
            begin, size = self._place("byteorder")
            self.byte_order = {b"little": "<", b"big": ">"}[content[begin:begin + min(size, 10)]]

    def read(self):
        begin, size = self._place("data.pkl")
        self.content.seek(begin)
        state = read_pickle(self.content, self.known, self._persistent)
        if self.content.tell() > begin + size:
            raise Damaged("data.pkl is cut off")
        return state

    def _stored(self, name, key, _device, count):
        root = self._root(name, key, count)
        if root.begin is None:
            root.begin, size = self._place(f"data/{key}")
            if count * _item_size(root.kind) > size:
                raise Damaged(f"storage {key} has {size} bytes")
        return _Storage(root, 0, count)

    def _place(self, name):
        """Where the bytes of an entry begin, and how many there are."""
        entry = self._entries.get(self._folder + name)
        if entry is None:
            raise Damaged(f"no {name} in a zip")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
            raise Damaged(f"{name} in a zip is compressed, as PyTorch never does")
        header = self.content[entry.header_offset:entry.header_offset + 30]
        signature, name_length, extra_length = struct.unpack("<4s22xHH", header)
        begin = entry.header_offset + 30 + name_length + extra_length
        if signature != b"PK\3\4" or begin + entry.file_size > len(self.content):
            raise Damaged(f"{name} in a zip lies elsewhere than it says")
        return begin, entry.file_size


class _Stream(_File):
    def read(self):
        if read_pickle(self.content, {}) != _MAGIC or read_pickle(self.content, {}) != _PROTOCOL:
            raise Damaged
        read_pickle(self.content, {})       # the machine that wrote it; the bytes of storages are always little-endian
        state = read_pickle(self.content, self.known, self._persistent)
        keys = read_pickle(self.content, {})
        if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(self.roots):
            raise Damaged("storages and their list differ")
        for key in keys:
            root, begin = self.roots[key], self.content.tell() + 8
            count, = struct.unpack("<q", self.content.read(8))
            if count != root.count or begin + count * _item_size(root.kind) > len(self.content):
                raise Damaged(f"a storage has {count} numbers; expected {root.count} within the file")
            root.begin = begin
            self.content.seek(begin + count * _item_size(root.kind))
        return state

    def _stored(self, name, key, _device, count, view=None):
        root = self._root(name, key, count)
        if view is None:
            return _Storage(root, 0, count)
        _, first, part = view
        if not (type(first) is type(part) is int and 0 <= first <= first + part <= count):
            raise Damaged("a view outside of its storage")
        return _Storage(root, first, part)


class _Mapped(mmap.mmap):
    """A file as memory, of which a zip's directory is no more than a part."""

    def read(self, size=None):
        if size is None:
            size = len(self) - self.tell()
        if size > _LARGEST_PIECE:
            raise Damaged(f"{size} bytes in a piece")
        return super().read(size)


def read_torch_file(path):
    """What `torch.save` wrote, with a `StoredTensor` for every tensor; nothing in the file is ever run.

    Tensors, containers, numbers and texts are read; what else torch.save writes beside them, such as a torch.Size,
    comes as the tuple of what it was made of.

    Raises: InputError for a file that is cut off, damaged, something else, or more than tensors.
    """
    with reading(path), open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise not_weights(path)
        content = _Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        if content[257:262] == b"ustar":
            raise Damaged("a tar, PyTorch's first format; load it with PyTorch and save it anew")
        return (_Zip if content[:4] == b"PK\3\4" else _Stream)(content).read()
    except Refused as refused:
        asked = "".join(letter if letter.isprintable() else "?" for letter in str(refused)[:200])
        raise InputError(f"{path}: holds more than weights: it asks for {asked}, and could run code when it is read. "
                         "It was refused, and nothing ran. Its owner can save the weights alone: "
                         "torch.save(model.state_dict(), …).") from None
    # What zipfile and struct raise for damage, and what objects of other kinds than expected do.
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, LookupError, TypeError, AttributeError,
            OverflowError) as error:
        raise not_weights(path, str(error) if isinstance(error, Damaged) else "") from None


def not_weights(path, reason=""):
    """The InputError of a file that is no state dict; `reason` says in words what was found."""
    return InputError(f"{path}: not a PyTorch file of weights (a state dict), or cut off "
                      f"({os.path.getsize(path)} bytes){f': {reason}' if reason else ''}.")
