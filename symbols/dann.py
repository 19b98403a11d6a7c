"""Domain-adversarial training: a classifier of domains behind a reversal of the gradient."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.loss import TransferLoss, halves


def reverse_gradient(F, x, reversal=1.0):
    """`x` itself, whose gradient is that of what comes after it times -`reversal` (Ganin et al. 2016, section 4.2)."""
    return F.contrib.gradientmultiplier(x, scalar=-reversal)


class DANNLoss(TransferLoss):
    r"""Domain-adversarial loss: how well a classifier tells the two domains apart by their features.

    .. math:: -\frac{1}{b} \left[ \sum_s \log(1 - D(x_s)) + \sum_t \log D(x_t) \right], \qquad
              D(x) = \sigma(v^\top \operatorname{relu}(U x + u) + c)

    with x behind a reversal of the gradient: the domain classifier D learns to tell source (0) from target (1), the
    network below learns to hinder it. Ganin et al. 2016, *Domain-Adversarial Training of Neural Networks*, JMLR 17,
    equation 9 and section 4.2. Of several layers D sees all numbers of an image at once.

    D's parameters are ``hidden.weight`` U (hidden, d), ``hidden.bias`` u (hidden,), ``domain.weight`` v (1, hidden) and
    ``domain.bias`` c (1,), in this order. They are initialised and trained by who trains the network; d is known from
    the first batch.

    `usual_weight` is 8: against the mean cross-entropy, 2·8·devices/batch_size (`TransferObjective`), which is the
    paper's 1 with 64 images on 4 devices. The paper's λ rises from 0 to 1 in the course of its training, which begins
    with nothing learnt; here, where a trained network goes on, it is constant, and 0.1 by default: 1 from the first
    batch on, at a high rate, can undo what the network had learnt. The weight is D's rate, too, and λ is not.

    Parameters
    ----------
    hidden : int, default 1024
        Units of the hidden layer.
    reversal : float, default 0.1
        λ: the gradient that reaches the features is that of the loss times -λ, that of D's parameters times 1.

    Inputs:
        - **features**: (b, d) or a list of such layers, source half first; b even, else ValueError, hybridized too.
        - **logits**: not looked at; may be left out.

    Outputs:
        - **loss**: (1,).
        - **statistics**: (1,), ``domain_accuracy``: the fraction of the b images whose domain D tells right.

    >>> loss = DANNLoss(hidden=8)
    >>> loss.initialize()
    >>> value, (accuracy,) = loss(mx.nd.zeros((4, 3)))
    >>> print(f"{value.asscalar():.4f}, which is log 2; {accuracy.asscalar():.0%} right")
    0.6931, which is log 2; 0% right
    """

    batch_multiple = 2
    usual_weight = 8.0
    usual_relative_weight = 1.0
    statistics = ("domain_accuracy",)
    needs_logits = False

    def __init__(self, hidden=1024, reversal=0.1, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(hidden, int) or hidden < 1:
            raise InputError.of("hidden", hidden, "a whole number from 1 up")
        if not 0 <= reversal < 1e38:
            raise InputError.of("reversal", reversal, "a number from 0 up that float32 holds, below 1e38")
        self._reversal = reversal
        init = mx.init.Xavier("gaussian", "in", 2)
        with self.name_scope():
            self.hidden = mx.gluon.nn.Dense(hidden, activation="relu", weight_initializer=init, prefix="hidden_")
            self.domain = mx.gluon.nn.Dense(1, weight_initializer=init, prefix="domain_")

    def hybrid_forward(self, F, layers):
        return self._told_apart(F, F.concat(*layers, dim=1))

    def _told_apart(self, F, x, weights=None):
        """Loss and accuracy of D for x (b, k); of images with `weights` (b, 1), the mean by these in each domain."""
        source, target = halves(F, self.domain(self.hidden(reverse_gradient(F, x, self._reversal))))
        wrong = F.concat(source, -target, dim=0)        # how strongly D speaks for the other domain
        # log(1 + exp(a)), with all its digits and, at 0 too, its slope: there minimum has that of its first argument.
        # MXNet's softrelu is off by 1e-6.
        losses = F.relu(wrong) + F.log1p(F.exp(F.minimum(wrong, -wrong)))
        accuracy = F.mean(wrong < 0).reshape((1,))
        if weights is None:
            return F.mean(losses).reshape((1,)), accuracy
        means = [F.sum(loss * weight) / F.sum(weight) for loss, weight in zip(halves(F, losses), halves(F, weights))]
        return ((means[0] + means[1]) / 2).reshape((1,)), accuracy
