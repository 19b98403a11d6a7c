"""The seams of the loop: batches, penalties, what is done after an epoch, rates, optimizers, losses with parameters."""
import numpy as np
import pytest
from tiny import SHAPE, StopAfter, TinyIter, tiny_net

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.distributed.stores import Store
from transfer_gluon.iters import DualIter, SyntheticIter
from transfer_gluon.symbols import DANNLoss, TransferLoss, TransferNet, TransferObjective, transfer_loss
from transfer_gluon.training import throughput
from transfer_gluon.training.loop import fit
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.state import load_state
from transfer_gluon.training.summary import read_summary

CPU = [mx.cpu()]


def train(net=None, objective=None, num_epochs=1, rate=0.05, devices=1, **others):
    net = net or tiny_net()
    results = fit(net, objective or TransferObjective(), TinyIter(4), [mx.cpu(i) for i in range(devices)],
                  StepSchedule(rate), num_epochs, **others)
    return net, results


def values(net):
    return {name: parameter.list_data()[0].asnumpy() for name, parameter in net.collect_params().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def dann():
    return TransferObjective(DANNLoss(hidden=6), 2.0)


# Losses with parameters of their own

@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_domain_classifier_is_trained_saved_and_resumed_bit_for_bit(tmp_path, optimizer, devices):
    how = dict(num_epochs=3, optimizer=optimizer, devices=devices)
    whole, objective = Run(tmp_path / "whole" / "m"), dann()
    train(objective=objective, run=whole, **how)
    weight, = (parameter for name, parameter in objective.collect_params().items() if name.endswith("hidden_weight"))
    assert weight.shape == (6, 4) and len(weight.list_ctx()) == devices
    drawn, objective = dann(), None
    train(objective=drawn, num_epochs=1, rate=0.0)
    parts = tmp_path / "parts" / "m"
    for batches in (0, 2, 1, 4):
        with pytest.raises(Stopped):
            run = Run(parts, resume=True)
            train(run.checkpoint and run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), run=run,
                  stop=StopAfter(batches), **how)
    run = Run(parts, resume=True)
    train(run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), run=run, **how)
    for name in ("m-0003.params", "m-symbol.json", "m-run/state.params", "m-run/summary.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    kept = {name: value.asnumpy() for name, value in load_state(tmp_path / "whole" / "m-run" / "state.params")
            .others.items()}
    np.testing.assert_array_equal(kept["objective.transfer.hidden.weight"], weight.list_data()[0].asnumpy())
    before = next(parameter for name, parameter in drawn.collect_params().items() if name.endswith("hidden_weight"))
    assert abs(before.list_data()[0].asnumpy() - kept["objective.transfer.hidden.weight"]).max() > 1e-3
    assert any(name.startswith("optimizer:objective.transfer.hidden.weight:") for name in kept)
    assert not any("hidden" in name for name in mx.nd.load(str(tmp_path / "whole" / "m-0003.params")))


class WithStatistics(TransferLoss):
    """Batch normalisation in a loss: its moving statistics are each device's own."""

    needs_logits = False

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.norm, self.dense = mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(1)

    def hybrid_forward(self, F, layers):
        return F.mean(F.square(self.dense(self.norm(layers[-1])))).reshape((1,))


def test_moving_statistics_of_a_loss_are_kept_device_by_device(tmp_path):
    def objective():
        return TransferObjective(WithStatistics())

    train(objective=objective(), num_epochs=2, devices=2, run=Run(tmp_path / "whole" / "m"))
    with pytest.raises(Stopped):
        train(objective=objective(), num_epochs=2, devices=2, run=Run(tmp_path / "parts" / "m"), stop=StopAfter(1))
    file = tmp_path / "parts" / "m-run" / "state.params"
    assert any(name.startswith("device1:objective.transfer.norm.running_") for name in load_state(file).others)
    run = Run(tmp_path / "parts" / "m", resume=True)
    train(run.checkpoint.classifier("flatten0", 3, SHAPE), objective(), 2, devices=2, run=run)
    assert file.read_bytes() == (tmp_path / "whole" / "m-run" / "state.params").read_bytes()
    run = Run(tmp_path / "parts" / "m", resume=True)
    with pytest.raises(InputError, match="does not fit"):
        train(run.checkpoint.classifier("flatten0", 3, SHAPE), objective(), 3, devices=1, run=run)


