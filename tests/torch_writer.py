"""Files as torch.save writes them, without PyTorch: the pickle by its operations, then the zip or the stream."""
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Optional

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


@dataclass
class Tensor:
    """A tensor of a storage: `count` numbers of `kind` under `key`, or of a `view` (first, count) of them."""

    key: str
    count: int
    shape: tuple
    strides: tuple
    kind: str = "Float"
    offset: int = 0
    view: Optional[tuple] = None


class Raw(bytes):
    """Operations of a pickle, as they are."""


def tensor(key, values, kind="Float"):
    """All of a storage, which holds the numbers of an array in the order of its rows."""
    strides = tuple(stride // values.itemsize for stride in values.strides)
    return Tensor(key, values.size, values.shape, strides, kind)


def operations(value, stream=False):
    """What pickle's protocol 2 makes of a value, without PROTO and STOP."""
    def all_of(values):
        return b"".join(operations(item, stream) for item in values)

    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Tensor):
        name = Raw(f"ctorch\n{value.kind}Storage\n".encode())
        view = () if not stream else (None,) if value.view is None else (("view", *value.view),)
        storage = Raw(operations(("storage", name, value.key, "cpu", value.count, *view), stream) + b"Q")
        arguments = (storage, value.offset, value.shape, value.strides, False, OrderedDict())
        return b"ctorch._utils\n_rebuild_tensor_v2\n" + operations(arguments, stream) + b"R"
    if isinstance(value, OrderedDict):      # with attributes, as a state dict has its _metadata
        items = b"ccollections\nOrderedDict\n)R(" + all_of([part for item in value.items() for part in item]) + b"u"
        return items + operations({"_metadata": {}}, stream) + b"b"
    if isinstance(value, dict):
        return b"}(" + all_of([part for item in value.items() for part in item]) + b"u"
    if isinstance(value, list):
        return b"](" + all_of(value) + b"e"
    if isinstance(value, tuple):
        return b"(" + all_of(value) + b"t"
    return pickle.dumps(value, 2)[2:-1]


def pickled(value, stream=False):
    return b"\x80\x02" + operations(value, stream) + b"."


def write_zip(path, value, storages, byteorder="little", **more):
    """`storages`: a dict of str to bytes. `more`: further arguments of zipfile.ZipFile."""
    with zipfile.ZipFile(path, "w", **more) as archive:
        archive.writestr("archive/data.pkl", pickled(value))
        archive.writestr("archive/byteorder", byteorder)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")
    return path


def write_stream(path, value, storages, item_size=4):
    parts = [MAGIC, 1001, {"protocol_version": 1001, "little_endian": True}]
    content = [pickled(part) for part in parts] + [pickled(value, stream=True), pickled(list(storages))]
    content += [struct.pack("<q", len(numbers) // item_size) + numbers for numbers in storages.values()]
    path.write_bytes(b"".join(content))
    return path


WRITERS = {"zip": write_zip, "stream": write_stream}


def mutant_of(content, rng, harmful):
    """Bytes of a file with one or two changes: a byte changed, left out, two put in that a pickle may hold, or one of
    the `harmful` operations."""
    mutant = bytearray(content)
    for _ in range(rng.integers(1, 3)):
        place, kind = rng.integers(len(mutant)), rng.integers(4)
        two = bytes(rng.choice(list(b"()}]R0Qtusb.23hq\x85NK"), 2).astype(np.uint8))
        new = [bytes([rng.integers(256)]), b"", two, harmful[rng.integers(len(harmful))]][kind]
        mutant[place:place + (kind < 2)] = new
    return mutant
