"""A bottleneck below the classifier, end to end: new in stage 0, taken over by what follows."""
import numpy as np
import pytest

from tests.conftest import NEW_NETWORK, SMALL, call
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.symbols import TransferNet
from transfer_gluon.training.start import head_layer

STAGE1 = ["--train-stage", 1, "--transfer-weight", 1]


@pytest.fixture(scope="module")
def with_bottleneck(tmp_path_factory, module_data):
    folder = tmp_path_factory.mktemp("bottleneck")
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--bottleneck", 6, "--data-dir", module_data,
         "--model-prefix", folder / "b0")
    return folder / "b0"


@pytest.fixture(scope="module")
def module_data(tmp_path_factory):
    from tests.conftest import make_data
    return make_data(tmp_path_factory.mktemp("data") / "data")


def test_formula():
    net = TransferNet(mx.gluon.nn.Flatten(), 3, bottleneck=4)
    net.initialize(mx.init.Normal(1))
    images = mx.nd.random.normal(shape=(5, 3, 2, 2))
    features, logits = (output.asnumpy() for output in net(images))
    v, c, w, b = (parameter.data().asnumpy().astype(float)
                  for parameter in (net.bottleneck.weight, net.bottleneck.bias, net.fc_weight, net.fc_bias))
    x = np.maximum(images.asnumpy().reshape(5, -1).astype(float) @ v.T + c, 0)
    np.testing.assert_allclose(features, x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits, x @ w.T + b, rtol=1e-5, atol=1e-5)


def test_of_several_layers_the_last_feeds_it():
    class Two(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, images):
            return [images, 2 * images]
    net = TransferNet(Two(), 3, bottleneck=4)
    net.initialize()
    features, logits = net(mx.nd.ones((5, 3, 2, 2)))
    assert [layer.shape for layer in features] == [(5, 12), (5, 4)] and logits.shape == (5, 3)


def test_stage_0_saves_it_and_stage_1_goes_on_with_it(with_bottleneck, module_data, tmp_path):
    before = load_checkpoint(with_bottleneck, 1)
    assert before.arg_params["bottleneck_weight"].shape[0] == before.arg_params["fc_weight"].shape[1] == 6
    call("fine_tune.py", *STAGE1, *SMALL, "--lr", 0, "--data-dir", module_data, "--pretrained-model", with_bottleneck,
         "--pretrained-epoch", 1, "--model-prefix", tmp_path / "b1")
    after = load_checkpoint(tmp_path / "b1", 1)
    for name in ("bottleneck_weight", "bottleneck_bias", "fc_weight"):
        assert (after.arg_params[name] == before.arg_params[name]).asnumpy().all()


@pytest.mark.parametrize("init", ["xavier", "torch", "normal"])
def test_it_is_drawn_as_new_init_says(init, module_data, tmp_path):
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--bottleneck", 100, "--new-init", init, "--lr", 0, "--data-dir",
         module_data, "--model-prefix", tmp_path / "m")
    values = load_checkpoint(tmp_path / "m", 1).arg_params
    weight, bias = values["bottleneck_weight"].asnumpy(), values["bottleneck_bias"].asnumpy()
    n = weight.shape[1]
    if init == "torch":
        assert 0.9 * n**-0.5 < np.abs(weight).max() <= n**-0.5 and 0 < np.abs(bias).max() <= n**-0.5
    else:
        assert weight.std() == pytest.approx(0.005 if init == "normal" else (2 / n)**0.5, rel=0.05)
        assert (bias == np.float32(0.1 if init == "normal" else 0)).all()


def test_it_learns_at_the_heads_rate(with_bottleneck, module_data, tmp_path):
    """With a factor of 0 the head stays, and all else learns."""
    call("fine_tune.py", *STAGE1, *SMALL, "--head-lr-mult", 0, "--data-dir", module_data, "--pretrained-model",
         with_bottleneck, "--pretrained-epoch", 1, "--model-prefix", tmp_path / "b1")
    before, after = (load_checkpoint(*of).arg_params for of in ((with_bottleneck, 1), (tmp_path / "b1", 1)))
    still = {name for name in before if (before[name] == after[name]).asnumpy().all()}
    assert {"bottleneck_weight", "bottleneck_bias", "fc_weight", "fc_bias"} <= still
    assert "conv0_weight" not in still


