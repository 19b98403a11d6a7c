"""EfficientNet-Lite0: a network for phones, 4.7 million parameters, 75 % top-1 on ImageNet.

Tan and Le 2019, *EfficientNet*; the Lite variant (Google 2020) leaves squeeze-and-excitation out and clips activations
at 6. Layers are called as the modules of the PyTorch conversion, ``_blocks.0._bn1`` as ``blocks_0_bn1``.
"""
from transfer_gluon.base.framework import mx

# Of each stage: blocks, kernel, stride of the first block, expansion of the channels inside a block, output channels.
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))


def efficientnet_lite0():
    """The symbol from ``data`` to the 1280 features, ``flatten0``. Image sizes are multiples of 32 pixels.

    >>> efficientnet_lite0().infer_shape(data=(1, 3, 224, 224))[1]
    [(1, 1280)]
    """
    x = _relu6(_batch_norm(_convolution(mx.sym.var("data"), "conv_stem", 32, 3, stride=2), "bn0"))
    block, channels = 0, 32
    for blocks, kernel, first_stride, expansion, filters in _STAGES:
        for unit in range(blocks):
            x = _block(x, f"blocks_{block}", channels, filters, kernel, first_stride if unit == 0 else 1, expansion)
            block, channels = block + 1, filters
    x = _relu6(_batch_norm(_convolution(x, "conv_head", 1280, 1), "bn1"))
    x = mx.sym.Pooling(x, global_pool=True, pool_type="avg", kernel=(7, 7), name="avg_pooling")
    return mx.sym.Flatten(mx.sym.Dropout(x, p=0.2, name="dropout"), name="flatten0")


def _block(x, name, channels, filters, kernel, stride, expansion):
    """An inverted residual: expand the channels, convolve each by itself, project to fewer channels."""
    shortcut, inside = x, channels * expansion
    if expansion > 1:
        x = _relu6(_batch_norm(_convolution(x, f"{name}_expand_conv", inside, 1), f"{name}_bn0"))
    x = _relu6(_batch_norm(_convolution(x, f"{name}_depthwise_conv", inside, kernel, stride, inside), f"{name}_bn1"))
    x = _batch_norm(_convolution(x, f"{name}_project_conv", filters, 1), f"{name}_bn2")
    return mx.sym.elemwise_add(x, shortcut, name=f"{name}_plus") if stride == 1 and channels == filters else x


def _convolution(x, name, filters, kernel, stride=1, groups=1):
    pad = kernel // 2
    if stride == 2:
        # TensorFlow pads an even size by one pixel less above and on the left.
        x = mx.sym.pad(x, mode="constant", constant_value=0, pad_width=(0, 0, 0, 0, pad - 1, pad, pad - 1, pad),
                       name=f"{name}_pad")
        pad = 0
    return mx.sym.Convolution(x, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
                              num_group=groups, no_bias=True, name=name)


def _batch_norm(x, name):
    return mx.sym.BatchNorm(x, fix_gamma=False, eps=1e-3, momentum=0.99, name=name)


def _relu6(x):
    return mx.sym.clip(x, a_min=0, a_max=6, name=f"{x.name}_relu6")
