"""Caffe's AlexNet and VGG-16, with weights in TensorFlow's layout, against the formulas in float64 NumPy."""
from functools import partial

import numpy as np
import pytest
from conftest import SMALL
from test_import_weights import predict

from transfer_gluon.base.errors import InputError
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.exchange import architectures
from transfer_gluon.exchange.state_dict import find_weights, read_state_dict
from transfer_gluon.exchange.weights import import_weights
from transfer_gluon.symbols import normalization
from transfer_gluon.symbols.caffe_networks import caffe_alexnet, caffe_vgg16

HIDDEN, CLASSES = 12, 5
ALEXNET = {"conv1": (11, 11, 3, 96), "conv2": (5, 5, 48, 256), "conv3": (3, 3, 256, 384), "conv4": (3, 3, 192, 384),
           "conv5": (3, 3, 192, 256), "fc6": (9216, HIDDEN), "fc7": (HIDDEN, HIDDEN), "fc8": (HIDDEN, CLASSES)}
STAGES = (1, 2, 3, 64), (2, 2, 64, 128), (3, 3, 128, 256), (4, 3, 256, 512), (5, 3, 512, 512)
VGG16 = {f"conv{stage}_{unit}": (3, 3, before if unit == 1 else filters, filters)
         for stage, units, before, filters in STAGES for unit in range(1, units + 1)}
VGG16.update({"fc6": (25088, HIDDEN), "fc7": (HIDDEN, HIDDEN), "fc8": (HIDDEN, CLASSES)})
MEANS = {"bvlc_alexnet": (104.007, 116.669, 122.679), "vgg16_caffe": (103.939, 116.779, 123.68)}     # blue, green, red


def layers(shapes, seed=0):
    """Random weights and biases that leave numbers of the size they had."""
    rng = np.random.default_rng(seed)
    return {name: [rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[:-1])) ** 0.5),
                   rng.uniform(-0.1, 0.3, shape[-1]).astype(np.float32)] for name, shape in shapes.items()}


@pytest.fixture
def narrow(monkeypatch):
    """The two architectures with a few units in fc6 and fc7."""
    for name, build in ("bvlc_alexnet", caffe_alexnet), ("vgg16_caffe", caffe_vgg16):
        known = architectures.ARCHITECTURES[name]._replace(features=partial(build, HIDDEN))
        monkeypatch.setitem(architectures.ARCHITECTURES, name, known)