def test_moving_statistics_of_a_loss_that_a_device_lacks_are_missed(tmp_path):
    def flat():
        return TransferNet(mx.gluon.nn.Flatten(), 3, image_shape=SHAPE)     # which has none itself

    train(flat(), TransferObjective(WithStatistics()), run=Run(tmp_path / "m"))
    with pytest.raises(InputError, match="objective.transfer.norm.running_.* does not fit"):
        train(flat(), TransferObjective(WithStatistics()), 2, devices=2, run=Run(tmp_path / "m", resume=True))


def test_soft_labels_reach_a_loss_with_parameters():
    def one_hot(images, labels):
        return images, mx.nd.one_hot(labels, 3)       # of 9999: zeros

    def trained(objective, **how):
        return values(train(objective=objective, **how)[0])["fc_weight"]

    soft = trained(TransferObjective(DANNLoss(hidden=6), 2.0, sparse_label=False), before_forward=[one_hot])
    np.testing.assert_allclose(soft, trained(dann()), rtol=1e-4, atol=1e-6)


def test_a_run_goes_on_with_the_loss_it_began_with(tmp_path):
    train(objective=dann(), run=Run(tmp_path / "m"))
    for other in (TransferObjective(), TransferObjective(DANNLoss(hidden=7))):
        run = Run(tmp_path / "m", resume=True)
        with pytest.raises(InputError, match="does not fit this network, optimizer and number of devices"):
            train(run.checkpoint.classifier("flatten0", 3, SHAPE), other, 2, run=run)
    train(objective=TransferObjective(), run=Run(tmp_path / "n"))
    run = Run(tmp_path / "n", resume=True)
    with pytest.raises(InputError, match="objective.transfer.hidden.weight does not fit"):
        train(run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), 2, run=run)


def test_further_statistics_have_a_column_and_survive_a_stop(tmp_path):
    prefix = tmp_path / "m"
    with pytest.raises(Stopped):
        train(objective=dann(), num_epochs=2, run=Run(prefix), stop=StopAfter(2))
    run = Run(prefix, resume=True)
    _, results = train(run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), 2, run=run)
    rows = read_summary(f"{prefix}-run/summary.csv")
    assert list(rows[0])[-1] == "domain_accuracy"
    assert [float(row["domain_accuracy"]) for row in rows] == [result.others["domain_accuracy"] for result in results]
    assert all(0 < result.others["domain_accuracy"] < 1 for result in results)


@pytest.mark.parametrize("name", ["mmd", "jmmd", "coral", "dann", "cdan", "mcc", "bnm", "shot_im", "shot"])
def test_every_loss_of_the_table_trains(name):
    _, results = train(objective=TransferObjective(transfer_loss(name)), devices=2)
    assert np.isfinite(results[0].transfer_loss) and results[0].transfer_loss != 0


# What happens to a batch before the forward pass

def test_a_batch_is_changed_before_the_forward_pass_on_every_device_alike_when_resumed(tmp_path):
    seen = []

    def noise(images, labels):
        seen.append(images.shape)
        return images + mx.nd.random.normal(0, 50, images.shape, ctx=images.context), labels

    plain, _ = train(devices=2)
    whole, _ = train(num_epochs=2, devices=2, before_forward=[noise], run=Run(tmp_path / "whole"))
    assert seen[:2] == [(4, *SHAPE)] * 2
    assert abs(values(plain)["fc_weight"] - values(whole)["fc_weight"]).max() > 1e-3
    with pytest.raises(Stopped):
        train(num_epochs=2, devices=2, before_forward=[noise], run=Run(tmp_path / "parts"), stop=StopAfter(5))
    run = Run(tmp_path / "parts", resume=True)
    parts, _ = train(run.checkpoint.classifier("flatten0", 3, SHAPE), None, 2, devices=2, before_forward=[noise],
                     run=run)
    assert_equal(values(parts), values(whole))


