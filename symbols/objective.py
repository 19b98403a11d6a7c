"""What one device minimises: softmax over labelled images, plus the transfer loss."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.expectations import expectation

_NUMBERS = expectation("class_number_an_image", "the labels that an objective got are not (b,) for logits (b, c); "
                       "expected a row of features, a row of logits and a class number an image.")
_PROBABILITIES = expectation("probabilities_an_image", "the labels that an objective got are not (b, c) for logits "
                             "(b, c); expected a row of features, of logits and of probabilities an image.")
_ROWS = expectation("logits_an_image", "features and logits that an objective got have different numbers of rows; "
                    "expected as many of each, one an image.")


class TransferObjective(mx.gluon.HybridBlock):
    r"""Summed cross-entropy of the labelled images plus a weighted transfer loss.

    .. math:: L = u \sum_{i:\,y_i \ne \text{null}} -\log p_i[y_i] \;+\; w \cdot T(x, \text{logits}),
              \qquad p = \operatorname{softmax}(\text{logits})

    The sum runs over labelled images only; images with the null label add nothing to it. Where labels are rows of
    probabilities q, an image's cross-entropy is :math:`-\sum_c q_c \log p_c`, and a row of zeros is an unlabelled
    image. The optimizer divides the gradient by the whole batch B, so that the transfer loss of each of D devices
    weighs w / B against a sum over its labelled images: the more devices share a batch, the more it weighs. Where half
    of the images are labelled, T weighs 2·w·D/B against the mean cross-entropy: `relative_weight`. u is 1, or the
    `softmax_weight` that a transfer loss has.

    Parameters
    ----------
    transfer : HybridBlock or None, default None
        Called with (features, logits); a `TransferLoss`. None: softmax alone.
    weight : float or None, default None
        w, in units of the transfer loss. None: the `usual_weight` of `transfer`.
    null_label : int, default 9999
        The class number that means 'unknown'.
    sparse_label : bool, default True
        Whether labels are class numbers. False: rows of probabilities.

    Attributes
    ----------
    weight : float
        w.
    batch_multiple : int
        What b is a multiple of: that of `transfer`, 1 without.
    statistics : tuple of str
        The names of the statistics, in their order.

    Inputs:
        - **features**: (b, d), or a list of such layers; **logits**: (b, c); **labels**: (b,), or (b, c) where
          `sparse_label` is False.

    Raises: InputError for a weight that is negative or that float32 does not hold, ValueError for inputs of other
    shapes.

    Outputs:
        - **objective**: (1,), what to differentiate.
        - **statistics**: (4 + k,), without gradient: ``softmax_loss``, the summed cross-entropy; ``transfer_loss``, T;
          ``correct``, how many labelled images are classified correctly, as the most probable class of their row;
          ``labelled``, how many there are; then the k `statistics` of `transfer`.

    >>> objective, statistics = TransferObjective()(mx.nd.ones((2, 3)), mx.nd.zeros((2, 4)), mx.nd.array([1, 9999]))
    >>> print(f"{objective.asscalar():.4f} from {statistics[3].asscalar():.0f} labelled image")
    1.3863 from 1 labelled image
    """

    def __init__(self, transfer=None, weight=None, *, null_label=9999, sparse_label=True, **kwargs):
        super().__init__(**kwargs)
        self.weight = getattr(transfer, "usual_weight", 1.0) if weight is None else weight
        if not 0 <= self.weight < 1e38:
            raise InputError.of("weight", weight, "a number from 0 up that float32 holds, below 1e38")
        self.batch_multiple = getattr(transfer, "batch_multiple", 1)
        self._softmax_weight = getattr(transfer, "softmax_weight", 1.0)
        self._kept = {}
        self._of_transfer = tuple(getattr(transfer, "statistics", ()))
        self.statistics = ("softmax_loss", "transfer_loss", "correct", "labelled", *self._of_transfer)
        self._null_label = null_label
        self._sparse_label = sparse_label
        with self.name_scope():
            self.transfer = transfer

    def forward(self, features, logits, labels):
        layers = features if isinstance(features, (list, tuple)) else [features]
        if isinstance(logits, mx.nd.NDArray):
            self._check([array.shape for array in (*layers, logits, labels)])
            if hasattr(self.transfer, "sizes"):
                self.transfer.sizes([layer.shape[1] for layer in layers], logits.shape[1])
        objective, statistics = super().forward(features, logits, labels)
        if isinstance(logits, mx.nd.NDArray) and statistics.shape != (len(self.statistics),):
            raise ValueError(f"{type(self.transfer).__name__} returned {statistics.shape[0] - 4} further statistics; "
                             f"expected {len(self._of_transfer)}: {', '.join(self._of_transfer)}.")
        return objective, statistics

    def _check(self, shapes):
        axes, rows = [len(shape) for shape in shapes], {shape[0] for shape in shapes}
        labels = 1 if self._sparse_label else 2
        if axes != [2] * (len(shapes) - 1) + [labels] or len(rows) > 1 or labels == 2 and shapes[-1] != shapes[-2]:
            raise ValueError(f"features, logits and labels have the shapes {', '.join(map(str, shapes))}; expected "
                             f"(b, d), (b, c) and {'(b,)' if self._sparse_label else '(b, c)'}.")
        if shapes[0][0] % self.batch_multiple:
            raise ValueError(f"a device got a batch of {shapes[0][0]} images; expected a multiple of "
                             f"{self.batch_multiple}: source images, then as many target images.")

    def hybrid_forward(self, F, features, logits, labels):
        layers = features if isinstance(features, (list, tuple)) else [features]
        logits = F.reshape_like(logits, layers[-1], lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=1, name=_ROWS)
        log_p = F.log_softmax(logits, axis=-1)
        if self._sparse_label:
            labelled, classes = labels != self._null_label, labels
            cross_entropy = F.where(labelled, -F.pick(log_p, labels, mode="clip", name=_NUMBERS), F.zeros_like(labels))
        else:
            labelled, classes = F.max(labels, axis=-1) > 0, F.argmax(labels, axis=-1)
            cross_entropy = -F.sum(F.elemwise_mul(labels, log_p, name=_PROBABILITIES), axis=-1)
        softmax_loss = F.sum(cross_entropy).reshape((1,))
        further = []
        if self.transfer is None:
            # Zero, taken from the features because Gluon warns of an input that no result depends on.
            zeros = (F.sum(F.zeros_like(F.slice_axis(x, axis=1, begin=0, end=1))) for x in layers)
            transfer_loss = sum(zeros).reshape((1,))
        elif self._of_transfer:
            transfer_loss, *further = self.transfer(features, logits)
        else:
            transfer_loss = self.transfer(features, logits)
        correct = F.sum((F.argmax(logits, axis=-1) == classes) * labelled).reshape((1,))
        statistics = F.concat(softmax_loss, transfer_loss, correct, F.sum(labelled).reshape((1,)), *further, dim=0)
        if self._softmax_weight != 1:
            softmax_loss = self._softmax_weight * softmax_loss
        return softmax_loss + self.weight * transfer_loss, F.BlockGrad(statistics)

    def keep(self, name, parameter):
        """Have a `Parameter`, with which nothing is computed here, saved and resumed with the objective's own; returns
        it."""
        self._kept[name] = parameter
        return parameter

    def _collect_params_with_prefix(self, prefix=""):
        begin = prefix and f"{prefix}."
        return {**super()._collect_params_with_prefix(prefix),
                **{begin + name: parameter for name, parameter in self._kept.items()}}


def relative_weight(weight, batch_size, num_devices=1, domains=2):
    r"""What a transfer loss weighs against the *mean* cross-entropy of the labelled images.

    .. math:: r = 2 w D / B

    or w D / B, where a batch is of one domain.

    Parameters
    ----------
    weight : float
        w of a `TransferObjective`: against the cross-entropy summed over a device's images.
    batch_size : int
        B, images of a batch over all devices, half of them of the source, and labelled; of one domain, all of them.
    num_devices : int
        D, each of which has a transfer loss of its own.
    domains : 1 or 2, default 2
        Of which a batch is.

    >>> relative_weight(2, batch_size=64, num_devices=4)      # as the original trained JAN on cars
    0.25
    """
    return domains * weight * num_devices / batch_size


def absolute_weight(relative, batch_size, num_devices=1, domains=2):
    """The weight w of a `TransferObjective` that comes to a `relative_weight` r: w = r B / (2 D).

    >>> absolute_weight(0.25, batch_size=64, num_devices=4)
    2.0
    """
    return relative * batch_size / (domains * num_devices)
