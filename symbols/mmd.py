"""Maximum mean discrepancy between two domains, marginal and joint."""
from functools import reduce

from transfer_gluon.base.errors import InputError
from transfer_gluon.symbols.kernels import GaussianKernel
from transfer_gluon.symbols.loss import TransferLoss, count, halves


class _Linear:
    """Over quadruples: the kernel of 2b pairs."""

    @staticmethod
    def squared_distances(F, x):
        """(b, d) → (4, m): |s1-s2|², |t1-t2|², |s1-t2|², |t1-s2|² of every quadruple."""
        pairs = F.reshape(F.reshape(x, shape=(-4, 2, -1, -2)), shape=(0, -4, -1, 2, -2))
        first, second = F.split(pairs, num_outputs=2, axis=2, squeeze_axis=True)    # domain, quadruple, d
        swapped = F.reverse(second, axis=0)
        return F.sum(F.square(F.concat(first - second, first - swapped, dim=0)), axis=2)

    @staticmethod
    def discrepancy(F, values):
        same, crossed = F.split(F.mean(values, axis=1), num_outputs=2, axis=0)
        return F.sum(same).reshape((1,)) - F.sum(crossed).reshape((1,))


class _Quadratic:
    """Over all pairs: b² of them."""

    @staticmethod
    def squared_distances(F, x):
        """(b, d) → (b, b): |xi - xj|², of products of rows rather than of b²·d differences."""
        x = F.broadcast_sub(x, F.mean(x, axis=0, keepdims=True))
        squares = F.sum(F.square(x), axis=1, keepdims=True)
        sums = F.broadcast_add(squares, F.transpose(squares))
        return F.relu(sums - 2 * F.dot(x, x, transpose_b=True))     # rounded, it may come out below 0

    @staticmethod
    def discrepancy(F, values):
        places = F.contrib.arange_like(values, axis=0)
        others = F.broadcast_not_equal(F.expand_dims(places, axis=0), F.expand_dims(places, axis=1))
        n = count(F, values, axis=0) / 2
        same, crossed = same_and_crossed(F, values * others)
        return same / (n * (n - 1)) - crossed / (n * n)


def same_and_crossed(F, pairs):
    """Of what is known of all pairs (b, b): the sum over pairs of one domain, and over those of two, each (1,)."""
    source, target = halves(F, F.transpose(pairs))
    (s_s, s_t), (t_s, t_t) = ([F.sum(half).reshape((1,)) for half in halves(F, F.transpose(part))]
                              for part in (source, target))
    return s_s + t_t, s_t + t_s


_ESTIMATES = {"linear": _Linear, "quadratic": _Quadratic}


class _Discrepancy(TransferLoss):
    """What MMD and JMMD share: kernels and estimates."""

    batch_multiple = 4
    usual_relative_weight = 0.5

    def __init__(self, kernels=None, estimate="linear", **kwargs):
        super().__init__(**kwargs)
        if estimate not in _ESTIMATES:
            raise InputError.of("estimate", estimate, "linear or quadratic")
        if kernels is not None and not (isinstance(kernels, (list, tuple)) and kernels and all(map(callable, kernels))):
            raise InputError.of("kernels", kernels, "a sequence of kernels, one a layer, or None")
        self._estimate = _ESTIMATES[estimate]
        self._one_each = kernels is not None
        with self.name_scope():
            self._kernels = list(kernels or [GaussianKernel()])
        for place, kernel in enumerate(self._kernels):
            self.register_child(kernel, f"kernel{place}")

    def _values(self, F, layers):
        """The kernels' values, layer by layer."""
        if self._one_each and len(layers) != len(self._kernels):
            raise ValueError(f"{type(self).__name__} got {len(layers)} layers; expected {len(self._kernels)}, as many "
                             "as kernels.")
        kernels = self._kernels if self._one_each else self._kernels * len(layers)
        return [kernel(x, self._estimate.squared_distances(F, x)) for kernel, x in zip(kernels, layers)]