def test_resumed_bitwise(with_bottleneck, module_data, tmp_path):
    """The bottleneck is the network's own part in one start, and a layer of the checkpoint in the next."""
    flags = [*NEW_NETWORK, *SMALL, "--bottleneck", 6, "--data-dir", module_data, "--mom", 0.9]
    call("fine_tune.py", *flags, "--num-epochs", 2, "--model-prefix", tmp_path / "whole")
    call("fine_tune.py", *flags, "--model-prefix", tmp_path / "parts")
    call("fine_tune.py", *flags, "--num-epochs", 2, "--model-prefix", tmp_path / "parts", "--resume")
    for end in ("-symbol.json", "-0002.params"):
        assert (tmp_path / f"whole{end}").read_bytes() == (tmp_path / f"parts{end}").read_bytes()


@pytest.mark.parametrize("stage,flags,expect", [
    (1, ["--layer-before-fullc", "pool1"], "has a bottleneck that is on flatten0"),
    (0, ["--layer-before-fullc", "bottleneck_relu", "--bottleneck", 5], "lies above a bottleneck already"),
    (1, ["--bottleneck", 5], "--bottleneck was given in stage 1"),
])
def test_refused(stage, flags, expect, with_bottleneck, module_data, tmp_path):
    done = call("fine_tune.py", "--train-stage", stage, *SMALL, *flags, "--data-dir", module_data, "--pretrained-model",
                with_bottleneck, "--pretrained-epoch", 1, "--model-prefix", tmp_path / "m", expect=2)
    assert expect in done.stderr


def test_a_new_classifier_leaves_it_out_and_says_so(with_bottleneck, module_data, tmp_path):
    done = call("fine_tune.py", *SMALL, "--data-dir", module_data, "--pretrained-model", with_bottleneck,
                "--pretrained-epoch", 1, "--model-prefix", tmp_path / "m")
    assert "has a bottleneck, which is left out" in done.stderr
    assert "bottleneck_weight" not in load_checkpoint(tmp_path / "m", 1).arg_params


def test_head_layer(with_bottleneck):
    symbol = load_checkpoint(with_bottleneck, 1).symbol
    assert head_layer(symbol, "flatten0") == head_layer(symbol, "bottleneck_relu") == "bottleneck_relu"
    with pytest.raises(InputError, match="on flatten0"):
        head_layer(symbol, "relu1")


def test_frozen_layers_in_inference_compute_as_a_network_that_is_used():
    """With dropout and batch normalisation below, training the head equals training it on what the network gives."""
    from transfer_gluon.iters.epochs import EpochIter
    from transfer_gluon.symbols import TransferObjective, features_block
    from transfer_gluon.training.loop import fit
    from transfer_gluon.training.schedule import StepSchedule

    data = mx.sym.var("data")
    x = mx.sym.BatchNorm(data, name="bn0", fix_gamma=False)
    symbol = mx.sym.Flatten(mx.sym.Dropout(mx.sym.relu(x, name="relu0"), p=0.5, name="drop0"), name="flatten0")
    rng = np.random.default_rng(0)
    values = {"bn0_gamma": mx.nd.array(rng.normal(size=3)), "bn0_beta": mx.nd.array(rng.normal(size=3))}
    moving = {"bn0_moving_mean": mx.nd.array(rng.normal(size=3)), "bn0_moving_var": mx.nd.array([0.5, 1, 2])}
    images, labels = rng.normal(size=(8, 3, 4, 4)).astype(np.float32), np.arange(8) % 3
    start = rng.normal(size=(3, 48)).astype(np.float32)

    class Fixed(EpochIter):
        def __init__(self, rows):
            self._rows = rows
            super().__init__(8, rows.shape[1:], 8)

        def read(self, epoch, batch):
            return self.batch_of(self._rows, labels)

    def trained(features, rows, **more):
        net = TransferNet(features, 3)
        net.fc_weight.init = mx.init.Constant(mx.nd.array(start))
        fit(net, TransferObjective(), Fixed(rows), [mx.cpu()], StepSchedule(0.1), 3, **more)
        return net

    whole = features_block(symbol, values, {name: value.copy() for name, value in moving.items()})
    net = trained(whole, images, trainable=["fc"], frozen_statistics="inference")
    codes = features_block(symbol, values, moving)
    codes.initialize()
    alone = trained(mx.gluon.nn.Flatten(), codes(mx.nd.array(images)).asnumpy())
    assert (net.fc_weight.data() == alone.fc_weight.data()).asnumpy().all()
    assert (net.fc_weight.data().asnumpy() != start).any()
    for name, value in moving.items():
        assert (net.collect_params()[name].data() == value).asnumpy().all()


