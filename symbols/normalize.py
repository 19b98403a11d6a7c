"""Input normalisation as the first layer of a network, so that a checkpoint always takes raw RGB 0–255."""
import ast

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.graph import Graph

_OPERATOR = "_image_normalize"


def normalized(symbol, rgb_mean, rgb_std=(1.0, 1.0, 1.0), source="the network"):
    r"""Put a layer ``normalize`` between the images and a network.

    .. math:: x_c \mapsto (x_c - \text{mean}_c) / \text{std}_c

    Its numbers stand in the symbol's JSON, not among the parameters: nothing trains or decays them.

    Parameters
    ----------
    symbol : Symbol
        With the input ``data``. One that begins with this very layer already is returned as it is.
    rgb_mean, rgb_std : (float, float, float)
        Of red, green, blue, in units of 0–255.
    source : str
        What the network is, for messages.

    Raises: InputError when the network has other numbers already, or a standard deviation is 0.

    >>> network = normalized(mx.sym.Flatten(mx.sym.var("data")), (123.68, 116.779, 103.939))
    >>> normalization(network)
    ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
    """
    wanted, found = (tuple(map(float, rgb_mean)), tuple(map(float, rgb_std))), normalization(symbol)
    if 0 in wanted[1]:
        raise InputError(f"`rgb_std` is {_text(rgb_std)}; expected numbers above 0.", "rgb_std", rgb_std,
                         "numbers above 0")
    if found == wanted:
        return symbol
    if found:
        raise InputError(f"{source}: begins with the normalisation mean {_text(found[0])}, std {_text(found[1])}, and "
                         f"`rgb_mean`, `rgb_std` ask for {_text(rgb_mean)}, {_text(rgb_std)}. Leave them out.")
    data = symbol.get_internals()["data"]
    return symbol(data=mx.sym.image.normalize(data, mean=wanted[0], std=wanted[1], name="normalize"))


def normalization(symbol):
    """(mean, std) of the layer that `normalized` puts in front, in units of 0–255; None where there is none."""
    for node in Graph.of(symbol).nodes:
        if node["op"] == _OPERATOR:
            return tuple(tuple(map(float, ast.literal_eval(node["attrs"][key]))) for key in ("mean", "std"))
    return None


def _text(values):
    return ",".join(f"{value:g}" for value in values)
