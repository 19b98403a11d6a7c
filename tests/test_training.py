"""The loop against updates computed by hand, on one device and two."""
import sys

import numpy as np
import pytest
import reference
import tiny

from transfer_gluon.base.errors import DivergedError, InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from transfer_gluon.inference.evaluate import evaluate
from transfer_gluon.iters import DualIter, SyntheticIter
from transfer_gluon.symbols import JMMDLoss, MMDLoss, TransferNet, TransferObjective, features_block, resnet, zoo_symbol
from transfer_gluon.symbols.frozen import frozen_below, trainable_prefixes
from transfer_gluon.symbols.torch_networks import torch_alexnet
from transfer_gluon.training.learner import prepare
from transfer_gluon.training.loop import fit
from transfer_gluon.training.optimizers import create_optimizer
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule, step_updates
from transfer_gluon.training.state import Position

CPU = [mx.cpu(0)]


class Fixed(mx.io.DataIter):
    """The same images every batch."""

    def __init__(self, images, labels, batches_per_epoch):
        super().__init__(len(images))
        self.batches_per_epoch = batches_per_epoch
        self.num_images = len(images)
        self._batch = mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(labels)], pad=0)
        self.provide_data = [mx.io.DataDesc("data", images.shape)]
        self.provide_label = [mx.io.DataDesc("softmax_label", labels.shape)]
        self.set_epoch(0)

    def set_epoch(self, epoch):
        self._left = self.batches_per_epoch

    def skip(self, count):
        self._left -= count

    reset = lambda self: self.set_epoch(0)  # noqa: E731

    def next(self):
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._batch


