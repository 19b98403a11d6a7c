"""Networks of gluoncv's model zoo by their names, as symbols that end at the features.

Names, layouts and input normalisation: https://cv.gluon.ai/model_zoo/classification.html
"""
import difflib
import re
from dataclasses import dataclass

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.graph import Graph
from transfer_gluon.symbols.normalize import normalized

# Of the zoo's 332 names, those of image classifiers; the others detect, segment or look at videos. Nets with group
# normalisation (gn) cannot be traced by MXNet 1.9.1.
_CLASSIFIERS = re.compile(
    r"(alexnet|cifar_|darknet|densenet|dla34|googlenet|hrnet_.*_c$|inceptionv3|mobilenet|nasnet|residualattentionnet|"
    r"resnest|resnet|resnext|se_|senet|shufflenet|squeezenet|vgg|xception)")
_NO_CLASSIFIERS = re.compile(r"_(kinetics400|hmdb51|ucf101|sthsthv2|custom|int8|gn)")

# Names that the zoo does not have and `new_network` does: for whoever misspells them.
OUR_OWN = "resnet", "inception_v4", "efficientnet_lite0"

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo.

    Attributes
    ----------
    features : Symbol
        From raw RGB 0–255 through ``normalize`` to ``flatten0``, (b, d).
    classifier : Symbol
        The whole network, through ``flatten0`` to the class scores (b, classes).
    parameters : dict of str to str
        Names of the parameters by those that gluoncv's own files have, such as ``features.0.weight``.
    """

    features: mx.sym.Symbol
    classifier: mx.sym.Symbol
    parameters: dict


def zoo_names():
    """The names of the zoo's image classifiers."""
    from transfer_gluon.base.gluoncv_zoo import get_model_list  # here, since no other network needs gluoncv
    return [name for name in sorted(get_model_list()) if _CLASSIFIERS.match(name) and not _NO_CLASSIFIERS.search(name)]


def zoo_symbol(network, classes=None):
    """The symbol of a network's features, or with `classes` that of the whole network up to its class scores.

    Raises: InputError with close names when the zoo has no image classifier of this name.

    >>> zoo_symbol("resnet18_v1").infer_shape(data=(1, 3, 64, 64))[1]
    [(1, 512)]
    """
    return zoo_network(network).features if classes is None else zoo_network(network, classes).classifier


def zoo_network(network, classes=1000):
    """A `ZooNetwork` with random weights.

    Names of parameters are gluoncv's without the prefix of the whole network (``conv0_weight``,
    ``layers1_bottleneckv1b0_conv0_weight``): the same in every process, however many networks were built.

    Raises: InputError with close names when the zoo has no image classifier of this name.
    """
    from transfer_gluon.base.gluoncv_zoo import get_model
    names = zoo_names()
    if network not in names:
        close = difflib.get_close_matches(network, [*names, *OUR_OWN], n=5)
        raise InputError(f"`network` is {network}, and the model zoo has no image classifier of this name. " + (
            f"Did you mean {' or '.join(close)}?" if close else f"It has {' '.join(names)}; our own are "
            f"{', '.join(OUR_OWN)}."),
            "network", network, "the name of an image classifier of the model zoo")
    with mx.name.NameManager():
        block = get_model(network, pretrained=False, classes=classes)
        traced = block(mx.sym.var("data"))
    symbol = traced[0] if isinstance(traced, (list, tuple)) else traced      # without auxiliary classifiers
    mean, std = _CIFAR if network.startswith("cifar_") else _IMAGENET
    features, scores = _through_flatten0(_without_prefix(symbol, block.prefix))
    mean, std = ([round(255 * value, 4) for value in values] for values in (mean, std))
    parameters = {structure: parameter.name.removeprefix(block.prefix)
                  for structure, parameter in block._collect_params_with_prefix().items()}
    inputs = set(scores.list_inputs())      # not those of auxiliary classifiers
    return ZooNetwork(normalized(features, mean, std), normalized(scores, mean, std),
                      {structure: name for structure, name in parameters.items() if name in inputs})


def _without_prefix(symbol, prefix):
    """The symbol with `prefix` taken off all names, and without the shapes and initializers that Gluon notes down."""
    graph = Graph.of(symbol)
    for node in graph.nodes:
        node["name"] = node["name"].removeprefix(prefix)
        if node["op"] == "null":
            node.pop("attrs", None)
    return graph.symbol()


def _through_flatten0(symbol):
    """The features, and the class scores computed from them.

    The classifier is the last fully connected layer, or the last convolution (MobileNet, SqueezeNet) where
    that comes later; the features are what enters it, flattened.
    """
    graph = Graph.of(symbol)
    nodes = graph.nodes
    place = max(i for i, node in enumerate(nodes) if node["op"] in ("FullyConnected", "Convolution"))
    classifier = nodes[place]
    whole, before, *parameters = graph.outputs([graph.heads[0], *classifier["inputs"]])
    if classifier["op"] == "FullyConnected":
        features = mx.sym.Flatten(before, name="flatten0")
        return features, mx.sym.FullyConnected(features, *parameters, name=classifier["name"], **classifier["attrs"])
    if not any(node["op"] == "Pooling" for node in nodes[place:]):
        features = mx.sym.Flatten(before, name="flatten0")
        scores = mx.sym.Convolution(mx.sym.reshape(features, shape=(0, 0, 1, 1)), *parameters,
                                    name=classifier["name"], **classifier["attrs"])
        return features, mx.sym.Flatten(scores)
    # SqueezeNet classifies every pixel and averages then: its features are the averages of what enters. They are a
    # second output, so that its checkpoints have a flatten0 too.
    features = mx.sym.Flatten(mx.sym.Pooling(before, global_pool=True, kernel=(1, 1), pool_type="avg"), name="flatten0")
    return features, mx.sym.Group([whole, mx.sym.BlockGrad(features)])

