"""A narrow layer between a network's features and its classifier, as the papers of DAN and JAN have it."""
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.graph import Graph

BOTTLENECK = "bottleneck_relu"      # the layer that a bottleneck ends with


class Bottleneck(mx.gluon.HybridBlock):
    r"""Fewer features, made to be compared.

    .. math:: x \mapsto \max(0, x V^\top + c)

    Long et al. 2017, *Deep Transfer Learning with Joint Adaptation Networks* (arXiv 1605.06636), section 5.1, take 256
    units.

    Parameters
    ----------
    units : int
        Rows of ``bottleneck_weight``, V, and ``bottleneck_bias``, c.

    Inputs:
        - **features**: (b, …), flattened.

    Outputs:
        - **features**: (b, units), the layer ``bottleneck_relu``.

    >>> net = Bottleneck(4)
    >>> net.initialize()
    >>> net(mx.nd.zeros((2, 3, 5, 5))).shape
    (2, 4)
    """

    def __init__(self, units):
        # No name scope: a checkpoint calls these parameters so, whatever is below.
        super().__init__(prefix="")
        self.units = units
        self.weight = self.params.get("bottleneck_weight", shape=(units, 0), allow_deferred_init=True,
                                      init=mx.init.Xavier("gaussian", "in", 2))
        self.bias = self.params.get("bottleneck_bias", shape=(units,), init="zeros")

    def hybrid_forward(self, F, features, weight, bias):
        x = F.FullyConnected(features, weight, bias, num_hidden=self.units, name="bottleneck")
        return F.Activation(x, act_type="relu", name=BOTTLENECK)


def below_bottleneck(symbol):
    """The name of the layer that the bottleneck of a network is on; None where it has none.

    >>> below_bottleneck(Bottleneck(4)(mx.sym.Flatten(mx.sym.var("data"), name="flatten0")))
    'flatten0'
    """
    nodes = Graph.of(symbol).nodes
    inputs = next((node["inputs"] for node in nodes if node["name"] == "bottleneck" and node["op"] != "null"), None)
    return nodes[inputs[0][0]]["name"] if inputs else None