def toy(seed=0, classes=2):
    """Two images a class and domain, a hidden layer of tanh units, and start values; float32 values in float64."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(4 * classes, 6)).astype(np.float32)
    labels = np.array([*np.repeat(np.arange(classes), 2), *[9999] * (2 * classes)])
    start = {"hidden_weight": rng.normal(size=(5, 6)), "hidden_bias": rng.normal(size=5),
             "fc_weight": rng.normal(size=(classes, 5)), "fc_bias": rng.normal(size=classes)}
    return images, labels, {name: value.astype(np.float32).astype(np.float64) for name, value in start.items()}


def toy_net(start):
    classes, width = start["fc_weight"].shape
    net = TransferNet(mx.gluon.nn.Dense(width, activation="tanh", in_units=6, prefix="hidden_"), classes)
    net.fc_weight.shape = start["fc_weight"].shape
    for name, parameter in net.collect_params().items():
        parameter.init = mx.init.Constant(mx.nd.array(start[name]))
    return net


def by_hand(images, labels, start, updates, rate, momentum, wd, weight, joint, devices=1):
    """SGD with momentum on the specification's gradient: summed softmax and transfer loss, divided by the batch;
    weight decay on weights only."""
    values = {name: value.copy() for name, value in start.items()}
    velocity = {name: np.zeros_like(value) for name, value in start.items()}
    for t in range(1, updates + 1):
        gradient = {name: np.zeros_like(value) for name, value in values.items()}
        for part in np.split(np.arange(len(images)), devices):
            a, y = images[part].astype(np.float64), labels[part]
            x = np.tanh(a @ values["hidden_weight"].T + values["hidden_bias"])
            z = x @ values["fc_weight"].T + values["fc_bias"]
            _, dx, dz = reference.objective_gradients(x, z, y, weight, joint)
            dh = (dx + dz @ values["fc_weight"]) * (1 - x**2)
            gradient["fc_weight"] += dz.T @ x
            gradient["fc_bias"] += dz.sum(axis=0)
            gradient["hidden_weight"] += dh.T @ a
            gradient["hidden_bias"] += dh.sum(axis=0)
        for name in values:
            decay = wd * values[name] if name.endswith("_weight") else 0
            velocity[name] = momentum * velocity[name] - rate(t) * (gradient[name] / len(images) + decay)
            values[name] += velocity[name]
    return values


@pytest.mark.parametrize("transfer", ["none", "mmd", "jmmd"])
def test_twenty_updates_equal_those_computed_by_hand(transfer):
    images, labels, start = toy()
    weight = {"none": 0.0, "mmd": 1.0, "jmmd": 2.0}[transfer]
    loss = {"none": None, "mmd": MMDLoss(), "jmmd": JMMDLoss()}[transfer]
    steps = step_updates((2, 3), num_examples=32, batch_size=8, batches_per_epoch=5)
    assert steps == [8, 12]
    net = toy_net(start)
    fit(net, TransferObjective(loss, weight), Fixed(images, labels, 5), CPU,
        StepSchedule(0.2, 0.5, steps), 4, momentum=0.9, wd=0.02)
    wanted = by_hand(images, labels, start, 20, lambda t: 0.2 * (0.5 if t > 8 else 1) * (0.5 if t > 12 else 1),
                     0.9, 0.02, weight, transfer == "jmmd")
    for name, parameter in net.collect_params().items():
        moved = np.abs(wanted[name] - start[name]).max()
        assert moved > 0.01
        np.testing.assert_allclose(parameter.data().asnumpy(), wanted[name], rtol=1e-4, atol=1e-4 * moved)


@pytest.mark.parametrize("joint", [False, True])
def test_two_devices_with_the_same_images_twice_update_like_one(joint):
    images, labels, start = toy(seed=3)
    source, target = (images[:4], labels[:4]), (images[4:], labels[4:])
    found, figures = [], []
    for devices in ([mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]):
        count = len(devices)
        batches = DualIter(*(Fixed(np.tile(x, (count, 1)), np.tile(y, count), 5) for x, y in (source, target)), count)
        assert batches.batch_size == 8 * count
        net = toy_net(start)
        result, = fit(net, TransferObjective(JMMDLoss() if joint else MMDLoss(), 2.0), batches, devices,
                      StepSchedule(0.1), 1, wd=0.01)
        figures.append([result.loss, result.transfer_loss, result.accuracy])
        copies = [{n: p.data(device).asnumpy() for n, p in net.collect_params().items()} for device in devices]
        for name in start:
            assert all((copy[name] == copies[0][name]).all() for copy in copies)
        found.append(copies[0])
    for name in ("fc_weight", "fc_bias", "hidden_weight"):
        moved = np.abs(found[0][name] - start[name]).max()
        assert moved > 1e-3
        np.testing.assert_allclose(found[1][name] - start[name], found[0][name] - start[name], atol=1e-5 * moved)
    np.testing.assert_allclose(figures[1], figures[0], rtol=1e-5)


def test_transfer_weighs_more_the_more_devices_share_a_batch():
    images, labels, start = toy(seed=4, classes=4)
    layout = np.concatenate([[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]])
    wanted = by_hand(images[layout], labels[layout], start, 5, lambda t: 0.1, 0.9, 0.0, 2.0, True, devices=2)
    net = toy_net(start)
    devices = [mx.cpu(0), mx.cpu(1)]
    batches = DualIter(Fixed(images[:8], labels[:8], 5), Fixed(images[8:], labels[8:], 5), 2)
    fit(net, TransferObjective(JMMDLoss(), 2.0), batches, devices, StepSchedule(0.1), 1)
    for name, parameter in net.collect_params().items():
        np.testing.assert_allclose(parameter.data(devices[0]).asnumpy(), wanted[name], rtol=1e-4, atol=1e-5)


def test_schedule_drops_at_half_the_epochs_in_stage_1_unless_asked():
    # 20 source images a batch of 64 halves: 20 updates an epoch where the original counts 10.
    assert step_updates((6, 8), 640, 64, 20) == [60, 80]
    assert step_updates((6, 8), 640, 64, 20, "epoch") == [120, 160]
    assert step_updates((6, 8), 640, 64, 20, num_workers=2) == [30, 40]
    assert step_updates((), 640, 64, 20) == []


@pytest.mark.parametrize("epochs", [(6, 5), (0, 3), (3, 3), (-1,)])
def test_bad_steps_are_refused(epochs):
    with pytest.raises(InputError, match="`lr_step_epochs` is .*; expected rising epochs"):
        step_updates(epochs, 640, 64, 20)


def test_resuming_goes_on_with_the_schedule():
    images, labels, start = toy()
    whole, resumed = [], []
    objective = TransferObjective()
    schedule = StepSchedule(0.2, 0.5, [3, 7])
    net = toy_net(start)
    whole = fit(net, objective, Fixed(images, labels, 5), CPU, schedule, 2, momentum=0)
    halfway = toy_net(start)
    first = fit(halfway, objective, Fixed(images, labels, 5), CPU, schedule, 1, momentum=0)
    run = Run()
    run.position = Position(epoch=1)
    resumed = fit(halfway, objective, Fixed(images, labels, 5), CPU, schedule, 2, momentum=0, run=run)
    assert [r.learning_rate for r in whole] == [r.learning_rate for r in first + resumed] == [0.1, 0.05]
    for name, parameter in net.collect_params().items():
        assert (parameter.data().asnumpy() == halfway.collect_params()[name].data().asnumpy()).all()


def test_nan_stops_with_epoch_batch_and_last_checkpoint(tmp_path):
    images, labels, start = toy()
    with pytest.raises(DivergedError, match=r"epoch 1, batch \d+; no checkpoint"):
        fit(toy_net(start), TransferObjective(), Fixed(images, labels, 20), CPU, StepSchedule(1e38), 1)

    class LaterBad(Fixed):
        def set_epoch(self, epoch):
            super().set_epoch(epoch)
            if epoch == 1:
                self._batch.data[0][0, 0] = np.nan

    with pytest.raises(DivergedError, match="epoch 2, batch 1; the last good checkpoint is .*m-0001.params"):
        fit(toy_net(start), TransferObjective(), LaterBad(images, labels, 3), CPU, StepSchedule(0.1), 3,
            run=Run(tmp_path / "m"))


TOP = ["bn1", "fc", "stage3"]


def test_freeze_trains_the_top_and_moves_statistics_everywhere():
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    rng = np.random.default_rng(0)
    batches = Fixed(rng.uniform(0, 255, (8, 3, 16, 16)).astype(np.float32), np.arange(8) % 3, 2)
    learning = prepare(net, CPU, TOP)
    net(batches.next().data[0])
    assert set(learning) == {n for n in net.collect_params() if n.startswith(("bn1", "fc", "stage3"))
                             and "moving" not in n}
    before = {n: p.data().asnumpy() for n, p in net.collect_params().items()}
    fit(net, TransferObjective(), batches, CPU, StepSchedule(0.1), 1, trainable=TOP)
    for name, parameter in net.collect_params().items():
        changed = (parameter.data().asnumpy() != before[name]).any()
        # A fixed gamma gets no gradient.
        assert changed == (name in learning or "moving" in name), name


def everything_backward(net, objective, images, labels, devices, updates, rate):
    """Plain SGD whose backward pass reaches the images, so that MXNet itself moves the statistics of all layers."""
    prepare(net, devices)
    for _ in range(updates):
        inputs = mx.gluon.utils.split_and_load(images, devices)
        for x in inputs:
            x.attach_grad()
        with mx.autograd.record():
            losses = [objective(*net(x), y)[0] for x, y in zip(inputs, mx.gluon.utils.split_and_load(labels, devices))]
        mx.autograd.backward(losses)
        for name, parameter in net.collect_params().items():
            if name.startswith(tuple(TOP)) and parameter.grad_req != "null":
                step = rate * sum(g.as_in_context(CPU[0]) for g in parameter.list_grad()) / len(images)
                for value in parameter.list_data():
                    value -= step.as_in_context(value.context)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("trainable", [["bn1", "fc", "stage3"], ["fc"], ["stage1_unit1_conv2", "fc"]])
def test_frozen_layers_without_backward_pass_move_as_with_it(count, trainable, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "TOP", trainable)
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (16, 3, 16, 16)).astype(np.float32), np.arange(16) % 3
    devices = [mx.cpu(i) for i in range(count)]
    objective = TransferObjective(JMMDLoss(), 2.0)
    checkpoint = Checkpoint("new", resnet(8, (3, 16, 16)))
    nets = []
    for _ in range(2):
        mx.random.seed(0)
        nets.append(TransferNet(checkpoint.features("flatten0"), 3))
        prepare(nets[-1], devices)
        nets[-1](mx.nd.array(images))
    before = {name: parameter.data().asnumpy() for name, parameter in nets[0].collect_params().items()}
    everything_backward(nets[0], objective, mx.nd.array(images), mx.nd.array(labels), devices, 4, 0.05)
    fit(nets[1], objective, Fixed(images, labels, 4), devices, StepSchedule(0.05), 1, momentum=0, trainable=trainable)
    for name, parameter in nets[0].collect_params().items():
        # At the end of the epoch, what devices have of their own is averaged.
        wanted = np.mean([value.asnumpy() for value in parameter.list_data()], axis=0)
        for device in devices:
            found = nets[1].collect_params()[name].data(device).asnumpy()
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * scale, err_msg=name)
            if "moving" not in name and not name.startswith(tuple(trainable)):
                assert (found == before[name]).all(), name
            else:
                assert (found != before[name]).any() or name == "bn_data_gamma", name


def test_variances_of_frozen_layers_are_those_of_the_images_however_small():
    symbol = mx.sym.BatchNorm(mx.sym.var("data"), eps=1e-3, momentum=0.8, fix_gamma=False, name="bn")
    net = TransferNet(features_block(symbol), 2)
    images = np.random.default_rng(0).normal(3, 0.03, (8, 6)).astype(np.float32)
    fit(net, TransferObjective(), Fixed(images, np.arange(8) % 2, 1), CPU, StepSchedule(0.1), 1, trainable=["fc"])
    np.testing.assert_allclose(values_of(net)["bn_moving_mean"], 0.2 * images.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(values_of(net)["bn_moving_var"], 0.8 + 0.2 * images.var(axis=0), rtol=2e-6)


class Layers(mx.gluon.HybridBlock):
    """A network that gives ([layer, …, features], logits)."""

    def __init__(self, features):
        super().__init__(prefix="")
        self.features = features
        self.fc = mx.gluon.nn.Dense(3, prefix="fc_")

    def hybrid_forward(self, F, images):
        layers = self.features(images)
        return layers, self.fc(layers[-1])


@pytest.mark.parametrize("names", [
    ["stage1_unit1_plus", "stage3_unit1_plus", "flatten0"],     # frozen, where layers are joined, trained
    ["stage2_unit1_plus", "stage2_unit1_relu1", "flatten0"]])   # both below all that trains
def test_layers_of_a_network_frozen_in_part_have_the_values_and_gradients_of_the_whole(names):
    images = mx.nd.random.uniform(0, 255, (4, 3, 16, 16))
    found = []
    for split in (False, True):
        mx.random.seed(0)
        net = Layers(Checkpoint("new", resnet(8, (3, 16, 16))).features(names))
        prepare(net, CPU)
        net(images)
        learning = {name: parameter for name, parameter in net.collect_params().items()
                    if name.startswith(("stage3", "bn1_", "fc")) and parameter.grad_req != "null"}
        forward = frozen_below(net, learning) if split else net
        assert (forward is not net) == split
        with mx.autograd.record():
            layers, logits = forward(images)
            assert len(layers) == 3 and logits.shape == (4, 3)
            total = sum((layer.tanh() * (i + 1)).sum() for i, layer in enumerate(layers)) + logits.square().sum()
        total.backward()
        found.append({**{f"output {i}": value.asnumpy() for i, value in enumerate([*layers, logits])},
                      **{name: parameter.grad().asnumpy() for name, parameter in learning.items()},
                      **{name: value for name, value in values_of(net).items() if "moving" in name}})
    assert len(found[0]) > 20
    for name, wanted in found[0].items():
        scale = np.abs(wanted).max()
        assert scale > 0, name
        np.testing.assert_allclose(found[1][name], wanted, rtol=1e-5, atol=1e-5 * scale, err_msg=name)


def test_nothing_is_recorded_below_what_trains():
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    images = mx.nd.random.uniform(0, 255, (2, 3, 16, 16))
    prepare(net, CPU)
    net(images)
    images.attach_grad()
    for trainable, split in (["stage2", "fc"], True), (["conv0"], True), (["bn_data", "fc"], False):
        learning = {name for name in net.collect_params() if name.startswith(tuple(trainable))}
        forward = frozen_below(net, learning)
        assert (forward is not net) == split
        with mx.autograd.record():
            total = forward(images)[0].square().sum()
        images.grad[:] = 0
        total.backward()
        assert (images.grad.norm().asscalar() == 0) == split


def test_a_network_with_dropout_and_without_statistics_is_frozen_too():
    images = np.random.default_rng(0).uniform(0, 255, (4, 3, 64, 64)).astype(np.float32)
    net = TransferNet(Checkpoint("alexnet", zoo_symbol("alexnet")).features("flatten0"), 3)
    prefixes = trainable_prefixes(net, ["dense1", "fc"])
    fit(net, TransferObjective(), Fixed(images, np.arange(4) % 3, 2), CPU, StepSchedule(1e-3), 1, trainable=prefixes)
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    assert trainable_prefixes(net) == ["bn1", "fc", "stage3", "stage4"]


def test_what_trains_must_be_named_by_prefixes_that_there_are():
    net = TransferNet(features_block(zoo_symbol("resnext50_32x4d")), 3)
    with pytest.raises(InputError, match="say with `trainable` .* It has conv0 batchnorm0 stage1 .*stage4 fc"):
        trainable_prefixes(net)
    with pytest.raises(InputError, match="no parameter begins with 'stage9'. The network has .*stage4"):
        trainable_prefixes(net, ["stage4", "stage9", "fc"])
    with pytest.raises(InputError, match="`trainable`: no parameter begins with ''"):
        trainable_prefixes(net, ["stage4", ""])
    with pytest.raises(InputError, match="no parameter begins with 'stage4,fc'"):
        trainable_prefixes(net, "stage4,fc")
    assert trainable_prefixes(net, "fc") == ["fc"]
    assert trainable_prefixes(net, ("stage4", "fc")) == ["stage4", "fc"]
    net = TransferNet(features_block(torch_alexnet()), 3)
    assert trainable_prefixes(net, ["features_10", "features", "classifier_"])
    with pytest.raises(InputError, match="no parameter begins with 'features_1'. The network has features_0 .* fc"):
        trainable_prefixes(net, ["features_1"])     # which would be features_10, cut in its number


def test_weight_decay_acts_on_weights_and_gammas_only():
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    prepare(net, CPU)
    for name, parameter in net.collect_params().items():
        if "moving" not in name:
            assert parameter.wd_mult == name.endswith(("_weight", "_gamma"))


def test_new_classifier_is_xavier_gaussian_fan_in_2():
    mx.random.seed(0)
    net = TransferNet(mx.gluon.nn.Flatten(), 300)
    prepare(net, CPU)
    net(mx.nd.zeros((1, 400)))
    weight = net.fc_weight.data().asnumpy()
    assert weight.std() == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert (net.fc_bias.data().asnumpy() == 0).all()


def test_unknown_optimizer_is_refused_with_the_known_ones():
    images, labels, start = toy()
    with pytest.raises(InputError, match="adam"):
        fit(toy_net(start), TransferObjective(), Fixed(images, labels, 1), CPU, StepSchedule(0.1), 1, optimizer="sdg")


def values_of(net, device=0):
    """Copies of all values on a device."""
    return {name: parameter.list_data()[device].asnumpy().copy() for name, parameter in net.collect_params().items()}


def test_what_one_fit_freezes_trains_in_the_next():
    images, labels, start = toy()
    net = toy_net(start)
    net.fc_bias.wd_mult = 0.5
    said = {name: (parameter.grad_req, parameter.wd_mult) for name, parameter in net.collect_params().items()}

    def trained(trainable=None, rate=0.1):
        before = values_of(net) if net.fc_bias._data else {}
        fit(net, TransferObjective(), Fixed(images, labels, 2), CPU, StepSchedule(rate), 1, trainable=trainable)
        return {name for name, value in values_of(net).items() if (value != before.get(name)).any()}

    trained(["fc"])
    assert {n: (p.grad_req, p.wd_mult) for n, p in net.collect_params().items()} == said
    assert trained() == set(start)
    assert trained(["fc"]) == {"fc_weight", "fc_bias"}
    assert trained() == set(start)
    with pytest.raises(DivergedError):
        fit(net, TransferObjective(), Fixed(images * np.float32(np.nan), labels, 2), CPU, StepSchedule(0.1), 1,
            trainable=["fc"])
    with pytest.raises(InputError, match="nothing is left to train"):
        trained(["gc"])
    assert {n: (p.grad_req, p.wd_mult) for n, p in net.collect_params().items()} == said


def test_random_numbers_after_a_fit_do_not_depend_on_it():
    images, labels, start = toy()
    drawn = []
    for seed, fit_seed in (1, 0), (2, 0), (1, 7):
        mx.random.seed(seed)
        fit(toy_net(start), TransferObjective(), Fixed(images, labels, 1), CPU, StepSchedule(0.1), 1, seed=fit_seed)
        drawn.append(mx.nd.random.uniform(shape=(3,)).asnumpy().tolist())
    assert drawn[0] == drawn[2] != drawn[1]


def dropping_net():
    mx.random.seed(0)
    layers = mx.gluon.nn.HybridSequential(prefix="")
    layers.add(mx.gluon.nn.Dense(16, in_units=6, prefix="hidden_"), mx.gluon.nn.Dropout(0.5))
    return TransferNet(layers, 2)


def test_the_seed_is_that_of_dropout():
    images, labels, _ = toy()
    found = []
    for seed in (0, 0, 1):
        net = dropping_net()
        fit(net, TransferObjective(), Fixed(images, labels, 3), CPU, StepSchedule(0.1), 1, seed=seed)
        found.append(values_of(net)["fc_weight"])
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()


def test_devices_validate_with_the_averages_that_the_checkpoint_has(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (24, 3, 16, 16)).astype(np.float32), np.arange(24) % 3
    images[8:16] *= 0.5     # the devices see different images
    devices, seen = [mx.cpu(i) for i in range(3)], []
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)

    def looked_at(scores, batches, devices, *others):
        seen.append([{n: v for n, v in values_of(net, i).items() if "moving" in n} for i in range(3)])
        return evaluate(scores, batches, devices, *others)

    monkeypatch.setattr("transfer_gluon.training.after_epoch.evaluate", looked_at)
    run = Run(tmp_path / "m")
    result, = fit(net, TransferObjective(), Fixed(images, labels, 3), devices, StepSchedule(0.05), 1, run=run,
                  validation=Fixed(images, labels, 1))
    saved = load_checkpoint(tmp_path / "m", 1)
    first, *others = seen[0]
    for name, value in first.items():
        assert all((other[name] == value).all() for other in others), name
        assert (saved.aux_params[name].asnumpy() == value).all(), name
    for i, device in enumerate(devices):
        assert {n: v.tolist() for n, v in values_of(net, i).items() if "moving" in n} == {
            n: v.tolist() for n, v in first.items()}
        assert evaluate(lambda x: net(x)[1], Fixed(images, labels, 1), [device])[0] == result.validation_accuracy


def test_the_mean_over_devices_is_that_of_what_each_had():
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (16, 3, 16, 16)).astype(np.float32), np.arange(16) % 3
    images[8:] *= 0.5
    found = []
    for part in (slice(0, 8), slice(8, 16), slice(0, 16)):
        mx.random.seed(0)
        net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
        devices = [mx.cpu(i) for i in range(len(images[part]) // 8)]
        fit(net, TransferObjective(), Fixed(images[part], labels[part], 1), devices, StepSchedule(0.0), 1)
        found.append(values_of(net))
    for name in found[0]:
        if "moving" in name:
            np.testing.assert_allclose(found[2][name], (found[0][name] + found[1][name]) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("null_label", [9999, 2])
def test_images_without_label_are_no_hits_even_where_the_null_label_is_a_class(null_label):
    scores = np.zeros((4, null_label + 1), np.float32)
    scores[[0, 1, 2, 3], [null_label, null_label, 1, 0]] = 1
    labels = np.array([null_label, null_label, 1, 1], np.float32)
    batches = Fixed(np.arange(4, dtype=np.float32)[:, None], labels, 1)
    assert evaluate(lambda x: mx.nd.array(scores), batches, CPU, 2, null_label) == (0.5, 1.0)
    batches = Fixed(np.zeros((2, 1), np.float32), labels[:2], 1)
    assert np.isnan(evaluate(lambda x: mx.nd.array(scores[:2]), batches, CPU, 1, null_label)).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_going_on_behind_a_drop_of_the_rate_says_nothing(optimizer, capfd):
    images, labels, start = toy()
    schedule, run = StepSchedule(0.2, 0.5, [3]), Run()
    run.position = Position(epoch=1)
    result, = fit(toy_net(start), TransferObjective(), Fixed(images, labels, 5), CPU, schedule, 2, optimizer=optimizer,
                  run=run)
    assert result.learning_rate == 0.1 and schedule.base_lr == 0.2
    assert capfd.readouterr().out == ""


def test_batches_that_devices_cannot_share_are_refused_before_anything_begins(tmp_path):
    images, labels, start = toy(classes=4)
    for size, count, objective, problem in (
            (6, 1, TransferObjective(MMDLoss()), "batches of 6 images on 1 device; expected a multiple of 4"),
            (14, 1, TransferObjective(JMMDLoss(), 2.0), "14 images .* multiple of 4"),
            (12, 2, TransferObjective(MMDLoss()), "12 images on 2 devices; expected a multiple of 8"),
            (7, 2, TransferObjective(), "7 images on 2 devices; expected a multiple of 2")):
        with pytest.raises(ValueError, match=problem):
            fit(toy_net(start), objective, Fixed(images[:size], labels[:size], 1), [mx.cpu(i) for i in range(count)],
                StepSchedule(0.1), 1, run=Run(tmp_path / "m"))
    assert not list(tmp_path.iterdir())
    for size, count in (3, 1), (5, 1), (6, 2), (7, 1):
        with pytest.raises(ValueError, match=f"batches of {size} source .* even number"):
            DualIter(*(SyntheticIter(size, (1, 1, 1), 3) for _ in range(2)), count)


def test_batches_of_two_domains_have_the_type_of_the_images():
    class Bytes(Fixed):
        def __init__(self):
            super().__init__(np.zeros((4, 3, 2, 2), np.float32), np.zeros(4), 1)
            self.provide_data = [mx.io.DataDesc("data", (4, 3, 2, 2), "uint8")]

    dual = DualIter(Bytes(), Bytes())
    assert np.dtype(dual.provide_data[0].dtype) == "uint8" and dual.provide_data[0].shape == (8, 3, 2, 2)
    assert np.dtype(dual.provide_label[0].dtype) == "float32"


def test_statistics_of_frozen_layers_stay_where_they_are_told_to_as_mxnet_itself_leaves_them():
    """Against MXNet's Module with fixed parameters on the CPU, which is what the original ran."""
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (8, 3, 16, 16)).astype(np.float32), np.arange(8) % 3
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    mx.random.seed(0)
    prepare(net, CPU)
    net(mx.nd.array(images))
    before = values_of(net)

    symbol = mx.sym.SoftmaxOutput(net(mx.sym.var("data"))[1], name="softmax")
    auxiliary = symbol.list_auxiliary_states()
    fixed = [name for name in before if name not in auxiliary and not name.startswith(tuple(TOP))]
    module = mx.mod.Module(symbol, fixed_param_names=fixed)
    module.bind([("data", images.shape)], [("softmax_label", labels.shape)])
    arrays = {name: mx.nd.array(value) for name, value in before.items()}
    module.init_params(arg_params={name: arrays[name] for name in before if name not in auxiliary},
                       aux_params={name: arrays[name] for name in auxiliary})
    module.init_optimizer(optimizer="sgd", optimizer_params=dict(learning_rate=0.05, momentum=0.9, wd=0.01))
    batch = Fixed(images, labels, 1).next()
    for _ in range(3):
        module.forward_backward(batch)
        module.update()
    mx.nd.waitall()     # MXNet does not wait for a backward pass that writes moving statistics
    wanted = {name: value.asnumpy() for values in module.get_params() for name, value in values.items()}

    frozen = {name for name in auxiliary if not name.startswith(tuple(TOP))}
    for statistics in "still", "move":
        net = TransferNet(features_block(resnet(8, (3, 16, 16)), {n: arrays[n] for n in arrays if n not in auxiliary},
                                         {n: arrays[n].copy() for n in auxiliary}), 3)
        net.fc_weight.init, net.fc_bias.init = (mx.init.Constant(arrays[name]) for name in ("fc_weight", "fc_bias"))
        for name, value in before.items():
            arrays[name][:] = mx.nd.array(value)
        fit(net, TransferObjective(), Fixed(images, labels, 3), CPU, StepSchedule(0.05), 1, wd=0.01, trainable=TOP,
            frozen_statistics=statistics)
        for name, value in values_of(net).items():
            if statistics == "move" and name in frozen:
                assert (value != before[name]).any()
            else:
                scale = np.abs(wanted[name]).max()
                np.testing.assert_allclose(value, wanted[name], rtol=1e-4, atol=1e-5 * scale, err_msg=name)
                assert name not in frozen or (value == before[name]).all()
    with pytest.raises(InputError, match="`frozen_statistics` is 'stay'; expected one of move, still, inference"):
        fit(net, TransferObjective(), Fixed(images, labels, 1), CPU, StepSchedule(0.05), 1, trainable=TOP,
            frozen_statistics="stay")


