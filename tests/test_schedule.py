"""Schedules against their formulas in float64, alone and in training."""
import copy

import numpy as np
import pytest
from tiny import TinyIter, tiny_net

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import InverseDecay, StepSchedule, Warmup


@pytest.mark.parametrize("lr, gamma, power, num_epochs", [(1e-4, 10, 0.75, 200), (0.3, 2.5, 1.5, 7), (0.1, 0, 1, 3)])
def test_inverse_decay_falls_from_epoch_to_epoch(lr, gamma, power, num_epochs):
    schedule = copy.deepcopy(InverseDecay(lr, gamma, power, num_epochs=num_epochs, updates_per_epoch=4))
    for epoch in range(num_epochs):
        for update in range(4 * epoch + 1, 4 * epoch + 5):
            assert schedule(update) == pytest.approx(lr * (1 + gamma * epoch / num_epochs)**-power, rel=1e-12)
    assert schedule.base_lr == lr


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_warm_up_and_steps_are_timms(epochs):
    """In epoch t from 0, timm's step schedule: warm-up below `epochs`, else base · rate^floor(t / decay epochs)."""
    base, rate, decay_epochs, per_epoch = 0.03, 0.9, 5, 6
    steps = [per_epoch * decay_epochs * k for k in range(1, 5)]
    schedule = copy.deepcopy(Warmup(StepSchedule(base, rate, steps), 1e-4, epochs, per_epoch))
    for t in range(20):
        wanted = 1e-4 + t * (base - 1e-4) / epochs if t < epochs else base * rate**(t // decay_epochs)
        for update in range(t * per_epoch + 1, (t + 1) * per_epoch + 1):
            assert schedule(update) == pytest.approx(wanted, rel=1e-12)
    assert schedule.base_lr == base


def test_warm_up_goes_over_into_inverse_decay_whose_time_has_gone_on():
    decay = InverseDecay(0.1, num_epochs=10, updates_per_epoch=2)
    schedule = Warmup(decay, 0.02, 2, 2)
    np.testing.assert_allclose([schedule(t) for t in range(1, 5)], [0.02, 0.02, 0.06, 0.06])
    assert schedule(5) == decay(5) == pytest.approx(0.1 * 3**-0.75)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_goes_by_the_schedule_also_when_it_goes_on(optimizer, capfd):
    schedule = Warmup(InverseDecay(0.1, num_epochs=4, updates_per_epoch=4), 0.01, 1, 4)
    results = fit(tiny_net(), TransferObjective(), TinyIter(4), [mx.cpu(0), mx.cpu(1)], schedule, 4,
                  optimizer=optimizer)
    wanted = [0.01, *(0.1 * (1 + 10 * e / 4)**-0.75 for e in (1, 2, 3))]
    assert [result.learning_rate for result in results] == pytest.approx(wanted, rel=1e-6)
    assert capfd.readouterr().out == ""


def test_weights_move_as_far_as_the_rate_of_the_warm_up_says():
    def moved(schedule):
        net = tiny_net()
        fit(net, TransferObjective(), TinyIter(1), [mx.cpu()], schedule, 1, momentum=0)
        return net.fc_weight.data().asnumpy()

    still = moved(StepSchedule(0.0))
    assert abs(moved(StepSchedule(0.1)) - still).max() > 1e-4
    np.testing.assert_allclose(moved(Warmup(StepSchedule(0.8), 0.1, 3, 1)), moved(StepSchedule(0.1)), rtol=1e-6)


BAD = [float("nan"), float("inf"), 1e308, -0.1]


@pytest.mark.parametrize("value", BAD)
def test_rates_that_are_none_are_refused(value):
    for told, name in ((dict(lr=value), "lr"), (dict(gamma=value), "lr_gamma"), (dict(power=value), "lr_power")):
        with pytest.raises(InputError, match=f"`{name}` is .*expected a number from 0 up"):
            InverseDecay(**{"lr": 0.1, "num_epochs": 3, "updates_per_epoch": 3, **told})
    with pytest.raises(InputError, match="`warmup_lr` is .*expected a number from 0 up"):
        Warmup(StepSchedule(0.1), value, 3, 3)


@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_epochs_and_updates_are_whole_numbers(value):
    for told in (dict(num_epochs=value), dict(updates_per_epoch=value)):
        with pytest.raises(InputError, match=f"`{next(iter(told))}` is .*expected a whole number from 1 up"):
            InverseDecay(0.1, **{"num_epochs": 3, "updates_per_epoch": 3, **told})
    with pytest.raises(InputError, match="`updates_per_epoch` is .*expected a whole number from 1 up"):
        Warmup(StepSchedule(0.1), 0.01, 3, value)
    if value:
        with pytest.raises(InputError, match="`warmup_epochs` is .*expected a whole number from 0 up"):
            Warmup(StepSchedule(0.1), 0.01, value, 3)
