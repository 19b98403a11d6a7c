"""MXNet's `nag` against PyTorch's SGD with Nesterov's momentum, in float64, and where they differ."""
import numpy as np
import pytest
import reference
from test_training import Fixed, toy, toy_net

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule


def by_hand(images, labels, start, updates, lr, momentum, wd, lr_mult):
    """As PyTorch documents it, with g the mean gradient plus decay: v = momentum·v + g; w = w - lr·(g + momentum·v)."""
    values = {name: value.copy() for name, value in start.items()}
    velocity = {name: 0.0 for name in start}
    a, known = images.astype(np.float64), labels != 9999
    for _ in range(updates):
        x = np.tanh(a @ values["hidden_weight"].T + values["hidden_bias"])
        p = reference.softmax(x @ values["fc_weight"].T + values["fc_bias"])
        dz = (p - reference.one_hot(labels, p.shape[1])) * known[:, None]
        dh = dz @ values["fc_weight"] * (1 - x**2)
        gradient = {"fc_weight": dz.T @ x, "fc_bias": dz.sum(axis=0), "hidden_weight": dh.T @ a,
                    "hidden_bias": dh.sum(axis=0)}
        for name, w in values.items():
            decay = wd if name.endswith("_weight") else 0
            g = gradient[name] / len(images) + decay * w
            velocity[name] = momentum * velocity[name] + g
            values[name] = w - lr * lr_mult.get(name.split("_")[0], 1) * (g + momentum * velocity[name])
    return values


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("wd, lr_mult", [(0.0, {}), (0.02, {}), (0.0, {"fc": 10.0, "hidden": 0.5}),
                                         (0.02, {"fc": 10.0, "hidden": 0.5})])
def test_nag_is_pytorchs_nesterov(wd, lr_mult, devices):
    images, labels, start = toy(seed=5)
    net = toy_net(start)
    fit(net, TransferObjective(), Fixed(images, labels, 5), [mx.cpu(i) for i in range(devices)], StepSchedule(0.05), 2,
        optimizer="nag", momentum=0.9, wd=wd, lr_mult={f"{name}_": factor for name, factor in lr_mult.items()})
    wanted = by_hand(images, labels, start, 10, 0.05, 0.9, wd, lr_mult)
    without = by_hand(images, labels, start, 10, 0.05, 0.0, wd, lr_mult)
    for name, parameter in net.collect_params().items():
        moved = np.abs(wanted[name] - start[name]).max()
        assert moved > 0.01 and np.abs(wanted[name] - without[name]).max() > 0.01
        np.testing.assert_allclose(parameter.list_data()[-1].asnumpy(), wanted[name], rtol=1e-5, atol=1e-5 * moved)


def test_momentum_keeps_the_steps_of_the_rates_of_then():
    optimizer = mx.optimizer.create("nag", momentum=0.9, wd=0.1)
    weight = mx.nd.array([1.0, -2.0])
    state, w, v = optimizer.create_state(0, weight), weight.asnumpy().astype(np.float64), 0.0
    for rate, gradient in ((0.1, (1.0, 2.0)), (0.01, (0.5, -1.0)), (0.3, (0.1, 0.2))):
        optimizer.set_learning_rate(rate)
        optimizer.update(0, weight, mx.nd.array(gradient), state)
        step = rate * (np.array(gradient) + 0.1 * w)
        v = 0.9 * v + step
        w = w - step - 0.9 * v
        np.testing.assert_allclose(weight.asnumpy(), w, rtol=1e-6)
