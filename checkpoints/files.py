"""Symbol and parameter files from anywhere, checked before MXNet's C++ reads them.

MXNet trusts what it reads: a damaged size makes it ask for terabytes, an input that does not exist ends the process.
Nothing here unpickles or runs anything.
"""
import json
import math
import shutil
import struct
from pathlib import Path

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import reading, replacing
from transfer_gluon.base.framework import mx

_LIST, _V1, _V2, _V3 = 0x112, 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_ITEM_SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1}     # float32, 64, 16, uint8, int32, 8, 64, bool


class _Damaged(Exception):
    pass


def read_symbol(path):
    """The network in a ``-symbol.json`` file.

    Raises: InputError when it cannot be read, is no network of MXNet, or has an operator that this MXNet does not.
    """
    try:
        with reading(path):
            text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    return symbol_from_text(text, path)


def symbol_from_text(text, path):
    """The network that a text describes as ``-symbol.json`` files do; `path` tells messages where it stands.

    Raises: InputError as `read_symbol`.
    """
    try:
        graph = json.loads(text)
        nodes = graph["nodes"]
        unknown = {node["op"] for node in nodes} - {"null", *mx.operator.get_all_registered_operators()}
        if not unknown:
            _check_references(graph)
            _check_outputs(graph)
            symbol = mx.sym.load_json(text)
            if set(symbol.list_arguments()) & set(symbol.list_auxiliary_states()):
                raise _Damaged
            return symbol
    except (mx.MXNetError, _Damaged, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: not an MXNet symbol, or damaged. Fetch or write it again.") from None
    raise InputError(f"{path}: has operators that MXNet {mx.__version__} does not know: "
                     f"{', '.join(sorted(map(str, unknown)))}.")


def _check_references(graph):
    """Every node takes the outputs of earlier ones, by whole numbers that MXNet's C++ can hold."""
    nodes, heads = graph["nodes"], graph["heads"]
    entries = [entry for node in nodes for entry in node["inputs"]] + heads
    numbers = [number for entry in entries for number in entry] + graph["arg_nodes"]
    whole = all(type(number) is int and 0 <= number < 2**31 for number in numbers)
    backward = all(number < place for place, node in enumerate(nodes) for number, *_ in node["inputs"])
    inside = all(number < len(nodes) for number in [*(number for number, *_ in heads), *graph["arg_nodes"]])
    variables = [node["name"] for node in nodes if node["op"] == "null"]
    if not (heads and whole and backward and inside and len(set(variables)) == len(variables)):
        raise _Damaged


def _check_outputs(graph):
    """The outputs that nodes take, and that are the network's, are there."""
    nodes = graph["nodes"]
    taken = {}
    for number, output, *_ in [entry for node in nodes for entry in node["inputs"]] + graph["heads"]:
        taken[number] = max(output, taken.get(number, 0))
    for number, output in taken.items():
        if output and output >= _outputs(nodes[number], graph):
            raise _Damaged


def _outputs(node, graph):
    """How many outputs a node has, whatever it takes."""
    inputs = [{"op": "null", "name": f"_input{place}", "inputs": []} for place in range(len(node["inputs"]))]
    alone = dict(node, inputs=[[place, 0, 0] for place in range(len(inputs))])
    symbol = mx.sym.load_json(json.dumps({**graph, "nodes": [*inputs, alone], "arg_nodes": list(range(len(inputs))),
                                          "heads": [[len(inputs), 0, 0]]}))     # with the version that wrote it
    return len(symbol.get_internals().list_outputs()) - len(symbol.list_inputs())


def read_arrays(path):
    """The arrays of a file of `mx.nd.save`, as a dict of str to NDArray.

    Raises: InputError when the file is damaged or is none of MXNet's.
    """
    path = Path(path)
    try:
        with reading(path):
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
