"""Several networks as one: what they compute alike, such as frozen layers, is computed once."""
import hashlib
from dataclasses import dataclass

import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.backbone import check_fit, values_block
from transfer_gluon.symbols.graph import Graph
from transfer_gluon.symbols.precision import for_inference

_INPUT = "common_output"
_LEAST = 0.25       # of the operators must be common, or one would lower what the others share
_HELD = 2**28       # numbers of the networks above their common part that are in memory at a time


@dataclass(frozen=True)
class Values:
    """What is to be known of a checkpoint's parameters without keeping them.

    Attributes
    ----------
    digests : dict of str to bytes
    sizes : dict of str to int
    finite : bool
    """

    digests: dict
    sizes: dict
    finite: bool

    @classmethod
    def of(cls, checkpoint):
        values = {name: value.asnumpy() for name, value in {**checkpoint.arg_params, **checkpoint.aux_params}.items()}
        return cls({name: hashlib.sha256(f"{value.shape} {value.dtype}".encode() + value.tobytes()).digest()
                    for name, value in values.items()},
                   {name: value.size for name, value in values.items()},
                   all(np.isfinite(value).all() for value in values.values()))

    def differing(self, *others):
        """The names of the parameters that are not the same in all."""
        names = {name for one in (self, *others) for name in one.digests}
        return {name for name in names if any(one.digests.get(name) != self.digests.get(name) for one in others)}


def features_and_logits(symbol):
    """The graph whose outputs are what feeds the classifier of a network, and its class scores.

    >>> symbol = mx.sym.FullyConnected(mx.sym.relu(mx.sym.var("data"), name="relu1"), num_hidden=3, name="fc")
    >>> features_and_logits(mx.sym.softmax(symbol)).symbol().list_outputs()
    ['relu1_output', 'fc_output']
    """
    graph = Graph.of(symbol)
    scores = graph.logits()
    node = graph.nodes[scores[0]]
    features = node["inputs"][0] if node["op"] == "FullyConnected" else scores
    return Graph(graph.nodes, [[*entry[:2], 0] for entry in (features, scores)], graph.attrs)


def groups(graph, values):
    """Which networks of one graph to compute together, given the `Values` of each: lists of their places.

    Those of a group have all below the first parameters that differ in common; one that has little in common with
    others is alone.
    """
    left, found = list(range(len(values))), []
    while left:
        first = values[left[0]]
        alike = [place for place in left if _frontier(graph, first.differing(values[place]))]
        own = sum(first.sizes.get(name, 0) for name in first.differing(*(values[place] for place in alike)))
        most = max(_HELD // max(own, 1), 1)
        found += [alike[start:start + most] for start in range(0, len(alike), most)]
        left = [place for place in left if place not in alike]
    return found


def _frontier(graph, differing):
    """What the part above the parameters of these names takes from below, (node, output) each; empty where little or
    nothing lies below."""
    above = graph.depending_on(differing)
    operators = [over for node, over in zip(graph.nodes, above) if node["op"] != "null"]
    taken = graph.taken_by(above)
    passed = any(graph.nodes[number]["name"] == "data" for number, _ in taken)
    if passed or operators.count(False) < _LEAST * len(operators):
        return []
    return [(number, output) for number, output in taken if graph.nodes[number]["op"] != "null"]


class Together:
    """Networks of one graph as one callable: from images to ([features, logits, features, logits, …], numbers), where
    the numbers are finite whatever the networks say.

    Parameters
    ----------
    graph : Graph
        Of `features_and_logits`.
    checkpoints : list of Checkpoint
    differing : set of str
        Names of the parameters that are not the same in all.
    devices : list of Context
    image_shape : (int, int, int)
    dtype : str
        What is computed in; see `symbols.precision`.

    Raises: InputError as `features_block`.
    """

    def __init__(self, graph, checkpoints, differing, devices, image_shape, dtype="float32"):
        for checkpoint in checkpoints:
            check_fit(graph.symbol(), checkpoint.arg_params, checkpoint.aux_params, checkpoint.name, image_shape)
        frontier = _frontier(graph, differing)
        if len(checkpoints) == 1 or not frontier:
            self._below = None
            self._above = [_block(graph.symbol(), ["data"], checkpoint, devices, dtype) for checkpoint in checkpoints]
            return
        self._below = _block(mx.sym.Group(graph.outputs(frontier)), ["data"], checkpoints[0], devices, dtype)
        above = graph.above(frontier, _INPUT)
        inputs = [f"{_INPUT}{place}" for place in range(len(frontier))]
        self._above = [_block(above, inputs, checkpoint, devices, dtype) for checkpoint in checkpoints]

    def __call__(self, images):
        between = [images]
        if self._below is not None:
            between = self._below(images)
            between = between if isinstance(between, (list, tuple)) else [between]
        # A network that gives no numbers must not stop the others: its scores will say so.
        return [part for above in self._above for part in above(*between)], images.mean(axis=(2, 3))


def _block(symbol, inputs, checkpoint, devices, dtype):
    found = {**checkpoint.arg_params, **checkpoint.aux_params}
    block = values_block(for_inference(symbol, devices, dtype), found, "float32", inputs)
    block.initialize(ctx=devices)
    return block
