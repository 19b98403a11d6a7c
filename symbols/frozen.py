"""Frozen layers below everything that trains: computed forward only, their statistics moving all the same, or not; or
not computed at all, where batches hold what they give.

MXNet moves the statistics of batch normalisation in its backward pass, so a network that is trained as a
whole goes backward through its frozen layers for nothing else. Here the network is split, and the statistics of
the frozen part are moved by its forward pass. So did cuDNN in 2017, with which the original's published results were
made; on a CPU the original left them still, since no backward pass reaches them.
"""
from dataclasses import replace

from transfer_gluon.base.errors import InputError, does_nothing, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.graph import Graph, cut
from transfer_gluon.symbols.layer_groups import begins, groups_of
from transfer_gluon.symbols.nesting import leaves, nested
from transfer_gluon.symbols.precision import computing_in, for_inference, symbol_block

# What the original trained of its residual networks when it froze the others.
_ORIGINAL = ("bn1", "fc", "stage3", "stage4")
_UNUSED, _INPUT = "_unused", "frozen_output"
FROZEN_STATISTICS = ("move", "still", "inference")


def trainable_prefixes(net, trainable=None):
    """Prefixes of the names of the parameters that train where a network is frozen in part.

    Parameters
    ----------
    net : HybridBlock
    trainable : sequence of str, or None
        Prefixes that cut no number, such as ``["stage4", "fc"]``: see `begins`. None: those of the original, in its
        ResNets, and a bottleneck.

    Returns: list of str.

    Raises: InputError with what the network's names begin with, group by group, when a prefix begins none of them, or
    when none is given for a network of other names.
    """
    names = [name for name, parameter in net.collect_params().items() if parameter.grad_req != "null"]
    head = [layer for layer in ("bottleneck", "fc") if f"{layer}_weight" in names]
    there = " ".join([*(unit for group in groups_of(names) for unit in group.units), *head])
    if trainable is None:
        if not all(any(begins(name, prefix + "_") for name in names) for prefix in ("bn1", "stage3_unit1")):
            raise InputError(f"`freeze` trains {', '.join(_ORIGINAL)} of the published ResNets, and this network has "
                             f"other names: say with `trainable` which train. It has {there}.",
                             "trainable", None, "prefixes of names of parameters")
        # A bottleneck is part of what the original calls fc.
        return [*_ORIGINAL, *(layer for layer in head if layer != "fc")]
    trainable = [trainable] if isinstance(trainable, str) else list(trainable)
    unknown = [prefix for prefix in trainable if not prefix or not any(begins(name, prefix) for name in names)]
    if unknown or not trainable:
        raise InputError(f"`trainable`: no parameter begins with {', '.join(map(repr, unknown)) or 'nothing at all'}. "
                         f"The network has {there}.", "trainable", trainable, "prefixes of names of parameters")
    return trainable


def frozen_below(net, learning, statistics="move", dtype="float32"):
    """What to train instead of `net`, sharing its parameters: a `FrozenBelow`, or `net` where no layer is frozen
    below all that train.

    Parameters
    ----------
    net : HybridBlock
        From images to (features, logits), where features may be a list of layers.
    learning : container of str
        Names of the parameters that train.
    statistics : "move", "still" or "inference"
        What moving statistics of batch normalisation below all that train do. move: as in training, and as the
        original did on GPUs. still: they stay, as its did on the CPU. Either way these layers normalise by the batch.
        inference: these layers compute as a network that is used does, normalise by their moving statistics, and drop
        nothing out.
    dtype : str
        What is computed in; see `symbols.precision`.

    Raises: InputError for another word; and for still and inference, where no layer is frozen below all that train.
    """
    if statistics not in FROZEN_STATISTICS:
        raise InputError.of("frozen_statistics", statistics, f"one of {', '.join(FROZEN_STATISTICS)}")
    outputs = net(mx.sym.var("data"))
    graph = Graph.of(mx.sym.Group(leaves(outputs)))
    above = graph.depending_on(learning)
    taken = graph.taken_by(above)
    frontier = [(number, output) for number, output in taken if graph.nodes[number]["op"] != "null"]
    if not frontier or any(graph.nodes[number]["name"] == "data" for number, _ in taken):
        if statistics != "move":
            raise does_nothing("frozen_statistics", "with a `trainable` that names the first layer", statistics)
        return net
    below = (mx.sym.Group(graph.outputs(frontier)), ()) if statistics == "inference" else \
        _below(graph, above, frontier, statistics == "move")
    return FrozenBelow(net, *below, _above(graph, frontier), _joined(graph, above, frontier), outputs,
                       statistics != "inference", dtype)


