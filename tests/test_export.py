"""ONNX files: the same probabilities as MXNet's, and what cannot be exported."""
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint, load_checkpoint
from transfer_gluon.exchange.onnx_file import export
from transfer_gluon.exchange.weights import ARCHITECTURES
from transfer_gluon.symbols import ImageInput, features_block, normalized, resnet
from transfer_gluon.symbols.zoo import zoo_symbol
from transfer_gluon.tools.export import main

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def random_checkpoint(symbol, shape, seed=0):
    """Random parameters, gammas that MXNet ignores among them, and class scores that differ as in a trained network."""
    rng = np.random.default_rng(seed)
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, *shape))

    def value(name, size):
        if len(size) > 1:
            return mx.nd.array(rng.normal(0, (2 / np.prod(size[1:])) ** 0.5, size))
        around_1 = name.endswith(("_gamma", "_var"))
        return mx.nd.array(rng.uniform(0.5, 1.5, size) if around_1 else rng.normal(0, 0.1, size))

    arguments = {name: value(name, size) for name, size in zip(symbol.list_arguments(), shapes)
                 if name not in ("data", "softmax_label")}
    auxiliary = {name: value(name, size) for name, size in zip(symbol.list_auxiliary_states(), aux_shapes)}
    scores = symbol["softmax_output"].get_children()[0]
    net = features_block(scores, arguments, auxiliary)
    net.initialize()
    spread = net(mx.nd.array(rng.uniform(0, 255, (4, *shape)))).asnumpy().std()
    for name in [name for name in scores.list_arguments() if name.endswith(("weight", "bias"))][-2:]:
        arguments[name] *= 2 / spread
    return Checkpoint("x-0001.params", symbol, arguments, auxiliary)


def classifier(features, classes=5):
    scores = mx.sym.FullyConnected(features, num_hidden=classes, name="fc")
    return mx.sym.SoftmaxOutput(scores, name="softmax")


def zoo_classifier(name):
    scores, *others = zoo_symbol(name, 5)
    return mx.sym.Group([mx.sym.SoftmaxOutput(scores, name="softmax"), *others])


def pooling_to_a_size():
    x = mx.sym.Convolution(mx.sym.var("data"), num_filter=8, kernel=(3, 3), name="conv")
    return classifier(mx.sym.Flatten(mx.sym.contrib.AdaptiveAvgPooling2D(x, output_size=(5, 7))))


NETWORKS = {
    "our own": (lambda: classifier(resnet(8, (3, 16, 16))), 16),
    "ours, normalised": (lambda: classifier(normalized(resnet(18, (3, 64, 64)), (123, 116, 103), (58, 57, 56))), 64),
    "pooling to a size": (pooling_to_a_size, 20),
    "padding at one side": (lambda: classifier(ARCHITECTURES["efficientnet_lite0"].features()), 64),
    "averages at the edges": (lambda: classifier(ARCHITECTURES["inception_v4"].features()), 75),
    **{name: ((lambda name=name: zoo_classifier(name)), side) for name, side in (
        ("resnet50_v1d", 64), ("mobilenetv3_small", 64), ("squeezenet1.0", 224), ("resnest14", 64),
        ("inceptionv3", 299))},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_are_those_of_mxnet(name, tmp_path):
    build, side = NETWORKS[name]
    shape = (3, side, side)
    checkpoint = random_checkpoint(build(), shape)
    assert export(checkpoint, tmp_path / "x.onnx", shape) < 1e-4
    images = np.random.default_rng(1).uniform(0, 255, (3, *shape)).astype(np.float32)
    found, = onnxruntime.InferenceSession(str(tmp_path / "x.onnx")).run(["softmax"], {"data": images})
    scores = features_block(checkpoint.symbol["softmax_output"].get_children()[0], checkpoint.arg_params,
                            checkpoint.aux_params)
    scores.initialize()
    wanted = mx.nd.softmax(scores(mx.nd.array(images))).asnumpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert wanted.std(axis=1).max() > 0.05 and wanted.max() < 0.999     # neither uniform nor certain


def test_the_file_says_what_goes_in_and_comes_out(tmp_path):
    export(random_checkpoint(NETWORKS["our own"][0](), (3, 16, 16)), tmp_path / "x.onnx", (3, 16, 16))
    model = onnx.load(str(tmp_path / "x.onnx"))
    sizes = {value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
             for value in [*model.graph.input, *model.graph.output]}
    assert sizes == {"data": ["batch", 3, 16, 16], "softmax": ["batch", 5]}
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "image_shape": "3,16,16", "layout": "NCHW", "channels": "RGB", "value_range": "0,255", "resize": "18",
        "normalisation": "none: the network does its own", "crop": "centre", "num_classes": "5",
        "interpolation": "cubic, a = -0.75, without antialiasing"}
    assert model.opset_import[0].version == 13 and [file.name for file in tmp_path.iterdir()] == ["x.onnx"]


