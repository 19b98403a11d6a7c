"""The objective beside what MMD and JMMD are tested with: labels, statistics, weights; networks of several layers; the
table of losses, and the page that tells how to add one."""
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import reference
from conftest import ROOT
from test_mmd import batch, relative_error

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import (
    TRANSFER_LOSSES,
    CORALLoss,
    JMMDLoss,
    MMDLoss,
    TransferLoss,
    TransferNet,
    TransferObjective,
    transfer_loss,
)
from transfer_gluon.symbols.objective import absolute_weight, relative_weight
from transfer_gluon.training import ObjectiveOptions, OptimizerOptions, Stage, stages

LABELS = np.array([0, 1, 2, 3, 9999, 6, 9999, 9999])
STATIC = dict(static_alloc=True, static_shape=True)


def differentiated(objective, x, z, labels, hybridize=False):
    """The objective, its statistics by name, and its gradients with respect to features and logits."""
    if hybridize:
        objective.hybridize(**STATIC)
    features, logits = mx.nd.array(x), mx.nd.array(z)
    features.attach_grad()
    logits.attach_grad()
    with mx.autograd.record():
        value, statistics = objective(features, logits, mx.nd.array(labels))
    value.backward()
    assert len(objective.statistics) == len(statistics)
    return (value.asscalar(), dict(zip(objective.statistics, statistics.asnumpy())), features.grad.asnumpy(),
            logits.grad.asnumpy())


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("loss", [None, MMDLoss, JMMDLoss])
def test_rows_of_ones_and_zeros_are_class_numbers(loss, hybridize):
    x, z = batch(8)
    z[3, 3], z[5, 6] = 9, 9         # two are right
    rows = reference.one_hot(LABELS, 7)
    of_numbers = differentiated(TransferObjective(loss and loss()), x, z, LABELS, hybridize)
    of_rows = differentiated(TransferObjective(loss and loss(), sparse_label=False), x, z, rows, hybridize)
    assert of_numbers[1]["correct"] >= 2 and of_numbers[1]["labelled"] == 5
    assert of_rows[1] == pytest.approx(of_numbers[1], rel=1e-6)
    for found, wanted in zip((of_rows[0], *of_rows[2:]), (of_numbers[0], *of_numbers[2:])):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_rows_of_probabilities_equal_the_float64_reference(joint, hybridize):
    x, z = batch(16, seed=4)
    rows = np.random.default_rng(5).dirichlet(np.ones(7), size=16).astype(np.float32).astype(np.float64)
    rows[10:] = 0                   # unlabelled
    value, dx, dz = reference.objective_gradients(x, z, rows, 2.0, joint)
    objective = TransferObjective(JMMDLoss() if joint else MMDLoss(), 2.0, sparse_label=False)
    found, statistics, found_dx, found_dz = differentiated(objective, x, z, rows, hybridize)
    assert found == pytest.approx(value, rel=1e-5)
    assert relative_error(found_dx, dx) < 1e-5 and relative_error(found_dz, dz) < 1e-5
    assert statistics["labelled"] == 10
    assert statistics["correct"] == (z[:10].argmax(axis=1) == rows[:10].argmax(axis=1)).sum()


@pytest.mark.parametrize("hybridize", [False, True])
def test_labels_of_the_other_kind_are_refused(hybridize):
    x, z = map(mx.nd.array, batch(8))
    numbers, rows = mx.nd.zeros((8,)), mx.nd.zeros((8, 7))
    for sparse, wrong in (True, [rows, mx.nd.zeros((4,))]), (False, [numbers, mx.nd.zeros((8, 6)), rows[:4]]):
        objective = TransferObjective(sparse_label=sparse)
        if hybridize:
            objective.hybridize()
            objective(x, z, numbers if sparse else rows)
        for labels in wrong:
            with pytest.raises(ValueError, match=rf"expected \(b, d\), \(b, c\) and \(b,{'' if sparse else ' c'}\)"):
                objective(x, z, labels)


def test_weights_are_those_of_the_loss_where_nothing_is_said():
    assert [TransferObjective(loss).weight for loss in (None, MMDLoss(), JMMDLoss(), CORALLoss())] == [
        1.0, 1.0, 2.0, CORALLoss.usual_weight]
    assert TransferObjective(JMMDLoss(), 0.0).weight == 0
    with pytest.raises(TypeError, match="positional"):
        TransferObjective(JMMDLoss(), 2.0, True)


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("loss", [None, MMDLoss, JMMDLoss])
def test_layers_reach_the_loss_in_hybridized_objectives_too(loss, hybridize):
    (x, z), (y, _) = batch(8, seed=1), batch(8, d=5, seed=2)
    objective = TransferObjective(loss and loss())
    if hybridize:
        objective.hybridize(**STATIC)
    arrays = x, y, z = [mx.nd.array(array) for array in (x, y, z)]

    def gradients(call):
        for array in arrays:
            array.attach_grad()
        with mx.autograd.record():
            value = call()
        value.backward()
        return np.concatenate([x.grad.asnumpy(), y.grad.asnumpy()], axis=1)

    within = gradients(lambda: objective([x, y], z, mx.nd.array(LABELS))[0])
    if loss is None:
        assert (within == 0).all()
    else:
        alone = gradients(lambda: loss()([x, y], z))
        assert np.abs(alone[:, :20]).max() > 1e-4 < np.abs(alone[:, 20:]).max()
        np.testing.assert_allclose(within, objective.weight * alone, rtol=1e-4, atol=1e-7)


