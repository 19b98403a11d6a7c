"""Minimum class confusion against a float64 reference, which makes the matrices of classes; value and gradient."""
import numpy as np
import pytest
import reference
from test_mmd import batch, relative_error, value_and_gradients

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import MCCLoss, TransferObjective


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("temperature", [2.5, 1.0])
@pytest.mark.parametrize("b, c", [(4, 3), (8, 7), (64, 7), (32, 40)])
def test_value_and_gradient_equal_the_float64_reference(b, c, temperature, hybridize):
    x, z = batch(b, c=c, seed=b)
    value, dz = reference.mcc(z, temperature)
    loss = MCCLoss(temperature)
    if hybridize:
        loss.hybridize()
    found, (dx, gradient) = value_and_gradients(loss, [x], z)
    assert found == pytest.approx(value, rel=1e-5)
    assert relative_error(gradient, dz) < 1e-5
    assert not gradient[:b // 2].any() and not dx.any()


def test_sure_predictions_confuse_nothing_and_stay_finite():
    z = np.array([[0, 0, 0]] * 4 + [[900, 0, 0], [0, 900, 0], [0, 0, 900], [900, 0, 0]])
    found, (_, gradient) = value_and_gradients(MCCLoss(), [np.zeros((8, 2))], z)
    assert found == pytest.approx(0, abs=1e-6) and np.isfinite(gradient).all()
    never = np.array([[0, 0, 0]] * 4 + [[900, 0, -900]] * 4)      # two classes have no probability at all
    found, (_, gradient) = value_and_gradients(MCCLoss(), [np.zeros((8, 2))], never)
    assert found == pytest.approx(2 / 3) and np.isfinite(gradient).all()


def test_images_of_which_the_network_is_sure_count_more():
    z = np.zeros((8, 3))
    z[4:] = [[30, 0, 0], [0, 30, 0], [0, 0, 30], [0, 0, 0]]
    # By hand: three images have the weight 2, the last 4/3; alike, each class would be confused by 2/9 / (4/3) = 1/6.
    wanted = 4 / 3 * 2 / 9 / (2 + 4 / 9)
    assert MCCLoss(1.0)(mx.nd.zeros((8, 2)), mx.nd.array(z)).asscalar() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), 1e308])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` is .*expected a number from 0.001"):
        MCCLoss(temperature)


def test_the_objective_counts_source_labels_and_the_target_alone_is_confused():
    x, z = batch(8)
    objective = TransferObjective(MCCLoss(), 3.0)
    objective.hybridize(static_alloc=True, static_shape=True)
    total, statistics = objective(mx.nd.array(x), mx.nd.array(z), mx.nd.array([0, 1, 2, 3] + 4 * [9999]))
    softmax, transfer = statistics.asnumpy()[:2]
    assert transfer == pytest.approx(reference.mcc(z)[0], rel=1e-5)
    assert total.asscalar() == pytest.approx(softmax + 3 * transfer, rel=1e-6)
