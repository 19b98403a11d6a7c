"""Weights of others in an MXNet network: names by a rule, shapes compared, the input's normalisation put in front."""
import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.exchange.architectures import ARCHITECTURES
from transfer_gluon.symbols import image_variable, normalized
from transfer_gluon.symbols.backbone import misfits

_BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}


def import_weights(state, architecture, source="the file"):
    """An MXNet network with PyTorch's or Caffe's weights, for raw RGB images 0–255.

    Parameters
    ----------
    state : dict of str to np.ndarray
        PyTorch's names and values, or those of `read_layers`.
    architecture : str
        A key of `ARCHITECTURES`.
    source : str
        Where the weights come from, for messages.

    Returns: (symbol, arg_params, aux_params), as `checkpoints.checkpoint.write_checkpoint` takes them. The symbol ends
    in ``flatten0``, the last linear layer under its own name, and ``softmax``; that of vgg16_caffe has a second output,
    the 512 averages of ``pool5``, in the layer ``pool5_average``.

    Raises: InputError for an architecture that is not known, and with a table of name, wanted and found when names or
    shapes do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise InputError.of("architecture", architecture, f"one of {', '.join(ARCHITECTURES)}")
    network, found = ARCHITECTURES[architecture], _renamed(state)
    if network.flattened:
        found = _from_tensorflow(found, network.flattened)
    rows = found.get(f"{network.classifier}_bias")
    symbol = architecture_symbol(network, 1000 if rows is None else rows.size)
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, *network.image_shape))
    arguments = dict(zip(symbol.list_arguments(), shapes))
    auxiliary = dict(zip(symbol.list_auxiliary_states(), aux_shapes))
    del arguments["data"], arguments["softmax_label"]
    lines = misfits({**arguments, **auxiliary}, {name: value.shape for name, value in found.items()})
    if lines:
        raise InputError(f"{source}: not the weights of {architecture}: {len(lines)} parameters do not fit."
                         f"{first_ten(lines)}")
    return symbol, *({name: mx.nd.array(found[name]) for name in names} for names in (arguments, auxiliary))


def architecture_symbol(network, classes):
    """The symbol of a value of `ARCHITECTURES`, from raw RGB 0–255 to ``softmax``.

    >>> architecture_symbol(ARCHITECTURES["resnet18"], 10).infer_shape(data=(1, 3, 64, 64))[1]
    [(1, 10)]
    """
    logits = mx.sym.FullyConnected(network.features(), num_hidden=classes, name=network.classifier)
    symbol = mx.sym.SoftmaxOutput(logits, name="softmax")
    if network.averaged:
        layer = symbol.get_internals()[f"{network.averaged}_output"]
        average = mx.sym.Pooling(layer, global_pool=True, kernel=(1, 1), pool_type="avg",
                                 name=f"{network.averaged}_average")
        symbol = mx.sym.Group([symbol, mx.sym.BlockGrad(average)])
    return normalized(symbol, network.mean, network.std)(data=image_variable(network.image_shape))


def _renamed(state):
    """PyTorch's names as MXNet's: ``layer1.0.bn1.running_var`` as ``layer1_0_bn1_moving_var``."""
    renamed = {}
    for name, value in state.items():
        *modules, kind = name.split(".")
        if kind == "num_batches_tracked":
            continue
        if ".".join([*modules, "running_mean"]) in state:
            kind = _BATCH_NORM.get(kind, kind)
        renamed["_".join([module.strip("_") for module in modules] + [kind])] = value
    return renamed


def _from_tensorflow(found, flattened):
    """Weights in TensorFlow's layout as MXNet's, and those for blue, green, red as for red, green, blue.

    A convolution's (height, width, in, out) becomes (out, in, height, width), a linear layer's (in, out) (out, in).
    What lies flattened before a linear layer is (height, width, channels) there and (channels, height, width) here.
    """
    moved = {}
    for name, value in found.items():
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
            value = value[:, ::-1] if value.shape[1] == 3 else value
        elif value.ndim == 2:
            shape = flattened.get(name.removesuffix("_weight"))
            if shape and value.shape[0] == np.prod(shape):
                value = value.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(value.shape)
            value = value.T
        moved[name] = value
    return moved
