"""New networks by their names: our own, and those of gluoncv's model zoo."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.symbols.efficientnet_lite import efficientnet_lite0
from transfer_gluon.symbols.inception_v4 import inception_v4
from transfer_gluon.symbols.normalize import normalized
from transfer_gluon.symbols.resnet import resnet
from transfer_gluon.symbols.zoo import zoo_symbol

# Beside resnet, whose depth is a number. Each with its mean and standard deviation, in units of 0–255.
_OWN = {"inception_v4": (inception_v4, 127.5, 127.5), "efficientnet_lite0": (efficientnet_lite0, 127.0, 128.0)}


def new_network(network, num_layers=None, image_shape=(3, 224, 224)):
    """The symbol of a network by its name, from raw RGB 0–255 to its features, ``flatten0``.

    Parameters
    ----------
    network : str
        ``resnet``, ``inception_v4``, ``efficientnet_lite0``, or a name of gluoncv's model zoo.
    num_layers : int or None
        Depth of ``resnet``, see `resnet`; nothing to the others.
    image_shape : (int, int, int)
        Channels, height, width, in pixels: up to 32 pixels, ``resnet`` is that of small images.

    Raises: InputError when no network has this name, with close ones, and for ``resnet`` without its depth.

    >>> new_network("inception_v4").infer_shape(data=(1, 3, 75, 75))[1]
    [(1, 1536)]
    """
    if network == "resnet":
        if num_layers is None:
            raise InputError("`network` resnet was given without `num_layers`; 50 is a usual depth.", "num_layers",
                             None, "a number such as 50")
        return resnet(num_layers, image_shape)
    if network in _OWN:
        build, mean, std = _OWN[network]
        return normalized(build(), (mean,) * 3, (std,) * 3)
    return zoo_symbol(network)
