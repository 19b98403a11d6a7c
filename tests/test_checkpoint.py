"""Checkpoints: read and written as stock MXNet does."""
import json
import random
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, SMALL

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, save_checkpoint, saved_epochs, write_checkpoint
from transfer_gluon.checkpoints.files import read_parameters
from transfer_gluon.symbols import TransferNet, cut, features_block, image_shape_of, layers, logits, resnet
from transfer_gluon.training.learner import prepare

STOCK = """
import sys
import numpy
if numpy.__version__ < "2":     # MXNet wants aliases that NumPy 1.24 removed
    for name in ("bool", "int", "float", "complex", "object", "str"):
        setattr(numpy, name, getattr(__builtins__, name))
else:                           # and no NumPy 2 at all: there, its import takes our shim
    sys.path.insert(0, sys.argv.pop())
    import transfer_gluon.base.framework
import mxnet as mx
prefix, epoch, images, answers = sys.argv[1:5]
images = numpy.load(images)
symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, int(epoch))
module = mx.mod.Module(symbol, label_names=["softmax_label"])
module.bind([("data", images.shape)], for_training=False)
module.set_params(arg_params, aux_params)
module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
numpy.save(answers, module.get_outputs()[0].asnumpy())
ours = {"symbols", "iters", "training", "tools"} & set(sys.modules)
assert not ours, ours
"""


def test_stage_1_loads_in_stock_mxnet_and_predicts_the_same(stage0, data, command, tmp_path):
    prefix = tmp_path / "model" / "s1"
    command("fine_tune.py", "--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", stage0,
            "--pretrained-epoch", 1, "--model-prefix", prefix)
    images = np.random.default_rng(0).uniform(0, 255, (5, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "stock.py").write_text(STOCK)
    subprocess.run([sys.executable, tmp_path / "stock.py", prefix, "1", tmp_path / "images.npy", tmp_path / "p.npy",
                    ROOT], check=True, cwd=tmp_path)
    net = load_checkpoint(prefix, 1).classifier("flatten0", 3)
    net.initialize()
    ours = mx.nd.softmax(net(mx.nd.array(images))[1]).asnumpy()
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), ours, atol=1e-6)
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    assert symbol.list_outputs() == ["softmax_output"]
    assert set(symbol.list_arguments()) == set(resnet(8, (3, 16, 16)).list_arguments()) | {
        "fc_weight", "fc_bias", "softmax_label"}


def test_saved_moving_statistics_are_the_mean_over_devices(tmp_path):
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    devices = [mx.cpu(0), mx.cpu(1)]
    prepare(net, devices)
    for device in devices:
        net(mx.nd.zeros((1, 3, 16, 16), ctx=device))
    mean = net.collect_params()["bn1_moving_mean"]
    mean.data(devices[0])[:] = 1
    mean.data(devices[1])[:] = 4
    save_checkpoint(tmp_path / "m", 3, net)
    assert (load_checkpoint(tmp_path / "m", 3).aux_params["bn1_moving_mean"].asnumpy() == 2.5).all()


def test_a_grouped_symbol_of_the_original_is_read(tmp_path):
    """The original's stage 1 wrote softmax and transfer loss together, with fixed batch positions."""
    features = resnet(8, (3, 16, 16))
    fc = mx.sym.FullyConnected(features, num_hidden=3, name="fc")
    first, second = mx.sym.split(mx.sym.slice_axis(features, axis=0, begin=0, end=8), num_outputs=2, axis=0)
    transfer = mx.sym.MakeLoss(mx.sym.sum(mx.sym.square(first - second)), name="mmd")
    symbol = mx.sym.Group([mx.sym.SoftmaxOutput(fc, name="softmax"), transfer])
    shapes, _, aux_shapes = symbol.infer_shape(data=(8, 3, 16, 16))
    rng = np.random.default_rng(0)
    values = {"arg:" + n: mx.nd.array(rng.normal(size=s)) for n, s in zip(symbol.list_arguments(), shapes)
              if n not in ("data", "softmax_label")}
    values.update({"aux:" + n: mx.nd.ones(s) for n, s in zip(symbol.list_auxiliary_states(), aux_shapes)})
    symbol.save(str(tmp_path / "old-symbol.json"))
    mx.nd.save(str(tmp_path / "old-0004.params"), values)
    net = load_checkpoint(tmp_path / "old", 4).classifier("flatten0", 3)
    net.initialize()
    assert net(mx.nd.ones((3, 3, 16, 16)))[1].shape == (3, 3)