class MMDLoss(_Discrepancy):
    r"""Maximum mean discrepancy of the features of two domains, as in deep adaptation networks (DAN).

    The b rows of a batch are n = b/2 source images s, then n target images t. Quadruple j of m = n/2 takes
    source images 2j, 2j+1 and target images 2j, 2j+1. The linear estimate is

    .. math:: \frac{1}{m} \sum_j k(s_1, s_2) + k(t_1, t_2) - k(s_1, t_2) - k(t_1, s_2)

    and costs b·d operations; the quadratic one, of less variance, costs b²·d:

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} \left[ k(s_i, s_j) + k(t_i, t_j) \right]
              - \frac{2}{n^2} \sum_{i, j} k(s_i, t_j)

    k is a kernel, of several layers the sum of one a layer. Long et al. 2015, *Learning Transferable Features with Deep
    Adaptation Networks*, section 3; estimates of Gretton et al. 2012, *A Kernel Two-Sample Test*, section 6 (linear)
    and lemma 6. Both are unbiased: they scatter around 0, negative values included, where the domains do not differ.

    Parameters
    ----------
    kernels : sequence of HybridBlock, or None
        One a layer, each called as `GaussianKernel` is. None: a `GaussianKernel` whose bandwidth is the layer's own
        mean squared distance, for every layer.
    estimate : "linear" or "quadratic", default "linear"

    Inputs:
        - **features**: (b, d) or a list of such layers, source half first; b a multiple of 4, else ValueError,
          hybridized too.
        - **logits**: not looked at; may be left out.

    Outputs:
        - **loss**: (1,).

    >>> features = mx.nd.concat(mx.nd.zeros((4, 3)), mx.nd.ones((4, 3)), dim=0)
    >>> print(f"{MMDLoss()(features).asscalar():.4f} {MMDLoss(estimate='quadratic')(features).asscalar():.4f}")
    6.7565 6.7565
    """

    needs_logits = False

    def hybrid_forward(self, F, layers):
        return self._estimate.discrepancy(F, sum(self._values(F, layers)))


class JMMDLoss(_Discrepancy):
    r"""Joint maximum mean discrepancy of features and predictions, as in joint adaptation networks (JAN).

    The estimates are those of `MMDLoss`, of the product k·l instead of k, linear here:

    .. math:: \frac{1}{m} \sum_j k l(s_1, s_2) + k l(t_1, t_2) - k l(s_1, t_2) - k l(t_1, s_2)

    k acts on the features, of several layers as the product of one kernel a layer, and l on the class probabilities
    p = softmax(logits):

    .. math:: l(p, q) = \exp\left(-\frac{|p - q|^2}{1.3 \cdot 2^{-1/2}}\right)

    Long et al. 2017, *Deep Transfer Learning with Joint Adaptation Networks*, section 4, with the
    kernels of its authors' Caffe code. The gradient flows into both inputs.

    Parameters
    ----------
    kernels : sequence of HybridBlock, or None
        As those of `MMDLoss`.
    label_kernel : HybridBlock or None
        l. None: ``GaussianKernel(1, bandwidth=1.3)``.
    estimate : "linear" or "quadratic", default "linear"

    Inputs:
        - **features**: (b, d) or a list of such layers, source half first; b a multiple of 4, else ValueError,
          hybridized too.
        - **logits**: (b, c).

    Outputs:
        - **loss**: (1,).

    >>> features = mx.nd.concat(mx.nd.zeros((4, 3)), mx.nd.ones((4, 3)), dim=0)
    >>> print(f"{JMMDLoss()(features, mx.nd.zeros((8, 2))).asscalar():.4f}")
    6.7565
    """

    usual_weight = 2.0

    def __init__(self, kernels=None, label_kernel=None, estimate="linear", **kwargs):
        super().__init__(kernels, estimate, **kwargs)
        with self.name_scope():
            self.label_kernel = label_kernel or GaussianKernel(1, bandwidth=1.3)

    def hybrid_forward(self, F, layers, logits):
        p = F.exp(F.log_softmax(logits, axis=-1))
        label_values = self.label_kernel(p, self._estimate.squared_distances(F, p))
        values = reduce(F.elemwise_mul, [*self._values(F, layers), label_values])
        return self._estimate.discrepancy(F, values)