@pytest.mark.parametrize("resize, shape, told", [("squeeze", (3, 16, 16), "squeeze"), (17, (3, 16, 16), "17"),
                                                 (17, (3, 32, 16), "36")])
def test_the_file_says_what_the_checkpoint_says(tmp_path, resize, shape, told):
    names = ["grün", "blue, dark", '"c"', "d", "e"]
    plain = random_checkpoint(mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Pooling(
        mx.sym.var("data"), global_pool=True, kernel=(1, 1), pool_type="avg"), num_hidden=5, name="fc"),
        name="softmax"), shape)
    said = ImageInput((3, 16, 16), resize, tuple(names)).variable()
    export(replace(plain, symbol=plain.symbol(data=said)), tmp_path / "x.onnx", shape)
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["classes"]) == names and found["resize"] == told
    assert found["image_shape"] == ",".join(map(str, shape)) and found["num_classes"] == "5"


def test_what_the_commands_write_is_exported(stage0, data, command, tmp_path):
    """Trained and then adapted."""
    command("adabn.py", "--model", stage0, "--epoch", 1, "--val", data / "val.lst", "--layers", "all",
            "--image-shape", "3,16,16", "--save-prefix", tmp_path / "adapted")
    said = command("tools/export.py", "--model", tmp_path / "adapted", "--epoch", 1).stdout
    assert said.startswith(f"{tmp_path / 'adapted-0001.onnx'}: its probabilities differ from MXNet's by ")
    assert (tmp_path / "adapted-0001.onnx").exists()


def test_the_transfer_loss_beside_the_softmax_is_left_out(tmp_path):
    """The original's stage 1 wrote both, with fixed places in the batch."""
    plain = random_checkpoint(classifier(resnet(8, (3, 16, 16))), (3, 16, 16))
    first, second = mx.sym.split(mx.sym.slice_axis(plain.symbol.get_internals()["flatten0_output"], axis=0, begin=0,
                                                   end=8), num_outputs=2, axis=0)
    loss = mx.sym.MakeLoss(mx.sym.sum(mx.sym.square(first - second)), name="mmd")
    both = Checkpoint("x", mx.sym.Group([plain.symbol, loss]), plain.arg_params, plain.aux_params)
    assert export(both, tmp_path / "x.onnx", (3, 16, 16)) < 1e-4


def test_what_cannot_be_exported_is_refused(stage0, tmp_path, monkeypatch):
    checkpoint, file = load_checkpoint(stage0, 1), tmp_path / "x.onnx"
    features = Checkpoint("x", checkpoint.symbol.get_internals()["flatten0_output"], checkpoint.arg_params, {})
    with pytest.raises(InputError, match="ends in Flatten; expected a classifier that ends in softmax"):
        export(features, file, (3, 16, 16))
    with pytest.raises(InputError, match="s0-0001.params: .*4 × 16 × 16"):
        export(checkpoint, file, (4, 16, 16))
    shuffle = random_checkpoint(zoo_classifier("shufflenet_v1"), (3, 64, 64))
    with pytest.raises(InputError, match="mxnet.onnx cannot express a layer of this network: .*Reshape"):
        export(shuffle, file, (3, 64, 64))
    monkeypatch.setattr("transfer_gluon.exchange.onnx_file._difference", lambda *_: float("nan"))
    with pytest.raises(ArithmeticError, match="not written"):
        export(checkpoint, file, (3, 16, 16))
    assert not file.exists()


def test_flags_that_cannot_be_used(stage0, tmp_path):
    (tmp_path / "file").write_text("")
    for flags, message in [(["--epoch", "7"], "s0-0007.params: no such checkpoint.*epochs 1"),
                           (["--epoch", "1", "--output", f"{tmp_path}/file/x.onnx"], "--output: the folder .*file")]:
        with pytest.raises(InputError, match=message):
            main(["--model", str(stage0), *flags], standalone_mode=False)


def test_without_the_extra_packages(stage0, tmp_path, monkeypatch):
    checkpoint = load_checkpoint(stage0, 1)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert export(checkpoint, tmp_path / "x.onnx", (3, 16, 16)) is None and (tmp_path / "x.onnx").exists()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx onnxruntime"):
        export(checkpoint, tmp_path / "y.onnx", (3, 16, 16))