class Pair(mx.gluon.HybridBlock):
    """Two layers of images (b, 1, 4, 4): maps (b, 2, 2, 2), and a vector (b, 6) computed from them."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.maps = mx.gluon.nn.Conv2D(2, 3)
            self.vector = mx.gluon.nn.Dense(6)

    def hybrid_forward(self, F, images):
        maps = self.maps(images)
        return [maps, self.vector(maps)]


def test_networks_may_give_a_list_of_layers_the_last_of_which_feeds_the_classifier():
    net = TransferNet(Pair(), 3)
    net.initialize(mx.init.Normal(1))
    images = mx.nd.random.normal(shape=(8, 1, 4, 4))
    plain = net(images)
    net.hybridize(**STATIC)
    for layers, logits in (plain, net(images), net(images)):
        assert [layer.shape for layer in layers] == [(8, 8), (8, 6)] and logits.shape == (8, 3)
        wanted = layers[1].asnumpy() @ net.fc_weight.data().asnumpy().T
        np.testing.assert_allclose(logits.asnumpy(), wanted, rtol=1e-4, atol=1e-5)
        for layer, first in zip(layers, plain[0]):
            np.testing.assert_allclose(layer.asnumpy(), first.asnumpy(), rtol=1e-5, atol=1e-6)
    objective = TransferObjective(JMMDLoss())
    objective.hybridize(**STATIC)
    with mx.autograd.record():
        value, _ = objective(*net(images), mx.nd.array(LABELS % 3))
    value.backward()
    assert all(np.abs(parameter.grad().asnumpy()).max() > 0 for parameter in net.collect_params().values())


class Told(TransferLoss):
    """Returns two statistics, or as many as it is told."""

    statistics = ("first", "second")

    def __init__(self, returned=2):
        super().__init__()
        self._returned = returned

    def hybrid_forward(self, F, layers, logits):
        loss = (F.mean(layers[0]) + F.mean(logits)).reshape((1,))
        return loss, F.concat(*[loss * place for place in range(1, self._returned + 1)], dim=0)


@pytest.mark.parametrize("hybridize", [False, True])
def test_statistics_have_names_and_an_order_and_no_gradient(hybridize):
    x, z = batch(8)
    value, statistics, dx, _ = differentiated(TransferObjective(Told(), 3.0), x, z, LABELS, hybridize)
    assert list(statistics) == ["softmax_loss", "transfer_loss", "correct", "labelled", "first", "second"]
    assert statistics["second"] == pytest.approx(2 * statistics["first"]) == pytest.approx(
        2 * statistics["transfer_loss"])
    assert value == pytest.approx(statistics["softmax_loss"] + 3 * statistics["transfer_loss"], rel=1e-5)
    np.testing.assert_allclose(dx, 3 / x.size, rtol=1e-5)       # of the loss alone
    with pytest.raises(ValueError, match="returned 3 further statistics; expected 2: first, second"):
        differentiated(TransferObjective(Told(3)), x, z, LABELS, hybridize)


def test_losses_are_made_by_name_and_listed_without_mxnet():
    assert list(TRANSFER_LOSSES)[:4] == ["mmd", "jmmd", "coral", "dann"]
    assert transfer_loss("dann", hidden=3).hidden.weight.shape[0] == 3
    assert {name: type(transfer_loss(name)).__name__ for name in ("mmd", "jmmd", "coral")} == {
        "mmd": "MMDLoss", "jmmd": "JMMDLoss", "coral": "CORALLoss"}
    with pytest.raises(InputError, match="`transfer` is 'nmd'; expected one of mmd, jmmd, coral, dann") as caught:
        transfer_loss("nmd")
    assert caught.value.parameter == "transfer"
    script = ("import sys\nfrom transfer_gluon.symbols import TRANSFER_LOSSES\n"
              "print(*TRANSFER_LOSSES, any(name.startswith('mxnet.') for name in sys.modules))")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*TRANSFER_LOSSES, "False"]


def test_a_class_of_ones_own_may_be_named(monkeypatch):
    monkeypatch.setitem(TRANSFER_LOSSES, "told", Told)
    assert transfer_loss("told", returned=4)._returned == 4


def test_the_page_on_adding_a_method_is_right(monkeypatch):
    """Its loss, its line and its test, as they stand there; then in an objective."""
    page = (ROOT / "docs" / "add-a-method.md").read_text()
    code, test = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    line = re.search(r'^    "(\w+)": "(.*):(\w+)",$', page, re.MULTILINE)
    module = types.ModuleType(line[2])
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, line[2], module)
    monkeypatch.setitem(TRANSFER_LOSSES, line[1], f"{line[2]}:{line[3]}")
    names = {}
    exec(test, names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for run in tests:
        run()

    x, z = batch(8)
    found = []
    for hybridize in False, True:
        objective = TransferObjective(transfer_loss(line[1]))
        objective.initialize()
        assert list(objective.collect_params()) == ["meanloss_s"]
        found.append([*differentiated(objective, x, z, LABELS, hybridize), objective.transfer.s.grad().asscalar()])
    for plain, hybridized in zip(*found):
        if isinstance(plain, dict):
            assert plain == pytest.approx(hybridized)
        else:
            np.testing.assert_allclose(plain, hybridized, rtol=1e-5)
    assert found[0][-1] != 0
    with pytest.raises(ValueError, match="expected"):
        transfer_loss(line[1])(mx.nd.zeros((7, 3)))


def test_a_relative_weight_is_one_against_the_mean_over_the_source():
    """The optimizer sees half of: mean cross-entropy of the source, plus r times the mean loss of the devices."""
    weight, devices = 3.0, 2
    parts = [(*batch(8, seed=seed), np.where(np.arange(8) < 4, 1, 9999)) for seed in range(devices)]
    sums = [differentiated(TransferObjective(MMDLoss(), weight), *part, False) for part in parts]
    seen = sum(value for value, *_ in sums) / 16
    cross_entropy = sum(statistics["softmax_loss"] for _, statistics, *_ in sums) / 8
    transfer = sum(statistics["transfer_loss"] for _, statistics, *_ in sums) / devices
    relative = relative_weight(weight, 16, devices)
    assert seen == pytest.approx((cross_entropy + relative * transfer) / 2, rel=1e-5)
    assert absolute_weight(relative, 16, devices) == weight


@pytest.mark.parametrize("told, batch_size, devices, weight, relative, warned", [
    ({}, 64, 4, 2, 0.25, None),                                 # the original's commands on cars
    ({"transfer": "mmd"}, 64, 4, 1, 0.125, None),
    ({}, 128, 1, 16, 0.25, None),                               # as much against the mean in any other batch
    ({"transfer": "mmd"}, 32, 4, 0.5, 0.125, None),
    ({"transfer_weight": 2.0}, 128, 1, 2, 0.03125, "next to nothing"),
    ({"transfer_weight": 2.0}, 40, 1, 2, 0.1, None),
    ({"transfer_weight": 2.0}, 44, 1, 2, 0.09091, "next to nothing"),
    ({"transfer_weight": 8.0}, 8, 2, 8, 4, None),
    ({"transfer_weight": 9.0}, 8, 2, 9, 4.5, "far more than usual"),
    ({"transfer_weight": 0.0}, 128, 1, 0, 0, None),             # asked for
    ({"relative_transfer_weight": 0.01}, 128, 1, 0.64, 0.01, None),
    ({"relative_transfer_weight": 0.5}, 128, 4, 8, 0.5, None),
    ({"transfer": "coral"}, 256, 1, 12800, 100, None),
    ({"transfer": "coral", "transfer_weight": 800.0}, 256, 1, 800, 6.25, "next to nothing"),
    ({"transfer": "dann"}, 16, 1, 8, 1, None),
    ({"transfer": "shot"}, 64, 2, 32, 1, None),                  # all images are of one domain
    ({"transfer": "shot", "relative_transfer_weight": 0.5}, 64, 2, 16, 0.5, None),
])
def test_stage_1_says_what_its_weight_is_and_where_it_is_far_off(told, batch_size, devices, weight, relative, warned,
                                                                 caplog):
    stage = Stage(1, 7, objective=ObjectiveOptions(**told), optimizer=OptimizerOptions(batch_size=batch_size))
    with caplog.at_level("INFO"):
        assert stages._objective(stage, devices).weight == pytest.approx(weight)
    said, *more = caplog.messages
    assert f" weighs {weight:g} against the summed softmax loss (`transfer_weight`), {relative:g} against the " in said
    assert f"batches of {batch_size} on {devices} device{'s' * (devices > 1)}" in said
    usual = {"coral": 100, "dann": 1}.get(told.get("transfer"), 0.5)
    assert len(more) == bool(warned)
    if warned:
        assert warned in more[0] and f"`relative_transfer_weight` {usual:g} is a good one" in more[0]


def test_stage_0_says_nothing_of_a_transfer_loss(caplog):
    with caplog.at_level("INFO"):
        assert stages._objective(Stage(0, 7), 1).transfer is None
    assert not caplog.messages