def test_l2sp_holds_it_where_stage_1_begins(with_bottleneck, module_data, tmp_path):
    """At a rate that lets nothing else count, the bottleneck that stage 0 trained stays."""
    from transfer_gluon.training import NetworkOptions, RegularizationOptions
    from transfer_gluon.training.stages import Stage
    from transfer_gluon.training.start import starting_values
    network = NetworkOptions(pretrained_model=str(with_bottleneck), pretrained_epoch=1)
    held = starting_values(Stage(1, 3, network=network, regularization=RegularizationOptions(l2sp=0.1)))
    assert {"bottleneck_weight", "fc_weight", "conv0_weight"} <= set(held)
    assert "bottleneck_weight" not in starting_values(Stage(0, 3, network=network))


def test_a_new_one_trains_where_the_rest_is_frozen(trained, module_data, tmp_path):
    flags = [*SMALL, "--pretrained-model", trained / "s0", "--pretrained-epoch", 1, "--data-dir", module_data,
             "--freeze", "--bottleneck", 5, "--model-prefix"]
    call("fine_tune.py", *flags, tmp_path / "still", "--lr", 0)
    call("fine_tune.py", *flags, tmp_path / "m")
    before, after = (load_checkpoint(tmp_path / name, 1).arg_params["bottleneck_weight"] for name in ("still", "m"))
    assert (before != after).asnumpy().any()
    said = call("fine_tune.py", *flags, tmp_path / "n", "--trainable", "fc", expect=2).stderr
    assert "--bottleneck is 5, and --trainable does not name it" in said
    call("fine_tune.py", *flags, tmp_path / "o", "--trainable", "bottleneck,fc")


def test_one_that_stage_0_trained_may_rest(with_bottleneck, module_data, tmp_path):
    call("fine_tune.py", *STAGE1, *SMALL, "--freeze", "--trainable", "fc", "--data-dir", module_data,
         "--pretrained-model", with_bottleneck, "--pretrained-epoch", 1, "--model-prefix", tmp_path / "b1")


def test_who_gave_no_layer_is_not_told_to_leave_it_out(trained, module_data, tmp_path):
    flags = [*SMALL, "--data-dir", module_data, "--pretrained-epoch", 1]
    call("fine_tune.py", *flags, "--pretrained-model", trained / "s0", "--layer-before-fullc", "relu1",
         "--bottleneck", 4, "--model-prefix", tmp_path / "b0")
    said = call("fine_tune.py", *STAGE1, *flags, "--pretrained-model", tmp_path / "b0", "--model-prefix",
                tmp_path / "b1", expect=2).stderr
    assert "a bottleneck that is on relu1; give relu1." in said


@pytest.mark.parametrize("statistics", ["still", "inference"])
def test_statistics_of_nothing_are_refused(trained, module_data, tmp_path, statistics):
    """With bn_data, what sees the images first trains: no layer is frozen below."""
    flags = [*SMALL, "--pretrained-model", trained / "s0", "--pretrained-epoch", 1, "--data-dir", module_data,
             "--freeze", "--trainable", "bn_data,fc", "--model-prefix", tmp_path / "m", "--frozen-statistics"]
    said = call("fine_tune.py", *flags, statistics, expect=2).stderr
    assert "--frozen-statistics was given with a --trainable that names the first layer" in said
    call("fine_tune.py", *flags, "move")
