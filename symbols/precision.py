"""What a network computes in: float32 outside, where losses, softmax and parameters are; inside, another type."""
import contextlib
import warnings

from transfer_gluon.base.errors import InputError, does_nothing
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.base.processor import DTYPES, emulates_bfloat16, has_bfloat16, processor_name
from transfer_gluon.symbols.graph import Graph
from transfer_gluon.symbols.nesting import leaves, nested


def usable_dtype(dtype, devices, force=False):
    """The type to compute in where `dtype` is asked for: itself, or float32 where the processor would be slower by it.

    Parameters
    ----------
    dtype : "float32", "bfloat16", "float16" or "int8"
    devices : list of Context
    force : bool
        Compute in bfloat16 on a processor without units for it, too, if it has AVX-512.

    Raises: InputError for float16 without a GPU, for bfloat16 and int8 with one, which MXNet 1.9.1 cannot compute, and
    for `force` with another type, or without AVX-512.

    >>> usable_dtype("float32", [mx.cpu()])
    'float32'
    """
    if force and dtype != "bfloat16":
        raise does_nothing("force_dtype", "without `dtype` bfloat16", force)
    if dtype == "bfloat16" and force and not emulates_bfloat16():
        raise InputError(f"`force_dtype` was given, and this processor ({processor_name()}) has no AVX-512, without "
                         "which MXNet has no bfloat16 at all; leave it out, and float32 is computed.", "force_dtype",
                         True, "a processor with AVX-512")
    check_dtype(dtype, devices)
    if dtype == "bfloat16" and not force and not has_bfloat16():
        log.info("this processor (%s) has no units for bfloat16, which would be slower on it: computing in float32. "
                 "`force_dtype` computes in it all the same", processor_name())
        return "float32"
    return dtype


def check_dtype(dtype, devices):
    """Raise InputError for a type that does not exist, or that MXNet 1.9.1 does not compute on these devices."""
    if dtype not in (*DTYPES, "int8"):
        raise InputError.of("dtype", dtype, f"one of {', '.join(DTYPES)}")
    gpu = devices[0].device_type == "gpu"
    if dtype == "float16" and not gpu or dtype in ("bfloat16", "int8") and gpu:
        raise InputError.of("dtype", dtype, "float32 or float16 on GPUs" if gpu else "float32 or bfloat16 on the CPU")


@contextlib.contextmanager
def telling(dtype):
    """InputError for what MXNet raises of networks with operators that it has not in `dtype`."""
    try:
        yield
    except (mx.MXNetError, ValueError) as error:
        said = str(error).strip().splitlines()[-1]
        raise InputError(f"MXNet 1.9.1 cannot compute this network in {dtype}: {said}. Expected float32 for it.",
                         "dtype", dtype, "float32") from error


def computing_in(symbol, dtype):
    """A symbol that takes and gives float32, and in between convolves and multiplies in another type.

    Parameters stay float32: they are cast where they are used, so that what learns is a float32 master copy
    (Micikevicius et al. 2018, *Mixed Precision Training*). Batch normalisation sums in float32; softmax, norms and
    losses are computed in it, as ``mxnet.contrib.amp`` has them. The first convolution stays float32: on three channels
    oneDNN 2.4 is no faster in bfloat16, and leaves the layer behind it in an order that takes ten times as long.

    Parameters
    ----------
    symbol : Symbol
    dtype : "float32", "bfloat16" or "float16"

    >>> symbol = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc")
    >>> computing_in(symbol, "float32") is symbol, "amp_cast" in computing_in(symbol, "bfloat16").tojson()
    (True, True)
    """
    if dtype == "float32":
        return symbol
    first = [node["name"] for node in Graph.of(symbol).nodes if node["op"] == "Convolution"][:1]
    with telling(dtype), warnings.catch_warnings(), contextlib.redirect_stderr(None):
        warnings.simplefilter("ignore")     # of shapes that it does not ask for
        from mxnet.contrib import amp  # which `import mxnet` leaves out

        inside = amp.convert_symbol(symbol, target_dtype=dtype, excluded_sym_names=first, cast_optional_params=False)
    return mx.sym.Group([mx.sym.amp_cast(output, dtype="float32") for output in inside])


def for_inference(symbol, devices, dtype="float32"):
    """What to compute in the place of a symbol where it is used on `devices`: in float32 the same numbers to 1e-6 of
    the largest, with batch normalisation and ReLU inside the convolutions before them (on the CPU, by MXNet's subgraphs
    for oneDNN); or those of another type."""
    on_cpu = bool(devices) and devices[0].device_type == "cpu"
    return unshared(symbol).get_backend_symbol("MKLDNN") if on_cpu and dtype == "float32" else \
        computing_in(symbol, dtype)


# What MXNet's subgraphs begin with, and join to it.
_JOINING = "Convolution", "FullyConnected", "BatchNorm", "elemwise_add", "broadcast_add"
_JOINED = ("BatchNorm", "Activation", "LeakyReLU", "clip", "relu", "sigmoid", "tanh", "elemwise_add", "broadcast_add",
           "_plus_scalar", "square", "sqrt", "exp", "abs", "SoftReLU")


def unshared(symbol):
    """A symbol in which nothing is joined to what others take too: MXNet 1.9.1 gives these others the joined result,
    such as ReLU(x) to a branch that adds x."""
    graph = Graph.of(symbol)
    takers = {}
    for node in graph.nodes:
        for number, output, *_ in node["inputs"]:
            takers.setdefault((number, output), []).append(node["op"])
    for number, output, *_ in graph.heads:
        takers.setdefault((number, output), []).append(None)
    shared = {place for place, node in enumerate(graph.nodes) if node["op"] in _JOINING
              and len(takers.get((place, 0), ())) > 1 and set(takers[place, 0]) & set(_JOINED)}
    return graph.apart(shared) if shared else symbol


def symbol_block(symbol, inputs, parameters):
    """A symbol as a hybridized `SymbolBlock` that shares `parameters`, a ParameterDict; `inputs` are its variables."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # of types that it cannot infer through casts, and that parameters have
        block = mx.gluon.SymbolBlock(symbol, inputs, params=parameters)
    block.hybridize(static_alloc=True, static_shape=True)
    return block


def training_block(net, dtype="float32"):
    """What to call in the place of a network, images to anything nested in lists, where it trains: `computing_in`,
    sharing its parameters; in float32 the network itself."""
    if dtype == "float32":
        return net
    outputs = net(mx.sym.var("data"))
    symbol = computing_in(mx.sym.Group(leaves(outputs)), dtype)
    block = symbol_block(symbol, mx.sym.var("data", dtype="float32"), net.collect_params())
    return lambda images: nested(leaves(block(images)), outputs)
