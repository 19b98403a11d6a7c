"""How new layers are drawn: ranges, standard deviations, constants."""
import math

import numpy as np
import pytest
from scipy import stats

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferNet
from transfer_gluon.symbols.new_layers import KINDS, classifier_initializers, fresh_values, num_features

SHAPE = (6, 8, 8)
# Inputs of a unit: channels of its group times the area of the kernel, and of the dense layer all that comes in.
FAN_IN = {"wide": 6 * 9, "grouped": 32 * 1, "dense": 64 * 64}


def network():
    x = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), pad=(1, 1), num_filter=128, name="wide")
    x = mx.sym.BatchNorm(x, name="bn")
    x = mx.sym.Convolution(x, kernel=(1, 1), num_filter=64, num_group=4, name="grouped")
    return mx.sym.FullyConnected(x, num_hidden=50, name="dense")


def names():
    return [name for name in network().list_inputs() if name != "data"]


def assert_drawn(value, distribution, bound=np.inf):
    """From `distribution`, by the mean, the standard deviation and the greatest distance of distribution functions."""
    value = np.ravel(value).astype(np.float64)
    assert abs(value).max() <= bound * (1 + 1e-6)
    assert value.std() == pytest.approx(distribution.std(), rel=4 / math.sqrt(value.size))
    assert abs(value.mean()) < 4 * distribution.std() / math.sqrt(value.size)
    assert stats.kstest(value, distribution.cdf).statistic < 1.7 / math.sqrt(value.size)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_biases_are_drawn_by_the_inputs_of_a_unit(kind):
    values = fresh_values(network(), names(), SHAPE, kind)
    assert list(values) == names()
    for layer, n in FAN_IN.items():
        weight, bias = (values[f"{layer}_{part}"].asnumpy() for part in ("weight", "bias"))
        assert weight[0].size == n
        if kind == "torch":
            assert_drawn(weight, stats.uniform(-n**-0.5, 2 * n**-0.5), n**-0.5)
            assert_drawn(bias, stats.uniform(-n**-0.5, 2 * n**-0.5), n**-0.5)
        else:
            assert_drawn(weight, stats.norm(0, math.sqrt(2 / n)))
            assert not bias.any()
    for name, constant in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_var": 1}.items():
        assert (values[f"bn_{name}"].asnumpy() == constant).all()


def test_the_same_numbers_are_drawn_for_a_seed():
    drawn = []
    for seed in (1, 1, 2):
        mx.random.seed(seed)
        drawn.append(fresh_values(network(), ["dense_weight", "grouped_bias"], SHAPE, "torch"))
    for name in ("dense_weight", "grouped_bias"):
        one, again, other = (values[name].asnumpy() for values in drawn)
        assert (one == again).all() and (one != other).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_begins_with_what_its_initializers_draw(kind):
    net = TransferNet(mx.gluon.nn.Flatten(), num_classes=200)
    net.fc_weight.init, net.fc_bias.init = classifier_initializers(kind, num_features=384)
    net.initialize()
    net(mx.nd.zeros((2, *SHAPE)))
    weight, bias = net.fc_weight.data().asnumpy(), net.fc_bias.data().asnumpy()
    assert weight.shape == (200, 384)
    if kind == "torch":
        assert_drawn(weight, stats.uniform(-384**-0.5, 2 * 384**-0.5), 384**-0.5)
        assert_drawn(bias, stats.uniform(-384**-0.5, 2 * 384**-0.5), 384**-0.5)
    elif kind == "normal":
        assert_drawn(weight, stats.norm(0, 0.005))
        np.testing.assert_array_equal(bias, np.full(200, 0.1, np.float32))
    elif kind == "truncated":
        assert_drawn(weight, stats.truncnorm(-2, 2, 0, 0.1), 0.2)
        assert not bias.any()
    else:
        assert_drawn(weight, stats.norm(0, math.sqrt(2 / 384)))
        assert not bias.any()


def test_features_are_counted_as_the_classifier_sees_them():
    assert num_features(network(), SHAPE) == 50
    pooled = mx.sym.Pooling(mx.sym.var("data"), global_pool=True, kernel=(1, 1), pool_type="avg")
    assert num_features(pooled, SHAPE) == 6
    assert num_features(mx.sym.Group([mx.sym.Flatten(mx.sym.var("data")), pooled]), SHAPE) == 6


def test_what_cannot_be_drawn_is_refused():
    slope = mx.sym.LeakyReLU(mx.sym.var("data"), mx.sym.var("act_slope", shape=(6,)), act_type="prelu", name="act")
    for symbol, name in ((network(), "nothing_weight"), (network(), "nothing_gamma"), (slope, "act_slope")):
        with pytest.raises(InputError, match=f"{name} cannot be drawn anew: expected the name of a weight, a bias"):
            fresh_values(symbol, [name], SHAPE)
    for draw in (lambda: fresh_values(network(), names(), SHAPE, "he"), lambda: classifier_initializers("he")):
        with pytest.raises(InputError, match="`new_init` is 'he'; expected one of xavier, torch, normal"):
            draw()
    with pytest.raises(InputError, match="`num_features` is None"):
        classifier_initializers("torch")
