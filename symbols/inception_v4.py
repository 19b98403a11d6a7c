"""Inception-v4: 42 million parameters, 80 % top-1 on ImageNet.

Szegedy et al. 2016, *Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning*, as timm and
Cadene's *pretrained-models.pytorch* have it. Layers are called as their PyTorch modules, ``features.4.branch1.2.bn`` as
``features_4_branch1_2_bn``: 22 parts, ``features_0`` to ``features_21``.
"""
from transfer_gluon.base.framework import mx


def inception_v4():
    """The symbol from ``data`` to the 1536 features, ``flatten0``. Images have at least 75 × 75 pixels, usually 299.

    >>> inception_v4().infer_shape(data=(1, 3, 299, 299))[1]
    [(1, 1536)]
    """
    x = _layer(mx.sym.var("data"), "features_0", 32, 3, stride=2, pad=False)
    x = _layer(x, "features_1", 32, 3, pad=False)
    x = _layer(x, "features_2", 64, 3)
    blocks = [_mixed_3a, _mixed_4a, _mixed_5a, *4 * [_a], _reduction_a, *7 * [_b], _reduction_b, *3 * [_c]]
    for place, block in enumerate(blocks, start=3):
        x = mx.sym.concat(*block(x, f"features_{place}"), name=f"features_{place}_concat")
    x = mx.sym.Pooling(x, global_pool=True, pool_type="avg", kernel=(8, 8), name="global_pool")
    return mx.sym.Flatten(x, name="flatten0")


def _mixed_3a(x, name):
    return _max_pool(x, name), _layer(x, f"{name}_conv", 96, 3, stride=2, pad=False)


def _mixed_4a(x, name):
    narrow = _layer(_layer(x, f"{name}_branch0_0", 64, 1), f"{name}_branch0_1", 96, 3, pad=False)
    wide = _layers(x, f"{name}_branch1", (64, 1), (64, (1, 7)), (64, (7, 1)))
    return narrow, _layer(wide, f"{name}_branch1_3", 96, 3, pad=False)


def _mixed_5a(x, name):
    return _layer(x, f"{name}_conv", 192, 3, stride=2, pad=False), _max_pool(x, name)


def _a(x, name):
    return (_layer(x, f"{name}_branch0", 96, 1), _layers(x, f"{name}_branch1", (64, 1), (96, 3)),
            _layers(x, f"{name}_branch2", (64, 1), (96, 3), (96, 3)), _averaged(x, name, 96))


def _reduction_a(x, name):
    deep = _layers(x, f"{name}_branch1", (192, 1), (224, 3))
    return (_layer(x, f"{name}_branch0", 384, 3, stride=2, pad=False),
            _layer(deep, f"{name}_branch1_2", 256, 3, stride=2, pad=False), _max_pool(x, name))


def _b(x, name):
    return (_layer(x, f"{name}_branch0", 384, 1), _layers(x, f"{name}_branch1", (192, 1), (224, (1, 7)), (256, (7, 1))),
            _layers(x, f"{name}_branch2", (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
            _averaged(x, name, 128))


def _reduction_b(x, name):
    wide = _layers(x, f"{name}_branch1", (256, 1), (256, (1, 7)), (320, (7, 1)))
    return (_layer(_layer(x, f"{name}_branch0_0", 192, 1), f"{name}_branch0_1", 192, 3, stride=2, pad=False),
            _layer(wide, f"{name}_branch1_3", 320, 3, stride=2, pad=False), _max_pool(x, name))


def _c(x, name):
    one = _layer(x, f"{name}_branch1_0", 384, 1)
    two = _layers(x, f"{name}_branch2", (384, 1), (448, (3, 1)), (512, (1, 3)))
    return (_layer(x, f"{name}_branch0", 256, 1), *_both_ways(one, f"{name}_branch1_1"),
            *_both_ways(two, f"{name}_branch2_3"), _averaged(x, name, 256))


def _both_ways(x, name):
    return _layer(x, f"{name}a", 256, (1, 3)), _layer(x, f"{name}b", 256, (3, 1))


def _layers(x, name, *layers):
    """Layers one behind the other, (filters, kernel) each."""
    for place, (filters, kernel) in enumerate(layers):
        x = _layer(x, f"{name}_{place}", filters, kernel)
    return x


def _layer(x, name, filters, kernel, stride=1, pad=True):
    """A convolution with its batch normalisation; without `pad`, the image gets smaller at its edges."""
    kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    x = mx.sym.Convolution(x, num_filter=filters, kernel=kernel, stride=(stride, stride), no_bias=True,
                           pad=tuple(side // 2 for side in kernel) if pad else (0, 0), name=f"{name}_conv")
    x = mx.sym.BatchNorm(x, fix_gamma=False, eps=1e-3, momentum=0.9, name=f"{name}_bn")
    return mx.sym.Activation(x, act_type="relu", name=f"{name}_relu")


def _averaged(x, name, filters):
    x = mx.sym.Pooling(x, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="avg", count_include_pad=False,
                       name=f"{name}_branch3_0")
    return _layer(x, f"{name}_branch3_1", filters, 1)


def _max_pool(x, name):
    return mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max", name=f"{name}_maxpool")
