"""Conditional adversarial training against a float64 reference: value, accuracy, gradients, random products."""
import numpy as np
import pytest
import reference
from test_dann import parameters
from test_mmd import batch, relative_error

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import CDANLoss, TransferObjective

OF_D = ["hidden.weight", "hidden.bias", "domain.weight", "domain.bias"]
MAPS = ["of_features", "of_classes"]


def with_parameters(loss, values):
    loss.initialize()
    own = loss._collect_params_with_prefix()
    assert sorted(own) == sorted([*OF_D, *MAPS])
    for name, value in zip(OF_D, values):
        own[name].shape = value.shape
        own[name].set_data(mx.nd.array(value))
    return own


def called(loss, x, z):
    x, z = mx.nd.array(x), mx.nd.array(z)
    x.attach_grad()
    z.attach_grad()
    with mx.autograd.record():
        value, accuracy = loss(x, z)
    value.backward()
    return value.asscalar(), accuracy.asscalar(), x.grad.asnumpy(), z.grad.asnumpy()


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("by_entropy", [0, 1])
@pytest.mark.parametrize("b, scale", [(2, 1.0), (8, 0.1), (64, 3.0)])
def test_value_and_gradients_equal_the_float64_reference(b, scale, by_entropy, hybridize):
    x, z = batch(b, seed=b)
    values = parameters(20 * 7, scale=scale, seed=b)
    wanted, accuracy, dx, gradients = reference.cdan(x, z, values, by_entropy)
    loss = CDANLoss(hidden=9, reversal=0.25, entropy=by_entropy)
    own = with_parameters(loss, values)
    if hybridize:
        loss.hybridize(static_alloc=True, static_shape=True)
    found, right, gradient, dz = called(loss, x, z)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert right == pytest.approx(accuracy)
    assert relative_error(gradient, -0.25 * dx) < 1e-5
    assert not dz.any()
    for name, gradient in zip(OF_D, gradients):
        assert relative_error(own[name].grad().asnumpy(), gradient) < 1e-5


def test_the_reference_gradients_agree_with_finite_differences():
    x, z = batch(6, d=3, c=2, seed=4)
    values = parameters(6, hidden=4, seed=5)
    maps = [np.random.default_rng(0).normal(size=(6, number)) for number in (3, 2)]
    for how in (None, maps):
        wanted = reference.slope(lambda x, how=how: reference.cdan(x, z, values, True, how)[0], x)
        np.testing.assert_allclose(reference.cdan(x, z, values, True, how)[2], wanted, atol=1e-8)


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("d, products", [(585, 4095), (586, 1024)])
def test_more_than_4096_products_are_random_ones(d, products, hybridize):
    x, z = batch(16, d=d)
    values = parameters(products, scale=0.1)
    loss = CDANLoss(hidden=9, reversal=1.0)
    objective = TransferObjective(loss, 3.0)
    own = with_parameters(loss, values)
    if hybridize:
        objective.hybridize(static_alloc=True, static_shape=True)
    features = mx.nd.array(x)
    features.attach_grad()
    with mx.autograd.record():
        total, statistics = objective(features, mx.nd.array(z), mx.nd.array(8 * [1] + 8 * [9999]))
    total.backward()
    maps = [own[name].data().asnumpy().astype("float64") for name in MAPS]
    assert [one.shape for one in maps] == [(products, d), (products, 7)]
    wanted, accuracy, dx, _ = reference.cdan(x, z, values, True, maps if products == 1024 else None)
    assert dict(zip(objective.statistics, statistics.asnumpy()))["domain_accuracy"] == pytest.approx(accuracy)
    assert statistics.asnumpy()[1] == pytest.approx(wanted, rel=1e-5)
    assert relative_error(features.grad.asnumpy(), -3 * dx) < 1e-5
    assert all(own[name].grad_req == "null" for name in MAPS)


def test_random_products_keep_inner_products_in_expectation():
    x, z = batch(4, d=2000)
    loss = CDANLoss(hidden=2)
    loss.initialize()
    loss(mx.nd.array(x), mx.nd.array(z))
    f, g = (array @ one.data().asnumpy().T for array, one in ((x, loss.of_features), (reference.softmax(z),
                                                                                    loss.of_classes)))
    for i, j in ((0, 0), (0, 1), (2, 3)):
        p = reference.softmax(z)
        scale = np.sqrt((x[i] @ x[i]) * (x[j] @ x[j]) * (p[i] @ p[i]) * (p[j] @ p[j]))
        assert (f * g)[i] @ (f * g)[j] == pytest.approx((x[i] @ x[j]) * (p[i] @ p[j]), abs=0.25 * scale)


@pytest.mark.parametrize("arguments", [dict(hidden=0), dict(reversal=-1.0), dict(entropy=2), dict(entropy=0.5)])
def test_parameters_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` is .*expected"):
        CDANLoss(**arguments)