def test_changes_are_made_in_their_order():
    order = []
    train(before_forward=[lambda *batch: order.append(1) or batch, lambda *batch: order.append(2) or batch])
    assert order == [1, 2] * 4


# Penalties

@pytest.mark.parametrize("devices", [1, 2])
def test_a_penalty_is_added_to_the_mean_objective(devices):
    """One update with the penalty |w|² / 2 · a moves by rate · a · w more than one without."""
    def decay(parameters):
        return 0.3 * mx.nd.sum(mx.nd.square(parameters["fc_weight"])) / 2

    start = values(train(rate=0.0)[0])["fc_weight"]

    def moved(**how):
        net = tiny_net()
        fit(net, TransferObjective(), TinyIter(1), [mx.cpu(i) for i in range(devices)], StepSchedule(0.1), 1,
            momentum=0, **how)
        return values(net)["fc_weight"]

    np.testing.assert_allclose(moved(penalties=[decay]) - moved(), -0.1 * 0.3 * start, atol=1e-6)
    np.testing.assert_allclose(moved(penalties=[decay, decay]) - moved(), -0.2 * 0.3 * start, atol=1e-6)


def test_a_penalty_weighs_the_same_however_many_images_a_batch_becomes():
    def decay(parameters):
        return 0.3 * mx.nd.sum(mx.nd.square(parameters["fc_weight"])) / 2

    def twice(images, labels):
        return mx.nd.concat(images, images, dim=0), mx.nd.concat(labels, labels, dim=0)

    def moved(**how):
        net = tiny_net()
        fit(net, TransferObjective(), TinyIter(1), CPU, StepSchedule(0.1), 1, momentum=0, before_forward=[twice], **how)
        return values(net)["fc_weight"]

    start = values(train(rate=0.0)[0])["fc_weight"]
    np.testing.assert_allclose(moved(penalties=[decay]) - moved(), -0.1 * 0.3 * start, atol=1e-6)


@pytest.mark.parametrize("seams, why", [
    (dict(penalties=[lambda parameters: 0.0]), "`penalties`: <lambda> returned float; expected"),
    (dict(penalties=[lambda parameters: parameters["fc_bias"]]), r"`penalties`: .* an array of shape \(3,\); expected"),
    (dict(before_forward=[lambda images, labels: None]), "`before_forward`: <lambda> made NoneType of a batch; exp"),
    (dict(before_forward=[lambda images, labels: images]), r"`before_forward`: .* made an array of shape .*; expected"),
    (dict(before_forward=[lambda images, labels: (images.asnumpy(), labels)]), "`before_forward`: .* made 2 of tuple")])
def test_what_seams_return_is_judged(seams, why):
    with pytest.raises(InputError, match=why):
        train(**seams)


# Rates and optimizers

def test_rates_are_multiplied_by_prefix_for_this_call_only():
    net = tiny_net()
    before = values(train(net, rate=0.0)[0])
    train(net, lr_mult={"fc_": 0.0, "conv0": 2.0})
    after = values(net)
    np.testing.assert_array_equal(after["fc_weight"], before["fc_weight"])
    assert abs(after["conv0_weight"] - before["conv0_weight"]).max() > 1e-4
    assert all(parameter.lr_mult == 1 for parameter in net.collect_params().values())
    for factors in ({"nothing": 2.0}, {"fc_": -1.0}, {"fc_": float("nan")}):
        with pytest.raises(InputError, match="`lr_mult` gives"):
            train(net, lr_mult=factors)
    twice, _ = train(lr_mult={"": 2.0}, rate=0.01, momentum=0)
    once, _ = train(rate=0.02, momentum=0)
    np.testing.assert_allclose(values(twice)["fc_weight"], values(once)["fc_weight"], rtol=1e-5)


def test_an_optimizer_object_trains_as_its_name_does_and_stays_as_it_is():
    made = mx.optimizer.create("nag", momentum=0.8, wd=0.02, learning_rate=7.0)
    by_name, _ = train(num_epochs=2, optimizer="nag", momentum=0.8, wd=0.02)
    by_object, _ = train(num_epochs=2, optimizer=made)
    again, _ = train(num_epochs=2, optimizer=made)
    assert_equal(values(by_object), values(by_name))
    assert_equal(values(again), values(by_name))
    assert made.num_update == 0 and made.lr_scheduler is None and made.lr == 7.0
    made._all_index_update_counts[0].update({0: 30, 1: 30})     # used elsewhere before
    used, _ = train(num_epochs=2, optimizer=made, run=None)
    assert_equal(values(used), values(by_name))
    with pytest.raises(InputError, match="beside an optimizer object, which has its own"):
        train(optimizer=made, momentum=0.5)