def test_cut_and_features_keep_names_and_values(tmp_path):
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    prepare(net, [mx.cpu()])
    images = mx.nd.random.uniform(0, 255, (2, 3, 16, 16))
    wanted = net(images)[0].asnumpy()
    save_checkpoint(tmp_path / "m", 1, net)
    block = load_checkpoint(tmp_path / "m", 1).features("flatten0")
    block.initialize()
    np.testing.assert_allclose(block(images).asnumpy(), wanted, atol=1e-6)
    block.hybridize()
    np.testing.assert_allclose(block(images).asnumpy(), wanted, atol=1e-6)
    assert set(block.collect_params()) == set(net.collect_params()) - {"fc_weight", "fc_bias"}


def test_missing_layer_is_refused_with_those_that_there_are():
    with pytest.raises(InputError, match="Did you mean flatten0") as caught:
        cut(resnet(8, (3, 16, 16)), "flaten0")
    assert all(name in str(caught.value) for name in layers(resnet(8, (3, 16, 16))))


def test_several_layers_are_cut_out_at_once_in_the_order_that_is_asked_for(saved):
    checkpoint, images = load_checkpoint(saved, 2), mx.nd.random.uniform(0, 255, (2, 3, 16, 16))
    names = ["relu1", "stage2_unit1_plus", "flatten0"]
    block = checkpoint.features(names, (3, 16, 16))
    block.initialize()
    for hybrid in (False, True):
        block.hybridize(hybrid)
        found = block(images)
        assert isinstance(found, list) and len(found) == 3
        for name, values in zip(names, found):
            alone = checkpoint.features(name)
            alone.initialize()
            np.testing.assert_array_equal(values.asnumpy(), alone(images).asnumpy())
    assert cut(checkpoint.symbol, ("flatten0",)).list_outputs() == ["flatten0_output"]
    with pytest.raises(InputError, match="`layer` is flat9, and the checkpoint has no such layer") as caught:
        checkpoint.features(["relu1", "flat9"])
    assert caught.value.parameter == "layer"
    with pytest.raises(InputError, match="expected the name of a layer"):
        checkpoint.features([])


def test_the_last_of_several_layers_feeds_the_classifier(saved, monkeypatch):
    """Whatever the network does with the others."""
    made = []

    def net(features, *given, **named):
        made.append(features)
        return TransferNet(features, *given, **named)

    monkeypatch.setattr("transfer_gluon.checkpoints.checkpoint.TransferNet", net)
    checkpoint = load_checkpoint(saved, 2)
    checkpoint.classifier(["relu1", "flatten0"], 3, (3, 16, 16))
    made[0].initialize()
    assert [values.shape for values in made[0](mx.nd.ones((2, 3, 16, 16)))] == [(2, 64, 4, 4), (2, 64)]
    with pytest.raises(InputError, match=r"fc_weight  wanted \(3, 1024\), found \(3, 64\)"):
        checkpoint.classifier(["flatten0", "relu1"], 3, (3, 16, 16))


def test_a_checkpoint_without_classifier_says_how_to_get_one(saved):
    checkpoint = load_checkpoint(saved, 2)
    with pytest.raises(InputError, match="m-0002.params: fc has 3 classes, and `num_classes` is 4") as caught:
        checkpoint.classifier("flatten0", 4)
    assert (caught.value.parameter, caught.value.value, caught.value.expected) == ("num_classes", 4, 3)
    del checkpoint.arg_params["fc_bias"]
    with pytest.raises(InputError, match="has no fc_bias, so that it has no classifier to go on with"):
        checkpoint.classifier("flatten0", 3)
    with pytest.raises(InputError, match="has no fc_weight"):
        replace(checkpoint, arg_params=None, aux_params=None).classifier("flatten0", 3)


