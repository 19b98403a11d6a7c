"""The average of the weights: its values, that it is what is judged and saved, and that it goes on."""
from types import SimpleNamespace

import numpy as np
import pytest
from test_resume import content
from tiny import StopAfter, TinyIter, Validation, tiny_net, train

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.symbols import JMMDLoss, TransferObjective
from transfer_gluon.training.loop import fit
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.state import load_state


class Recorder:
    """Asked after every batch whether to end, it notes what the parameters are, and lets training go on."""

    def __init__(self, net):
        self._net, self.values = net, []

    @property
    def name(self):
        self.note()

    def note(self):
        mx.nd.waitall()
        self.values.append({name: parameter.data().asnumpy().astype(np.float64)
                            for name, parameter in self._net.collect_params().items()})


def fitted(net, stop=None, devices=1, num_epochs=2, **others):
    return fit(net, TransferObjective(JMMDLoss()), TinyIter(6), [mx.cpu(i) for i in range(devices)],
               StepSchedule(0.05), num_epochs, stop=stop, **others)


def values(net):
    return {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_average_is_that_of_float64(decay):
    net = tiny_net()
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 4, 4)))
    recorder = Recorder(net)
    recorder.note()     # what training begins with
    fitted(net, recorder, num_epochs=2, ema=decay)
    expected, batches = recorder.values[0], recorder.values[1:7] + recorder.values[8:14]     # between: after the epoch
    for t, now in enumerate(batches, start=1):
        d = min(decay, (1 + t) / (10 + t))
        expected = {name: expected[name] + (1 - d) * (now[name] - expected[name]) for name in now}
    last = batches[-1]
    for name, average in values(net).items():
        np.testing.assert_allclose(average, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name in ("conv0_weight", "fc_weight", "bn1_gamma", "bn1_moving_mean", "bn1_moving_var"):
        assert abs(last[name] - expected[name]).max() > 1e-4       # the average is another than what it averages


def test_training_does_not_depend_on_the_average(tmp_path):
    fitted(tiny_net(), run=Run(tmp_path / "plain"))
    fitted(tiny_net(), run=Run(tmp_path / "averaged"), ema=0.9)
    one, other = (load_state(tmp_path / f"{name}-run" / "state.params").checkpoint for name in ("plain", "averaged"))
    for name, value in {**one.arg_params, **one.aux_params}.items():
        assert (value.asnumpy() == {**other.arg_params, **other.aux_params}[name].asnumpy()).all(), name


def test_the_average_is_what_is_validated_saved_seen_by_items_and_left_in_the_network(tmp_path):
    net, seen = tiny_net(), []
    validated = []

    class Judge(TinyIter):
        def next(self):
            validated.append(values(net)["conv0_weight"])
            return super().next()

    fitted(net, run=Run(tmp_path / "m"), ema=0.9, num_epochs=1, validation=Judge(1),
           after_epoch=[lambda epoch: seen.append(values(epoch.learner.net))])
    saved = load_checkpoint(tmp_path / "m", 1)
    state = load_state(tmp_path / "m-run" / "state.params")
    for name, value in values(net).items():
        kept = {**saved.arg_params, **saved.aux_params}[name].asnumpy()
        assert (kept == value).all() and (seen[0][name] == value).all(), name
        assert (state.others[f"ema.{name}"].asnumpy() == value).all(), name
    assert (validated[0] == values(net)["conv0_weight"]).all()
    assert abs(state.checkpoint.arg_params["conv0_weight"].asnumpy() - values(net)["conv0_weight"]).max() > 1e-5


@pytest.mark.parametrize("devices", [1, 2])
def test_statistics_are_averaged_when_they_have_been_written(devices):
    """Without waiting, the average would now and then take those of the batch before."""
    def averages(stop=None):
        net = tiny_net()
        fitted(net, stop, devices, num_epochs=6, ema=0.9)
        return values(net)

    class Wait:
        @property
        def name(self):
            mx.nd.waitall()

    one, other = averages(Wait()), averages()
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("optimizer, devices, stage, loss", [("sgd", 1, 1, "jmmd"), ("nag", 2, 1, "jmmd"),
                                                             ("adam", 2, 1, "dann"), ("nag", 1, 0, "jmmd")])
def test_a_run_with_averages_penalties_and_mixed_labels_goes_on_bit_for_bit(tmp_path, optimizer, devices, stage, loss):
    how = dict(optimizer=optimizer, devices=devices, stage=stage, loss=loss, regular=True, validation=Validation(1))
    train(Run(tmp_path / "whole" / "m"), **how)
    prefix = tmp_path / "parts" / "m"
    for batches in (0, 2, 1, 4):
        with pytest.raises(Stopped):
            train(Run(prefix, resume=True), stop=StopAfter(batches), **how)
    train(Run(prefix, resume=True), **how)
    one, other = content(prefix), content(tmp_path / "whole" / "m")
    assert [name for name in one if one[name] != other[name]] == [] and len(one) == 6


def test_an_average_is_asked_for_as_the_run_began(tmp_path):
    for number, (first, then) in enumerate([(0.0, 0.9), (0.9, 0.0)]):
        prefix = tmp_path / f"m{number}"
        train(Run(prefix), 1, ema=first)
        with pytest.raises(InputError, match="does not fit this network"):
            train(Run(prefix, resume=True), 2, ema=then)


@pytest.mark.parametrize("ema", [1.0, -0.1, float("nan")])
def test_decays_that_are_none_are_refused(ema):
    with pytest.raises(InputError, match="`ema` is .*; expected a number from 0 to below 1"):
        fitted(tiny_net(), ema=ema)


def test_frozen_layers_are_averaged_to_what_they_are():
    net = tiny_net()
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 4, 4)))
    before = values(net)
    fitted(net, ema=0.9, trainable=["fc"], frozen_statistics="still")
    after = values(net)
    assert (before["conv0_weight"] == after["conv0_weight"]).all()
    assert (before["fc_weight"] != after["fc_weight"]).any()


def test_what_is_averaged_is_the_networks_alone(tmp_path):
    train(Run(tmp_path / "m"), 1, ema=0.9, loss="dann")
    others = load_state(tmp_path / "m-run" / "state.params").others
    assert any(name.startswith("objective.") for name in others) and "ema.fc_weight" in others
    assert not [name for name in others if name.startswith("ema.objective.")]


def test_workers_that_do_not_wait_for_each_other_have_no_average():
    with pytest.raises(InputError, match="`ema` is 0.9; expected 0 with asynchronous servers"):
        fitted(tiny_net(), ema=0.9, kvstore=SimpleNamespace(asynchronous=True))
