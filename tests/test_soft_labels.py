"""Rows of probabilities against float64, and the gradients that they make."""
import numpy as np
import pytest
import reference
from sklearn.utils.class_weight import compute_class_weight

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.symbols.soft_labels import SoftLabels, balanced_weights

LABELS = np.array([2, 9999, 0, 3, 9999, 1, 1, 3])
WEIGHTS = [0.5, 2.0, 1.25, 0.0]


def by_hand(smoothing, weights):
    rows = np.zeros((len(LABELS), 4))
    for row, label in zip(rows, LABELS):
        if label != 9999:
            row[:] = weights[label] * smoothing / 4
            row[label] += weights[label] * (1 - smoothing)
    return rows


@pytest.mark.parametrize("device", [mx.cpu(0), mx.cpu(1)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_rows_value_and_gradient_equal_those_by_hand(weights, smoothing, device):
    rng = np.random.default_rng(3)
    images, logits = mx.nd.zeros((8, 2), ctx=device), mx.nd.array(rng.normal(size=(8, 4)), ctx=device)
    same, rows = SoftLabels(4, smoothing=smoothing, class_weights=weights)(images, mx.nd.array(LABELS, ctx=device))
    wanted = by_hand(smoothing, weights or [1] * 4)
    assert same is images and rows.context == device
    np.testing.assert_allclose(rows.asnumpy(), wanted, rtol=1e-5)
    logits.attach_grad()
    with mx.autograd.record():
        loss, statistics = TransferObjective(sparse_label=False)(images, logits, rows)
    loss.backward()
    p = reference.softmax(logits.asnumpy().astype(np.float64))
    assert loss.asscalar() == pytest.approx(-(wanted * np.log(p)).sum(), rel=1e-5)
    np.testing.assert_allclose(logits.grad.asnumpy(), wanted.sum(axis=1, keepdims=True) * p - wanted, rtol=1e-4,
                               atol=1e-6)
    assert statistics.asnumpy()[3] == (LABELS != 9999).sum() - (weights is not None) * 2      # of weight 0 two


def test_the_null_label_may_be_one_of_the_classes():
    _, rows = SoftLabels(4, null_label=3, smoothing=0.2)(mx.nd.zeros((2, 1)), mx.nd.array([3, 2]))
    np.testing.assert_allclose(rows.asnumpy(), [[0, 0, 0, 0], [0.05, 0.05, 0.85, 0.05]], rtol=1e-5)


@pytest.mark.parametrize("told, why", [
    (dict(smoothing=1.0), "`smoothing` is 1.0; expected a number from 0 up, below 1"),
    (dict(smoothing=float("nan")), "`smoothing` is nan"),
    (dict(class_weights=[1, 2]), "(?s)`class_weights` are.*Expected 4 numbers from 0 up"),
    (dict(class_weights=[1, 2, 3, -1]), "`class_weights` are"),
    (dict(class_weights=[1, 2, 3, float("inf")]), "`class_weights` are"),
    (dict(num_classes=0), "`num_classes` is 0")])
def test_what_makes_no_rows_is_refused(told, why):
    with pytest.raises(InputError, match=why):
        SoftLabels(**{"num_classes": 4, **told})


def test_balanced_weights_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 200, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    wanted = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    np.testing.assert_allclose(balanced_weights([*labels, 9999, 9999], 5), wanted, rtol=1e-12)
    assert balanced_weights(labels, 5)[labels].mean() == pytest.approx(1)


def test_classes_without_images_and_labels_without_class_are_named():
    with pytest.raises(InputError, match="no image is of class 1, 3; expected some of each of 4 classes"):
        balanced_weights([0, 2, 2, 9999], 4)
    with pytest.raises(InputError, match="no image is of class 0, 1, .*, 9 and 19 more"):
        balanced_weights([29], 30)
    with pytest.raises(InputError, match="there are images of class 4; expected classes from 0 to 3"):
        balanced_weights([0, 1, 2, 3, 4], 4)
