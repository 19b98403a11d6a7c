"""Symbols taken apart: their nodes, layers and parts. Nothing else looks for these in a symbol's JSON.

`Symbol.tojson` loses 2.5 times the memory of its text at every call (MXNet 1.9.1): a symbol is read once for all that
is asked of it, and never in a loop.
"""
import difflib
import json
from dataclasses import dataclass, replace

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.framework import mx

_SOFTMAX = ("SoftmaxOutput", "Softmax", "softmax", "SoftmaxActivation")
_TRUE = "True", "1"


@dataclass(frozen=True)
class BatchNorm:
    """A batch normalisation layer.

    Attributes
    ----------
    place : int
        Of its node.
    name : str
    input : (int, int)
        The node and the output of it that is normalised.
    gamma, moving_mean, moving_var : str
        Names of the variables.
    momentum, eps : float
    fix_gamma : bool
        MXNet computes with a gamma of 1, whatever its value.
    use_global_stats : bool
        It always normalises by the moving statistics, and never moves them.
    """

    place: int
    name: str
    input: tuple
    gamma: str
    moving_mean: str
    moving_var: str
    momentum: float
    eps: float
    fix_gamma: bool
    use_global_stats: bool


@dataclass(frozen=True)
class Graph:
    """The nodes of a symbol, each behind those that it takes something from.

    Attributes
    ----------
    nodes : list of dict
        ``op`` ("null": a variable), ``name``, ``inputs`` and, where there are any, ``attrs``, a dict of str to str.
    heads : list
        The symbol's outputs. Like the inputs of a node, each is a list [node, output of the node, …].
    attrs : dict
        Of the whole: the version of MXNet that wrote it.

    >>> graph = Graph.of(mx.sym.relu(mx.sym.var("data"), name="relu1"))
    >>> [(node["op"], node["name"]) for node in graph.nodes], graph.heads
    ([('null', 'data'), ('relu', 'relu1')], [[1, 0, 0]])
    """

    nodes: list
    heads: list
    attrs: dict

    @classmethod
    def of(cls, symbol):
        """The graph of a symbol, a copy."""
        graph = json.loads(symbol.tojson())
        return cls(graph["nodes"], graph["heads"], graph.get("attrs", {}))

    def symbol(self):
        """The symbol with these nodes and heads."""
        variables = [place for place, node in enumerate(self.nodes) if node["op"] == "null"]
        return mx.sym.load_json(json.dumps({"nodes": self.nodes, "arg_nodes": variables, "heads": self.heads,
                                            "attrs": self.attrs}))

    def outputs(self, entries):
        """Outputs of nodes, each (node, output of it, …), as symbols that share the nodes below them."""
        return list(replace(self, heads=[[number, output, 0] for number, output, *_ in entries]).symbol())

    def logits(self):
        """Where the class scores are: what enters the softmax that is an output; the first output where none is.

        A softmax inside a network, such as that of its attention, is none of classes."""
        ends = (self.nodes[number] for number, *_ in self.heads)
        return next((node["inputs"][0] for node in ends if node["op"] in _SOFTMAX), self.heads[0])

    def batch_norms(self):
        """A `BatchNorm` for each such layer, from the input to the output."""
        return [self._batch_norm(place, node) for place, node in enumerate(self.nodes) if node["op"] == "BatchNorm"]

    def _batch_norm(self, place, node):
        given = node.get("attrs", {})
        _, gamma, _, mean, var = (self.nodes[number]["name"] for number, *_ in node["inputs"])
        return BatchNorm(place, node["name"], tuple(node["inputs"][0][:2]), gamma, mean, var,
                         float(given.get("momentum", 0.9)), float(given.get("eps", 1e-3)),
                         given.get("fix_gamma", "True") in _TRUE, given.get("use_global_stats") in _TRUE)

    def depending_on(self, names):
        """For each node, whether it is one of these variables, or what it computes depends on one (list of bool)."""
        depends = []
        for node in self.nodes:
            depends.append(node["name"] in names or any(depends[number] for number, *_ in node["inputs"]))
        return depends

    def taken_by(self, above):
        """What nodes above, and the heads, take from nodes below: (node, output), each once.

        `above`: for each node, whether it lies above, as `depending_on` tells.
        """
        entries = [entry for node, over in zip(self.nodes, above) if over for entry in node["inputs"]]
        return list(dict.fromkeys((number, output) for number, output, *_ in [*entries, *self.heads]
                                  if not above[number]))

    def above(self, frontier, name):
        """The part above a frontier, (node, output) each: a symbol with variables ``name0``, ``name1``, … in their
        place."""
        inputs = {entry: place for place, entry in enumerate(frontier)}

        def moved(entry):
            number, output = entry[:2]
            return [inputs[number, output], 0, 0] if (number, output) in inputs else [number + len(inputs), output, 0]

        variables = [{"op": "null", "name": f"{name}{place}", "inputs": []} for place in range(len(frontier))]
        nodes = [dict(node, inputs=[moved(entry) for entry in node["inputs"]]) for node in self.nodes]
        return replace(self, nodes=variables + nodes, heads=[moved(entry) for entry in self.heads]).symbol()

    def apart(self, places):
        """The symbol with a BlockGrad behind each of the nodes `places`, from which all that took from them takes: an
        identity where nothing trains, which MXNet does not take out again as it does `_copy`."""
        moved, nodes = {}, []
        for place, node in enumerate(self.nodes):
            nodes.append(dict(node, inputs=[[moved[number], *rest] for number, *rest in node["inputs"]]))
            moved[place] = len(nodes) - 1
            if place in places:
                nodes.append({"op": "BlockGrad", "name": f"{node['name']}_apart", "inputs": [[moved[place], 0, 0]]})
                moved[place] += 1
        return replace(self, nodes=nodes, heads=[[moved[number], *rest] for number, *rest in self.heads]).symbol()


