"""MMD and JMMD against a float64 reference, value and gradients."""
import os
import subprocess
import sys

import numpy as np
import pytest
import reference
from conftest import ROOT

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import GaussianKernel, JMMDLoss, MMDLoss, TransferObjective


def batch(b, d=20, c=7, seed=0):
    """Features of two shifted domains and logits, float32 values in float64."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(b, d)) + np.where(np.arange(b) < b // 2, 0.0, 0.7)[:, None]
    z = 2 * rng.normal(size=(b, c))
    return x.astype(np.float32).astype(np.float64), z.astype(np.float32).astype(np.float64)


def relative_error(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def value_and_gradients(loss, arrays, *further):
    """The loss of a list of layers, or of the only one, and the gradients with respect to each."""
    arrays, further = [mx.nd.array(array) for array in arrays], [mx.nd.array(array) for array in further]
    for array in (*arrays, *further):
        array.attach_grad()
    with mx.autograd.record():
        value = loss(arrays if len(arrays) > 1 else arrays[0], *further)
    value.backward()
    return value.asscalar(), [array.grad.asnumpy() for array in (*arrays, *further)]


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("semi_supervised", [False, True])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("b", [8, 16, 64])
def test_objective_and_gradients_equal_the_float64_reference(b, joint, semi_supervised, hybridize):
    x, z = batch(b, seed=b)
    labels = np.random.default_rng(b).integers(0, 7, b)
    labels[b // 2 + (2 if semi_supervised else 0):] = 9999
    weight = 2.0 if joint else 1.0
    value, dx, dz = reference.objective_gradients(x, z, labels, weight, joint)

    objective = TransferObjective(JMMDLoss() if joint else MMDLoss(), weight)
    if hybridize:
        objective.hybridize()
    features, logits = mx.nd.array(x), mx.nd.array(z)
    features.attach_grad()
    logits.attach_grad()
    with mx.autograd.record():
        loss, statistics = objective(features, logits, mx.nd.array(labels))
    loss.backward()
    assert loss.shape == (1,)
    assert relative_error(loss.asnumpy(), np.array([value])) < 1e-5
    assert relative_error(features.grad.asnumpy(), dx) < 1e-5
    assert relative_error(logits.grad.asnumpy(), dz) < 1e-5
    known = labels != 9999
    assert statistics.asnumpy()[2] == (z.argmax(axis=1) == labels)[known].sum()
    assert statistics.asnumpy()[3] == known.sum()


@pytest.mark.parametrize("joint", [False, True])
def test_reference_gradients_agree_with_finite_differences(joint):
    x, z = batch(8, d=3, c=4, seed=5)
    labels = np.array([0, 1, 2, 3, 9999, 9999, 9999, 1])
    _, dx, dz = reference.objective_gradients(x, z, labels, 2.0, joint)
    for array, gradient in ((x, dx), (z, dz)):
        for place in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[place] = 1e-5
            up, down = (reference.objective_gradients(
                *[a + sign * step if a is array else a for a in (x, z)], labels, 2.0, joint)[0] for sign in (1, -1))
            assert (up - down) / 2e-5 == pytest.approx(gradient[place], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("b", [8, 16, 64])
def test_losses_alone_equal_the_reference(b):
    x, z = batch(b, seed=b + 1)
    p = reference.softmax(z)
    assert MMDLoss()(mx.nd.array(x)).shape == (1,)
    assert MMDLoss()(mx.nd.array(x)).asscalar() == pytest.approx(reference.discrepancy(x), rel=1e-5)
    assert JMMDLoss()(mx.nd.array(x), mx.nd.array(z)).asscalar() == pytest.approx(reference.discrepancy(x, p), rel=1e-5)


def test_features_far_from_the_origin_keep_their_digits():
    x, _ = batch(16)
    far = x + 100
    exact = reference.discrepancy((far.astype(np.float32)).astype(np.float64))
    assert MMDLoss()(mx.nd.array(far)).asscalar() == pytest.approx(exact, rel=1e-4)


def test_equal_features_give_zero_and_finite_gradients():
    x = mx.nd.ones((8, 5))
    x.attach_grad()
    with mx.autograd.record():
        loss = MMDLoss()(x)
    loss.backward()
    assert loss.asscalar() == 0
    assert np.isfinite(x.grad.asnumpy()).all()


def test_estimate_is_unbiased():
    rng = np.random.default_rng(0)
    values = [MMDLoss()(mx.nd.array(rng.normal(size=(64, 4)))).asscalar() for _ in range(300)]
    assert min(values) < 0
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))


@pytest.mark.parametrize("shape", [(6, 3), (0, 3), (8,), (8, 3, 2)])
def test_wrong_batch_is_refused_with_what_was_expected(shape):
    with pytest.raises(ValueError, match="multiple of 4"):
        MMDLoss()(mx.nd.zeros(shape) if 0 not in shape else mx.nd.array(np.zeros(shape)))


def test_another_number_of_layers_than_kernels_is_refused_not_left_out():
    x, z = map(mx.nd.array, batch(8))
    one, two = [GaussianKernel()], [GaussianKernel(), GaussianKernel()]
    for kernels, layers in (one, [x, z]), (two, [x]), (two, x), (two, [x, z, z]):
        got = len(layers) if isinstance(layers, list) else 1
        for loss in MMDLoss(kernels), JMMDLoss(kernels):
            with pytest.raises(ValueError, match=f"got {got} layers; expected {len(kernels)}"):
                loss(layers, z)
    with pytest.raises(ValueError, match="no logits; expected a layer or more, and logits"):
        JMMDLoss()(x)
    with pytest.raises(ValueError, match="0 layers"):
        MMDLoss()([])


def test_wrong_batches_are_refused_and_leave_the_heap_whole():
    """In a process of its own, which a corrupted heap ends: every loss alone, in an objective and in another block,
    hybridized or not, with batches of 2, 3, 5, 6, 7, 9, 10, 14 and with shapes that do not belong together."""
    done = subprocess.run([sys.executable, ROOT / "tests" / "heap_trials.py"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, "all refused\n"), done.stdout + done.stderr


def test_a_weight_that_is_no_weight_is_refused():
    for weight in (float("nan"), float("inf"), -1.0, 1e308):
        with pytest.raises(ValueError, match="`weight` is .*from 0 up"):
            TransferObjective(MMDLoss(), weight)


def test_the_weight_is_that_of_the_transfer_loss_alone():
    x, z = map(mx.nd.array, batch(8))
    labels = mx.nd.array([0, 1, 2, 3, 9999, 9999, 9999, 9999])
    values = []
    for weight in (0.0, 1.0, 3.0):
        total, statistics = TransferObjective(MMDLoss(), weight)(x, z, labels)
        softmax, transfer = statistics.asnumpy()[:2]
        assert total.asscalar() == pytest.approx(softmax + weight * transfer)
        values.append((softmax, transfer))
    assert values[0] == values[1] == values[2] and abs(values[0][1]) > 0.1
    joint = TransferObjective(JMMDLoss(), 1.0)(x, z, labels)[1].asnumpy()[1]
    assert abs(joint - values[0][1]) > 1e-3


@pytest.mark.parametrize("arguments", [dict(num_kernels=0), dict(kernel_mul=0), dict(bandwidth=-1.0),
                                       dict(num_kernels=1.5), dict(num_kernels=float("nan")),
                                       dict(num_kernels=1e308), dict(kernel_mul=float("nan")),
                                       dict(kernel_mul=float("inf")), dict(kernel_mul=1e308),
                                       dict(bandwidth=float("nan")), dict(bandwidth=float("inf")),
                                       dict(bandwidth=1e308), dict(num_kernels=300)])
def test_kernel_parameters_are_checked(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        GaussianKernel(**arguments)


def test_other_kernels_follow_the_formula():
    x, _ = batch(8)
    g = reference.bandwidth(x)
    wanted = np.mean([reference.feature_kernel(x[2 * j], x[2 * j + 1], g, 5, 1.5)
                      + reference.feature_kernel(x[4 + 2 * j], x[5 + 2 * j], g, 5, 1.5)
                      - reference.feature_kernel(x[2 * j], x[5 + 2 * j], g, 5, 1.5)
                      - reference.feature_kernel(x[4 + 2 * j], x[2 * j + 1], g, 5, 1.5) for j in range(2)])
    assert MMDLoss([GaussianKernel(5, 1.5)])(mx.nd.array(x)).asscalar() == pytest.approx(wanted, rel=1e-5)


def test_images_without_label_are_not_counted_as_correct_even_where_the_null_label_is_a_class():
    logits = mx.nd.one_hot(mx.nd.array([2, 2, 1, 0]), 3)
    _, statistics = TransferObjective(null_label=2)(mx.nd.zeros((4, 5)), logits, mx.nd.array([2, 2, 1, 1]))
    assert statistics.asnumpy()[2:].tolist() == [1, 2]


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("estimate", ["linear", "quadratic"])
@pytest.mark.parametrize("b", [8, 12, 32])
def test_estimates_of_several_layers_equal_the_float64_reference(b, estimate, hybridize):
    """MMD adds up over layers, JMMD multiplies."""
    (x, z), (y, _) = batch(b, seed=b), batch(b, d=5, seed=b + 1)
    p = reference.softmax(z)
    mmd, jmmd = MMDLoss(estimate=estimate), JMMDLoss(estimate=estimate)
    if hybridize:
        mmd.hybridize()
        jmmd.hybridize()
    found, gradients = value_and_gradients(mmd, [x, y])
    assert found == pytest.approx(sum(reference.discrepancy(layer, estimate=estimate) for layer in (x, y)), rel=1e-5)
    for layer, gradient in zip((x, y), gradients):
        assert relative_error(gradient, reference.discrepancy_gradients(layer, estimate=estimate)[0]) < 1e-5
    found, gradients = value_and_gradients(jmmd, [x, y], z)
    (dx, dy), dp = reference.discrepancy_gradients([x, y], p, estimate)
    # Of products of three kernels, means near 1 whose differences remain; float32 holds these to 2e-5.
    assert found == pytest.approx(reference.discrepancy([x, y], p, estimate), abs=1e-5)
    for gradient, wanted in zip(gradients, (dx, dy, reference.softmax_gradient(p, dp))):
        assert relative_error(gradient, wanted) < 2e-5


@pytest.mark.parametrize("estimate", ["linear", "quadratic"])
def test_reference_gradients_of_several_layers_agree_with_finite_differences(estimate):
    (x, z), (y, _) = batch(8, d=3, c=4, seed=5), batch(8, d=2, seed=6)
    p = reference.softmax(z)
    (dx, dy), dp = reference.discrepancy_gradients([x, y], p, estimate)
    for which, gradient in enumerate((dx, dy, dp)):
        for place in np.ndindex(gradient.shape):
            step = [np.zeros_like(array) for array in (x, y, p)]
            step[which][place] = 1e-5
            up, down = (reference.discrepancy([x + sign * step[0], y + sign * step[1]], p + sign * step[2], estimate)
                        for sign in (1, -1))
            assert (up - down) / 2e-5 == pytest.approx(gradient[place], rel=1e-5, abs=1e-8)


def test_the_quadratic_estimate_is_unbiased_and_scatters_less():
    rng = np.random.default_rng(0)
    values = np.array([[MMDLoss(estimate=estimate)(x).asscalar() for estimate in ("linear", "quadratic")]
                       for x in (mx.nd.array(rng.normal(size=(32, 4))) for _ in range(200))])
    assert abs(values[:, 1].mean()) < 4 * values[:, 1].std() / np.sqrt(len(values))
    assert values[:, 1].std() < values[:, 0].std() / 2


def test_the_quadratic_estimate_keeps_its_digits_far_from_the_origin_and_is_finite_for_equal_rows():
    x, _ = batch(16)
    far = (x + 100).astype(np.float32)
    exact = reference.discrepancy(far.astype(np.float64), estimate="quadratic")
    assert MMDLoss(estimate="quadratic")(mx.nd.array(far)).asscalar() == pytest.approx(exact, rel=1e-4)
    value, (gradient,) = value_and_gradients(MMDLoss(estimate="quadratic"), [np.full((8, 5), 0.1)])
    assert value == pytest.approx(0, abs=1e-6) and np.isfinite(gradient).all()


def test_kernels_may_come_from_outside():
    class Linear(mx.gluon.HybridBlock):
        """u·v up to what every estimate leaves out, with a parameter."""

        def __init__(self):
            super().__init__()
            self.scale = self.params.get("scale", shape=(1,), init="ones")

        def hybrid_forward(self, F, x, squared_distance, scale):
            return F.broadcast_mul(squared_distance, -scale / 2)

    x, z = batch(8)
    n = 4
    means = x[:n].mean(axis=0) - x[n:].mean(axis=0)
    spread = sum(half.var(axis=0, ddof=1).sum() for half in (x[:n], x[n:])) / n
    loss = MMDLoss([Linear()], estimate="quadratic")
    loss.initialize()
    assert list(loss._collect_params_with_prefix()) == ["kernel0.scale"]
    assert loss(mx.nd.array(x)).asscalar() == pytest.approx(means @ means - spread, rel=1e-5)     # unbiased |μs - μt|²
    wide = JMMDLoss(label_kernel=GaussianKernel(1, bandwidth=1e9))(mx.nd.array(x), mx.nd.array(z)).asscalar()
    assert wide == pytest.approx(MMDLoss()(mx.nd.array(x)).asscalar(), rel=1e-5)
    for arguments in (dict(kernels=GaussianKernel()), dict(kernels=[]), dict(kernels=4), dict(estimate="cubic")):
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` is (?s:.*)expected"):
            MMDLoss(**arguments)