def test_rates_and_decays_that_a_checkpoint_asks_for_are_obeyed_and_saved(tmp_path):
    images, labels, start = toy()
    hidden = mx.sym.FullyConnected(mx.sym.var("data"), mx.sym.var("hidden_weight", lr_mult=0.25, wd_mult=3),
                                   mx.sym.var("hidden_bias", lr_mult=2, wd_mult=0.5), num_hidden=5, name="hidden")
    values = {name: mx.nd.array(value) for name, value in start.items()}
    checkpoint = Checkpoint("c", mx.sym.tanh(hidden, name="tanh"), values, {})
    net = checkpoint.classifier("tanh", 2)
    fit(net, TransferObjective(), Fixed(images, labels, 5), CPU, StepSchedule(0.1), 1, momentum=0.0, wd=0.02)
    wanted = {name: value.copy() for name, value in start.items()}
    for _ in range(5):
        x = np.tanh(images @ wanted["hidden_weight"].T + wanted["hidden_bias"])
        _, dx, dz = reference.objective_gradients(x, x @ wanted["fc_weight"].T + wanted["fc_bias"], labels, 0.0, False)
        dh = (dx + dz @ wanted["fc_weight"]) * (1 - x**2)
        gradient = {"hidden_weight": dh.T @ images, "hidden_bias": dh.sum(axis=0), "fc_weight": dz.T @ x,
                    "fc_bias": dz.sum(axis=0)}
        multipliers = {"hidden_weight": (0.25, 3), "hidden_bias": (2, 0.5), "fc_weight": (1, 1), "fc_bias": (1, 0)}
        for name, (rate, decay) in multipliers.items():
            wanted[name] -= 0.1 * rate * (gradient[name] / len(images) + 0.02 * decay * wanted[name])
    for name, value in values_of(net).items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)
    save_checkpoint(tmp_path / "m", 1, net)
    again = load_checkpoint(tmp_path / "m", 1).classifier("tanh", 2).collect_params()
    for name, (rate, decay) in multipliers.items():
        if name != "fc_bias":
            assert (again[name].lr_mult, again[name].wd_mult) == (rate, decay)
    bad = mx.sym.FullyConnected(mx.sym.var("data"), mx.sym.var("hidden_weight", attr={"__lr_mult__": "quick"}),
                                num_hidden=5, name="hidden")
    with pytest.raises(InputError, match="c: __lr_mult__ of hidden_weight is 'quick'; expected a number"):
        features_block(bad, values, {}, "c")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", sorted(mx.optimizer.Optimizer.opt_registry))