def above_layer(net, layer, dtype="float32"):
    """The part of a network above a layer, sharing its parameters: a callable from what the layer gives, (b, …), to
    (features, logits), and the names of the parameters in it.

    Parameters
    ----------
    net : HybridBlock
        From images to (features, logits), where features may be a list of layers.
    layer : str
        All that `net` gives must depend on the images through this layer alone.
    dtype : str
        What is computed in; see `symbols.precision`.

    Raises: InputError for a layer that there is not, or that is passed by.

    >>> from transfer_gluon.symbols import TransferNet
    >>> net = TransferNet(mx.gluon.nn.Flatten(prefix="flat_"), num_classes=5)
    >>> net.initialize(); _ = net(mx.nd.zeros((1, 3, 2, 2)))
    >>> head, names = above_layer(net, "flat_flatten0")
    >>> [output.shape for output in head(mx.nd.zeros((4, 12)))], sorted(names)
    ([(4, 12), (4, 5)], ['fc_bias', 'fc_weight'])
    """
    outputs = net(mx.sym.var("data"))
    whole = mx.sym.Group(leaves(outputs))
    cut(whole, layer)
    graph = Graph.of(whole)
    place = next(place for place, node in enumerate(graph.nodes) if node["name"] == layer)
    above = graph.depending_on([layer])
    above[place] = False
    taken = [(number, output) for number, output in graph.taken_by(above)
             if graph.nodes[number]["op"] != "null" or graph.nodes[number]["name"] == "data"]
    if taken != [(place, 0)]:
        past = sorted({graph.nodes[number]["name"] for number, _ in taken} - {layer})
        raise InputError(f"`layer` {layer}: what lies above takes from {first_ten(past)} too; expected a layer that "
                         "everything above goes through.", "layer", layer, "a layer that nothing goes past")
    above = _block(_above(graph, taken), 1, net.collect_params(), dtype)
    return (lambda features: nested(leaves(above(features)), outputs)), set(above.collect_params())


def _below(graph, above, frontier, moves):
    """The frozen part: its outputs, then, if it `moves`, the new mean and variance of every batch normalisation in it;
    and the names of these statistics."""
    norms = [norm for norm in graph.batch_norms() if not above[norm.place] and not norm.use_global_stats]
    nodes = [dict(node, attrs=dict(node.get("attrs", {}))) for node in graph.nodes]
    own = {name for norm in norms for name in (norm.moving_mean, norm.moving_var)}
    for norm in norms:
        nodes[norm.place]["attrs"]["output_mean_var"] = "True"
    for node in nodes:
        if node["name"] in own:     # whatever the layer does to its own statistics, the true ones are moved below
            node["name"] += _UNUSED
    if not moves:
        norms = []
    outputs = replace(graph, nodes=nodes).outputs(
        [*frontier, *((norm.place, output) for norm in norms for output in (1, 2))])
    moved, names = [], []
    for i, norm in enumerate(norms):
        batch_mean, inverse_deviation = outputs[len(frontier) + 2 * i:][:2]
        batch_var = 1 / mx.sym.square(inverse_deviation) - norm.eps
        moved += [norm.momentum * mx.sym.var(norm.moving_mean) + (1 - norm.momentum) * batch_mean,
                  norm.momentum * mx.sym.var(norm.moving_var) + (1 - norm.momentum) * batch_var]
        names += [norm.moving_mean, norm.moving_var]
    return mx.sym.Group(outputs[:len(frontier)] + moved), names


def _joined(graph, above, frontier):
    """For each output of the frozen part, whether it is joined with another (added, say) in the part that trains."""
    joined = set()
    for node, top in zip(graph.nodes, above):
        inputs = [(number, output) for number, output, *_ in node["inputs"] if graph.nodes[number]["op"] != "null"]
        if top and len(inputs) > 1:
            joined.update(inputs)
    return [entry in joined for entry in frontier]


def _above(graph, frontier):
    """The part that trains, with variables in the place of what the frozen part gives."""
    # A result that is an input of this part is copied: a block must compute what it gives.
    return mx.sym.Group([mx.sym.identity(result) if result.name.startswith(_INPUT) else result
                         for result in graph.above(frontier, _INPUT)])


class FrozenBelow:
    """A network in two parts: gradients are recorded in the upper one only.

    Called with images inside ``mx.autograd.record()``, it returns what the network returns, nested in lists like
    `outputs`, and moves the `statistics` of its frozen layers as training does. They compute as in training if
    `trains`, else as in inference.
    """

    def __init__(self, net, below, statistics, above, joined, outputs, trains=True,
                 dtype="float32"):
        parameters = net.collect_params()
        self._outputs = outputs
        self._statistics = [parameters[name] for name in statistics]
        self._joined, self._trains = joined, trains
        devices = next(iter(parameters.values())).list_ctx()
        below = computing_in(below, dtype) if trains else for_inference(below, devices, dtype)
        self._below = symbol_block(below, [_input("data")], parameters)
        self._above = _block(above, len(joined), parameters, dtype)
        for name, parameter in self._below.collect_params().items():
            if name.endswith(_UNUSED):
                parameter.initialize(mx.init.Zero(), ctx=devices)

    def __call__(self, images):
        with mx.autograd.pause(train_mode=self._trains):
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
        results = self._above(*between)
        return nested(leaves(results), self._outputs)


def _block(above, inputs, parameters, dtype):
    """What `_above` gives, as a block."""
    return symbol_block(computing_in(above, dtype), [_input(f"{_INPUT}{place}") for place in range(inputs)],
                        parameters)


def _input(name):
    return mx.sym.var(name, dtype="float32")
