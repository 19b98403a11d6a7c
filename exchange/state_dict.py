"""Weights as NumPy arrays, from files of strangers: nothing in such a file is ever run.

``.safetensors`` files are read here, ``.pth``, ``.pt`` and ``.bin`` files by `torch_file`; PyTorch is not needed.
``.npy`` files hold layers of Caffe's networks.
"""
import json
import math
import os
import struct
from importlib import metadata
from pathlib import Path

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.exchange.numpy_pickle import read_pickle
from transfer_gluon.exchange.torch_file import StoredTensor, not_weights, read_torch_file

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U8": "u1", "BOOL": "?"}
# Under these, training scripts put the weights beside other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def find_weights(weights):
    """The weights file `weights`, or the only one in the installed package `weights`, of which nothing is imported.

    Raises: InputError when there is no such file or package, or not one file.
    """
    if os.path.isfile(weights):    # not Path.is_file, which raises for a name that is too long
        return Path(weights)
    try:
        files = [file.locate() for file in metadata.files(weights) or [] if file.suffix in _SUFFIXES]
    except (metadata.PackageNotFoundError, ValueError):
        expected = f"a file of weights ({', '.join(_SUFFIXES)}, .npy) or a package that has one"
        raise InputError(f"{weights}: neither a file nor an installed package; expected {expected}.",
                         "weights", weights, expected) from None
    if len(files) != 1:
        raise InputError(f"{weights}: the package has {len(files)} files of weights; name the one by its path"
                         f"{':' if files else '.'} {' '.join(map(str, files))}")
    return Path(files[0])


def read_state_dict(path):
    """Names and values of the weights in a file, as 32-bit floats where they are floats of another length.

    Returns: dict of str to np.ndarray, without what comes around the weights: entries such as ``state_dict`` of a
    training script's file, the prefix ``module.`` of several GPUs. An array may be a part of the file, to be read only.

    Raises: InputError for a file that is cut off, damaged, something else, or more than weights.
    """
    path = Path(path)
    state = {".safetensors": _read_safetensors, ".npy": read_layers}.get(path.suffix, _read_torch)(path)
    if all(name.startswith("module.") for name in state):
        state = {name[len("module."):]: value for name, value in state.items()}
    return {name: value.astype(np.float32, copy=False) if value.dtype.kind == "f" else value
            for name, value in state.items()}


def read_layers(path):
    """Caffe's weights in TensorFlow's layout: a ``.npy`` file of a dict of layers, each a list of weights and biases.

    Returns: dict of str to np.ndarray: ``conv1.weight``, ``conv1.bias``, …

    Raises: InputError for any other content.
    """
    layers = read_pickle(path)
    if not isinstance(layers, dict) or not layers or not all(
            type(name) is str and isinstance(parts, (list, tuple)) and len(parts) == 2
            and all(isinstance(part, np.ndarray) and part.dtype.kind == "f" for part in parts)
            for name, parts in layers.items()):
        raise InputError(f"{path}: not a dict of layers; expected names, and for each a list of two arrays of floats: "
                         "weights, biases.")
    return {f"{name}.{kind}": part for name, parts in layers.items() for kind, part in zip(("weight", "bias"), parts)}


def _read_safetensors(path):
    """Eight bytes with the length of a JSON header, the header with type, shape and place of each tensor, the bytes."""
    content = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    try:
        length, = struct.unpack("<Q", content[:8].tobytes())
        header = json.loads(content[8:8 + length].tobytes())
        header.pop("__metadata__", None)
        places = [entry["data_offsets"] for entry in header.values()]
        if sum(max(0, end - begin) for begin, end in places) > content.size:
            raise ValueError("tensors overlap, and would take more memory than the file")
        return {name: _tensor(content[8 + length:], **entry) for name, entry in header.items()}
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise InputError(f"{path}: not a safetensors file, or cut off ({content.size} bytes). "
                         "Fetch it again.") from None


def _tensor(content, dtype, shape, data_offsets):
    begin, end = data_offsets
    if not 0 <= begin <= end <= content.size:
        raise ValueError("outside of the file")
    values = np.frombuffer(content[begin:end].tobytes(), _TYPES[dtype])
    if dtype == "BF16":         # the upper half of a 32-bit float
        values = (values.astype(np.uint32) << 16).view(np.float32)
    if values.size != math.prod(shape):
        raise ValueError("another size")
    return values.reshape(shape)


def _read_torch(path):
    state = read_torch_file(path)
    for name in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(value, StoredTensor) for value in state.values()):
        raise not_weights(path)
    # Tensors may share numbers, and repeat them by a stride of 0: a small file could ask for any memory.
    numbers = sum(value.size for value in state.values())
    if numbers > path.stat().st_size + 2**18:
        raise not_weights(path, f"its tensors have {numbers} numbers, more than it has bytes")
    return {str(name): value.numpy() for name, value in state.items()}