def test_every_optimizer_trains_and_goes_on_alike_or_is_refused(name, count, tmp_path):
    images, labels, start = toy()
    images, labels, devices = np.tile(images, (count, 1)), np.tile(labels, count), [mx.cpu(i) for i in range(count)]

    def trained(net, run, epochs):
        fit(net, TransferObjective(), Fixed(images, labels, 2), devices, StepSchedule(0.01), epochs, optimizer=name,
            wd=0.01, run=run)
        return [values_of(net, i) for i in range(count)]

    refused = {"groupadagrad": "matrices only", "test": "own tests", "dcasgd": "give 0 for it",
               **({"nadam": "on 2 devices", "sgld": "on 2 devices"} if count == 2 else {})}
    if name in refused:
        with pytest.raises(InputError, match=f"`optimizer` is '{name}'.*{refused[name]}.* adam, .*sgd"):
            trained(toy_net(start), Run(tmp_path / "m"), 1)
        assert not list(tmp_path.iterdir())
        return
    whole = trained(toy_net(start), Run(tmp_path / "whole"), 2)
    trained(toy_net(start), Run(tmp_path / "m"), 1)
    run = Run(tmp_path / "m", resume=True)
    for found in trained(toy_net({n: run.checkpoint.arg_params[n].asnumpy() for n in start}), run, 2):
        for parameter, value in found.items():
            assert (value == whole[0][parameter]).all() and np.isfinite(value).all()
            assert (value != start[parameter].astype(np.float32)).any()


