"""What one device minimises: softmax over labelled images, plus the transfer loss."""
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.expectations import expectation

_ROWS = expectation("row_an_image", "the labels that an objective got are not (b,) for logits (b, c); expected a row "
                    "of features, a row of logits and a label an image.")


class TransferObjective(mx.gluon.HybridBlock):
    r"""Summed cross-entropy of the labelled images plus a weighted transfer loss.

    .. math:: L = \sum_{i:\,y_i \ne \text{null}} -\log p_i[y_i] \;+\; w \cdot T(x, p),
              \qquad p = \operatorname{softmax}(\text{logits})

    The sum runs over labelled images only; images with the null label add nothing to it. The optimizer
    divides the gradient by the whole batch B, so that the transfer loss of each of D devices weighs
    w / B against a sum over its labelled images: the more devices share a batch, the more it weighs.

    Parameters
    ----------
    transfer : HybridBlock or None, default None
        `MMDLoss` is called with the features, `JMMDLoss` with features and class probabilities: whichever
        number of inputs it takes is told by `joint`. None: softmax alone.
    weight : float, default 1.0
        w, in units of the transfer loss. The original has 1 for MMD and 2 for JMMD.
    joint : bool, default False
        Whether `transfer` takes the class probabilities too.
    null_label : int, default 9999
        The label that means 'unknown'.

    Attributes
    ----------
    batch_multiple : int
        What b is a multiple of: 4 with `MMDLoss` or `JMMDLoss`, 1 without.

    Inputs:
        - **features**: (b, d); **logits**: (b, c); **labels**: (b,).

    Raises: ValueError for a weight that is negative or that float32 does not hold, and for inputs of other shapes.

    Outputs:
        - **objective**: (1,), what to differentiate.
        - **statistics**: (4,), without gradient: summed cross-entropy, transfer loss, correctly
          classified labelled images, labelled images.

    >>> objective, statistics = TransferObjective()(mx.nd.ones((2, 3)), mx.nd.zeros((2, 4)), mx.nd.array([1, 9999]))
    >>> print(f"{objective.asscalar():.4f} from {statistics[3].asscalar():.0f} labelled image")
    1.3863 from 1 labelled image
    """

    def __init__(self, transfer=None, weight=1.0, joint=False, null_label=9999, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= weight < 1e38:
            raise ValueError(f"weight is {weight}; expected a number from 0 up that float32 holds, below 1e38.")
        self.batch_multiple = getattr(transfer, "batch_multiple", 1)
        self._weight = weight
        self._joint = joint
        self._null_label = null_label
        with self.name_scope():
            self.transfer = transfer

    def forward(self, features, logits, labels):
        shapes = [array.shape for array in (features, logits, labels) if isinstance(array, mx.nd.NDArray)]
        axes, rows = [len(shape) for shape in shapes], {shape[0] for shape in shapes}
        if shapes and (axes != [2, 2, 1] or len(rows) > 1):
            raise ValueError(f"features, logits and labels have the shapes {', '.join(map(str, shapes))}; expected "
                             "(b, d), (b, c) and (b,).")
        if shapes and shapes[0][0] % self.batch_multiple:
            raise ValueError(f"a device got a batch of {shapes[0][0]} images; expected a multiple of "
                             f"{self.batch_multiple}: pairs of source images, then as many pairs of target images.")
        return super().forward(features, logits, labels)

    def hybrid_forward(self, F, features, logits, labels):
        labelled = labels != self._null_label
        log_p = F.log_softmax(logits, axis=-1)
        cross_entropy = F.where(labelled, -F.pick(log_p, labels, mode="clip", name=_ROWS), F.zeros_like(labels))
        softmax_loss = F.sum(cross_entropy).reshape((1,))
        if self.transfer is None:
            # Zero, taken from the features because Gluon warns of an input that no result depends on.
            transfer_loss = F.sum(F.zeros_like(F.slice_axis(features, axis=1, begin=0, end=1))).reshape((1,))
        else:
            transfer_loss = self.transfer(*((features, F.exp(log_p)) if self._joint else (features,)))
        correct = F.sum((F.argmax(logits, axis=-1) == labels) * labelled).reshape((1,))
        statistics = F.concat(softmax_loss, transfer_loss, correct, F.sum(labelled).reshape((1,)), dim=0)
        return softmax_loss + self._weight * transfer_loss, F.BlockGrad(statistics)
