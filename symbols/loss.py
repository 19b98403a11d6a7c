"""What every transfer loss is: a block from features and logits of a batch, source half first, to a number."""
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.expectations import expectation

_ROWS = expectation("transfer_same_rows", "layers and logits that a loss got have different numbers of rows; expected "
                    "as many of each, one an image.")
_LEAST = 1e-37


def halves(F, x):
    """(b, …) → the source half (b/2, …) and the target half (b/2, …)."""
    # MXNet writes beyond the result of a reshape whose sizes do not fit, unless it splits (-4) one axis: only then does
    # it compare them.
    return F.split(F.reshape(x, shape=(-4, 2, -1, -2)), num_outputs=2, axis=0, squeeze_axis=True)


def count(F, x, axis):
    """How long an axis of a matrix is, as an array (1,): in a graph, sizes are known only when it runs."""
    return F.sum(F.ones_like(F.slice_axis(x, axis=1 - axis, begin=0, end=1))).reshape((1,))


def log(F, p):
    """Of probabilities, those that float32 rounds to 0 included. MXNet's log_softmax is off by 1e-6 on CPUs."""
    return F.log(F.maximum(p, _LEAST))


def entropy(F, p):
    """Probabilities (b, c) → the entropy of every row, in nat, (b, 1)."""
    return -F.sum(p * log(F, p), axis=-1, keepdims=True)


class TransferLoss(mx.gluon.HybridBlock):
    """Base of the losses that tell how far apart two domains are.

    It is called as ``loss(features, logits)``. A loss of one's own overrides those attributes where they are not the
    usual ones, and `hybrid_forward`, which gets a list of layers in any case:
    ``hybrid_forward(self, F, layers, logits, **parameters)``, or ``(self, F, layers, **parameters)`` where
    `needs_logits` is False, or ``(self, F, logits, **parameters)`` where `needs_features` is. It returns the loss (1,),
    or ``(loss, values)`` where `statistics` names k values (k,).

    Its own parameters are named after the class, without Gluon's counter, so that they are called the same in
    every process; ``_collect_params_with_prefix()`` names them by attribute, such as ``hidden.weight``.

    Attributes
    ----------
    batch_multiple : int, default 2
        What the number of images b is a multiple of. Any other is refused before `hybrid_forward` computes.
    usual_weight : float, default 1.0
        What a `TransferObjective` multiplies it with where it is told nothing else; stages of training take as much
        for 16 images a device, and n/16 times that for n.
    usual_relative_weight : float or None, default None
        What is a good weight against the *mean* cross-entropy (`objective.relative_weight`), whatever the batch size;
        training says when the weight is far from it. None: not known.
    statistics : tuple of str, default ()
        Names of what it returns beside the loss.
    needs_logits : bool, default True
        Whether the logits are looked at. False: they may be left out, and are dropped.
    needs_features : bool, default True
        Whether the features are looked at. False: only at how many images they are of.
    target_alone : bool, default False
        Whether a batch is of target images alone. Their labels are then not looked at, and the classifier ``fc`` does
        not learn.
    softmax_weight : float, default 1.0
        What a `TransferObjective` multiplies the softmax loss beside it with.
    makes_labels : callable or None, default None
        With `target_alone`, from the features (n, d) and logits (n, c) of all target images, arrays of NumPy, to class
        numbers (n,): their labels in the next epoch. None: they have none.

    Inputs:
        - **features**: (b, d), or a list of such arrays, one a layer, the last of which feeds the classifier. The
          first half of the rows is of the source domain, the second of the target domain.
        - **logits**: (b, c).

    Raises: ValueError for batches of other shapes, in hybridized graphs too.
    """

    batch_multiple = 2
    usual_weight = 1.0
    usual_relative_weight = None
    statistics = ()
    needs_logits = True
    needs_features = True
    target_alone = False
    softmax_weight = 1.0
    makes_labels = None

    def __init__(self, prefix=None, params=None):
        super().__init__(f"{type(self).__name__.lower()}_" if prefix is None else prefix, params)

    def sizes(self, widths, classes):
        """Called wherever the loss, or the objective that it is in, is given arrays, with how many numbers an image has
        in each layer, and the number of classes or None: for parameters whose shapes are chosen by that."""

    def forward(self, features, logits=None):
        layers = list(features) if isinstance(features, (list, tuple)) else [features]
        if not layers or self.needs_logits and logits is None:
            raise ValueError(f"{type(self).__name__} got {len(layers)} layers and {'no ' * (logits is None)}logits; "
                             f"expected a layer or more{', and logits' * self.needs_logits}.")
        arrays = [*layers, logits] if self.needs_logits else layers
        arrays = self._checked(arrays) if isinstance(arrays[0], mx.nd.NDArray) else self._checking(mx.sym, arrays)
        if not self.needs_features:
            return super().forward(arrays[-1])
        return super().forward(*((arrays[:-1], arrays[-1]) if self.needs_logits else (arrays,)))

    @property
    def _expected(self):
        multiple = self.batch_multiple
        if self.target_alone:
            return "expected (b, d): target images."
        images = "pairs of source images, then as many pairs of target images" if multiple == 4 else \
            "source images, then as many target images"
        return f"expected (b, d) with b a multiple of {multiple}: {images}."

    def _checked(self, arrays):
        for array in arrays:
            if array.ndim != 2 or not array.shape[0] or array.shape[0] % self.batch_multiple:
                raise ValueError(f"{type(self).__name__} got a batch of shape {array.shape}; {self._expected}")
        rows = [array.shape[0] for array in arrays]
        if len(set(rows)) > 1:
            raise ValueError(f"{type(self).__name__} got layers of {' and '.join(map(str, rows))} rows; expected as "
                             "many of each, one an image.")
        widths = [array.shape[1] for array in arrays]
        self.sizes(*((widths[:-1], widths[-1]) if self.needs_logits else (widths, None)))
        return arrays

    def _checking(self, F, arrays):
        """The arrays of a graph, behind operators whose shape inference refuses what `_checked` refuses."""
        name = expectation(f"transfer_batch_of_{self.batch_multiple}_", "the batch that a loss got has another shape; "
                           + self._expected)
        layers, logits = (arrays[:-1], arrays[-1:]) if self.needs_logits else (arrays, [])
        as_many = [F.transpose(array, axes=(0, 1), name=f"{name}logits_matrix") for array in logits]
        checked = []
        for place, array in enumerate(layers):
            rows = F.reshape(array, shape=(-4, -1, self.batch_multiple, -2), name=f"{name}{place}_rows")
            array = F.transpose(F.reshape(rows, shape=(-3, -2)), axes=(0, 1), name=f"{name}{place}_matrix")
            for other in checked[:1] or as_many:
                array = F.reshape_like(array, other, lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=1,
                                       name=f"{_ROWS}{place}")
            checked.append(array)
        if not self.needs_features:     # they are in the graph by what is checked of them
            for place, other in enumerate(checked):
                logits = [F.reshape_like(*logits, other, lhs_begin=0, lhs_end=1, rhs_begin=0, rhs_end=1,
                                         name=f"{_ROWS}{place}_logits")]
        # Else the logits stay the very node that an objective has: MXNet then computes what both make of them once, and
        # one sum of gradients goes back, as in the original.
        return [*checked, *logits]
