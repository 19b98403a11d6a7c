"""Batch nuclear-norm maximisation: predictions on the target that are sure, and of many classes."""
from transfer_gluon.symbols.loss import TransferLoss, halves

_LEAST = 1e-12      # of the largest eigenvalue; what is below is rounding


class BNMLoss(TransferLoss):
    r"""Batch nuclear-norm maximisation: minus the nuclear norm of the class probabilities of target images.

    .. math:: -\frac{1}{n} \left\| P \right\|_* = -\frac{1}{n} \sum_k \sigma_k(P), \qquad
              P = \operatorname{softmax}(z) \in \mathbb{R}^{n \times c}

    with the n = b/2 target images of a batch, their logits z, and the singular values σ of P. Sure predictions make
    it small, and predictions of all classes, which sure ones alone would not keep. Cui et al. 2020, *Towards
    Discriminability and Diversity: Batch Nuclear-Norm Maximization under Label Insufficient Situations*, CVPR,
    section 3.

    With the singular value decomposition P = U Σ Vᵀ, its gradient is that of ⟨P, U Vᵀ⟩ with a constant

    .. math:: U V^\top = (P P^\top)^{-1/2} P

    which one eigendecomposition of n × n numbers gives, in float64 and without gradient. Directions whose singular
    values vanish fade out of it, which is a subgradient; that of a decomposition would divide by differences of them.

    `usual_relative_weight` is the paper's 1.

    Inputs:
        - **features**: (b, d) or a list of such layers, source half first; b even, else ValueError, hybridized too.
          What they hold is not looked at.
        - **logits**: (b, c).

    Outputs:
        - **loss**: (1,), from -1 to 0.

    >>> sure = mx.nd.array([[0, 0], [0, 0], [40, 0], [0, 40]])
    >>> print(BNMLoss()(mx.nd.zeros((4, 3)), sure).asscalar())
    -1.0
    """

    usual_weight = 8.0
    usual_relative_weight = 1.0
    needs_features = False

    def hybrid_forward(self, F, logits):
        _, target = halves(F, logits)
        p = F.softmax(target, axis=-1)
        return -F.mean(F.sum(p * F.BlockGrad(self._directions(F, p)), axis=1)).reshape((1,))

    @staticmethod
    def _directions(F, p):
        """U Vᵀ (n, c) of p (n, c)."""
        p = F.cast(F.BlockGrad(p), dtype="float64")
        vectors, values = F.linalg.syevd(F.dot(p, p, transpose_b=True))     # a row of `vectors` each
        least = _LEAST * F.max(values, keepdims=True)
        scale = F.rsqrt(F.broadcast_maximum(values, least))
        projected = F.broadcast_mul(F.dot(vectors, p), F.expand_dims(scale, axis=1))
        return F.cast(F.dot(vectors, projected, transpose_a=True), dtype="float32")