def test_adamax_trains_with_decay_only():
    """MXNet divides by the largest gradient so far; the fixed gamma of bn_data has none, and became NaN."""
    with pytest.raises(InputError, match="`optimizer` is 'adamax'.*`wd` is 0; give one"):
        create_optimizer("adamax", StepSchedule(0.01))
    tiny.train(None, 1, optimizer="adamax")


def test_dcasgd_trains_without_momentum():
    images, labels, start = toy()
    net = toy_net(start)
    fit(net, TransferObjective(), Fixed(images, labels, 2), CPU, StepSchedule(0.01), 1, optimizer="dcasgd", momentum=0)
    assert (values_of(net)["fc_weight"] != start["fc_weight"].astype(np.float32)).any()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -0.1])
def test_rates_momenta_and_decays_that_are_none_are_refused(value):
    with pytest.raises(InputError, match="`lr` is .*expected a number from 0"):
        StepSchedule(value)
    with pytest.raises(InputError, match="`lr_factor` is .*expected a number from 0"):
        StepSchedule(0.1, value, [2])
    with pytest.raises(InputError, match="`momentum` is .*expected a number from 0 to 1"):
        create_optimizer("sgd", StepSchedule(0.1), momentum=value)
    with pytest.raises(InputError, match="`wd` is .*expected a number from 0"):
        create_optimizer("sgd", StepSchedule(0.1), wd=value)


