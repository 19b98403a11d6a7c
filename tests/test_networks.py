"""Networks: normalisation inside, the model zoo by name, frozen parts."""
import subprocess
import sys

import numpy as np
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL
from test_training import Fixed

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from transfer_gluon.symbols import (
    JMMDLoss,
    TransferNet,
    TransferObjective,
    features_block,
    normalization,
    normalized,
    resnet,
)
from transfer_gluon.symbols.networks import new_network
from transfer_gluon.symbols.zoo import zoo_names, zoo_network, zoo_symbol
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


def test_normalisation_is_a_layer_that_survives_the_file(stage0, data, command, tmp_path):
    flags = ["--rgb-mean", "123.68,116.779,103.939", "--rgb-std", "58.393,57.12,57.375"]
    prefix = tmp_path / "n" / "m"
    command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", prefix, *flags)
    checkpoint = load_checkpoint(prefix, 1)
    assert normalization(checkpoint.symbol) == (MEAN, STD)
    images = mx.nd.random.uniform(0, 255, (4, 3, 16, 16))
    parameters = checkpoint.arg_params, checkpoint.aux_params
    inside = features_block(checkpoint.symbol.get_internals()["flatten0_output"], *parameters)
    plain = features_block(resnet(8, (3, 16, 16)), *parameters)
    for block in (inside, plain):
        block.initialize()
    mean, std = (mx.nd.array(values).reshape((1, 3, 1, 1)) for values in (MEAN, STD))
    wanted = plain((images - mean) / std).asnumpy()
    np.testing.assert_allclose(inside(images).asnumpy(), wanted, rtol=1e-5, atol=1e-6)
    inside.hybridize(static_alloc=True, static_shape=True)
    np.testing.assert_allclose(inside(images).asnumpy(), wanted, rtol=1e-5, atol=1e-6)
    stage1 = ["--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", prefix, "--pretrained-epoch", 1]
    command("fine_tune.py", *stage1, *flags)
    said = command("fine_tune.py", *stage1, *flags[:2], expect=2).stderr
    assert "mean 123.68,116.779,103.939, std 58.393,57.12,57.375" in said
    assert "ask for 123.68,116.779,103.939, 1,1,1" in said


def test_the_network_behind_the_normalisation_is_unchanged():
    network = resnet(8, (3, 16, 16))
    front = normalized(network, MEAN)
    assert normalization(network) is None and normalization(front) == (MEAN, (1, 1, 1))
    assert front.list_arguments() == network.list_arguments()
    assert normalized(front, MEAN) is front
    with pytest.raises(InputError, match="`rgb_std` is 1,0,1"):
        normalized(network, MEAN, (1, 0, 1))


# The smallest sizes, in steps of 32, that these take.
FAMILIES = {"resnet50_v1d": 32, "vgg16": 32, "alexnet": 64, "inceptionv3": 299, "mobilenetv2_1.0": 32,
            "mobilenetv3_small": 32, "densenet121": 224, "squeezenet1.0": 64, "resnext50_32x4d": 32,
            "cifar_resnet20_v1": 32}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_the_zoo_fine_tunes_and_survives_the_file(name, tmp_path):
    shape = (3, FAMILIES[name], FAMILIES[name])
    mx.random.seed(0)
    images = np.random.default_rng(0).uniform(0, 255, (4, *shape)).astype(np.float32)
    net = TransferNet(Checkpoint(name, zoo_symbol(name)).features("flatten0", shape), 3)
    updates = Fixed(images, np.array([0, 1, 9999, 9999]), 2)
    result, = fit(net, TransferObjective(JMMDLoss(), 2.0), updates, [mx.cpu()], StepSchedule(1e-3), 1)
    assert np.isfinite(result.loss + result.transfer_loss) and result.transfer_loss != 0
    images = mx.nd.array(images[:2])
    features, scores = (output.asnumpy() for output in net(images))
    net.hybridize(False)
    for found, wanted in zip(net(images), (features, scores)):
        np.testing.assert_allclose(found.asnumpy(), wanted, rtol=1e-6, atol=1e-6)
    save_checkpoint(tmp_path / "m", 1, net)
    again = load_checkpoint(tmp_path / "m", 1)
    assert normalization(again.symbol) is not None
    loaded = again.classifier("flatten0", 3, shape)
    loaded.initialize()
    np.testing.assert_allclose(loaded(images)[1].asnumpy(), scores, rtol=1e-6, atol=1e-6)


def test_names_of_parameters_are_the_same_however_many_networks_were_built():
    first, second = (zoo_network("resnet18_v1b", classes=7) for _ in range(2))
    assert first.classifier.tojson() == second.classifier.tojson()
    assert {"conv0_weight", "layers1_conv0_weight", "dense0_weight"} <= set(first.classifier.list_arguments())
    assert first.parameters["fc.weight"] == "dense0_weight"


