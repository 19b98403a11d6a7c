"""Deep CORAL against a float64 reference, value and gradients."""
import numpy as np
import pytest
import reference
from test_mmd import batch, relative_error, value_and_gradients

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import CORALLoss, TransferObjective


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("b, d", [(4, 20), (8, 20), (64, 20), (64, 300)])
def test_value_and_gradient_equal_the_float64_reference(b, d, hybridize):
    x, _ = batch(b, d, seed=b)
    x[:b // 2] *= 1.5
    value, dx = reference.coral(x)
    loss = CORALLoss()
    if hybridize:
        loss.hybridize()
    found, (gradient,) = value_and_gradients(loss, [x])
    assert found == pytest.approx(value, rel=1e-5)
    assert relative_error(gradient, dx) < 1e-5


def test_the_reference_gradient_agrees_with_finite_differences():
    x, _ = batch(8, d=3, seed=2)
    _, dx = reference.coral(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-5
        assert (reference.coral(x + step)[0] - reference.coral(x - step)[0]) / 2e-5 == pytest.approx(
            dx[place], rel=1e-5, abs=1e-8)


def test_a_shift_of_a_domain_is_no_difference_of_covariances():
    x, _ = batch(16, seed=3)
    moved = x + np.where(np.arange(16) < 8, 100.0, 0.0)[:, None]
    assert CORALLoss()(mx.nd.array(moved)).asscalar() == pytest.approx(reference.coral(x)[0], rel=1e-4)
    assert CORALLoss()(mx.nd.array(np.tile(x[:8], (2, 1)))).asscalar() == pytest.approx(0, abs=1e-6)


def test_layers_add_up():
    x, _ = batch(8)
    y, z = batch(8, d=5, seed=1)
    layers = [mx.nd.array(x), mx.nd.array(y)]
    assert CORALLoss()(layers).asscalar() == pytest.approx(reference.coral(x)[0] + reference.coral(y)[0], rel=1e-5)
    labels = mx.nd.array([0, 1, 2, 3] + 4 * [9999])
    total, statistics = TransferObjective(CORALLoss())(layers, mx.nd.array(z), labels)
    softmax, transfer = statistics.asnumpy()[:2]
    assert total.asscalar() == pytest.approx(softmax + CORALLoss.usual_weight * transfer)
    assert transfer == pytest.approx(reference.coral(x)[0] + reference.coral(y)[0], rel=1e-5)
