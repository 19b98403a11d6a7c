"""Symbol and parameter files from anywhere, checked before MXNet's C++ reads them.

MXNet trusts what it reads: a damaged size makes it ask for terabytes, an input that does not exist ends the process.
Nothing here unpickles or runs anything.
"""
import json
import math
import shutil
import struct
from pathlib import Path

from base.errors import InputError, first_ten
from base.files import replacing
from base.framework import mx

_LIST, _V1, _V2, _V3 = 0x112, 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_ITEM_SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1}     # float32, 64, 16, uint8, int32, 8, 64, bool


class _Damaged(Exception):
    pass


def read_symbol(path):
    """The network in a ``-symbol.json`` file.

    Raises: InputError when it is no network of MXNet, or has an operator that this MXNet does not.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        graph = json.loads(text)
        nodes = graph["nodes"]
        unknown = {node["op"] for node in nodes} - {"null", *mx.operator.get_all_registered_operators()}
        if not unknown:
            _check_references(graph)
            symbol = mx.sym.load_json(text)
            if any(output for node in nodes for _, output, *_ in node["inputs"]):
                _check_outputs(symbol)
            if set(symbol.list_arguments()) & set(symbol.list_auxiliary_states()):
                raise _Damaged
            return symbol
    except (mx.MXNetError, _Damaged, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: not an MXNet symbol, or damaged. Fetch or write it again.") from None
    raise InputError(f"{path}: has operators that MXNet {mx.__version__} does not know: "
                     f"{', '.join(sorted(map(str, unknown)))}.")


def _check_references(graph):
    """Every node takes the outputs of earlier ones."""
    nodes, heads = graph["nodes"], [number for number, *_ in graph["heads"]]
    backward = all(0 <= number < place for place, node in enumerate(nodes) for number, *_ in node["inputs"])
    inside = all(0 <= number < len(nodes) for number in [*heads, *graph["arg_nodes"]])
    variables = [node["name"] for node in nodes if node["op"] == "null"]
    if not (heads and backward and inside and len(set(variables)) == len(variables)):
        raise _Damaged


def _check_outputs(symbol):
    """The outputs that nodes take are there."""
    whole = json.loads(symbol.get_internals().tojson())
    there = {tuple(head[:2]) for head in whole["heads"]}
    taken = {tuple(entry[:2]) for node in whole["nodes"] for entry in node["inputs"]}
    if not taken <= there:
        raise _Damaged


def read_arrays(path):
    """The arrays of a file of `mx.nd.save`, as a dict of str to NDArray.

    Raises: InputError when the file is damaged or is none of MXNet's.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _check(_Reader(file, path.stat().st_size))
        return mx.nd.load(str(path))
    except (mx.MXNetError, _Damaged, UnicodeDecodeError) as error:
        reason = f": {error}" if isinstance(error, _Damaged) else ""
        raise InputError(f"{path}: not an MXNet parameter file, or cut off ({path.stat().st_size} bytes){reason}. "
                         "Fetch or write it again.") from None


def write_arrays(path, values):
    """Write a dict of str to NDArray, whole or not at all. Raises: InputError when there is no room, or no right."""
    with replacing(path) as temporary:
        try:
            mx.nd.save(str(temporary), values)
        except mx.MXNetError:       # it does not tell what the system said
            free = shutil.disk_usage(temporary.parent).free
            raise OSError(f"MXNet could not write it; {free / 2**20:.0f} MiB are free there") from None


def read_parameters(path):
    """The arrays of a ``.params`` file, as (arg_params, aux_params), dicts of str to NDArray.

    Raises: InputError as `read_arrays`, and when names do not begin with ``arg:`` or ``aux:``.
    """
    saved = read_arrays(path)
    strangers = [name for name in saved if not name.startswith(("arg:", "aux:"))]
    if strangers:
        raise InputError(
            f"{path}: {len(strangers)} of its {len(saved)} names do not begin with arg: or aux: as a checkpoint's do. "
            "Gluon's save_parameters writes such files, which name the parameters but hold no network: write it with "
            f"export(prefix, epoch) instead. The names:{first_ten(strangers)}")
    return tuple(with_prefix(saved, kind) for kind in ("arg:", "aux:"))


def with_prefix(values, prefix):
    """Those entries of a dict whose names begin with `prefix`, without it."""
    return {name[len(prefix):]: value for name, value in values.items() if name.startswith(prefix)}


class _Reader:
    def __init__(self, file, size):
        self._file, self._size = file, size

    def numbers(self, kinds):
        data = self._file.read(struct.calcsize(f"<{kinds}"))
        if len(data) < struct.calcsize(f"<{kinds}"):
            raise _Damaged("it ends too early")
        return struct.unpack(f"<{kinds}", data)

    def number(self, kind):
        return self.numbers(kind)[0]

    def skip(self, count):
        if self._file.tell() + count > self._size:
            raise _Damaged("it ends too early")
        self._file.seek(count, 1)

    def fits(self, count, what):
        """`count` of `what`, each at least a byte."""
        if count > self._size:
            raise _Damaged(f"{count} {what}")
        return range(count)


def _check(reader):
    """Walk through a list of arrays as `NDArray::Load` of MXNet does, without the arrays' contents."""
    magic, _ = reader.numbers("QQ")
    if magic != _LIST:
        raise _Damaged("it begins otherwise")
    arrays = reader.number("Q")
    for _ in reader.fits(arrays, "arrays"):
        _check_array(reader)
    names = reader.number("Q")
    if names != arrays or not names:
        raise _Damaged(f"{arrays} arrays and {names} names")
    for _ in reader.fits(names, "names"):
        reader.skip(reader.number("Q"))


def _check_array(reader):
    magic = reader.number("I")
    if magic in (_V2, _V3):
        if reader.number("i") != 0:
            raise _Damaged("a sparse array")
        dimensions, kind = reader.number("i"), "q"
    elif magic == _V1:
        dimensions, kind = reader.number("I"), "q"
    else:       # the first releases: no magic number, and 32-bit sizes
        dimensions, kind = magic, "I"
    if not 0 < dimensions <= 32:
        raise _Damaged(f"an array of {dimensions} dimensions")
    shape = reader.numbers(f"{dimensions}{kind}")
    device, _, item = reader.numbers("iii")
    if min(shape) < 1 or device not in (1, 2, 3, 5) or item not in _ITEM_SIZES:
        raise _Damaged(f"an array of shape {shape}, device {device}, type {item}")
    reader.skip(math.prod(shape) * _ITEM_SIZES[item])
