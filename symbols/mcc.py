"""Minimum class confusion: predictions on the target that do not waver between classes."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.symbols.loss import TransferLoss, entropy, halves, log


class MCCLoss(TransferLoss):
    r"""Minimum class confusion: how often target images are taken for two classes at once.

    .. math:: \frac{1}{c} \sum_j \sum_{j' \ne j} \tilde C_{jj'}, \qquad
              \tilde C_{jj'} = \frac{C_{jj'}}{\sum_k C_{jk}}, \qquad
              C_{jj'} = \sum_i w_i\, y_{ij}\, y_{ij'}, \qquad y = \operatorname{softmax}(z / T)

    over the n = b/2 target images i of a batch, with logits z and c classes. Images of which the network is sure count
    more, by their entropy H, through which no gradient flows:

    .. math:: w_i = \frac{n (1 + e^{-H(y_i)})}{\sum_k 1 + e^{-H(y_k)}}

    Jin et al. 2020, *Minimum Class Confusion for Versatile Domain Adaptation*, ECCV, section 3, up to equation 7; T as
    in its authors' code. Since probabilities add up to 1, a row of C adds up to the class's weighted probability, and
    the loss is that of a softmax over images, without a matrix of classes:

    .. math:: \frac{1}{c} \sum_{ij} a_{ij} (1 - y_{ij}), \qquad
              a_{ij} = \frac{w_i y_{ij}}{\sum_k w_k y_{kj}} = \operatorname{softmax}_i(\log w_i + \log y_{ij})

    `usual_relative_weight` is the paper's 1.

    Parameters
    ----------
    temperature : float, default 2.5
        T.

    Inputs:
        - **features**: (b, d) or a list of such layers, source half first; b even, else ValueError, hybridized too.
          What they hold is not looked at.
        - **logits**: (b, c).

    Outputs:
        - **loss**: (1,), from 0 to (c - 1) / c.

    >>> sure, unsure = mx.nd.array([[0, 0], [0, 0], [40, 0], [0, 40]]), mx.nd.zeros((4, 2))
    >>> print(f"{MCCLoss()(mx.nd.zeros((4, 3)), sure).asscalar():.4f}")
    0.0000
    >>> print(f"{MCCLoss()(mx.nd.zeros((4, 3)), unsure).asscalar():.4f}")
    0.5000
    """

    usual_weight = 8.0
    usual_relative_weight = 1.0
    needs_features = False

    def __init__(self, temperature=2.5, **kwargs):
        super().__init__(**kwargs)
        if not 1e-3 <= temperature <= 1e6:
            raise InputError.of("temperature", temperature, "a number from 0.001 to 1000000")
        self._temperature = temperature

    def hybrid_forward(self, F, logits):
        _, target = halves(F, logits)
        y = F.softmax(target / self._temperature, axis=-1)
        # What w is divided by falls out of the softmax over images.
        log_w = F.log1p(F.exp(-entropy(F, F.BlockGrad(y))))
        shares = F.softmax(F.broadcast_add(log_w, log(F, y)), axis=0)
        return F.mean(F.sum(shares * (1 - y), axis=0)).reshape((1,))