@pytest.mark.parametrize("name, red", [("alexnet", (123.675, 58.395)), ("cifar_resnet20_v1", (125.307, 51.5865))])
def test_features_and_classifier_of_the_zoo_get_the_same_normalised_images(name, red):
    network = zoo_network(name)
    assert normalization(network.features) == normalization(network.classifier)
    assert tuple(values[0] for values in normalization(network.features)) == red


@pytest.mark.parametrize("name", ["alexnet", "mobilenetv2_1.0", "squeezenet1.0"])
def test_the_whole_network_computes_what_gluoncv_computes(name):
    """Its features lead to its own classifier, whatever kind of layer that is."""
    from transfer_gluon.base.gluoncv_zoo import get_model
    block = get_model(name, classes=5)
    block.initialize(mx.init.Xavier())
    images = mx.nd.random.uniform(0, 255, (2, 3, 224, 224))
    network = zoo_network(name, classes=5)
    mean, std = (mx.nd.array(values).reshape((1, 3, 1, 1)) for values in normalization(network.classifier))
    wanted = block((images - mean) / std).asnumpy()
    values = {network.parameters[structure]: parameter.data()
              for structure, parameter in block._collect_params_with_prefix().items()}
    assert "flatten0_output" in network.classifier.get_internals().list_outputs()
    ours = features_block(network.classifier[0], values, {}, image_shape=(3, 224, 224))
    ours.initialize()
    np.testing.assert_allclose(ours(images).asnumpy(), wanted, rtol=1e-4, atol=1e-5)


def test_networks_that_the_zoo_does_not_have_are_refused_with_close_ones():
    with pytest.raises(InputError, match="`network` is resnet50_v1g.*resnet50_v1d"):
        zoo_symbol("resnet50_v1g")
    assert "yolo3_darknet53_coco" not in zoo_names()
    with pytest.raises(InputError, match="no image classifier"):
        zoo_symbol("yolo3_darknet53_coco")


def test_new_networks_by_their_names():
    assert new_network("resnet", 8, (3, 28, 28)).list_arguments() == resnet(8, (3, 28, 28)).list_arguments()
    assert normalization(new_network("inception_v4")) == ((127.5,) * 3, (127.5,) * 3)
    assert normalization(new_network("efficientnet_lite0")) == ((127.0,) * 3, (128.0,) * 3)
    assert new_network("alexnet").list_arguments() == zoo_symbol("alexnet").list_arguments()
    assert not {"resnet", "inception_v4", "efficientnet_lite0"}.intersection(zoo_names())
    with pytest.raises(InputError, match="`network` resnet was given without `num_layers`"):
        new_network("resnet")
    for name, close in ("inceptionv4", "inception_v4"), ("efficientnet", "efficientnet_lite0"):
        with pytest.raises(InputError, match=f"`network` is {name}.* Did you mean .*{close}"):
            new_network(name)
    with pytest.raises(InputError, match="`network` is x1, .*vgg19_bn.*; our own are resnet, inception_v4, effic"):
        new_network("x1")


@pytest.mark.parametrize("side, fits", [(75, True), (74, False), (320, True)])
def test_inception_v4_takes_images_from_75_pixels_up(side, fits):
    network = Checkpoint("inception_v4", new_network("inception_v4"))
    if fits:
        network.features("flatten0", (3, side, side))
    else:
        with pytest.raises(InputError, match=f"does not work for images of 3 × {side} × {side}"):
            network.features("flatten0", (3, side, side))


def test_images_without_three_channels_are_refused(stage0):
    with pytest.raises(InputError, match="`image_shape` is 1,20,20; expected 3 channels"):
        resnet(8, (1, 20, 20))
    with pytest.raises(InputError, match="(?s)alexnet: does not work for images of 1 × 64 × 64"):
        Checkpoint("alexnet", zoo_symbol("alexnet")).features("flatten0", (1, 64, 64))
    for start in (lambda shape: load_checkpoint(stage0, 1).features("flatten0", shape),
                  lambda shape: load_checkpoint(stage0, 1).classifier("flatten0", 3, shape)):
        with pytest.raises(InputError, match=r"s0-0001.params: .*(do not fit|does not work).* 1 × 16 × 16"):
            start((1, 16, 16))


@pytest.mark.parametrize("name, size", [("alexnet", 32), ("inceptionv3", 224), ("densenet121", 64)])
def test_images_too_small_for_a_network_are_refused(name, size):
    with pytest.raises(InputError, match=f"(?s){name}: does not work for images of 3 × {size} × {size} .*another size"):
        Checkpoint(name, zoo_symbol(name)).features("flatten0", (3, size, size))


def test_gluoncv_leaves_pillow_refuse_images_that_are_cut_off():
    """In a process of its own, where nothing has imported it before."""
    code = ("from PIL import ImageFile\n"
            "from transfer_gluon.symbols.zoo import zoo_symbol\n"
            "zoo_symbol('mobilenet0.25')\n"
            "import gluoncv\n"
            "assert not ImageFile.LOAD_TRUNCATED_IMAGES\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