@pytest.mark.parametrize("softmax", ["SoftmaxOutput", "softmax", "SoftmaxActivation", None])
def test_class_scores_are_what_enters_the_softmax(softmax):
    scores = mx.sym.FullyConnected(resnet(8, (3, 16, 16)), num_hidden=3, name="fc")
    symbol = getattr(mx.sym, softmax)(scores, name="softmax") if softmax else scores
    assert logits(mx.sym.Group([symbol, mx.sym.sum(scores)])).list_outputs() == ["fc_output"]
    split = mx.sym.split(scores, num_outputs=3, axis=1, name="parts")
    assert logits(mx.sym.softmax(split[1])).list_outputs() == ["parts_output1"]


def test_attention_inside_a_network_is_not_taken_for_its_classes():
    attended = mx.sym.softmax(resnet(8, (3, 16, 16)), name="attention")
    scores = mx.sym.FullyConnected(attended, num_hidden=3, name="fc")
    for symbol in (scores, mx.sym.softmax(scores)):
        assert logits(symbol).list_outputs() == ["fc_output"]


@pytest.fixture
def saved(tmp_path):
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    prepare(net, [mx.cpu()])
    net(mx.nd.zeros((1, 3, 16, 16)))
    save_checkpoint(tmp_path / "m", 2, net)
    return tmp_path / "m"


def test_missing_epoch_is_refused_with_those_that_there_are(saved):
    with pytest.raises(InputError, match=r"m-0007.params: no such checkpoint.*epochs 2"):
        load_checkpoint(saved, 7)
    with pytest.raises(InputError, match="no epoch at all"):
        load_checkpoint(saved.with_name("n"), 7)


@pytest.mark.parametrize("keep", [0, 3, 8, 20, 100, 1000, -1])
def test_truncated_parameters_are_refused(saved, keep):
    file = saved.with_name("m-0002.params")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="m-0002.params: not an MXNet parameter file, or cut off"):
        load_checkpoint(saved, 2)


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b'{"nodes": []}', b"\xff\xfe\x00", b"PK\x03\x04", b"5", b'{"nodes": 5}', b"[" * 100000,
    b'{"nodes": [{"op": "null", "name": "data", "inputs": []}], "arg_nodes": [0], "heads": []}',
    b'{"nodes": [{"op": "Flatten", "name": "f", "inputs": [[9, 0, 0]]}], "arg_nodes": [], "heads": [[0, 0, 0]]}'])
def test_damaged_symbols_are_refused(saved, content):
    saved.with_name("m-symbol.json").write_bytes(content)
    with pytest.raises(InputError, match="m-symbol.json"):
        load_checkpoint(saved, 2).features("flatten0")


def test_missing_parameters_are_refused_by_name(saved):
    file = saved.with_name("m-0002.params")
    values = mx.nd.load(str(file))
    del values["aux:bn1_moving_mean"]
    mx.nd.save(str(file), values)
    with pytest.raises(InputError, match="bn1_moving_mean  wanted a value, found missing"):
        load_checkpoint(saved, 2).features("flatten0")


def test_parameters_of_another_network_are_refused_in_a_table(saved, tmp_path):
    checkpoint, shape = load_checkpoint(saved, 2), (3, 16, 16)
    checkpoint.classifier("flatten0", 3, shape)
    deeper = replace(checkpoint, symbol=resnet(14, shape))
    with pytest.raises(InputError, match=r"stage1_unit2_bn1_gamma +wanted \(16,\), found missing"):
        deeper.features("flatten0", shape)
    checkpoint.arg_params["fc_weight"] = mx.nd.ones((3, 32))
    with pytest.raises(InputError, match=r"1 of \d+ .*\n.*fc_weight  wanted \(3, 64\), found \(3, 32\)"):
        checkpoint.classifier("flatten0", 3, shape)


