"""Pre-activation residual networks under the names of MXNet's published checkpoints.

He et al. 2016, *Identity Mappings in Deep Residual Networks*. The published resnet-152 imagenet-11k
checkpoint is ``resnet(152, (3, 224, 224))`` with a classifier ``fc1`` of 11221 classes behind it.
"""
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx

_EPS = 2e-5
_BN_MOMENTUM = 0.9

# Depth: units of each stage, and whether a unit is a bottleneck of three convolutions.
_IMAGENET_DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
    200: ((3, 24, 36, 3), True),
    269: ((3, 30, 48, 8), True),
}


def resnet(num_layers, image_shape):
    """The symbol of a residual network from ``data`` to its features, ``flatten0``.

    Images at most 32 pixels high get the CIFAR-style network: three stages at full resolution, depths
    6n + 2 below 164 (basic units; 8, 14, 20, 32, 44, 56, 110, …) and 9n + 2 from 164 on (bottlenecks),
    64 or 256 features. Larger ones get the ImageNet network: depths 18, 34 (512 features), 50, 101, 152,
    200, 269 (2048 features).

    Parameters
    ----------
    num_layers : int
        Depth: convolutions on the longest path, plus one for the classifier.
    image_shape : (int, int, int)
        Channels, height, width, in pixels.

    Raises: InputError for a depth that does not exist at this size, and for other than 3 channels.

    >>> resnet(8, (3, 28, 28)).infer_shape(data=(1, 3, 28, 28))[1]
    [(1, 64)]
    """
    if image_shape[0] != 3:
        raise InputError(f"`image_shape` is {','.join(map(str, image_shape))}; expected 3 channels, as in 3,320,320: "
                         "images are read as red, green and blue.", "image_shape", image_shape, "3 channels")
    small = image_shape[1] <= 32
    units, widths, bottleneck = _small_layout(num_layers) if small else _imagenet_layout(num_layers)
    x = _batch_norm(mx.sym.Variable("data"), "bn_data", fix_gamma=True)
    if small:
        x = _convolution(x, "conv0", widths[0], kernel=3)
    else:
        x = _convolution(x, "conv0", widths[0], kernel=7, stride=2)
        x = _relu(_batch_norm(x, "bn0"), "relu0")
        x = mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pooling0")
    for stage, (count, width) in enumerate(zip(units, widths[1:]), start=1):
        for unit in range(1, count + 1):
            stride = 2 if unit == 1 and stage > 1 else 1
            x = _unit(x, f"stage{stage}_unit{unit}", width, stride, unit > 1, bottleneck)
    x = _relu(_batch_norm(x, "bn1"), "relu1")
    x = mx.sym.Pooling(x, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    return mx.sym.Flatten(x, name="flatten0")


def _small_layout(num_layers):
    if num_layers >= 164 and (num_layers - 2) % 9 == 0:
        return [(num_layers - 2) // 9] * 3, (16, 64, 128, 256), True
    if 8 <= num_layers < 164 and (num_layers - 2) % 6 == 0:
        return [(num_layers - 2) // 6] * 3, (16, 16, 32, 64), False
    raise InputError(
        f"`num_layers` is {num_layers}; images at most 32 pixels high take 8, 14, 20, … (6n + 2) below 164 "
        "and 164, 173, … (9n + 2) from there on.", "num_layers", num_layers, "6n + 2 below 164, 9n + 2 from there on")


def _imagenet_layout(num_layers):
    if num_layers not in _IMAGENET_DEPTHS:
        depths = ", ".join(map(str, _IMAGENET_DEPTHS))
        raise InputError(f"`num_layers` is {num_layers}; images more than 32 pixels high take one of {depths}.",
                         "num_layers", num_layers, f"one of {depths}")
    units, bottleneck = _IMAGENET_DEPTHS[num_layers]
    return units, (64, 256, 512, 1024, 2048) if bottleneck else (64, 64, 128, 256, 512), bottleneck


def _unit(x, name, width, stride, same_shape, bottleneck):
    if bottleneck:
        convolutions = [(width // 4, 1, 1), (width // 4, 3, stride), (width, 1, 1)]
    else:
        convolutions = [(width, 3, stride), (width, 3, 1)]
    shortcut = x
    for i, (filters, kernel, step) in enumerate(convolutions, start=1):
        x = _relu(_batch_norm(x, f"{name}_bn{i}"), f"{name}_relu{i}")
        if i == 1 and not same_shape:
            shortcut = _convolution(x, f"{name}_sc", width, kernel=1, stride=stride)
        x = _convolution(x, f"{name}_conv{i}", filters, kernel, step)
    return mx.sym.elemwise_add(x, shortcut, name=f"{name}_plus")


def _convolution(x, name, filters, kernel, stride=1):
    return mx.sym.Convolution(x, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride),
                              pad=(kernel // 2, kernel // 2), no_bias=True, name=name)


def _batch_norm(x, name, fix_gamma=False):
    return mx.sym.BatchNorm(x, fix_gamma=fix_gamma, eps=_EPS, momentum=_BN_MOMENTUM, name=name)


def _relu(x, name):
    return mx.sym.Activation(x, act_type="relu", name=name)