def convolution(x, weight, bias, stride=1, pad=0, groups=1):
    """Of an image (height, width, in) by (height, width, in / groups, out), cross-correlated, and ReLU."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    size, parts = weight.shape[0], []
    for inputs, filters in zip(np.split(x, groups, axis=2), np.split(weight.astype(float), groups, axis=3)):
        windows = np.lib.stride_tricks.sliding_window_view(inputs, (size, size), axis=(0, 1))[::stride, ::stride]
        parts.append(np.tensordot(windows, filters, axes=([3, 4, 2], [0, 1, 2])))
    return np.maximum(np.concatenate(parts, axis=2) + bias, 0)


def pooled(x, size):
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::2, ::2].max(axis=(3, 4))


def across_channels(x):
    """x / (1 + 2e-5 · the sum of squares of the channel and two on both sides)^0.75."""
    squares = np.pad(x**2, ((0, 0), (0, 0), (2, 2)))
    return x / (1 + 2e-5 * sum(squares[..., i:i + x.shape[2]] for i in range(5)))**0.75


def alexnet(x, known):
    """What enters fc6."""
    x = pooled(across_channels(convolution(x, *known["conv1"], stride=4)), 3)
    x = pooled(across_channels(convolution(x, *known["conv2"], pad=2, groups=2)), 3)
    x = convolution(convolution(x, *known["conv3"], pad=1), *known["conv4"], pad=1, groups=2)
    return pooled(convolution(x, *known["conv5"], pad=1, groups=2), 3)


def vgg16(x, known):
    for name in VGG16:
        if name.startswith("conv"):
            if name.endswith("_1") and name != "conv1_1":
                x = pooled(x, 2)
            x = convolution(x, *known[name], pad=1)
    return pooled(x, 2)


@pytest.mark.parametrize("architecture, shapes, side, below, layer", [
    ("bvlc_alexnet", ALEXNET, 227, alexnet, None), ("vgg16_caffe", VGG16, 64, vgg16, "pool5")])
def test_outputs_are_those_of_the_formulas(narrow, architecture, shapes, side, below, layer):
    known = layers(shapes)
    image = np.random.default_rng(1).uniform(0, 255, (side, side, 3)).astype(np.float32)       # red, green, blue
    wanted = below(image[..., ::-1].astype(float) - MEANS[architecture], known)
    state = {f"{name}.{kind}": value for name, parts in known.items() for kind, value in zip(("weight", "bias"), parts)}
    whole, *parameters = import_weights(state, architecture)
    symbol = whole[0]
    if layer:       # the whole of VGG-16 takes NumPy minutes
        symbol, wanted = symbol.get_internals()[f"{layer}_output"], wanted.transpose(2, 0, 1)
    else:
        x = wanted.ravel()      # in TensorFlow's order: height, width, channels
        for name in "fc6", "fc7":
            x = np.maximum(x @ known[name][0] + known[name][1], 0)
        symbol, wanted = symbol.get_internals()["fc8_output"], x @ known["fc8"][0] + known["fc8"][1]
    inputs = set(symbol.list_inputs())
    parameters = [{name: value for name, value in which.items() if name in inputs} for which in parameters]
    found = predict(symbol, *parameters, image.transpose(2, 0, 1)[None])[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    if layer:
        average = whole.get_internals()[f"{layer}_average_output"]
        np.testing.assert_allclose(predict(average, *parameters, image.transpose(2, 0, 1)[None])[0].ravel(),
                                   wanted.mean(axis=(1, 2)), rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_rows_of_vggs_fc6_are_permuted(narrow):
    known = layers(VGG16)
    state = {f"{name}.{kind}": value for name, parts in known.items() for kind, value in zip(("weight", "bias"), parts)}
    _, arguments, _ = import_weights(state, "vgg16_caffe")
    pool5 = np.random.default_rng(1).normal(size=(7, 7, 512))
    np.testing.assert_allclose(arguments["fc6_weight"].asnumpy() @ pool5.transpose(2, 0, 1).ravel(),
                               pool5.ravel() @ known["fc6"][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("build, side, width", [(caffe_alexnet, 227, 9216), (caffe_vgg16, 224, 25088)])
def test_layers_have_caffes_names(build, side, width):
    names = build().get_internals().list_outputs()
    assert {"relu6_output", "relu7_output", "pool5_output", "flatten0_output"} <= set(names)
    arguments = dict(zip(build().list_arguments(), build().infer_shape(data=(1, 3, side, side))[0]))
    assert (arguments["fc6_weight"], arguments["fc7_weight"]) == ((4096, width), (4096, 4096))


def test_a_checkpoint_of_a_npy_file(narrow, data, command, tmp_path):
    from transfer_gluon.tools.import_weights import main

    np.save(tmp_path / "bvlc-alexnet.npy", layers(ALEXNET))
    prefix = tmp_path / "m" / "a"
    main([str(tmp_path / "bvlc-alexnet.npy"), "--architecture", "bvlc_alexnet", "--output", str(prefix)],
         standalone_mode=False)
    checkpoint = load_checkpoint(prefix, 0)
    assert checkpoint.image_shape == (3, 227, 227)
    assert checkpoint.arg_params["fc8_weight"].shape == (CLASSES, HIDDEN)
    assert normalization(checkpoint.symbol) == (MEANS["bvlc_alexnet"][::-1], (1, 1, 1))
    command("fine_tune.py", *SMALL, "--data-dir", data, "--pretrained-model", prefix, "--image-shape", "3,227,227",
            "--freeze", "--trainable", "fc")


def test_other_files_are_refused(narrow, tmp_path):
    good, path = layers({name: shape for name, shape in ALEXNET.items() if name != "fc6"}), tmp_path / "x.npy"
    for content in ({}, {"conv1": good["conv1"][0]}, {"conv1": good["conv1"][:1]}, {"conv1": [1, 2]},
                    {1: good["conv1"]}, {"conv1": [np.zeros(3, int)] * 2}):
        np.save(path, content)
        with pytest.raises(InputError, match=r"x.npy: not a dict of layers; expected names, .* two arrays"):
            read_state_dict(path)
    np.save(path, np.array(print, object))
    with pytest.raises(InputError, match="x.npy: holds more than data: it asks for .*print"):
        read_state_dict(path)
    np.save(path, {**good, "fc6": [np.zeros((9000, HIDDEN), np.float32), np.zeros(HIDDEN, np.float32)]})
    with pytest.raises(InputError, match=r"(?s)x.npy: not the weights of bvlc_alexnet: 1 .*fc6_weight .*\(12, 9216\), "
                                         r"found \(12, 9000\)"):
        import_weights(read_state_dict(find_weights(str(path))), "bvlc_alexnet", "x.npy")
    with pytest.raises(InputError, match="not the weights of alexnet"):
        import_weights(read_state_dict(path), "alexnet")