def test_the_rate_drops_by_the_factor_at_every_step_and_may_rise_as_far_as_float32_goes():
    schedule = StepSchedule(0.2, 0.5, [2, 4])
    assert [schedule(t) for t in range(1, 7)] == [0.2, 0.2, 0.1, 0.1, 0.05, 0.05]
    assert StepSchedule(0.1, 10, [1, 2])(3) == pytest.approx(10)
    with pytest.raises(InputError, match="`lr_factor` is 1e[+]20; .* after 2 steps"):
        StepSchedule(0.1, 1e20, [1, 2])


def test_scores_that_are_no_numbers_are_told_with_the_epoch(tmp_path):
    images, labels, start = toy()
    bad = images.copy()
    bad[1] = np.nan
    with pytest.raises(DivergedError, match="(?s)epoch 1, validation; no checkpoint.*1 of 8 images are NaN"):
        fit(toy_net(start), TransferObjective(), Fixed(images, labels, 1), CPU, StepSchedule(0.1), 1,
            validation=Fixed(bad, labels, 1), run=Run(tmp_path / "m"))


@pytest.mark.parametrize("save_batches", [0, 1])
def test_parameters_that_are_no_numbers_take_the_place_of_nothing(tmp_path, save_batches):
    tiny.train(Run(tmp_path / "m", keep=1), 1, batches=1)
    run = Run(tmp_path / "m", resume=True, keep=1, save_batches=save_batches)
    net = run.checkpoint.classifier("flatten0", 3, tiny.SHAPE)
    with pytest.raises(DivergedError, match="parameters are NaN or infinite after epoch 2.*the last state is that of"):
        fit(net, TransferObjective(), tiny.TinyIter(1), CPU, StepSchedule(2.9e38), 3, wd=9e37, run=run)
    assert load_checkpoint(tmp_path / "m", 1) and not (tmp_path / "m-0002.params").exists()
    again = Run(tmp_path / "m", resume=True)
    assert again.position.epoch == 1
    tiny.train(again, 2, batches=1)


