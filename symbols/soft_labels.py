"""Class numbers as rows of probabilities: smoothed, and weighed by class."""
import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.framework import mx


class SoftLabels:
    r"""Rows of probabilities for class numbers.

    .. math:: q_k = w_y \left( (1 - s) \, [k = y] + \frac{s}{C} \right)

    for an image of class y among C classes: label smoothing, Szegedy et al. 2016, *Rethinking the Inception
    Architecture for Computer Vision*, section 7, times the weight of the image's own class. The row of an image of
    unknown class is zero, which a `TransferObjective` with ``sparse_label=False`` takes as such. One of `fit`'s
    `before_forward`, in front of a `Mixup`.

    Parameters
    ----------
    num_classes : int
        C.
    null_label : int, default 9999
        The class number that means 'unknown'.
    smoothing : float, default 0
        s, from 0 up, below 1.
    class_weights : sequence of float, or None
        w, a number from 0 up for each class; None: 1 for all. `balanced_weights` makes them.

    Raises: InputError.

    Inputs:
        - **images**: (b, …), handed on; **labels**: (b,), class numbers. One that is no class counts as unknown.

    Outputs:
        - **images**; **rows**: (b, C).

    >>> _, rows = SoftLabels(num_classes=2, smoothing=0.2)(mx.nd.zeros((2, 3)), mx.nd.array([1, 9999]))
    >>> [[f"{q:.1f}" for q in row] for row in rows.asnumpy()]
    [['0.1', '0.9'], ['0.0', '0.0']]
    """

    def __init__(self, num_classes, null_label=9999, smoothing=0.0, class_weights=None):
        if num_classes < 1:
            raise InputError.of("num_classes", num_classes, "a number from 1 up")
        if not 0 <= smoothing < 1:
            raise InputError.of("smoothing", smoothing, "a number from 0 up, below 1")
        weights = np.ones(num_classes, np.float32) if class_weights is None else np.asarray(class_weights, np.float32)
        if weights.shape != (num_classes,) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise InputError(f"`class_weights` are {first_ten(weights.ravel())}\nExpected {num_classes} numbers from 0 "
                             "up, one a class.", "class_weights", class_weights, f"{num_classes} numbers from 0 up")
        self._num_classes, self._null_label, self._smoothing = num_classes, null_label, smoothing
        self._weights = {mx.cpu(): mx.nd.array(weights.reshape(-1, 1), ctx=mx.cpu())}

    def __call__(self, images, labels):
        if labels.context not in self._weights:
            self._weights[labels.context] = self._weights[mx.cpu()].as_in_context(labels.context)
        labels = labels.astype("float32", copy=False)
        known = mx.nd.expand_dims(labels != self._null_label, axis=1)
        ones = mx.nd.broadcast_mul(mx.nd.one_hot(labels, self._num_classes), known)
        weight = mx.nd.dot(ones, self._weights[labels.context])      # (b, 1); zero where the class is unknown
        return images, mx.nd.broadcast_mul((1 - self._smoothing) * ones + self._smoothing / self._num_classes, weight)


def balanced_weights(labels, num_classes, null_label=9999):
    r"""Weights by which all classes weigh the same, however many images each has.

    .. math:: w_c = \frac{n}{C \cdot n_c}

    for n labelled images, n_c of them of class c: scikit-learn's ``class_weight="balanced"``. The mean weight of these
    n images is 1, so that a learning rate means what it did.

    Parameters
    ----------
    labels : sequence of int
        One an image; those that are `null_label` are left out.
    num_classes : int
        C.
    null_label : int, default 9999

    Returns: array (C,) of float64.

    Raises: InputError that names the classes without images, or labels that are no class.

    >>> balanced_weights([0, 0, 0, 1], num_classes=2).round(3).tolist()
    [0.667, 2.0]
    """
    labels = np.asarray(labels).astype(np.int64)
    labels = labels[labels != null_label]
    strange = np.unique(labels[(labels < 0) | (labels >= num_classes)])
    if len(strange):
        raise InputError(f"`class_weights` balanced: there are images of class {_named(strange)}; expected classes "
                         f"from 0 to {num_classes - 1}.", "class_weights", "balanced", "labels below `num_classes`")
    counts = np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise InputError(f"`class_weights` balanced: no image is of class {_named(np.flatnonzero(counts == 0))}; "
                         f"expected some of each of {num_classes} classes. Leave the weights out, or give a list with "
                         "images of all classes.", "class_weights", "balanced", "images of every class")
    return len(labels) / (num_classes * counts)


def _named(classes):
    more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
    return ", ".join(map(str, classes[:10])) + more
