"""L2-SP against float64: values, gradients, and what it does to weights in training."""
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import TinyIter, tiny_net

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.symbols.l2sp import L2SP, published_rates, readme_rates
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule

SHAPES = {"conv_weight": (5, 3, 3, 3), "conv_bias": (5,), "top_weight": (6, 40), "fc_weight": (4, 6), "bn_gamma": (5,)}
RATES = {"conv_weight": 0.3, "conv_bias": 0.2, "top_weight": 0.05, "fc_weight": 0.7}


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def by_hand(values, start):
    """Value, and gradients by name."""
    far = {name: values[name].astype(np.float64) - start.get(name, 0) for name in RATES}
    return sum(RATES[name] / 2 * (d**2).sum() for name, d in far.items()), {n: RATES[n] * d for n, d in far.items()}


def arrays(values, device):
    found = {name: mx.nd.array(value, ctx=device) for name, value in values.items()}
    for array in found.values():
        array.attach_grad()
    return found


@pytest.mark.parametrize("count", [1, 2])
def test_value_and_gradients_equal_those_by_hand_on_every_device(count):
    start = drawn(0)
    del start["fc_weight"]      # a new layer
    penalty = L2SP(RATES, {name: mx.nd.array(value) for name, value in start.items()})
    for batch in range(2):
        there = [drawn(1 + 10 * batch + i) for i in range(count)]
        values = [arrays(one, mx.cpu(i)) for i, one in enumerate(there)]
        with mx.autograd.record():
            found = [3 * penalty(one) for one in values]
        mx.autograd.backward(found)
        for i in range(count):
            value, gradients = by_hand(there[i], start)
            assert found[i].shape == (1,) and found[i].context == mx.cpu(i)
            assert found[i].asscalar() == pytest.approx(3 * value, rel=1e-5)
            for name in RATES:
                np.testing.assert_allclose(values[i][name].grad.asnumpy(), 3 * gradients[name], rtol=1e-5, atol=1e-6)
            assert not values[i]["bn_gamma"].grad.asnumpy().any()


def test_the_value_of_a_layer_of_millions_of_weights_has_its_digits():
    weight = mx.nd.random.normal(shape=(4096, 1024))
    exact = (weight.asnumpy().astype(np.float64)**2).sum() / 2
    assert L2SP({"fc_weight": 1}, {})({"fc_weight": weight}).asscalar() == pytest.approx(exact, rel=1e-5)


def test_start_values_stay_when_training_changes_the_arrays_they_were_read_into():
    weight = mx.nd.array([3.0, 4.0])
    penalty = L2SP({"fc_weight": 1.0}, {"fc_weight": weight})
    assert penalty({"fc_weight": weight}).asscalar() == 0
    weight += 1
    assert penalty({"fc_weight": weight}).asscalar() == 1


def test_parameters_that_do_not_learn_are_left_out():
    start = {name: mx.nd.array(value) for name, value in drawn(0).items()}
    penalty, values = L2SP(RATES, start), arrays(drawn(1), mx.cpu())
    whole = penalty(values).asscalar()
    del values["conv_weight"]
    far = (drawn(1)["conv_weight"].astype(np.float64) - drawn(0)["conv_weight"])**2
    assert penalty(values).asscalar() == pytest.approx(whole - 0.15 * far.sum(), rel=1e-5)
    with pytest.raises(InputError, match="`l2sp` has a rate for no parameter that learns"):
        penalty({"bn_gamma": values["bn_gamma"]})


