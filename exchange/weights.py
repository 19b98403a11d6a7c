"""PyTorch's weights in an MXNet network: names by a rule, shapes compared, the input's normalisation put in front."""
from collections import namedtuple
from functools import partial

from base.errors import InputError, first_ten
from base.framework import mx
from symbols import image_variable, normalized
from symbols.backbone import misfits
from symbols.efficientnet_lite import efficientnet_lite0
from symbols.torch_networks import torch_alexnet, torch_resnet, torch_vgg

# A network up to flatten0, its last linear layer (which gives the number of classes), and its input's mean and standard
# deviation in units of 0–255.
_Architecture = namedtuple("_Architecture", "features classifier mean std")
_torchvision = partial(_Architecture, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))

ARCHITECTURES = {
    **{f"resnet{depth}": _torchvision(partial(torch_resnet, depth), "fc") for depth in (18, 34, 50, 101, 152)},
    "alexnet": _torchvision(torch_alexnet, "classifier_6"),
    **{f"vgg{depth}": _torchvision(partial(torch_vgg, depth), "classifier_6") for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _torchvision(partial(torch_vgg, depth, batch_norm=True), "classifier_6")
       for depth in (11, 13, 16, 19)},
    "efficientnet_lite0": _Architecture(efficientnet_lite0, "fc", (127.0,) * 3, (128.0,) * 3),
}

_IMAGE_SHAPE = 3, 224, 224      # of all these networks
_BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}


def import_weights(state, architecture, source="the file"):
    """An MXNet network with PyTorch's weights, for raw RGB images 0–255.

    Parameters
    ----------
    state : dict of str to np.ndarray
        PyTorch's names and values.
    architecture : str
        A key of `ARCHITECTURES`.
    source : str
        Where the weights come from, for messages.

    Returns: (symbol, arg_params, aux_params), as `training.checkpoint.write_checkpoint` takes them. The symbol ends
    in ``flatten0``, the last linear layer under its own name, and ``softmax``.

    Raises: InputError with a table of name, wanted and found when names or shapes do not fit.
    """
    network, found = ARCHITECTURES[architecture], _renamed(state)
    rows = found.get(f"{network.classifier}_bias")
    logits = mx.sym.FullyConnected(network.features(), num_hidden=1000 if rows is None else rows.size,
                                   name=network.classifier)
    symbol = normalized(mx.sym.SoftmaxOutput(logits, name="softmax"), network.mean, network.std)
    symbol = symbol(data=image_variable(_IMAGE_SHAPE))
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, *_IMAGE_SHAPE))
    arguments = dict(zip(symbol.list_arguments(), shapes))
    auxiliary = dict(zip(symbol.list_auxiliary_states(), aux_shapes))
    del arguments["data"], arguments["softmax_label"]
    lines = misfits({**arguments, **auxiliary}, {name: value.shape for name, value in found.items()})
    if lines:
        raise InputError(f"{source}: not the weights of {architecture}: {len(lines)} parameters do not fit."
                         f"{first_ten(lines)}")
    return symbol, *({name: mx.nd.array(found[name]) for name in names} for names in (arguments, auxiliary))


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