def test_a_loss_that_is_no_number_is_told_with_epoch_and_batch():
    images, labels, start = toy()
    images[0, 0] = np.nan
    with pytest.raises(DivergedError, match="the loss is nan in epoch 1, batch 1; no checkpoint was written"):
        fit(toy_net(start), TransferObjective(), Fixed(images, labels, 3), CPU, StepSchedule(0.01), 1)


def test_an_epoch_is_told_by_its_own_images_and_its_last_update():
    images, labels, start = toy(classes=4)
    seen, objective = [start], TransferObjective(MMDLoss())
    for epochs in 1, 2:
        net = toy_net(start)
        results = fit(net, objective, Fixed(images, labels, 1), CPU, StepSchedule(0.5, 0.5, [1]), epochs)
        seen.append(values_of(net))
    assert [result.learning_rate for result in results] == [0.5, 0.25]
    for result, values in zip(results, seen):
        x = np.tanh(images @ values["hidden_weight"].T + values["hidden_bias"])
        p = reference.softmax(x @ values["fc_weight"].T + values["fc_bias"])[:8]
        assert result.loss == pytest.approx(-np.log(p[np.arange(8), labels[:8]]).mean(), rel=1e-4)
        assert result.accuracy == (p.argmax(axis=1) == labels[:8]).mean()
        assert result.transfer_loss == pytest.approx(reference.discrepancy(x), rel=1e-3)


