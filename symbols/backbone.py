"""A symbol as the Gluon block of a network's features, with checked values."""
import contextlib
import math
import warnings

import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.new_layers import INITIALIZERS


def features_block(symbol, arg_params=None, aux_params=None, source="the checkpoint", image_shape=None):
    """A `SymbolBlock` of `symbol` with the input ``data``, whose parameters keep their names.

    Parameters
    ----------
    symbol : Symbol
        Ends with the features, shape (b, d) or what flattens to it. A group of several layers makes a block that
        gives a list of them.
    arg_params, aux_params : dict of str to NDArray, or None
        Values, as `mx.model.load_checkpoint` returns them; more than needed is no error. On the CPU they
        are not copied: training the block changes these arrays. None: the block has no values yet.
    source : str
        Where the values come from, for messages.
    image_shape : (int, int, int) or None
        Channels, height, width of the images, in pixels, to check sizes against; None: only names are checked.

    What the symbol says of how fast a parameter learns and decays (``__lr_mult__``, ``__wd_mult__``, as the original
    obeyed them) the parameter says too.

    Raises: InputError with a table of name, wanted and found, when values are missing or do not fit, when they are not
    finite, and for images of a size that the network cannot take.
    """
    check_fit(symbol, arg_params, aux_params, source, image_shape)
    # The type of the input, given here, spares a warning that Gluon cannot infer it.
    data = mx.sym.var("data", dtype="float32")
    if arg_params is None:
        block = mx.gluon.SymbolBlock(symbol, data)
        # Gluon would put the default initializer of weights on all parameters of a SymbolBlock.
        for name, parameter in block.collect_params().items():
            parameter.init = next((init for suffix, init in INITIALIZERS.items() if name.endswith(suffix)), None)
    else:
        found = {**arg_params, **aux_params}
        auxiliary = symbol.list_auxiliary_states()
        block = mx.gluon.SymbolBlock(symbol, data, params=loaded_parameters(
            {name: found[name] for name in symbol.list_inputs() if name != "data"}, auxiliary))
    said = symbol.attr_dict()
    for name, parameter in block.collect_params().items():
        for attribute in ("lr_mult", "wd_mult"):
            if f"__{attribute}__" in said.get(name, {}):
                setattr(parameter, attribute, _number(source, name, f"__{attribute}__", said[name]))
    return block


def values_block(symbol, values, dtype=None, inputs=("data",)):
    """A hybridized `SymbolBlock` of `symbol` with these `inputs` that only computes: its parameters have these `values`
    (dict of str to NDArray; more than needed is no error) and no gradients.

    `dtype`: that of the parameters; None: each has that of its value, int8 for example.
    """
    parameters = mx.gluon.ParameterDict()
    parameters.update({name: LoadedParameter(name, values[name], "null", dtype or values[name].dtype)
                       for name in symbol.list_inputs() if name not in inputs})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # of types that cannot be inferred through casts, and that are known
        block = mx.gluon.SymbolBlock(symbol, [mx.sym.var(name, dtype="float32") for name in inputs], params=parameters)
    block.hybridize(static_alloc=True)
    return block


def _number(source, name, attribute, attributes):
    try:
        number = float(attributes[attribute])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{source}: {attribute} of {name} is {attributes[attribute]!r}; expected a number.")
    return number


def loaded_parameters(values, fixed=()):
    """What a Gluon block takes as `params` to have these values (dict of str to NDArray) without a copy.

    Those named in `fixed` get no gradient.
    """
    parameters = mx.gluon.ParameterDict()
    parameters.update({name: LoadedParameter(name, value, "null" if name in fixed else "write")
                       for name, value in values.items()})
    return parameters


def check_fit(symbol, arg_params, aux_params, source, image_shape=None):
    """Check the values of a network's parameters as `features_block` takes them.

    Raises: InputError when the network, called `source`, cannot take images of this size, with a table of name, wanted
    and found, when values are missing or do not fit, and with the names of those that are not finite.
    """
    at, wanted = "", {}
    if image_shape:
        at = f" for images of {' × '.join(map(str, image_shape))} (`image_shape`)"
        try:
            with contextlib.redirect_stdout(None):      # where MXNet would tell the arguments once more
                shapes, _, aux_shapes = symbol.infer_shape_partial(data=(1, *image_shape))
        except mx.MXNetError as error:
            before, _, after = str(error).strip().splitlines()[-1].partition("Check failed: ")
            raise InputError(f"{source}: does not work{at}: {(after or before).rstrip('.')}. "
                             "Give another size.", "image_shape", image_shape,
                             "a size that the network takes") from None
        shapes = zip([*symbol.list_arguments(), *symbol.list_auxiliary_states()], [*shapes, *aux_shapes])
        wanted = {name: shape for name, shape in shapes if shape and 0 not in shape}
    if arg_params is None:
        return
    values = {**arg_params, **aux_params}
    names = [name for name in symbol.list_inputs() if name != "data"]
    lines = misfits({name: wanted.get(name) for name in names},
                    {name: values[name].shape for name in names if name in values})
    if lines:
        raise InputError(f"{source}: {len(lines)} of {len(names)} parameters do not fit the network{at}:"
                         f"{first_ten(lines)}\n  It may hold the parameters of another network, or of another size.")
    broken = [name for name in names if not np.isfinite(values[name].asnumpy()).all()]
    if broken:
        raise InputError(f"{source}: {len(broken)} of {len(names)} parameters hold NaN or infinite values; take an "
                         f"earlier epoch, or fetch or train the network again. They are{first_ten(broken)}")


def misfits(wanted, found):
    """Those parameters that are not as they should be, a line each: name, wanted shape, found shape.

    Parameters
    ----------
    wanted, found : dict of str to tuple of int
        Shapes; a wanted one of None is any.

    >>> misfits({"a": (2, 3), "b": None}, {"a": (2, 4), "c": (1,)})
    ['a  wanted (2, 3), found (2, 4)', 'b  wanted a value, found missing', 'c  wanted nothing, found (1,)']
    """
    def fits(name):
        return name in wanted and name in found and wanted[name] in (None, found[name])

    names = [name for name in {**wanted, **found} if not fits(name)]
    width = max(map(len, names[:10]), default=0)
    return [f"{name:{width}}  wanted {wanted.get(name, 'nothing') or 'a value'}, found {found.get(name, 'missing')}"
            for name in names]


class LoadedParameter(mx.gluon.Parameter):
    """A parameter that has its value, as `dtype`: on the CPU it *is* the array given, other devices get copies.

    Gluon would fill zeros, copy the value over them, and copy that to the device: three times the time of
    reading a file, and twice its memory.
    """

    def __init__(self, name, value, grad_req="write", dtype="float32"):
        super().__init__(name, grad_req, shape=value.shape, dtype=dtype, allow_deferred_init=True)
        self._value = value.astype(self.dtype, copy=False)

    def _finish_deferred_init(self):
        if self._deferred_init and self._value is not None:
            devices = self._deferred_init[1]
            self._deferred_init = ()
            self._init_impl(_Uncopied(self._value), devices)
            self._value = None
        else:
            super()._finish_deferred_init()


class _Uncopied:
    def __init__(self, array):
        self._array = array

    def copyto(self, device):
        return self._array.as_in_context(device)        # itself, where it is there already
