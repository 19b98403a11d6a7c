"""DANN against a float64 reference: value, accuracy, the reversed gradient and those of the domain classifier."""
import subprocess
import sys

import numpy as np
import pytest
import reference
from conftest import ROOT
from test_mmd import batch, relative_error

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import DANNLoss, TransferObjective, reverse_gradient

NAMES = ["hidden.weight", "hidden.bias", "domain.weight", "domain.bias"]


def parameters(d, hidden=9, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [(scale * rng.normal(size=shape)).astype(np.float32).astype(np.float64)
            for shape in ((hidden, d), (hidden,), (1, hidden), (1,))]


def with_parameters(loss, values):
    loss.initialize()
    own = loss._collect_params_with_prefix()
    assert list(own) == NAMES
    for parameter, value in zip(own.values(), values):
        parameter.shape = value.shape
        parameter.set_data(mx.nd.array(value))
    return own


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("reversal", [1.0, 0.25])
@pytest.mark.parametrize("b, scale", [(2, 1.0), (8, 0.1), (6, 1.0), (64, 3.0)])
def test_value_and_gradients_equal_the_float64_reference(b, scale, reversal, hybridize):
    x, _ = batch(b, seed=b)
    values = parameters(20, scale=scale, seed=b)
    wanted, accuracy, dx, gradients = reference.dann(x, *values)
    loss = DANNLoss(hidden=9, reversal=reversal)
    own = with_parameters(loss, values)
    if hybridize:
        loss.hybridize()
    features = mx.nd.array(x)
    features.attach_grad()
    with mx.autograd.record():
        value, statistics = loss(features)
    value.backward()
    assert value.shape == statistics.shape == (1,)
    assert value.asscalar() == pytest.approx(wanted, rel=1e-5)
    assert statistics.asscalar() == pytest.approx(accuracy)
    assert relative_error(features.grad.asnumpy(), -reversal * dx) < 1e-5
    for parameter, gradient in zip(own.values(), gradients):
        assert relative_error(parameter.grad().asnumpy(), gradient) < 1e-5


def test_the_reference_gradients_agree_with_finite_differences():
    x, _ = batch(6, d=3, seed=4)
    values = parameters(3, hidden=4, seed=5)
    _, _, dx, gradients = reference.dann(x, *values)
    for which, gradient in enumerate([dx, *gradients]):
        for place in np.ndindex(gradient.shape):
            up, down = [array.copy() for array in (x, *values)], [array.copy() for array in (x, *values)]
            up[which][place] += 1e-5
            down[which][place] -= 1e-5
            slope = (reference.dann(*up)[0] - reference.dann(*down)[0]) / 2e-5
            assert slope == pytest.approx(gradient[place], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("hybridize", [False, True])
def test_a_reversal_changes_the_gradient_alone(hybridize):
    class Reversal(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return reverse_gradient(F, x, 0.3)

    block = Reversal()
    if hybridize:
        block.hybridize()
    x = mx.nd.array([[1e-30, -2.5], [3.3e7, 0]])
    x.attach_grad()
    with mx.autograd.record():
        result = block(x)
        (result * mx.nd.array([[1, 2], [3, -4]])).sum().backward()
    assert (result.asnumpy() == x.asnumpy()).all()
    np.testing.assert_allclose(x.grad.asnumpy(), -0.3 * np.array([[1, 2], [3, -4]]), rtol=1e-6)


def test_images_that_the_classifier_is_sure_of_keep_their_digits():
    x = np.array([[-200.0], [-30.0], [60.0], [1.0]])
    loss = DANNLoss(hidden=2, reversal=1.0)
    values = [np.array([[1.0], [-1.0]]), np.zeros(2), np.array([[1.0, -1.0]]), np.zeros(1)]      # the logit is x
    with_parameters(loss, values)
    features = mx.nd.array(x)
    features.attach_grad()
    with mx.autograd.record():
        value, _ = loss(features)
    value.backward()
    wanted, _, dx, _ = reference.dann(x, *values)
    assert value.asscalar() == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(features.grad.asnumpy(), -dx, rtol=1e-5, atol=1e-38)


@pytest.mark.parametrize("hybridize", [False, True])
def test_a_classifier_that_knows_nothing_learns(hybridize):
    x, _ = batch(8)
    values = parameters(20)
    values[2:] = np.zeros((1, 9)), np.zeros(1)          # every logit is 0
    loss = DANNLoss(hidden=9)
    own = with_parameters(loss, values)
    if hybridize:
        loss.hybridize()
    with mx.autograd.record():
        value, accuracy = loss(mx.nd.array(x))
    value.backward()
    wanted, _, _, gradients = reference.dann(x, *values)
    assert (value.asscalar(), accuracy.asscalar()) == (pytest.approx(wanted), 0)
    assert relative_error(own["domain.weight"].grad().asnumpy(), gradients[2]) < 1e-5


def test_the_domain_classifier_sees_all_layers_and_its_accuracy_is_a_statistic_of_the_objective():
    x, z = batch(8)
    y, _ = batch(8, d=5, seed=1)
    values = parameters(25)
    wanted, accuracy, dx, _ = reference.dann(np.concatenate([x, y], axis=1), *values)
    objective = TransferObjective(DANNLoss(hidden=9, reversal=1.0), 3.0)
    objective.hybridize(static_alloc=True, static_shape=True)
    with_parameters(objective.transfer, values)
    layers = [mx.nd.array(x), mx.nd.array(y)]
    for layer in layers:
        layer.attach_grad()
    with mx.autograd.record():
        total, statistics = objective(layers, mx.nd.array(z), mx.nd.array([0, 1, 2, 3] + 4 * [9999]))
    total.backward()
    named = dict(zip(objective.statistics, statistics.asnumpy()))
    assert list(named)[4:] == ["domain_accuracy"] and named["domain_accuracy"] == pytest.approx(accuracy)
    assert named["transfer_loss"] == pytest.approx(wanted, rel=1e-5)
    assert total.asscalar() == pytest.approx(named["softmax_loss"] + 3 * wanted, rel=1e-5)
    found = np.concatenate([layer.grad.asnumpy() for layer in layers], axis=1)
    assert relative_error(found, -3 * dx) < 1e-5
    assert list(objective._collect_params_with_prefix()) == [f"transfer.{name}" for name in NAMES]


def test_parameters_are_called_the_same_in_every_process_and_however_many_were_made():
    script = "from transfer_gluon.symbols import DANNLoss; DANNLoss(); print(*DANNLoss().collect_params())"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(DANNLoss().collect_params()) == [
        "dannloss_hidden_weight", "dannloss_hidden_bias", "dannloss_domain_weight", "dannloss_domain_bias"]


def test_parameters_that_are_none_are_refused():
    for arguments in (dict(hidden=0), dict(hidden=2.5), dict(reversal=-1.0), dict(reversal=float("nan"))):
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` is .*expected"):
            DANNLoss(**arguments)
