"""Gaussian kernels of several widths, on batches of pairs."""
import math
import numbers

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx


def mean_squared_distance(F, x):
    r"""Mean of |xi - xj|² over all ordered pairs i ≠ j of the b rows of `x`: the bandwidth.

    .. math:: g = \frac{1}{b^2 - b} \sum_{i,j} |x_i - x_j|^2 = \frac{2}{b - 1} \sum_i |x_i - \bar x|^2

    The right-hand side costs b·d instead of b²·d operations, and keeps its digits where all rows lie
    far from the origin. Shapes: (b, d) → (1,). Where all rows are equal the result is the smallest
    positive value whose square float32 still holds, so that kernels and their gradients stay finite.
    """
    centred = F.broadcast_sub(x, F.mean(x, axis=0, keepdims=True))
    rows = F.sum(F.ones_like(F.slice_axis(x, axis=1, begin=0, end=1))).reshape((1,))
    total = F.sum(F.square(centred)).reshape((1,))
    return F.broadcast_maximum(2 * total / (rows - 1), F.ones_like(total) * 1e-18)


_MOST_DIGITS = 37       # powers of ten that float32 holds, either way


class GaussianKernel(mx.gluon.HybridBlock):
    r"""Sum of Gaussian kernels whose widths form a geometric series around a bandwidth.

    .. math:: k(u, v) = \sum_{i=0}^{n-1} \exp\left(-\frac{|u - v|^2}{g \cdot r^{\,i - n/2}}\right)

    with n = `num_kernels` and r = `kernel_mul` (Long et al. 2015, *Learning Transferable Features with
    Deep Adaptation Networks*, section 3, with equal weights of the kernels). A gradient flows through g
    where g is computed from the features.

    Parameters
    ----------
    num_kernels : int, default 4
    kernel_mul : float, default 2.0
        Ratio of neighbouring widths.
    bandwidth : float or None, default None
        g. None: `mean_squared_distance` of the batch.

    Raises: InputError for kernels whose widths are not all finite and above 0, in float32 as on the devices.

    Inputs:
        - **x**: (b, d), the batch that the bandwidth is taken from.
        - **squared_distance**: any shape, |u - v|² of the pairs.

    Outputs:
        - the kernel's values, in the shape of `squared_distance`.

    >>> kernel = GaussianKernel(num_kernels=1, bandwidth=1.0)
    >>> print(kernel(mx.nd.zeros((2, 3)), mx.nd.zeros((1,))).asscalar())
    1.0
    """

    def __init__(self, num_kernels=4, kernel_mul=2.0, bandwidth=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(num_kernels, numbers.Integral) or num_kernels < 1:
            raise InputError.of("num_kernels", num_kernels, "a whole number from 1 up")
        if not 0 < kernel_mul < math.inf:
            raise InputError.of("kernel_mul", kernel_mul, "a finite number above 0")
        if bandwidth is not None and not 0 < bandwidth < math.inf:
            raise InputError.of("bandwidth", bandwidth, "a finite number above 0, or None")
        widest = num_kernels / 2 * abs(math.log10(kernel_mul)) + abs(math.log10(bandwidth or 1))
        if widest > _MOST_DIGITS:
            raise InputError(f"`num_kernels` {num_kernels}, `kernel_mul` {kernel_mul} and `bandwidth` {bandwidth} give "
                             f"widths beyond 1e±{_MOST_DIGITS}; float32 holds no more, expected less extreme ones.")
        self._scales = [float(kernel_mul) ** (i - num_kernels / 2) for i in range(num_kernels)]
        self._bandwidth = bandwidth

    def hybrid_forward(self, F, x, squared_distance):
        if self._bandwidth is None:
            relative = F.broadcast_div(squared_distance, mean_squared_distance(F, x))
        else:
            relative = squared_distance / self._bandwidth
        return sum(F.exp(-relative / scale) for scale in self._scales)