def test_a_schedule_that_counts_along_stays_as_it_is():
    schedule = mx.lr_scheduler.FactorScheduler(step=2, factor=0.1, base_lr=0.1)
    nets = [tiny_net() for _ in range(2)]
    for net in nets:
        mx.random.seed(3)
        fit(net, TransferObjective(), TinyIter(4), CPU, schedule, 1)
    assert_equal(values(nets[0]), values(nets[1]))
    assert schedule.base_lr == 0.1


def test_an_optimizer_that_was_made_otherwise_is_refused_when_a_run_goes_on(tmp_path):
    train(run=Run(tmp_path / "m"), momentum=0.9)
    run = Run(tmp_path / "m", resume=True)
    with pytest.raises(InputError, match="`momentum` was 0.9 then, and is 0.1 now"):
        train(run.checkpoint.classifier("flatten0", 3, SHAPE), None, 2, run=run, momentum=0.1)


def test_gradients_do_not_add_up_over_batches():
    net, other = tiny_net(), None
    net.fc_weight.grad_req = "add"
    train(net)
    other, _ = train()
    assert_equal(values(net), values(other))
    assert net.fc_weight.grad_req == "add"


# What is done after an epoch

def test_items_after_an_epoch_see_it_tell_figures_and_end_the_training(tmp_path):
    seen = []

    def judge(epoch):
        norm = float(np.linalg.norm(epoch.learner.net.fc_weight.data().asnumpy()))
        seen.append((epoch.result.epoch, [result.epoch for result in epoch.before]))
        epoch.tell(norm=norm)
        if epoch.result.epoch == 3:
            epoch.ends = "three are enough"

    run = Run(tmp_path / "m")
    _, results = train(num_epochs=2, run=run, after_epoch=[judge])
    resumed = Run(tmp_path / "m", resume=True)
    _, more = train(resumed.checkpoint.classifier("flatten0", 3, SHAPE), None, 9, run=resumed, after_epoch=[judge])
    assert [result.epoch for result in results + more] == [1, 2, 3]
    assert seen == [(1, []), (2, [1]), (3, [1, 2])]
    rows = read_summary(tmp_path / "m-run" / "summary.csv")
    assert [float(row["norm"]) for row in rows] == [result.others["norm"] for result in results + more]
    ended = Run(tmp_path / "m", resume=True)
    assert ended.position.ended == "three are enough"
    _, none = train(ended.checkpoint.classifier("flatten0", 3, SHAPE), None, 9, run=ended, after_epoch=[judge])
    assert none == [] and len(seen) == 3


def test_figures_that_some_epochs_have_not_are_nan_there(tmp_path):
    """As when a run goes on with another loss from one of its epochs, or with one more item."""
    train(objective=TransferObjective(transfer_loss("mmd")), num_epochs=2, run=Run(tmp_path / "m"))
    (tmp_path / "m-0002.params").unlink()
    run = Run(tmp_path / "m", load_epoch=1)
    train(run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), 2, run=run)
    run = Run(tmp_path / "m", resume=True)
    train(run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), 3, run=run,
          after_epoch=[lambda epoch: epoch.tell(mine=1)])
    rows = read_summary(tmp_path / "m-run" / "summary.csv")
    assert [row["domain_accuracy"] == "nan" for row in rows] == [True, False, False]
    assert [row["mine"] for row in rows] == ["nan", "nan", "1.0"]
    assert Run(tmp_path / "m", resume=True).position.epoch == 3


@pytest.mark.parametrize("figures", [{"loss": 7.0}, {"epoch": 7}, {"best": True}, {"name": "abc"}, {"none": None},
                                     {"array": mx.nd.ones(1)}], ids=str)
