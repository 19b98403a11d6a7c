"""Frozen layers below everything that trains: computed forward only, their statistics moving all the same, or not.

MXNet moves the statistics of batch normalisation in its backward pass, so a network that is trained as a
whole goes backward through its frozen layers for nothing else. Here the network is split, and the statistics of
the frozen part are moved by its forward pass. So did cuDNN in 2017, with which the original's published results were
made; on a CPU the original left them still, since no backward pass reaches them.
"""
import json
import os
import re

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx

# What the original trains with --freeze, in its residual networks.
_ORIGINAL = ("bn1", "fc", "stage3", "stage4")
_UNUSED, _INPUT = "_unused", "frozen_output"


def trainable_prefixes(net, given=None):
    """Prefixes of the names of the parameters that ``--freeze`` leaves to train.

    Parameters
    ----------
    net : HybridBlock
    given : str or None
        Prefixes separated by commas, such as ``stage4,fc``. None: those of the original, in its ResNets.

    Returns: list of str.

    Raises: InputError with the groups that the network's names form, when one begins no name, or when none is
    given for a network of other names.
    """
    names = [name for name, parameter in net.collect_params().items() if parameter.grad_req != "null"]
    groups = " ".join(name_groups(names))
    if given is None:
        if not all(any(name.startswith(prefix + "_") for name in names) for prefix in ("bn1", "stage3_unit1")):
            raise InputError(f"--freeze trains {', '.join(_ORIGINAL)} of the published ResNets, and this network has "
                             f"other names: say with --trainable which train. It has {groups}.")
        return list(_ORIGINAL)
    prefixes = [prefix.strip() for prefix in given.split(",")]
    unknown = [prefix for prefix in prefixes if not prefix or not any(name.startswith(prefix) for name in names)]
    if unknown:
        raise InputError(f"--trainable: no parameter begins with {', '.join(map(repr, unknown))}. "
                         f"The network has {groups}.")
    return prefixes


def name_groups(names):
    """What names of parameters begin with, in their order: their first part, after what all but ``fc`` share.

    >>> name_groups(["features_conv0_weight", "features_dense0_weight", "features_dense0_bias", "fc_bias"])
    ['features_conv0', 'features_dense0', 'fc']
    """
    names = [name for name in names if not name.startswith("fc_")]
    shared = os.path.commonprefix(names).rpartition("_")[0]
    shared = len(shared) + bool(shared)
    return [*dict.fromkeys(name[:shared] + re.match("_*[^_]*", name[shared:])[0] for name in names), "fc"]


def frozen_below(net, learning, statistics="move"):
    """What to train instead of `net`, sharing its parameters: a `FrozenBelow`, or `net` where no layer is frozen
    below all that train.

    Parameters
    ----------
    net : HybridBlock
        From images to (features, logits).
    learning : container of str
        Names of the parameters that train.
    statistics : "move" or "still"
        What moving statistics of batch normalisation below all that train do. move: as in training, and as the
        original did on GPUs. still: they stay, as its did on the CPU. Either way these layers normalise by the batch.

    Raises: InputError for another word.
    """
    if statistics not in ("move", "still"):
        raise InputError(f"frozen_statistics is {statistics!r}; expected 'move' or 'still'.")
    graph = json.loads(mx.sym.Group(list(net(mx.sym.var("data")))).tojson())
    nodes = graph["nodes"]
    trains = []
    for node in nodes:
        trains.append(node["name"] in learning or any(trains[number] for number, *_ in node["inputs"]))
    frontier = [(number, output) for number, output in _taken(graph, trains) if nodes[number]["op"] != "null"]
    if not frontier or any(nodes[number]["name"] == "data" for number, _ in _taken(graph, trains)):
        return net
    return FrozenBelow(net, *_below(graph, trains, frontier, statistics == "move"), _above(graph, frontier),
                       _joined(graph, trains, frontier))


def _taken(graph, trains):
    """The outputs of frozen nodes that layers which train take, or that are results, each once."""
    entries = [entry for node, top in zip(graph["nodes"], trains) if top for entry in node["inputs"]]
    return list(dict.fromkeys((number, output) for number, output, *_ in [*entries, *graph["heads"]]
                              if not trains[number]))


