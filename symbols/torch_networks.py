"""ResNet, AlexNet and VGG as torchvision defines them, timm's ResNets included.

A layer is called as its PyTorch module, with underscores for dots: ``layer1.0.conv1`` is ``layer1_0_conv1``. So
weights come over by a rule, and each function here says only how the modules are put together. Every network goes from
``data`` to ``flatten0``, what PyTorch's last linear layer gets.
"""
from transfer_gluon.base.framework import mx

_RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_VGGS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def torch_resnet(num_layers):
    """He et al. 2016, *Deep Residual Learning*, with the stride of a bottleneck in its 3×3 convolution.

    `num_layers`: 18 or 34 (512 features), 50, 101 or 152 (2048 features).

    >>> torch_resnet(18).infer_shape(data=(1, 3, 224, 224))[1]
    [(1, 512)]
    """
    x = _relu(_batch_norm(_convolution(mx.sym.var("data"), "conv1", 64, 7, stride=2, bias=False), "bn1"))
    x = _max_pool(x, kernel=3, stride=2, pad=1)
    for stage, units in enumerate(_RESNETS[num_layers], start=1):
        for unit in range(units):
            x = _residual(x, f"layer{stage}_{unit}", 32 << stage, stride=2 if unit == 0 and stage > 1 else 1,
                          bottleneck=num_layers >= 50, downsample=unit == 0 and (stage > 1 or num_layers >= 50))
    return mx.sym.Flatten(mx.sym.Pooling(x, global_pool=True, pool_type="avg", kernel=(7, 7), name="avgpool"),
                          name="flatten0")


def _residual(x, name, width, stride, bottleneck, downsample):
    if bottleneck:
        convolutions = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
    else:
        convolutions = [(width, 3, stride), (width, 3, 1)]
    shortcut = x
    if downsample:
        shortcut = _convolution(x, f"{name}_downsample_0", convolutions[-1][0], 1, stride, bias=False)
        shortcut = _batch_norm(shortcut, f"{name}_downsample_1")
    for i, (filters, kernel, step) in enumerate(convolutions, start=1):
        x = _relu(x) if i > 1 else x
        x = _batch_norm(_convolution(x, f"{name}_conv{i}", filters, kernel, step, bias=False), f"{name}_bn{i}")
    return _relu(mx.sym.elemwise_add(x, shortcut, name=f"{name}_plus"))


def torch_alexnet():
    """Krizhevsky 2014, *One weird trick*: 4096 features.

    >>> torch_alexnet().infer_shape(data=(1, 3, 224, 224))[1]
    [(1, 4096)]
    """
    x = _relu(_convolution(mx.sym.var("data"), "features_0", 64, 11, stride=4, pad=2))
    x = _relu(_convolution(_max_pool(x, kernel=3, stride=2), "features_3", 192, 5))
    x = _relu(_convolution(_max_pool(x, kernel=3, stride=2), "features_6", 384, 3))
    x = _relu(_convolution(x, "features_8", 256, 3))
    x = _relu(_convolution(x, "features_10", 256, 3))
    x = mx.sym.contrib.AdaptiveAvgPooling2D(_max_pool(x, kernel=3, stride=2), output_size=6, name="avgpool")
    x = _relu(_linear(_dropout(x), "classifier_1"))
    x = _relu(_linear(_dropout(x), "classifier_4"))
    return mx.sym.Flatten(x, name="flatten0")


def torch_vgg(num_layers, batch_norm=False):
    """Simonyan and Zisserman 2015, *Very Deep Convolutional Networks*: 4096 features.

    `num_layers`: 11, 13, 16 or 19.

    >>> torch_vgg(16).infer_shape(data=(1, 3, 224, 224))[1]
    [(1, 4096)]
    """
    x, module = mx.sym.var("data"), 0
    for stage, units in enumerate(_VGGS[num_layers]):
        for _ in range(units):
            x = _convolution(x, f"features_{module}", min(64 << stage, 512), 3)
            if batch_norm:
                x = _batch_norm(x, f"features_{module + 1}")
            x = _relu(x)
            module += 3 if batch_norm else 2
        x = _max_pool(x, kernel=2, stride=2)
        module += 1
    x = mx.sym.contrib.AdaptiveAvgPooling2D(x, output_size=7, name="avgpool")
    x = _dropout(_relu(_linear(x, "classifier_0")))
    x = _dropout(_relu(_linear(x, "classifier_3")))
    return mx.sym.Flatten(x, name="flatten0")


def _convolution(x, name, filters, kernel, stride=1, pad=None, bias=True):
    pad = kernel // 2 if pad is None else pad
    return mx.sym.Convolution(x, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
                              no_bias=not bias, name=name)


def _batch_norm(x, name):
    return mx.sym.BatchNorm(x, fix_gamma=False, eps=1e-5, momentum=0.9, name=name)


def _linear(x, name):
    return mx.sym.FullyConnected(x, num_hidden=4096, name=name)


def _dropout(x):
    return mx.sym.Dropout(x, p=0.5, name=f"{x.name}_dropout")


def _relu(x):
    return mx.sym.Activation(x, act_type="relu", name=f"{x.name}_relu")


def _max_pool(x, kernel, stride, pad=0):
    return mx.sym.Pooling(x, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad), pool_type="max",
                          name=f"{x.name}_pool")