def test_a_fit_validates_labelled_images_and_their_best_classes():
    images, labels, start = toy(classes=4)
    labels[labels == 9999] = 77
    net = toy_net(start)
    result, = fit(net, TransferObjective(null_label=77), Fixed(images, labels, 1), CPU, StepSchedule(0.01), 1,
                  validation=Fixed(images, labels, 1), top_k=2, null_label=77)
    ranked = net(mx.nd.array(images))[1].asnumpy()[:8].argsort(axis=1)[:, ::-1]
    hits = ranked == labels[:8, None]
    found = result.validation_accuracy, result.validation_top_k
    assert found == (hits[:, 0].mean(), hits[:, :2].any(axis=1).mean()) and 0 < found[0] < found[1]


@pytest.mark.parametrize("count", [1, 2])
def test_images_that_fill_a_batch_up_are_not_judged(count):
    batches = Fixed(np.zeros((6, 1), np.float32), np.array([1, 1, 1, 0, 0, 0]), 1)
    batches._batch.pad = 3
    scores = mx.nd.array([[0, 1]] * 6)
    devices = [mx.cpu(i) for i in range(count)]
    assert evaluate(lambda x: scores[:len(x)], batches, devices, 1) == (1.0, 1.0)


def test_dropout_is_drawn_anew_for_every_batch_of_every_epoch():
    images, labels, _ = toy()
    of_one, of_two = (fit(dropping_net(), TransferObjective(), Fixed(images, labels, count), CPU, StepSchedule(0.0), 2)
                      for count in (1, 2))
    assert of_one[0].loss != of_one[1].loss and of_one[0].loss != of_two[0].loss


@pytest.mark.parametrize("kind", ["moving", "running"])
def test_statistics_are_averaged_by_either_name(kind):
    """Networks of the zoo call them running."""
    symbol = mx.sym.BatchNorm(mx.sym.var("data"), name="bn", **{
        f"moving_{what}": mx.sym.var(f"bn_{kind}_{what}") for what in ("mean", "var")})
    net, devices = TransferNet(features_block(symbol), 2), [mx.cpu(0), mx.cpu(1)]
    assert net.collect_params()[f"bn_{kind}_var"].init == "ones"
    images = np.random.default_rng(0).normal(np.repeat([[3], [5]], 4, axis=0), size=(8, 6)).astype(np.float32)
    fit(net, TransferObjective(), Fixed(images, np.arange(8) % 2, 1), devices, StepSchedule(0.0), 1)
    for device in 0, 1:
        np.testing.assert_allclose(values_of(net, device)[f"bn_{kind}_mean"], 0.1 * images.mean(axis=0), rtol=1e-4)
