"""Adaptive batch normalisation: a network's statistics, taken from the target domain.

Li et al. 2016, *Revisiting Batch Normalization For Practical Domain Adaptation*.
"""
import json
from dataclasses import dataclass, replace

import numpy as np

from transfer_gluon.base.devices import to_devices
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint
from transfer_gluon.inference.evaluate import check_finite
from transfer_gluon.symbols import features_block
from transfer_gluon.symbols.backbone import check_fit

_SOFTMAX = ("SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation")


@dataclass(frozen=True)
class _BatchNorm:
    name: str
    input: mx.sym.Symbol
    moving_mean: str
    moving_var: str


class RunningMoments:
    """Mean and variance of rows that arrive in blocks, in float64 (Chan et al. 1979, *Updating Formulae
    and a Pairwise Algorithm for Computing Sample Variances*): memory for one row.

    >>> moments = RunningMoments()
    >>> moments.add(np.array([[1.0], [2.0]])); moments.add(np.array([[6.0]]))
    >>> moments.mean.tolist(), moments.variance.round(3).tolist()
    ([3.0], [4.667])
    """

    def __init__(self):
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, rows):
        """Take in a block (n, c)."""
        rows = rows.astype(np.float64)
        n, mean = len(rows), rows.mean(axis=0)
        step = mean - self.mean
        total = self.count + n
        self._squares = self._squares + ((rows - mean) ** 2).sum(axis=0) + step**2 * (self.count * n / total)
        self.mean = self.mean + step * (n / total)
        self.count = total

    @property
    def variance(self):
        """Of the rows, dividing by their number."""
        return self._squares / self.count


def batch_norm_layers(symbol):
    """The names of the batch normalisation layers of a network, from the input to the output."""
    return [layer.name for layer in _batch_norms(symbol)]


def adapt(checkpoint, batches, device, layers=None, statistics="image"):
    r"""Give batch normalisation layers the statistics of a domain.

    With h the input of a layer, at image i, channel c and pixel q, and :math:`\bar h_{ic}` its mean over
    pixels, all computed with the statistics of the checkpoint everywhere:

    .. math::
        \mu_c = \operatorname{mean}_i \bar h_{ic}, \qquad
        \sigma_c^2 = \operatorname{var}_i \bar h_{ic}
        \;\; \left[ + \operatorname{mean}_i \operatorname{var}_q h_{icq} \right]

    The term in brackets belongs to ``statistics="pixel"``, which is what batch normalisation itself would
    measure; without it, as the original has it, the spread inside an image is left out.

    Parameters
    ----------
    checkpoint : Checkpoint
    batches : DataIter
        Images of the target domain, one epoch.
    device : Context
    layers : sequence of str, or None
        None: the network's last two, as the original has it (``stage4_unit3_bn3`` and ``bn1`` of the
        published ResNets).
    statistics : "image" or "pixel"

    Returns: (adapted Checkpoint, classes (n,) predicted before adaptation).

    Raises: InputError for a layer that does not exist; DivergedError when a class score is NaN or infinite.
    """
    norms = {norm.name: norm for norm in _batch_norms(checkpoint.symbol)}
    layers = list(norms)[-2:] if layers is None else list(layers)
    unknown = [name for name in layers if name not in norms]
    if unknown or not layers:
        raise InputError(f"--layers: {checkpoint.name} has no batch normalisation layer "
                         f"{', '.join(unknown) or 'at all'}; it has {' '.join(norms) or 'none'}.")
    outputs = [logits(checkpoint.symbol)]
    for name in layers:
        pixels = mx.sym.reshape(norms[name].input, shape=(0, 0, -1))
        mean = mx.sym.mean(pixels, axis=2)
        within = mx.sym.mean(mx.sym.square(mx.sym.broadcast_sub(pixels, mx.sym.expand_dims(mean, axis=2))), axis=2)
        outputs += [mean, within]
    net = _network(mx.sym.Group(outputs), checkpoint, device)

    means, withins = [RunningMoments() for _ in layers], [RunningMoments() for _ in layers]
    predictions = []
    batches.reset()
    for batch in batches:
        scores, *values = net(*to_devices(batch.data[0], [device]))
        for moments, value in zip(means, values[0::2]):
            moments.add(value.asnumpy())
        for moments, value in zip(withins, values[1::2]):
            moments.add(value.asnumpy())
        scores = scores.asnumpy()
        check_finite(scores, checkpoint.name)
        predictions.append(scores.argmax(axis=1))

    adapted = dict(checkpoint.aux_params)
    for name, mean, within in zip(layers, means, withins):
        variance = mean.variance + (within.mean if statistics == "pixel" else 0)
        adapted[norms[name].moving_mean] = mx.nd.array(mean.mean)
        adapted[norms[name].moving_var] = mx.nd.array(variance)
    return replace(checkpoint, aux_params=adapted), np.concatenate(predictions)


def classifier(checkpoint: Checkpoint, device, image_shape=None):
    """A checkpoint as a block from images to class scores, on a device. Raises: see `features_block`."""
    return _network(logits(checkpoint.symbol), checkpoint, device, image_shape)


def num_classes(symbol, image_shape, source="the network"):
    """How many classes a network, called `source`, tells apart.

    Raises: InputError for one that gives no row of class scores an image, or cannot take images of this size.
    """
    scores = logits(symbol)
    check_fit(scores, None, None, source, image_shape)
    shape = scores.infer_shape_partial(data=(1, *image_shape))[1][0]
    if not shape or len(shape) != 2 or shape[0] != 1:
        raise InputError(f"{source}: gives {shape} for an image of {image_shape}; expected a classifier, whose output "
                         "is (1, number of classes).")
    return shape[1]


def logits(symbol):
    """The class scores of a network: the input of its softmax, or its first output where it has none."""
    nodes = _nodes(symbol)
    for node in nodes:
        if node["op"] in _SOFTMAX:
            return _input(symbol, nodes, node)
    return symbol[0]


def _network(symbol, checkpoint, device, image_shape=None):
    net = features_block(symbol, checkpoint.arg_params, checkpoint.aux_params, checkpoint.name, image_shape)
    net.collect_params().setattr("grad_req", "null")        # or gradients would take as much memory as the values
    net.initialize(ctx=device)
    net.hybridize(static_alloc=True)
    return net


def _batch_norms(symbol):
    nodes = _nodes(symbol)
    return [_BatchNorm(node["name"], _input(symbol, nodes, node),
                       *(nodes[node["inputs"][i][0]]["name"] for i in (3, 4)))
            for node in nodes if node["op"] == "BatchNorm"]


def _nodes(symbol):
    return json.loads(symbol.tojson())["nodes"]


def _input(symbol, nodes, node):
    """The first input of a node, as a symbol."""
    number, output = node["inputs"][0][:2]
    name = nodes[number]["name"]
    internals = symbol.get_internals()
    there = set(internals.list_outputs())
    return internals[next(key for key in (name, f"{name}_output", f"{name}_output{output}") if key in there)]
