"""Maximum mean discrepancy between two domains, marginal and joint, in linear time."""
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.expectations import expectation
from transfer_gluon.symbols.kernels import GaussianKernel

_EXPECTED = "expected (b, d) with b a multiple of 4: pairs of source images, then as many pairs of target images."
_QUADRUPLES = expectation("quadruples", f"the batch that a loss got has another shape; {_EXPECTED}")


class _PairedDiscrepancy(mx.gluon.HybridBlock):
    r"""The linear-time unbiased estimate that MMD and JMMD share (Gretton et al. 2012, *A Kernel
    Two-Sample Test*, section 6, the linear-time statistic; Long et al. 2015, section 3).

    The b rows of a batch are n = b/2 source images, then n target images. Quadruple j of m = n/2 takes
    source images 2j, 2j+1 and target images 2j, 2j+1:

    .. math:: \frac{1}{m} \sum_j k(s_1, s_2) + k(t_1, t_2) - k(s_1, t_2) - k(t_1, s_2)

    where k is the product of one kernel a layer.

    Attributes
    ----------
    batch_multiple : int
        What b is a multiple of.
    """

    batch_multiple = 4

    def __init__(self, kernels, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self._kernels = kernels
            for kernel in kernels:
                self.register_child(kernel)

    def forward(self, x, *layers):
        for layer in (x, *layers):
            if isinstance(layer, mx.nd.NDArray) and (layer.ndim != 2 or not layer.shape[0]
                                                     or layer.shape[0] % self.batch_multiple):
                raise ValueError(f"{type(self).__name__} got a batch of shape {layer.shape}; {_EXPECTED}")
        if len(layers) + 1 != len(self._kernels):
            raise ValueError(f"{type(self).__name__} got {len(layers) + 1} layers; expected {len(self._kernels)}.")
        rows = [layer.shape[0] for layer in (x, *layers) if isinstance(layer, mx.nd.NDArray)]
        if len(set(rows)) > 1:
            raise ValueError(f"{type(self).__name__} got layers of {' and '.join(map(str, rows))} rows; expected as "
                             "many of each, one an image.")
        return super().forward(x, *layers)

    def hybrid_forward(self, F, x, *layers):
        values = None
        for place, (kernel, layer) in enumerate(zip(self._kernels, (x, *layers))):
            value = kernel(layer, self._squared_distances(F, layer, f"{_QUADRUPLES}{place}"))
            values = value if values is None else F.elemwise_mul(values, value, name=f"{_QUADRUPLES}_product{place}")
        same, crossed = F.split(F.mean(values, axis=1), num_outputs=2, axis=0)
        return F.sum(same).reshape((1,)) - F.sum(crossed).reshape((1,))

    @staticmethod
    def _squared_distances(F, x, check):
        """(b, d) → (4, m): |s1-s2|², |t1-t2|², |s1-t2|², |t1-s2|² of every quadruple."""
        # MXNet writes beyond the result of a reshape whose sizes do not fit, unless it splits (-4) one axis: only then
        # does it compare them. The first reshape and the transposition are there for the shapes that they refuse.
        pairs = F.reshape(F.reshape(x, shape=(-4, -1, 4, -2), name=f"{check}_rows"), shape=(-3, -2))
        pairs = F.reshape(F.reshape(pairs, shape=(-4, 2, -1, -2)), shape=(0, -4, -1, 2, -2))
        first, second = F.split(pairs, num_outputs=2, axis=2, squeeze_axis=True)    # domain, quadruple, d
        swapped = F.reverse(second, axis=0)
        squares = F.square(F.concat(first - second, first - swapped, dim=0))
        return F.transpose(F.sum(squares, axis=2, name=f"{check}_sum"), axes=(0, 1), name=f"{check}_matrix")


class MMDLoss(_PairedDiscrepancy):
    r"""Maximum mean discrepancy of the features of two domains, as in deep adaptation networks (DAN).

    .. math:: \frac{1}{m} \sum_j k(s_1, s_2) + k(t_1, t_2) - k(s_1, t_2) - k(t_1, s_2)

    k is a `GaussianKernel` whose bandwidth is the batch's own mean squared distance. Long et al. 2015,
    *Learning Transferable Features with Deep Adaptation Networks*, section 3. The estimate is
    unbiased: it scatters around 0, negative values included, where the domains do not differ.

    Parameters
    ----------
    num_kernels : int, default 4
    kernel_mul : float, default 2.0
        Ratio of neighbouring kernel widths.

    Inputs:
        - **features**: (b, d), source half first; b a multiple of 4, else ValueError, hybridized too.

    Outputs:
        - **loss**: (1,).

    >>> features = mx.nd.concat(mx.nd.zeros((4, 3)), mx.nd.ones((4, 3)), dim=0)
    >>> print(f"{MMDLoss()(features).asscalar():.4f}")
    6.7565
    """

    def __init__(self, num_kernels=4, kernel_mul=2.0, **kwargs):
        super().__init__([GaussianKernel(num_kernels, kernel_mul)], **kwargs)


class JMMDLoss(_PairedDiscrepancy):
    r"""Joint maximum mean discrepancy of features and predictions, as in joint adaptation networks (JAN).

    .. math:: \frac{1}{m} \sum_j k l(s_1, s_2) + k l(t_1, t_2) - k l(s_1, t_2) - k l(t_1, s_2)

    k acts on the features like that of `MMDLoss`, l on the class probabilities p:

    .. math:: l(p, q) = \exp\left(-\frac{|p - q|^2}{1.3 \cdot 2^{-1/2}}\right)

    Long et al. 2017, *Deep Transfer Learning with Joint Adaptation Networks*, section 4, with the
    kernels of its authors' Caffe code. The gradient flows into both inputs.

    Parameters
    ----------
    num_kernels : int, default 4
    kernel_mul : float, default 2.0
        Ratio of neighbouring kernel widths, both layers.
    num_label_kernels : int, default 1
    label_bandwidth : float, default 1.3

    Inputs:
        - **features**: (b, d), source half first; b a multiple of 4, else ValueError, hybridized too.
        - **probabilities**: (b, c), rows sum to 1.

    Outputs:
        - **loss**: (1,).

    >>> features = mx.nd.concat(mx.nd.zeros((4, 3)), mx.nd.ones((4, 3)), dim=0)
    >>> print(f"{JMMDLoss()(features, mx.nd.ones((8, 2)) / 2).asscalar():.4f}")
    6.7565
    """

    def __init__(self, num_kernels=4, kernel_mul=2.0, num_label_kernels=1, label_bandwidth=1.3, **kwargs):
        kernels = [GaussianKernel(num_kernels, kernel_mul),
                   GaussianKernel(num_label_kernels, kernel_mul, bandwidth=label_bandwidth)]
        super().__init__(kernels, **kwargs)
