"""Mixup: training on mixtures of pairs of images and of their labels."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx


class Mixup:
    r"""Images and labels of a batch mixed with those of the reversed batch.

    .. math:: \tilde x_i = \lambda x_i + (1 - \lambda) x_j, \qquad
              \tilde q_i = \lambda q_i + (1 - \lambda) q_j, \qquad
              \lambda \sim \operatorname{Beta}(\alpha, \alpha)

    with j = b + 1 - i and one λ a batch, on every device its own. Zhang et al. 2018, *mixup: Beyond Empirical Risk
    Minimization*, equation 1 and algorithm 1; the reversed batch as partner, instead of a shuffled one, is timm's. timm
    mixes bytes, and rounds the result to bytes; here images are mixed as float32, and stay what the formula says.

    An image of unknown class, whose row is zero, is mixed as well: of a mixture, what is known weighs λ or 1 - λ. One
    of `fit`'s `before_forward`, behind `SoftLabels`.

    Parameters
    ----------
    alpha : float
        α, above 0: 0.2 is usual. The smaller, the nearer λ is to 0 or 1.
    domains : int, default 1
        Parts of equal length that a batch consists of and that do not mix with each other; λ is the same for all.
        2: source half, target half.

    Raises: InputError, also for parts whose number of images is odd: one would be mixed with itself.

    Inputs:
        - **images**: (b, …), uint8 or float32; **rows**: (b, c), probabilities of classes.

    Outputs:
        - **images**: (b, …), float32; **rows**: (b, c).

    >>> images, rows = Mixup(0.2)(mx.nd.array([[3], [5]]), mx.nd.array([[1, 0], [0, 1]]))
    >>> print(images.sum().asscalar(), rows.sum(axis=1).asnumpy())
    8.0 [1. 1.]
    """

    def __init__(self, alpha, domains=1):
        if not 0 < alpha < 1e6:
            raise InputError.of("alpha", alpha, "a number above 0, below 1e6")
        if domains < 1:
            raise InputError.of("domains", domains, "a number from 1 up")
        self._alpha, self._domains = alpha, domains

    def __call__(self, images, rows):
        if len(images) % (2 * self._domains):
            parts = f"{self._domains} domains" if self._domains > 1 else "pairs"
            raise InputError(f"`mixup` got {len(images)} images on a device, of {parts}; expected a multiple of "
                             f"{2 * self._domains}. Give another `batch_size`.", "mixup", len(images),
                             f"a multiple of {2 * self._domains} images a device")
        share = beta(self._alpha, images.context)
        return self._mixed(images, share), self._mixed(rows, share)

    def _mixed(self, x, share):
        x = x.astype("float32", copy=False)
        partner = mx.nd.flip(x.reshape((self._domains, -1, *x.shape[1:])), axis=1).reshape(x.shape)
        share = share.reshape((1,) * x.ndim)
        return mx.nd.broadcast_mul(x, share) + mx.nd.broadcast_mul(partner, 1 - share)


def beta(alpha, device):
    r"""A number, (1,), of the distribution Beta(α, α), from ``mx.random`` of a device.

    .. math:: \frac{G_1}{G_1 + G_2}, \qquad G_i \sim \operatorname{Gamma}(\alpha)

    which a Gamma(α + 1) times exp(-E/α) is, E exponential (Marsaglia & Tsang 2000, *A Simple Method for Generating
    Gamma Variables*, section 6). It is computed from logarithms: where α is below 0.1, float32 is too coarse for G
    itself, and now and then makes 0/0 of two.

    >>> 0 <= beta(0.01, mx.cpu()).asscalar() <= 1
    True
    """
    logarithm = (mx.nd.log(mx.nd.random.gamma(alpha + 1, 1, shape=(2,), ctx=device))
                 - mx.nd.random.exponential(1 / alpha, shape=(2,), ctx=device))
    return mx.nd.sigmoid(logarithm[0:1] - logarithm[1:2])
