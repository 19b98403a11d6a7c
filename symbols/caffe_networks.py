"""AlexNet and VGG-16 as they were published with Caffe: https://github.com/BVLC/caffe, ``models/bvlc_alexnet``;
https://www.robots.ox.ac.uk/~vgg/research/very_deep/.

Layers have Caffe's names, so that ``relu6`` is what comes out of the first fully connected layer. Each network goes
from ``data``, red, green, blue, to ``flatten0``, what ``fc8`` gets.
"""
from transfer_gluon.base.framework import mx

_VGG16 = (2, 2, 3, 3, 3)


def caffe_alexnet(hidden=4096):
    """Krizhevsky et al. 2012, *ImageNet Classification with Deep Convolutional Neural Networks*, for 227 × 227 pixels.

    Convolutions 2, 4 and 5 are in two halves that do not see each other. The outputs of 1 and 2 are normalised across
    5 channels; pooling comes behind that.

    Parameters
    ----------
    hidden : int
        Units of ``fc6`` and ``fc7``, which are the features.

    >>> caffe_alexnet().infer_shape(data=(1, 3, 227, 227))[1]
    [(1, 4096)]
    """
    x = _convolution(mx.sym.var("data"), "1", 96, kernel=11, stride=4, pad=0)
    x = _max_pool(_across_channels(x, "norm1"), "pool1", 3)
    x = _convolution(x, "2", 256, kernel=5, pad=2, groups=2)
    x = _max_pool(_across_channels(x, "norm2"), "pool2", 3)
    x = _convolution(x, "3", 384)
    x = _convolution(x, "4", 384, groups=2)
    x = _convolution(x, "5", 256, groups=2)
    return _hidden_layers(_max_pool(x, "pool5", 3), hidden)


def caffe_vgg16(hidden=4096):
    """Simonyan and Zisserman 2015, *Very Deep Convolutional Networks*, configuration D, for 224 × 224 pixels.

    `hidden`: units of ``fc6`` and ``fc7``, which are the features.

    >>> caffe_vgg16().infer_shape(data=(1, 3, 224, 224))[1]
    [(1, 4096)]
    """
    x = mx.sym.var("data")
    for stage, units in enumerate(_VGG16, start=1):
        for unit in range(1, units + 1):
            x = _convolution(x, f"{stage}_{unit}", min(32 << stage, 512))
        x = _max_pool(x, f"pool{stage}", 2)
    return _hidden_layers(x, hidden)


def _convolution(x, number, filters, kernel=3, stride=1, pad=1, groups=1):
    x = mx.sym.Convolution(x, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
                           num_group=groups, name=f"conv{number}")
    return mx.sym.Activation(x, act_type="relu", name=f"relu{number}")


def _across_channels(x, name):
    # MXNet divides alpha by the number of channels, as Caffe does: 2e-5 for each of the 5.
    return mx.sym.LRN(x, nsize=5, alpha=1e-4, beta=0.75, knorm=1, name=name)


def _max_pool(x, name, kernel):
    return mx.sym.Pooling(x, kernel=(kernel, kernel), stride=(2, 2), pool_type="max", name=name)


def _hidden_layers(x, units):
    for number in 6, 7:
        x = mx.sym.FullyConnected(x, num_hidden=units, name=f"fc{number}")
        x = mx.sym.Dropout(mx.sym.Activation(x, act_type="relu", name=f"relu{number}"), p=0.5, name=f"drop{number}")
    return mx.sym.Flatten(x, name="flatten0")