def layers(symbol):
    """The names of the layers of `symbol`, from the input to the output, in the order of computation."""
    variables = set(symbol.list_inputs())
    outputs = [name for name in symbol.get_internals().list_outputs() if name not in variables]
    return [name[:-len("_output")] for name in outputs if name.endswith("_output")]


def cut(symbol, layer):
    """The part of `symbol` that ends with the output of `layer`.

    Parameters
    ----------
    symbol : Symbol
    layer : str or sequence of str
        Of several, all are outputs of what is returned, in this order.

    Raises: InputError with the layers that there are, when there is none of this name.

    >>> cut(mx.sym.Flatten(mx.sym.relu(mx.sym.var("data"), name="relu1")), "relu1").list_outputs()
    ['relu1_output']
    """
    wanted, names = [layer] if isinstance(layer, str) else list(layer), layers(symbol)
    if not wanted:
        raise InputError.of("layer", layer, "the name of a layer, or several names")
    for one in wanted:
        if one not in names:
            close = difflib.get_close_matches(one, names)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise InputError(f"`layer` is {one}, and the checkpoint has no such layer.{hint} Its {len(names)} layers, "
                             f"the last first:{first_ten(names[::-1])}\n  all: {' '.join(names)}",
                             "layer", layer, "the name of a layer")
    internals = symbol.get_internals()
    outputs = [internals[f"{one}_output"] for one in wanted]
    return outputs[0] if len(outputs) == 1 else mx.sym.Group(outputs)


def logits(symbol):
    """The class scores of a network: what enters the softmax at its end, or its first output where none is there.

    >>> logits(mx.sym.softmax(mx.sym.Flatten(mx.sym.var("data"), name="scores"))).list_outputs()
    ['scores_output']
    """
    graph = Graph.of(symbol)
    return graph.outputs([graph.logits()])[0]


def batch_norm_layers(symbol):
    """The names of the batch normalisation layers of a network, from the input to the output."""
    return [norm.name for norm in Graph.of(symbol).batch_norms()]