def test_figures_that_the_summary_cannot_hold_are_refused(figures):
    with pytest.raises(InputError, match="(?s)tells .*; expected a number, under another name"):
        train(after_epoch=[lambda epoch: epoch.tell(**figures)])


def test_figures_may_be_numpys_or_nan(tmp_path):
    def tell(epoch):
        epoch.tell(a=np.float32(0.5), b=np.int64(2), c=float("nan"))

    _, results = train(after_epoch=[tell], run=Run(tmp_path / "m"))
    assert results[0].others["a"] == 0.5 and Run(tmp_path / "m", resume=True).position.epoch == 1


def test_statistics_of_a_loss_do_not_take_the_summarys_names():
    class Loss(TransferLoss):
        needs_logits, statistics = False, ("accuracy",)

        def hybrid_forward(self, F, layers):
            return F.mean(layers[-1]).reshape((1,)), F.mean(layers[-1]).reshape((1,))

    with pytest.raises(InputError, match="statistics are .*accuracy; expected"):
        train(objective=TransferObjective(Loss()))


def test_what_an_item_changes_is_saved_and_trained_on_with(tmp_path):
    def zero(epoch):
        epoch.learner.net.fc_bias.set_data(mx.nd.zeros((3,)))

    net, _ = train(run=Run(tmp_path / "m"), after_epoch=[zero])
    assert not mx.nd.load(str(tmp_path / "m-0001.params"))["arg:fc_bias"].asnumpy().any()


def test_workers_share_figures_of_the_same_names_when_a_run_goes_on(tmp_path):
    """Where they do not, they wait for each other forever."""
    class Counting(Store):
        def sum(self, values):
            sizes.append(len(values))
            return super().sum(values)

    with pytest.raises(Stopped):        # behind the last batch of the epoch
        train(objective=dann(), run=Run(tmp_path / "m"), stop=StopAfter(3))
    counted = []
    for rank in (1, 0):
        sizes, run = [], Run(tmp_path / "m", resume=True, writes=rank == 0)
        assert (run.position.epoch, run.position.batch) == (0, 4)
        train(run.checkpoint.classifier("flatten0", 3, SHAPE), dann(), 1, run=run, kvstore=Counting("device", 1, rank))
        counted.append(sizes)
    assert counted[0] == counted[1] and 6 in counted[0]


def test_batches_laid_out_for_other_devices_are_refused():
    batches = DualIter(SyntheticIter(4, SHAPE, 3), SyntheticIter(4, SHAPE, 3))
    with pytest.raises(InputError, match="laid out for 1 devices, and there are 2"):
        fit(tiny_net(), TransferObjective(), batches, [mx.cpu(0), mx.cpu(1)], StepSchedule(0.1), 1)


def test_computing_is_measured_with_every_loss(monkeypatch):
    monkeypatch.setattr(throughput, "SECONDS", 0.01)
    batches = DualIter(SyntheticIter(4, SHAPE, 3), SyntheticIter(4, SHAPE, 3))
    assert throughput.computing_speed(lambda clock: fit(tiny_net(), dann(), clock, CPU, StepSchedule(0.0), 1),
                                      batches) > 0


def test_what_asks_for_a_run_needs_its_prefix():
    for how in (dict(resume=True), dict(load_epoch=4), dict(overwrite=True)):
        with pytest.raises(InputError, match="without `prefix`, which says which run is meant"):
            Run(**how)


def test_a_run_killed_between_its_first_summary_and_state_goes_on(tmp_path, monkeypatch):
    """The state still knows a summary without the columns that the first epoch brought."""
    run = Run(tmp_path / "m")
    saves = []

    def once(*arguments):
        if saves:
            raise KeyboardInterrupt
        saves.append(save(*arguments))

    save = run._save_state
    monkeypatch.setattr(run, "_save_state", once)
    with pytest.raises(KeyboardInterrupt):
        train(objective=dann(), run=run)
    again = Run(tmp_path / "m", resume=True)
    assert again.position.epoch == 0
    train(again.checkpoint.classifier("flatten0", 3, SHAPE), dann(), 1, run=again)
    assert len(read_summary(tmp_path / "m-run" / "summary.csv")) == 1
