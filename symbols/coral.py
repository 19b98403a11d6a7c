"""Correlation alignment: the distance of two domains' covariances."""
from transfer_gluon.symbols.loss import TransferLoss, count, halves
from transfer_gluon.symbols.mmd import same_and_crossed


class CORALLoss(TransferLoss):
    r"""Deep CORAL: the squared distance of the covariances of two domains' features.

    .. math:: \frac{1}{4 d^2} \left\| C_S - C_T \right\|_F^2, \qquad
              C = \frac{1}{n - 1} \sum_i (x_i - \bar x)(x_i - \bar x)^\top

    with n = b/2 images a domain and d numbers an image; over several layers it adds up. Sun & Saenko 2016, *Deep CORAL:
    Correlation Alignment for Deep Domain Adaptation*, equations 1 to 3. With the rows of each domain centred on its
    own mean, the same is computed from products of images, b²·d operations instead of b·d²:

    .. math:: \|C_S - C_T\|_F^2 = \frac{1}{(n - 1)^2} \left[ \sum_{s, s'} (s^\top s')^2 + \sum_{t, t'} (t^\top t')^2
              - 2 \sum_{s, t} (s^\top t)^2 \right]

    `usual_weight` is 800: against the mean cross-entropy, 2·800·devices/batch_size (`TransferObjective`), which is 100
    with 64 images on 4 devices. Covariances behind a ReLU are small, and squared, then divided by 4 d², smaller.
    The paper takes what makes both losses end about alike.

    Inputs:
        - **features**: (b, d) or a list of such layers, source half first; b a multiple of 4, which makes two images a
          domain or more, else ValueError, hybridized too.
        - **logits**: not looked at; may be left out.

    Outputs:
        - **loss**: (1,).

    >>> x = mx.nd.array([[0, 0], [2, 0], [0, 0], [0, 2]])      # C_S = diag(2, 0), C_T = diag(0, 2)
    >>> print(CORALLoss()(x).asscalar())
    0.5
    """

    batch_multiple = 4
    usual_weight = 800.0
    usual_relative_weight = 100.0
    needs_logits = False

    def hybrid_forward(self, F, layers):
        return sum(self._distance(F, x) for x in layers)

    @staticmethod
    def _distance(F, x):
        centred = F.concat(*[F.broadcast_sub(half, F.mean(half, axis=0, keepdims=True)) for half in halves(F, x)],
                           dim=0)
        n, d = count(F, x, axis=0) / 2, count(F, x, axis=1)
        products = F.broadcast_div(F.dot(centred, centred, transpose_b=True), (n - 1) * d)
        same, crossed = same_and_crossed(F, F.square(products))
        return (same - crossed) / 4
