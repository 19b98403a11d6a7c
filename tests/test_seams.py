"""The seams of the loop: batches, penalties, what is done after an epoch, rates, optimizers, losses with parameters."""
import numpy as np
import pytest
from tiny import SHAPE, StopAfter, TinyIter, tiny_net

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import DANNLoss, TransferObjective, transfer_loss
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


@pytest.mark.parametrize("name", ["mmd", "jmmd", "coral", "dann"])
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
    with pytest.raises(InputError, match="beside an optimizer object, which has its own"):
        train(optimizer=made, momentum=0.5)


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
    assert ended.position.ended
    _, none = train(ended.checkpoint.classifier("flatten0", 3, SHAPE), None, 9, run=ended, after_epoch=[judge])
    assert none == [] and len(seen) == 3


def test_figures_of_other_names_than_before_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected the same after every epoch of a run"):
        train(num_epochs=2, after_epoch=[lambda epoch: epoch.tell(**{f"figure{epoch.result.epoch}": 1.0})],
              run=Run(tmp_path / "m"))


def test_what_an_item_changes_is_saved_and_trained_on_with(tmp_path):
    def zero(epoch):
        epoch.learner.net.fc_bias.set_data(mx.nd.zeros((3,)))

    net, _ = train(run=Run(tmp_path / "m"), after_epoch=[zero])
    assert not mx.nd.load(str(tmp_path / "m-0001.params"))["arg:fc_bias"].asnumpy().any()


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
