"""A symbol, cut at a named layer, as the Gluon block of a network's features."""
import difflib

from base.errors import InputError, first_ten
from base.framework import mx

# Gluon would put the default initializer of weights on all parameters of a SymbolBlock.
_INITIALIZERS = {"_gamma": "ones", "_beta": "zeros", "_bias": "zeros", "_moving_mean": "zeros", "_moving_var": "ones"}


def layers(symbol):
    """The names of the layers of `symbol`, from the input to the output, in the order of computation."""
    variables = set(symbol.list_inputs())
    outputs = [name for name in symbol.get_internals().list_outputs() if name not in variables]
    return [name[:-len("_output")] for name in outputs if name.endswith("_output")]


def cut(symbol, layer):
    """The part of `symbol` that ends with the output of `layer`.

    Raises: InputError with the layers that there are, when there is none of this name.

    >>> cut(mx.sym.Flatten(mx.sym.relu(mx.sym.var("data"), name="relu1")), "relu1").list_outputs()
    ['relu1_output']
    """
    names = layers(symbol)
    if layer not in names:
        close = difflib.get_close_matches(layer, names)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise InputError(
            f"--layer-before-fullc is {layer}, and the checkpoint has no such layer.{hint} "
            f"Its {len(names)} layers, the last first:{first_ten(names[::-1])}\n  all: {' '.join(names)}")
    return symbol.get_internals()[layer + "_output"]


def features_block(symbol, arg_params=None, aux_params=None, source="the checkpoint"):
    """A `SymbolBlock` of `symbol` with the input ``data``, whose parameters keep their names.

    Parameters
    ----------
    symbol : Symbol
        Ends with the features, shape (b, d) or what flattens to it.
    arg_params, aux_params : dict of str to NDArray, or None
        Values, as `mx.model.load_checkpoint` returns them; more than needed is no error. None: the block
        is returned without values, to be initialised.
    source : str
        Where the values come from, for messages.

    Raises: InputError with a table of name, wanted and found, when values are missing or do not fit.
    """
    # The type of the input, given here, spares a warning that Gluon cannot infer it.
    block = mx.gluon.SymbolBlock(symbol, mx.sym.var("data", dtype="float32"))
    if arg_params is None:
        for name, parameter in block.collect_params().items():
            parameter.init = next((init for suffix, init in _INITIALIZERS.items() if name.endswith(suffix)), None)
        return block
    found = {**arg_params, **aux_params}
    parameters = block.collect_params()
    missing = [name for name in parameters if name not in found]
    if missing:
        raise InputError(f"{source}: {len(missing)} parameters of the network are missing:{first_ten(missing)}")
    for name, parameter in parameters.items():
        parameter.shape = found[name].shape
        parameter.init = mx.init.Constant(found[name])
    return block