def test_files_that_gluon_exports_are_read_and_bare_parameters_told_apart(tmp_path):
    net = mx.gluon.nn.HybridSequential(prefix="toy_")
    with net.name_scope():
        net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Flatten(), mx.gluon.nn.Dense(5))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    images = mx.nd.random.uniform(0, 255, (2, 3, 8, 8))
    wanted = net(images).asnumpy()
    net.export(str(tmp_path / "toy"), epoch=3)
    checkpoint = load_checkpoint(tmp_path / "toy", 3)
    block = features_block(checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params, image_shape=(3, 8, 8))
    block.initialize()
    np.testing.assert_allclose(block(images).asnumpy(), wanted, rtol=1e-6, atol=1e-6)
    net.save_parameters(str(tmp_path / "toy-0004.params"))
    with pytest.raises(InputError, match=r"(?s)save_parameters writes such files.*0\.weight"):
        load_checkpoint(tmp_path / "toy", 4)


def test_gluon_imports_what_we_write(saved):
    net = load_checkpoint(saved, 2).classifier("flatten0", 3)
    net.initialize()
    images = mx.nd.random.uniform(0, 255, (2, 3, 16, 16))
    imported = mx.gluon.SymbolBlock.imports(f"{saved}-symbol.json", ["data", "softmax_label"], f"{saved}-0002.params")
    np.testing.assert_allclose(imported(images, mx.nd.zeros((2,))).asnumpy(), mx.nd.softmax(net(images)[1]).asnumpy(),
                               atol=1e-6)


def test_operators_of_other_versions_are_named(saved):
    file = saved.with_name("m-symbol.json")
    file.write_text(file.read_text().replace('"op": "Pooling"', '"op": "Hydroplaning"'))
    with pytest.raises(InputError, match="does not know: Hydroplaning"):
        load_checkpoint(saved, 2)


def test_no_damage_to_a_parameter_file_ends_the_process(tmp_path):
    """MXNet alone does not survive this: it asks for terabytes or ends with a segmentation fault."""
    rng, file = random.Random(0), tmp_path / "m.params"
    mx.nd.save(str(file), {"arg:w": mx.nd.ones((3, 4)), "aux:m": mx.nd.ones((2,), dtype="float64")})
    whole, refused = file.read_bytes(), 0
    for _ in range(400):
        data = bytearray(whole)
        place = rng.randrange(len(data) - 8)
        kind = rng.randrange(4)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = rng.randbytes(5)
        else:
            data[place:place + 8] = struct.pack("<Q", rng.choice([0, 1, 2**31, 2**40, 2**63, 2**64 - 1]))
        file.write_bytes(data)
        try:
            read_parameters(file)
        except InputError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("version", [None, 0xF993FAC8])
def test_parameter_files_of_the_first_releases_are_read(tmp_path, version):
    """As those of the published networks are: sizes in 32 bits and no magic number, then one with 64 bits."""
    values, name = np.arange(6, dtype="<f4"), b"arg:w"
    shape = struct.pack("<III", 2, 2, 3) if version is None else struct.pack("<IIqq", version, 2, 2, 3)
    (tmp_path / "m.params").write_bytes(
        struct.pack("<QQQ", 0x112, 0, 1) + shape + struct.pack("<iii", 1, 0, 0) + values.tobytes()
        + struct.pack("<QQ", 1, len(name)) + name)
    arg_params, aux_params = read_parameters(tmp_path / "m.params")
    assert arg_params["w"].asnumpy().tolist() == values.reshape(2, 3).tolist() and not aux_params


def test_a_failed_save_leaves_the_previous_checkpoint(saved, monkeypatch):
    checkpoint = load_checkpoint(saved, 2)
    file = saved.with_name("m-0002.params")
    before = file.read_bytes()

    def full(name, _):
        with open(name, "wb") as half:
            half.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mx.nd, "save", full)
    net = checkpoint.classifier("flatten0", 3)
    net.initialize()
    with pytest.raises(InputError, match="No space left"):
        save_checkpoint(saved, 2, net)
    assert file.read_bytes() == before
    assert sorted(p.name for p in file.parent.iterdir()) == ["m-0002.params", "m-symbol.json"]


