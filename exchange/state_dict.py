"""PyTorch's weights as NumPy arrays, from files of strangers: nothing in such a file is ever run.

``.safetensors`` files are read here, without PyTorch; ``.pth`` and ``.pt`` files by ``torch.load``, weights only.
"""
import json
import math
import os
import pickle
import re
import struct
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

from transfer_gluon.base.errors import InputError

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
        expected = f"a file of weights ({', '.join(_SUFFIXES)}) or a package that has one"
        raise InputError(f"{weights}: neither a file nor an installed package; expected {expected}.",
                         "weights", weights, expected) from None
    if len(files) != 1:
        raise InputError(f"{weights}: the package has {len(files)} files of weights; name the one by its path"
                         f"{':' if files else '.'} {' '.join(map(str, files))}")
    return Path(files[0])


def read_state_dict(path):
    """Names and values of the weights in a file, as 32-bit floats where they are floats of another length.

    Returns: dict of str to np.ndarray, without what comes around the weights: entries such as ``state_dict`` of a
    training script's file, the prefix ``module.`` of several GPUs.

    Raises: InputError for a file that is cut off, damaged, something else, or more than weights.
    """
    path = Path(path)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if all(name.startswith("module.") for name in state):
        state = {name[len("module."):]: value for name, value in state.items()}
    return {name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in state.items()}


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
    try:
        import torch
    except ImportError:
        raise InputError(f"{path}: reading it takes PyTorch, which is not installed: pip install torch. "
                         "A .safetensors file of the same weights is read without.") from None
    if tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < (2, 6):
        raise InputError(f"{path}: PyTorch {torch.__version__} is installed, and before 2.6 a file could run code "
                         "even when only weights were asked for: pip install --upgrade torch.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if not asked:
            raise _not_weights(path) from None
        raise InputError(f"{path}: holds more than weights: it asks for {asked[1]}, and could run code when it is "
                         "read. It was refused, and nothing ran. Its owner can save the weights alone: "
                         "torch.save(model.state_dict(), …).") from None
    except Exception:           # noqa: BLE001, a damaged file can end in anything
        raise _not_weights(path) from None
    for name in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _not_weights(path)
    return {str(name): (value.float() if value.is_floating_point() else value).numpy()
            for name, value in state.items()}


def _not_weights(path):
    return InputError(f"{path}: not a PyTorch file of weights (a state dict), or cut off "
                      f"({path.stat().st_size} bytes).")