def _below(graph, trains, frontier, moves):
    """The frozen part: its outputs, then, if it `moves`, the new mean and variance of every batch normalisation in it;
    and the names of these statistics."""
    nodes = [dict(node, attrs=dict(node.get("attrs", {}))) for node in graph["nodes"]]
    heads, layers = [[*entry, 0] for entry in frontier], []
    for place, node in enumerate(nodes):
        measures = node["op"] == "BatchNorm" and node["attrs"].get("use_global_stats") not in ("True", "1")
        if not measures or trains[place]:
            continue
        node["attrs"]["output_mean_var"] = "True"
        heads += [[place, 1, 0], [place, 2, 0]]
        statistics = [nodes[number] for number, *_ in node["inputs"][3:5]]
        layers.append(([variable["name"] for variable in statistics],
                       float(node["attrs"].get("momentum", 0.9)), float(node["attrs"].get("eps", 1e-3))))
        for variable in statistics:     # whatever the layer does to its own, the true ones are moved below
            variable["name"] += _UNUSED
    if not moves:
        heads, layers = heads[:len(frontier)], []
    outputs = list(_symbol(graph, nodes, heads))
    moved, names = [], []
    for i, ((mean, var), momentum, eps) in enumerate(layers):
        batch_mean, inverse_deviation = outputs[len(frontier) + 2 * i:][:2]
        batch_var = 1 / mx.sym.square(inverse_deviation) - eps
        moved += [momentum * mx.sym.var(mean) + (1 - momentum) * batch_mean,
                  momentum * mx.sym.var(var) + (1 - momentum) * batch_var]
        names += [mean, var]
    return mx.sym.Group(outputs[:len(frontier)] + moved), names


def _joined(graph, trains, frontier):
    """For each output of the frozen part, whether it is joined with another (added, say) in the part that trains."""
    joined = set()
    for node, top in zip(graph["nodes"], trains):
        inputs = [(number, output) for number, output, *_ in node["inputs"] if graph["nodes"][number]["op"] != "null"]
        if top and len(inputs) > 1:
            joined.update(inputs)
    return [entry in joined for entry in frontier]


def _above(graph, frontier):
    """The part that trains, with variables in the place of what the frozen part gives."""
    inputs = {entry: place for place, entry in enumerate(frontier)}

    def moved(entry):
        number, output = entry[:2]
        return [inputs[number, output], 0, 0] if (number, output) in inputs else [number + len(inputs), output, 0]

    variables = [{"op": "null", "name": f"{_INPUT}{place}", "inputs": []} for place in range(len(frontier))]
    nodes = variables + [dict(node, inputs=[moved(entry) for entry in node["inputs"]]) for node in graph["nodes"]]
    # A result that is an input of this part is copied: a block must compute what it gives.
    results = [mx.sym.identity(result) if result.name.startswith(_INPUT) else result
               for result in _symbol(graph, nodes, [moved(entry) for entry in graph["heads"]])]
    return mx.sym.Group(results)


def _symbol(graph, nodes, heads):
    variables = [place for place, node in enumerate(nodes) if node["op"] == "null"]
    return mx.sym.load_json(json.dumps({"nodes": nodes, "arg_nodes": variables, "heads": heads,
                                        "attrs": graph["attrs"]}))      # the version that wrote it


class FrozenBelow:
    """A network in two parts: gradients are recorded in the upper one only.

    Called with images inside ``mx.autograd.record()``, it returns what the network returns, and moves the
    `statistics` of its frozen layers as training does.
    """

    def __init__(self, net, below, statistics, above, joined):
        parameters = net.collect_params()
        self._statistics = [parameters[name] for name in statistics]
        self._joined = joined
        self._below = mx.gluon.SymbolBlock(below, _input("data"), params=parameters)
        self._above = mx.gluon.SymbolBlock(above, [_input(f"{_INPUT}{place}") for place in range(len(joined))],
                                           params=parameters)
        devices = next(iter(parameters.values())).list_ctx()
        for name, parameter in self._below.collect_params().items():
            if name.endswith(_UNUSED):
                parameter.initialize(mx.init.Zero(), ctx=devices)
        for part in (self._below, self._above):
            part.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, images):
        with mx.autograd.pause(train_mode=True):
            outputs = self._below(images)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            between, moved = outputs[:len(self._joined)], outputs[len(self._joined):]
            for parameter, value in zip(self._statistics, moved):
                parameter.data(images.context)[:] = value
        for array, joined in zip(between, self._joined):
            if joined:
                # Where one of two summands has no gradient, MXNet with static memory computes that of the other
                # wrongly: it gives the shared memory away as soon as the gradient nobody needs is there.
                array.attach_grad()
        return self._above(*between)


def _input(name):
    return mx.sym.var(name, dtype="float32")