def test_resnet_152_has_the_published_names_and_shapes():
    symbol = mx.sym.FullyConnected(resnet(152, (3, 224, 224)), num_hidden=11221, name="fc1")
    shapes, _, aux = symbol.infer_shape(data=(1, 3, 224, 224))
    found = dict(zip(symbol.list_arguments(), shapes))
    wanted = {"data": (1, 3, 224, 224), "bn_data_gamma": (3,), "bn_data_beta": (3,), "conv0_weight": (64, 3, 7, 7),
              "bn0_gamma": (64,), "bn0_beta": (64,), "bn1_gamma": (2048,), "bn1_beta": (2048,),
              "fc1_weight": (11221, 2048), "fc1_bias": (11221,)}
    inputs = 64
    for stage, (units, outputs) in enumerate(zip((3, 8, 36, 3), (256, 512, 1024, 2048)), start=1):
        for unit in range(1, units + 1):
            name, quarter = f"stage{stage}_unit{unit}", outputs // 4
            for layer, channels in (("bn1", inputs), ("bn2", quarter), ("bn3", quarter)):
                wanted[f"{name}_{layer}_gamma"] = wanted[f"{name}_{layer}_beta"] = (channels,)
            wanted[f"{name}_conv1_weight"] = (quarter, inputs, 1, 1)
            wanted[f"{name}_conv2_weight"] = (quarter, quarter, 3, 3)
            wanted[f"{name}_conv3_weight"] = (outputs, quarter, 1, 1)
            if unit == 1:
                wanted[f"{name}_sc_weight"] = (outputs, inputs, 1, 1)
            inputs = outputs
    assert found == wanted
    assert dict(zip(symbol.list_auxiliary_states(), aux)) == {
        f"{name[:-6]}_moving_{kind}": shape for name, shape in wanted.items() if name.endswith("_gamma")
        for kind in ("mean", "var")}
    nodes = {node["name"]: node.get("attrs", {}) for node in json.loads(symbol.tojson())["nodes"]}
    assert nodes["bn_data"]["fix_gamma"] == "True" and float(nodes["bn_data"]["eps"]) == 2e-5
    assert nodes["bn1"]["fix_gamma"] == "False" and float(nodes["bn1"]["momentum"]) == 0.9
    assert nodes["stage2_unit1_conv2"]["stride"] == "(2, 2)" and nodes["stage2_unit1_conv1"]["stride"] == "(1, 1)"
    assert {"pooling0", "relu0", "relu1", "pool1", "flatten0"} <= set(nodes)


@pytest.mark.parametrize("depth, size, width", [(8, 28, 64), (20, 32, 64), (164, 32, 256), (18, 64, 512),
                                                (50, 64, 2048)])
def test_resnets_of_other_sizes_compute(depth, size, width):
    block = features_block(resnet(depth, (3, size, size)))
    block.initialize(mx.init.Xavier())
    assert block(mx.nd.ones((2, 3, size, size))).shape == (2, width)


@pytest.mark.parametrize("depth, size, hint", [(9, 28, "6n"), (17, 224, "152"), (2, 32, "6n")])
def test_depths_that_do_not_exist_are_refused(depth, size, hint):
    with pytest.raises(InputError, match=hint):
        resnet(depth, (3, size, size))


@pytest.mark.parametrize("ending", ["", "/", "/."])
def test_epochs_are_found_where_they_are_written(tmp_path, ending):
    (tmp_path / "m").mkdir()
    write_checkpoint(f"{tmp_path}/m{ending}", 3, mx.sym.var("data"), {"a": mx.nd.ones(1)}, {})
    assert saved_epochs(f"{tmp_path}/m{ending}") == [3]


@pytest.mark.parametrize("text", ["3,x,16", "3,16", "3,-5,16", "3,16,16,16", "3,99999,16", ""])
def test_a_network_that_tells_no_image_shape_is_taken_to_tell_none(text):
    assert image_shape_of(mx.sym.var("data", attr={"__image_shape__": text})) is None