@pytest.mark.parametrize("devices", [1, 2])
def test_training_moves_weights_as_by_hand(devices):
    """Without labels nothing else moves them: gradient descent with momentum in float64."""
    class Unlabelled(TinyIter):
        def next(self):
            batch = super().next()
            batch.label = [mx.nd.full(batch.label[0].shape, 9999)]
            return batch

    net, rates = tiny_net(), {"conv0_weight": 0.4, "fc_weight": 0.9}
    fit(net, TransferObjective(), TinyIter(2), [mx.cpu()], StepSchedule(0.1), 1)       # away from the start
    begun = {name: net.collect_params()[name].data().asnumpy().astype(np.float64) for name in rates}
    start = np.random.default_rng(0).normal(size=begun["conv0_weight"].shape).astype(np.float32)
    fit(net, TransferObjective(), Unlabelled(4), [mx.cpu(i) for i in range(devices)], StepSchedule(0.1), 2,
        penalties=[L2SP(rates, {"conv0_weight": mx.nd.array(start)})])
    for name, rate in rates.items():
        centre, w, v = start if name == "conv0_weight" else 0, begun[name], 0
        for _ in range(8):
            v = 0.9 * v - 0.1 * rate * (w - centre)
            w = w + v
        assert abs(w - begun[name]).max() > 0.05
        for value in net.collect_params()[name].list_data():
            np.testing.assert_allclose(value.asnumpy(), w, rtol=1e-5, atol=1e-6)


def test_rates_and_start_values_that_fit_nothing_are_refused():
    for rate in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="`l2sp` gives fc_weight the rate .*expected a number from 0 up"):
            L2SP({"fc_weight": rate}, {})
    penalty = L2SP({"fc_weight": 1.0}, {"fc_weight": mx.nd.zeros((2, 3))})
    with pytest.raises(InputError, match=r"`start` holds .*\n  fc_weight  \(2, 3\) for \(2, 4\)"):
        penalty({"fc_weight": mx.nd.zeros((2, 4))})


PARTS = {"classifier": ["fc_weight", "fc_bias"], "high": ["b_weight", "b_gamma", "b_beta", "b_moving_mean"],
         "low": ["a_weight", "a_bias", "a_running_var"]}


def test_one_rate_is_for_all_and_three_are_for_classifier_high_and_low():
    assert readme_rates(PARTS, [0.1]) == dict.fromkeys(["fc_weight", "fc_bias", "b_weight", "a_weight", "a_bias"], 0.1)
    assert readme_rates(PARTS, [0.1, 0.2, 0.0]) == {"fc_weight": 0.1, "fc_bias": 0.1, "b_weight": 0.2, "a_weight": 0.0,
                                                    "a_bias": 0.0}
    for rates in ([], [0.1, 0.2], [0.1] * 4, [-1.0], [0.1, float("nan"), 0.1]):
        with pytest.raises(InputError, match="`l2sp` is"):
            readme_rates(PARTS, rates)


def groups(count=22):
    return [SimpleNamespace(parameters=[f"g{i}_{part}" for part in ("bn_gamma", "bn_beta", "weight", "bias",
                                                                      "bn_moving_mean")]) for i in range(count)]


@pytest.mark.parametrize("num_low, new_layers, pulled_groups", [(8, 1, 8), (1, 1, 1), (22, 1, 21), (20, 4, 18)])
def test_the_published_codes_penalty_is_that_of_its_formula(num_low, new_layers, pulled_groups):
    """As the code adds it up: 10/2 and 5/2 times 0.004, the others times 0.0005, of the values as they are."""
    rng = np.random.default_rng(1)
    rates, pulled = published_rates(groups(), num_low, new_layers)
    names = [*(name for group in groups() for name in group.parameters), "fc_weight", "fc_bias"]
    values, start = ({name: rng.normal(size=3).astype(np.float32) for name in names} for _ in range(2))
    existing = new = 0
    for name in (name for name in names if "bn" not in name):
        number = 99 if name.startswith("fc") else int(name[1:].split("_")[0])
        if number < pulled_groups:
            existing += (10 if name == "g0_weight" else 5) * ((values[name].astype(float) - start[name])**2).sum() / 2
        else:
            new += (values[name].astype(float)**2).sum() / 2
    penalty = L2SP(rates, {name: mx.nd.array(start[name]) for name in pulled})
    found = penalty({name: mx.nd.array(value) for name, value in values.items()}).asscalar()
    assert found == pytest.approx(0.004 * existing + 0.0005 * new, rel=1e-5)


@pytest.mark.parametrize("num_low, new_layers", [(0, 1), (-1, 1), (3, 22), (23, 1)])
def test_the_published_code_wants_low_groups_that_there_are(num_low, new_layers):
    with pytest.raises(InputError, match=f"holds {num_low} low groups .*, of 22, the top {new_layers} of"):
        published_rates(groups(), num_low, new_layers)
