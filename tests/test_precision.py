"""The type that is computed in: what is exact stays exact, what is quicker is near, and what cannot be is refused."""
import logging

import numpy as np
import pytest
from conftest import call
from tiny import SHAPE, TinyIter, tiny_net

from transfer_gluon.base import processor
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint
from transfer_gluon.distributed.stores import Store
from transfer_gluon.inference.batch_size import good_batch_size
from transfer_gluon.inference.classifier import inference_block
from transfer_gluon.symbols import TransferNet, TransferObjective, features_block, new_network, precision
from transfer_gluon.symbols.backbone import values_block
from transfer_gluon.symbols.frozen import frozen_below
from transfer_gluon.symbols.precision import for_inference, training_block, usable_dtype
from transfer_gluon.training import learner
from transfer_gluon.training.loop import fit
from transfer_gluon.training.loss_scale import LossScale
from transfer_gluon.training.schedule import StepSchedule

bfloat16 = pytest.mark.skipif(not processor.emulates_bfloat16(), reason="oneDNN needs AVX-512 for bfloat16")
CPU = [mx.cpu()]


def images(number, side, seed=0):
    """Smooth coloured blots, no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = rng.normal(size=(number, 3, 4, 4, 1, 1))
    return mx.nd.array(128 + 40 * sum(waves[:, :, i, j] * np.cos(np.pi * (i * y + j * x))
                                      for i in range(4) for j in range(4)))


def trained(name, layers, side, classes=5):
    """A network whose statistics have seen images, as a block, and as a checkpoint."""
    mx.random.seed(1)
    net = TransferNet(features_block(new_network(name, layers, (3, side, side))), classes)
    net.initialize()
    for seed in range(20):
        with mx.autograd.record():
            net(images(8, side, seed))[1].backward()
    symbol = net(mx.sym.var("data"))[1]
    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    auxiliary = symbol.list_auxiliary_states()
    return net, Checkpoint("it", symbol, {name: value for name, value in values.items() if name not in auxiliary},
                           {name: values[name] for name in auxiliary})


def distance(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize(("name", "layers", "side"), [
    ("resnet", 8, 20), ("resnet50_v1b", None, 64), ("mobilenetv2_1.0", None, 64), ("efficientnet_lite0", None, 64)])
def test_a_network_that_is_used_is_fused_and_says_the_same_to_1e5(name, layers, side):
    net, checkpoint = trained(name, layers, side)
    x = images(6, side, 99)
    found = inference_block(checkpoint.symbol, checkpoint, CPU)(x).asnumpy()
    assert distance(found, net(x)[1].asnumpy()) < 1e-5
    assert "sg_mkldnn_conv" in for_inference(checkpoint.symbol, CPU).tojson()
    assert for_inference(checkpoint.symbol, [mx.gpu()]) is checkpoint.symbol     # where these operators are not


@bfloat16
def test_bfloat16_is_near_float32_and_keeps_parameters_and_gradients_in_it():
    net, checkpoint = trained("resnet", 8, 20)
    x, labels, gradients, outputs = images(8, 20, 99), mx.nd.array(np.arange(8) % 5), [], []
    for dtype in "float32", "bfloat16":
        ready = training_block(net, dtype)
        with mx.autograd.record():
            features, logits = ready(x)
            loss = TransferObjective()(features, logits, labels)[0]
        loss.backward()
        assert logits.dtype == features.dtype == np.float32
        outputs.append(logits.asnumpy())
        gradients.append({name: parameter.grad().asnumpy() for name, parameter in net.collect_params().items()
                          if parameter.grad_req != "null"})
    assert 0 < distance(outputs[1], outputs[0]) < 0.03
    for name, wanted in gradients[0].items():
        found = gradients[1][name]
        assert found.dtype == np.float32
        if np.abs(wanted).max() > 1e-3:      # of small ones little is left
            assert np.sum(found * wanted) / np.sqrt(np.sum(found**2) * np.sum(wanted**2)) > 0.9, name
    used = [inference_block(checkpoint.symbol, checkpoint, CPU, dtype=dtype)(x).asnumpy()
            for dtype in ("float32", "bfloat16")]
    assert 0 < distance(used[1], used[0]) < 0.03


@bfloat16
@pytest.mark.parametrize("frozen", [{}, {"trainable": ["fc", "bn1"]},
                                    {"trainable": ["fc"], "frozen_statistics": "inference"},
                                    {"features_from": "flatten0"}])
def test_every_way_to_train_computes_in_the_type_that_is_asked_for(frozen):
    ends = []
    for dtype in "float32", "bfloat16":
        net, batches = tiny_net(), TinyIter()
        net.initialize()
        net(mx.nd.zeros((1, *SHAPE)))
        if "features_from" in frozen:
            batches.provide_data = [mx.io.DataDesc("data", (8, 4))]
            batches.next = lambda real=batches.next: _as_features(real())
        results = fit(net, TransferObjective(), batches, CPU, StepSchedule(0.1), 2, dtype=dtype, disp_batches=0,
                      validation=None, **frozen)
        ends.append((results[-1].loss, net.collect_params()["fc_weight"].data().asnumpy()))
    assert np.isfinite(ends[1][0]) and ends[1][1].dtype == np.float32
    assert 0 < distance(ends[1][1], ends[0][1]) < 0.2


@bfloat16
@pytest.mark.parametrize("statistics", ["move", "inference"])
def test_what_is_frozen_below_computes_in_it_too(statistics):
    """The tiny network has one convolution, the first, which always stays float32."""
    net, _ = trained("resnet", 8, 20)
    features = []
    for dtype in "float32", "bfloat16":
        with mx.autograd.record():
            split = frozen_below(net, {"fc_weight", "fc_bias"}, statistics, dtype)
            features.append(split(images(8, 20, 7))[0].asnumpy())
    assert 1e-4 < distance(features[1], features[0]) < 0.05


def _as_features(batch):
    batch.data = [batch.data[0].mean(axis=(2, 3)).astype("float32").tile((1, 2))[:, :4]]
    return batch


def test_a_processor_without_units_gets_float32_and_a_sentence(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda: True)
    assert usable_dtype("bfloat16", CPU) == "float32"
    assert "no units for bfloat16" in caplog.text and "computing in float32" in caplog.text
    assert usable_dtype("bfloat16", CPU, force=True) == "bfloat16"
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda: False)
    with pytest.raises(InputError, match="no AVX-512"):
        usable_dtype("bfloat16", CPU, force=True)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    assert usable_dtype("bfloat16", CPU) == "bfloat16" and usable_dtype("int8", CPU) == "int8"


@pytest.mark.parametrize(("dtype", "device", "force", "message"), [
    ("float16", mx.cpu(), False, "float32 or bfloat16 on the CPU"), ("bfloat16", mx.gpu(), False, "on GPUs"),
    ("int8", mx.gpu(), False, "on GPUs"), ("float32", mx.cpu(), True, "force_dtype"), 
    ("float8", mx.cpu(), False, "one of")])
def test_what_cannot_be_computed_is_refused(dtype, device, force, message):
    with pytest.raises(InputError, match=message):
        usable_dtype(dtype, [device], force)


@pytest.mark.parametrize(("flags", "answer", "wanted", "isa"), [
    ({"amx_bf16", "amx_tile"}, 0, True, "AVX512_CORE_AMX"), ({"amx_bf16", "amx_tile"}, -1, False, None),
    ({"avx512_bf16"}, 0, False, None)])
def test_amx_is_asked_for_where_it_is(flags, answer, wanted, isa):
    asked, environment = [], {}
    found = processor.ask_for_amx(flags, environment, lambda *numbers: asked.append(numbers) or answer)
    assert found == wanted and environment.get("DNNL_MAX_CPU_ISA") == isa
    assert asked == ([(158, 0x1023, 18)] if "amx_tile" in flags else [])


def test_all_cores_are_used_and_shared_among_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "cores", lambda: 6)
    for given, threads in (({}, "6"), ({processor.PROCESSES: "4"}, "1"), ({processor.PROCESSES: "2"}, "3"),
                           ({processor.PROCESSES: "x"}, "6"), ({"OMP_NUM_THREADS": "5"}, "5")):
        environment = dict(given)
        processor.use_all_cores(environment)
        assert environment["OMP_NUM_THREADS"] == threads and environment["GOMP_SPINCOUNT"] == "1000"


def test_cores_are_counted_without_hyperthreads_and_within_a_containers_share(tmp_path):
    for number in range(8):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    limit, none = tmp_path / "cpu.max", tmp_path / "none"
    assert processor.cores(tmp_path, range(8), none) == 4
    assert processor.cores(tmp_path, [0, 4, 5], none) == 2      # what it may run on
    assert processor.cores(none, range(8), none) == 8           # nothing told
    for text, wanted in ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4):
        limit.write_text(text)
        assert processor.cores(tmp_path, range(8), limit) == wanted


def test_what_a_person_says_of_onednn_stays():
    environment = {"DNNL_MAX_CPU_ISA": "AVX2"}
    assert not processor.ask_for_amx({"amx_bf16", "amx_tile"}, environment, lambda *_: 0)
    assert environment == {"DNNL_MAX_CPU_ISA": "AVX2"}


def test_a_scaled_loss_trains_as_an_unscaled_one(monkeypatch):
    """The arithmetic of float16 without its numbers, which the CPU does not compute in."""
    monkeypatch.setattr(precision, "computing_in", lambda symbol, dtype: symbol)
    monkeypatch.setattr(learner, "check_dtype", lambda dtype, devices: None)      # MXNet has no float16 on the CPU
    ends = []
    for dtype in "float32", "float16":
        net = tiny_net()
        fit(net, TransferObjective(), TinyIter(), CPU, StepSchedule(0.1), 2, dtype=dtype, disp_batches=0)
        ends.append({name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()})
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-5, atol=1e-7)


def test_an_update_with_gradients_beyond_float16_is_left_out(monkeypatch):
    monkeypatch.setattr(precision, "computing_in", lambda symbol, dtype: symbol)
    monkeypatch.setattr(learner, "check_dtype", lambda dtype, devices: None)      # MXNet has no float16 on the CPU
    net, steps = tiny_net(), []

    class Trainer:
        step = staticmethod(steps.append)
    with learner.Learner(net, TransferObjective(), CPU, dtype="float16") as one:
        one.fill_in(TinyIter())
        one.gradients(TinyIter().next())
        one.update(Trainer, 8)
        assert steps == [8 * 2.0**16] and one.parameters["objective.loss_scale"].data().asnumpy().tolist() == [2**16, 1]
        net.fc_bias.grad()[0] = np.inf
        one.update(Trainer, 8)
        assert len(steps) == 1 and one.parameters["objective.loss_scale"].data().asnumpy().tolist() == [2**15, 0]


def test_the_scale_rises_behind_many_good_updates():
    scale, good = LossScale(CPU), [mx.nd.ones(3)]
    for _ in range(2000):
        assert scale.admits(good)
    assert scale.value == 2.0**17
    assert not scale.admits([mx.nd.array([np.nan])]) and scale.value == 2.0**16


def test_several_workers_do_not_take_float16(monkeypatch):
    monkeypatch.setattr("transfer_gluon.training.loop.open_store", lambda name: Store("device", 2, 0))
    with pytest.raises(InputError, match="several workers"):
        fit(tiny_net(), TransferObjective(), TinyIter(), CPU, StepSchedule(0.1), 1, dtype="float16")


def test_int8_says_nearly_the_same():
    net, checkpoint = trained("resnet", 8, 20)
    calibration, x = images(64, 20, 5).asnumpy(), images(64, 20, 6)
    found = inference_block(checkpoint.symbol, checkpoint, CPU, dtype="int8", calibration=calibration)(x).asnumpy()
    wanted = net(x)[1].asnumpy()
    assert 1e-4 < distance(found, wanted) < 0.1
    with pytest.raises(InputError, match="calibrate"):
        inference_block(checkpoint.symbol, checkpoint, CPU, dtype="int8")
    with pytest.raises(InputError, match="GPUs"):
        inference_block(checkpoint.symbol, checkpoint, [mx.gpu()], dtype="int8", calibration=calibration)


def test_the_batch_size_is_that_of_the_quickest_trial(monkeypatch):
    tried = []
    seconds = {32: 1.0, 8: 0.1, 64: 4.0}
    monkeypatch.setattr("transfer_gluon.inference.batch_size.seconds_of",
                        lambda net, shape, device: tried.append(shape) or seconds[shape[0]])
    assert good_batch_size(None, SHAPE, CPU, 4000) == 8 and {shape[1:] for shape in tried} == {SHAPE}
    assert good_batch_size(None, SHAPE, CPU, 3999) == 32 and len(tried) == 3


def conv(x, name):
    return mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=8, no_bias=True, name=name)


def dense(x, name):
    return mx.sym.FullyConnected(x, num_hidden=8, name=name)


def normalised(x):
    return mx.sym.BatchNorm(x, fix_gamma=False, name="bn")


SHARED = conv(mx.sym.var("data"), "conv0")


@pytest.mark.parametrize("symbol", [
    conv(mx.sym.relu(SHARED), "conv1") + SHARED,
    conv(mx.sym.Activation(normalised(SHARED), act_type="relu"), "conv1") + SHARED,
    conv(normalised(SHARED), "conv1") + SHARED,
    mx.sym.LeakyReLU(SHARED, act_type="leaky") + SHARED,
    mx.sym.clip(SHARED, a_min=0, a_max=6) + SHARED,
    mx.sym.Group([SHARED, conv(mx.sym.Activation(SHARED, act_type="relu"), "conv1")]),
    mx.sym.Group([SHARED, normalised(SHARED)]),
    mx.sym.Group([dense(mx.sym.var("data"), "fc0"),
                  dense(mx.sym.Activation(dense(mx.sym.var("data"), "fc0"), act_type="relu"), "fc1")]),
], ids=["relu", "bn-relu", "bn", "leaky", "relu6", "outputs", "bn-outputs", "dense"])
def test_what_others_take_too_is_not_changed_by_what_is_joined_to_it(symbol):
    rng = np.random.default_rng(0)
    x = mx.nd.array(rng.normal(size=(2, 3, 12, 12)))
    shapes, _, auxiliary = symbol.infer_shape(data=x.shape)
    values = {name: mx.nd.array(rng.normal(size=shape) / 3) for name, shape in zip(symbol.list_arguments(), shapes)
              if name != "data"}
    values.update({name: mx.nd.array(rng.uniform(1, 2, shape))
                   for name, shape in zip(symbol.list_auxiliary_states(), auxiliary)})
    found, wanted = [], []
    for one, outputs in ((for_inference(symbol, CPU), found), (symbol, wanted)):
        block = values_block(one, values, "float32")
        block.initialize(ctx=CPU)
        said = block(x)
        outputs += [output.asnumpy() for output in (said if isinstance(said, list) else [said])]
    assert [distance(one, other) for one, other in zip(found, wanted)] == pytest.approx([0] * len(wanted), abs=1e-6)


@pytest.mark.parametrize(("dtype", "message"), [
    ("float16", "float32 or bfloat16 on the CPU"), ("int8", "nothing trains"),
    ("banana", "`dtype` is 'banana'; expected")])
def test_the_library_refuses_types_too(dtype, message):
    net = tiny_net()
    with pytest.raises(InputError, match=message):
        fit(net, TransferObjective(None), TinyIter(1), CPU, StepSchedule(0.1), 1, dtype=dtype)
    _, checkpoint = trained("resnet", 8, 20)
    if dtype != "int8":
        with pytest.raises(InputError, match=message):
            inference_block(checkpoint.symbol, checkpoint, CPU, dtype=dtype)


def test_networks_that_a_type_cannot_compute_are_told(monkeypatch):
    from mxnet.contrib import amp

    def fails(*args, **options):
        raise mx.MXNetError("lines\nConcat: types differ")

    monkeypatch.setattr(amp, "convert_symbol", fails)
    with pytest.raises(InputError, match="cannot compute this network in bfloat16: Concat: types differ. "):
        precision.computing_in(mx.sym.var("data") + 1, "bfloat16")


@bfloat16
@pytest.mark.parametrize(("script", "flags"), [
    ("evaluate.py", ["--lst", "VAL", "--output", "OUT"]), ("predict.py", ["--lst", "VAL", "--out", "OUT.csv"]),
    ("adabn.py", ["--val", "VAL", "--save-prefix", "OUT"]),
    ("extract_features.py", ["--lst", "VAL", "--out", "OUT.npz"]),
])
def test_what_a_command_is_told_to_compute_in_is_computed_in(script, flags, stage0, data, tmp_path, monkeypatch):
    types, really = [], precision.computing_in
    monkeypatch.setattr(precision, "computing_in", lambda symbol, dtype: types.append(dtype) or really(symbol, dtype))
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    for more in ["--dtype", "bfloat16"], ["--dtype", "bfloat16", "--force-dtype"]:
        out = str(tmp_path / f"out{len(more)}")
        words = [word.replace("VAL", str(data / "val.lst")).replace("OUT", out) for word in flags]
        call(script, "--model", stage0, "--epoch", 1, *words, *more)
        networks = 2 if script == "adabn.py" else 1     # that which is measured, and that which is judged
        assert types == ["bfloat16"] * (networks if "--force-dtype" in more else 0)
