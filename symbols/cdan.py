"""Conditional adversarial training: a classifier of domains that sees features and predictions together."""
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.dann import DANNLoss
from transfer_gluon.symbols.loss import entropy

_MOST, _RANDOM = 4096, 1024     # products of features and classes; random ones in their place


class CDANLoss(DANNLoss):
    r"""Conditional domain-adversarial loss: as `DANNLoss`, of features f and class probabilities g together.

    The domain classifier D sees, behind a reversal of the gradient, all products of a feature and a probability, of
    which there are d·c:

    .. math:: T(f, g) = f \otimes g, \qquad g = \operatorname{softmax}(z)

    Where that is more than 4096, it sees 1024 random ones, whose inner products are those of T in expectation:

    .. math:: T(f, g) = \frac{1}{\sqrt{1024}} \, (R_f f) \odot (R_g g), \qquad R_{ij} \sim N(0, 1)

    Long et al. 2018, *Conditional Adversarial Domain Adaptation*, NeurIPS, equations 5 and 6. With `entropy`, images
    weigh w = 1 + exp(-H(g)) in the mean of their domain, so that those of which the network is sure come first
    (CDAN+E, equation 8). As in the authors' code, no gradient flows through g; here, none through w either.

    Parameters are those of D, as in `DANNLoss`, and ``of_features`` R_f and ``of_classes`` R_g, which do not learn; for
    all products they pick out a feature and a class. D has one hidden layer; the authors' has two.

    `usual_relative_weight` is the paper's 1, `reversal` is smaller for `DANNLoss`'s reason.

    Parameters
    ----------
    hidden : int, default 1024
        Units of D's hidden layer.
    reversal : float, default 0.1
        The gradient that reaches the features is that of the loss times minus this.
    entropy : 0 or 1, default 1
        1: CDAN+E. 0: CDAN, every image alike.

    Inputs:
        - **features**: (b, d) or a list of such layers, which are put together, source half first; b even, else
          ValueError, hybridized too.
        - **logits**: (b, c).

    Outputs:
        - **loss**: (1,).
        - **statistics**: (1,), ``domain_accuracy``: the fraction of the b images whose domain D tells right.

    >>> loss = CDANLoss(hidden=8)
    >>> loss.initialize()
    >>> value, (accuracy,) = loss(mx.nd.zeros((4, 3)), mx.nd.zeros((4, 2)))
    >>> print(f"{value.asscalar():.4f}, which is log 2; {loss.of_features.shape} for 3 × 2 products")
    0.6931, which is log 2; (6, 3) for 3 × 2 products
    """

    needs_logits = True

    def __init__(self, hidden=1024, reversal=0.1, entropy=1, **kwargs):
        super().__init__(hidden, reversal, **kwargs)
        if entropy not in (0, 1):
            raise InputError.of("entropy", entropy, "0 or 1")
        self._by_entropy = bool(entropy)
        drawn = [_Map(), _Map()]
        self._drawn, self._products = drawn, None
        self.of_features, self.of_classes = [
            self.params.get(name, shape=(0, 0), init=init, grad_req="null", allow_deferred_init=True)
            for name, init in zip(("of_features", "of_classes"), drawn)]

    def sizes(self, widths, classes):
        d, products = sum(widths), sum(widths) * classes
        if self._products is None and products <= _MOST:
            places = np.arange(products)
            for init, number, picked in zip(self._drawn, (d, classes), (places // classes, places % classes)):
                init.values = np.eye(number, dtype=np.float32)[picked]
        self._products = self._products or (products if products <= _MOST else _RANDOM)

    def hybrid_forward(self, F, layers, logits, of_features, of_classes):
        g = F.BlockGrad(F.softmax(logits, axis=-1))
        # A block of someone else's may hide sizes in a graph: then the products are random ones.
        products = [F.FullyConnected(x, weight, no_bias=True, num_hidden=self._products or _RANDOM)
                    for x, weight in ((F.concat(*layers, dim=1), of_features), (g, of_classes))]
        weights = 1 + F.exp(-entropy(F, g)) if self._by_entropy else None
        return self._told_apart(F, products[0] * products[1], weights)


class _Map(mx.init.Initializer):
    """`values`, or where there are none, what makes random products of a norm that does not depend on their number."""

    def __init__(self):
        super().__init__()
        self.values = None

    def _init_weight(self, _, array):
        if self.values is None:
            mx.nd.random.normal(0, len(array) ** -0.25, out=array)
        else:
            array[:] = self.values
