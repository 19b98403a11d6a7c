"""Groups of layers: every parameter in one, the names of the main networks, what prefixes mean, the list of them."""
import re

import pytest

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import cut, normalized, resnet
from transfer_gluon.symbols.efficientnet_lite import efficientnet_lite0
from transfer_gluon.symbols.inception_v4 import inception_v4
from transfer_gluon.symbols.layer_groups import begins, groups_of, layer_groups, new_names, thirds
from transfer_gluon.symbols.torch_networks import torch_alexnet, torch_resnet, torch_vgg
from transfer_gluon.symbols.zoo import zoo_symbol


def units(stages, name):
    return [name.format(stage, unit) for stage, count in enumerate(stages, 1) for unit in range(count)]


def from_one(names):
    return [f"{stage}_unit{int(unit) + 1}" for stage, unit in (name.split("_") for name in names)]


WANTED = {
    "resnet-152": (lambda: resnet(152, (3, 224, 224)), ["conv0", *from_one(units((3, 8, 36, 3), "stage{}_{}"))]),
    "resnet-164 for small images": (lambda: resnet(164, (3, 32, 32)),
                                    ["conv0", *from_one(units((18, 18, 18), "stage{}_{}"))]),
    "torch_resnet 50": (lambda: torch_resnet(50), ["conv1", *units((3, 4, 6, 3), "layer{}_{}")]),
    "torch_alexnet": (torch_alexnet, [*(f"features_{i}" for i in (0, 3, 6, 8, 10)), "classifier_1", "classifier_4"]),
    "torch_vgg 11": (lambda: torch_vgg(11), [*(f"features_{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)),
                                             "classifier_0", "classifier_3"]),
    "torch_vgg 11 bn": (lambda: torch_vgg(11, True), [*(f"features_{i}" for i in (0, 4, 8, 11, 15, 18, 22, 25)),
                                                      "classifier_0", "classifier_3"]),
    "efficientnet_lite0": (efficientnet_lite0, ["conv_stem", *(f"blocks_{i}" for i in range(16)), "conv_head"]),
    "inception_v4": (inception_v4, [f"features_{i}" for i in range(22)]),
    "alexnet": (lambda: zoo_symbol("alexnet"), [*(f"conv{i}" for i in range(5)), "dense0", "dense1"]),
    "vgg16_bn": (lambda: zoo_symbol("vgg16_bn"), [*(f"conv{i}" for i in range(13)), "dense0", "dense1"]),
    "resnet50_v1": (lambda: zoo_symbol("resnet50_v1"), ["conv0", "stage1", "stage2", "stage3", "stage4"]),
    "resnet50_v1d": (lambda: zoo_symbol("resnet50_v1d"), ["conv0", "conv1", "conv2", "layers1", "layers2", "layers3",
                                                          "layers4"]),
    "resnet50_v2": (lambda: zoo_symbol("resnet50_v2"), ["conv0", "stage1", "stage2", "stage3", "stage4"]),
    "mobilenetv2_1.0": (lambda: zoo_symbol("mobilenetv2_1.0"),
                        ["features_conv0", *(f"features_linearbottleneck{i}" for i in range(17)), "features_conv1"]),
    "inceptionv3": (lambda: zoo_symbol("inceptionv3"),
                    ["conv0", "conv1", "conv2", "conv3", "conv4", *"A1 A2 A3 B C1 C2 C3 C4 D E1 E2".split()]),
    "densenet121": (lambda: zoo_symbol("densenet121"),
                    ["conv0", "stage1", "conv1", "stage2", "conv2", "stage3", "conv3", "stage4"]),
}


@pytest.mark.parametrize("network", WANTED)
def test_groups_of_a_network(network):
    build, wanted = WANTED[network]
    symbol = build()
    groups = layer_groups(symbol)
    assert [group.name for group in groups] == wanted
    # Not only each in one group: the groups, one after the other, are the order of computation.
    assert [name for group in groups for name in group.parameters] == symbol.list_inputs()[1:]
    for group in groups:
        assert all(any(begins(name, unit) for unit in group.units) for name in group.parameters)
        assert group.name in group.units


@pytest.mark.parametrize("name, count", [
    ("resnet18_v1b_0.89", 5), ("resnext50_32x4d", 5), ("se_resnet18_v1", 5), ("senet_154", 7), ("resnest14", 11),
    ("mobilenet1.0", 27), ("mobilenetv3_small", 14), ("squeezenet1.0", 25), ("googlenet", 12), ("dla34", 7),
    ("shufflenet_v1", 17), ("cifar_resnet20_v2", 4), ("darknet53", 52), ("residualattentionnet56", 10),
    ("xception", 132), ("hrnet_w18_small_v1_c", 91)])
def test_every_parameter_of_a_zoo_network_is_in_one_group(name, count):
    symbol = zoo_symbol(name)
    groups = layer_groups(symbol)
    parameters = [name for group in groups for name in group.parameters]
    assert len(groups) == count and len({group.name for group in groups}) == count
    assert sorted(parameters) == sorted(symbol.list_inputs()[1:])


def test_normalisation_belongs_to_the_convolution_before_it():
    groups = layer_groups(resnet(50, (3, 224, 224)))
    assert groups[0].units == ("bn_data", "conv0", "bn0") and groups[-1].units == ("stage4_unit3", "bn1")
    assert "bn_data_moving_mean" in groups[0].parameters and "bn1_moving_var" in groups[-1].parameters
    assert layer_groups(torch_vgg(11, True))[0].units == ("features_0", "features_1")
    assert layer_groups(efficientnet_lite0())[-1].units == ("conv_head", "bn1")
    assert layer_groups(zoo_symbol("resnet50_v1d"))[-1].units == ("layers4", "down4")
    only = mx.sym.BatchNorm(mx.sym.var("data"), name="norm")
    assert [group.name for group in layer_groups(only)] == ["norm"] and layer_groups(mx.sym.var("data")) == []


def test_groups_of_whole_networks_and_of_parts():
    features = resnet(8, (3, 16, 16))
    whole = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(features, num_hidden=3, name="fc"), name="softmax")
    assert layer_groups(normalized(whole, (0, 0, 0), (2, 2, 2))) == layer_groups(features)
    part = cut(features, "stage2_unit1_plus")
    assert [group.name for group in layer_groups(part)] == ["conv0", "stage1_unit1", "stage2_unit1"]
    assert [group.name for group in layer_groups(cut(torch_alexnet(), "features_3"))] == ["features_0", "features_3"]


def test_inception_bn_of_the_gallery_is_grouped_by_its_blocks():
    names = [f"{kind}_{layer}_{what}" for layer in ("1", "2_red", "2", "3a_1x1", "3a_3x3_reduce", "3a_3x3", "4b_proj")
             for kind, what in (("conv", "weight"), ("bn", "gamma"), ("bn", "moving_mean"))]
    assert [group.name for group in groups_of(names)] == ["conv_1", "conv_2", "conv_3a", "conv_4b"]


@pytest.mark.parametrize("name, prefix, wanted", [
    ("stage1_unit1_bn1_gamma", "stage1", True), ("stage10_unit1_bn1_gamma", "stage1", False),
    ("stage10_unit1_bn1_gamma", "stage", True), ("stage1_unit1_bn1_gamma", "stage1_", True),
    ("stage1_unit12_bn1_gamma", "stage1_unit1", False), ("conv1_weight", "conv1_weight", True),
    ("fc_weight", "fc", True), ("conv1_weight", "conv2", False), ("conv1_weight", "", True)])
def test_a_prefix_cuts_no_number(name, prefix, wanted):
    assert begins(name, prefix) is wanted


def test_three_parts_of_a_network():
    groups = layer_groups(torch_alexnet())
    parts = thirds(groups, 2)
    assert parts["classifier"] == ["bottleneck_weight", "bottleneck_bias", "fc_weight", "fc_bias"]
    assert parts["low"] == ["features_0_weight", "features_0_bias", "features_3_weight", "features_3_bias"]
    assert parts["high"][0] == "features_6_weight" and len(parts["high"]) == 10
    assert thirds(groups, 0)["low"] == [] and thirds(groups, 7)["high"] == []
    assert thirds(groups, 5, new_layers=3)["high"] == new_names(groups, 3)
    with pytest.raises(InputError, match="`num_lowlrs` is 8, and the network has 7 groups .* from 0 to 7"):
        thirds(groups, 8)
    with pytest.raises(InputError, match="`num_lowlrs` is 6, .* 7 groups .* 2 of which begin anew; .* from 0 to 5"):
        thirds(groups, 6, new_layers=3)
    with pytest.raises(InputError, match="`num_lowlrs` is -1"):
        thirds(groups, -1)


def test_layers_that_begin_anew():
    groups = layer_groups(torch_alexnet())
    assert new_names(groups, 1) == []
    assert new_names(groups, 3) == ["classifier_1_weight", "classifier_1_bias", "classifier_4_weight",
                                    "classifier_4_bias"]
    assert len(new_names(groups, 8)) == 14
    for wrong in (0, 9):
        with pytest.raises(InputError, match=f"`new_layers` is {wrong}, and the network has 7 groups .* from 1 to 8"):
            new_names(groups, wrong)


def test_the_list_of_a_checkpoint(stage0, command):
    said = command("tools/layers.py", "--model", stage0).stdout.splitlines()
    # Gamma and beta of 3 colours, 16 × 3 × 3 × 3. Of the last unit, 32 → 64: 1 × 1 and two of 3 × 3, gamma and beta of
    # 32 and 64, and 64 of bn1 behind it.
    assert [line.split() for line in said[1:-2]] == [
        ["0", "438", "bn_data", "conv0"], ["1", "4,928", "stage1_unit1"], ["2", "14,432", "stage2_unit1"],
        ["3", "57,664", "stage3_unit1", "bn1"]]
    assert said[-2] == (f"{stage0}-0001.params: 4 groups, 77,462 numbers that learn, and behind flatten0 the "
                        "classifier fc of 3 classes.")
    assert command("tools/layers.py", "--model", stage0, "--epoch", 1).stdout.splitlines() == said
    assert "s0-0002.params: no such checkpoint" in command("tools/layers.py", "--model", stage0, "--epoch", 2,
                                                           expect=2).stderr
    below = command("tools/layers.py", "--model", stage0, "--layer-before-fullc", "stage2_unit1_plus").stdout
    assert "behind stage2_unit1_plus the classifier" in below and "stage3_unit1" not in below


def test_the_list_of_a_new_network_and_of_its_layers(command):
    said = command("tools/layers.py", "--network", "resnet", "--num-layers", 18, "--image-shape", "3,64,64").stdout
    assert said.count("_unit") == 8 and "the new network resnet: 9 groups" in said
    said = command("tools/layers.py", "--network", "inception_v4").stdout
    # 42,679,816 of timm's with its classifier of 1000 classes, 1536 × 1000 + 1000
    assert "the new network inception_v4: 22 groups, 41,142,816 numbers that learn" in said
    names = command("tools/layers.py", "--network", "alexnet", "--all-layers").stdout.splitlines()
    assert names[0] == "normalize" and names[-1] == "flatten0" and "conv4_fwd" in names


@pytest.mark.parametrize("flags, why", [
    ([], "expected either --model or --network"),
    (["--model", "m", "--network", "alexnet"], "expected either --model or --network"),
    (["--network", "alexnet", "--num-layers", 8], "--num-layers was given without --network resnet"),
    (["--network", "alexnet", "--epoch", 1], "--epoch was given with --network"),
    (["--model", "m", "--num-layers", 8], "--num-layers was given with --model"),
    (["--model", "m", "--image-shape", "3,64,64"], "--image-shape was given with --model"),
    (["--network", "alexnet", "--all-layers", "--layer-before-fullc", "flatten0"], "was given with --all-layers"),
    (["--network", "resnet"], "--network resnet was given without --num-layers"),
    (["--network", "alexnet", "--layer-before-fullc", "x"], "--layer-before-fullc is x"),
    (["--network", "alexnet", "--image-shape", "3,16,16"], "does not work for images of 3 × 16 × 16"),
    (["--network", "resnet51"], "--network is resnet51.* no image classifier")])
def test_lists_that_cannot_be_are_refused(flags, why, command):
    assert re.search(why, command("tools/layers.py", *flags, expect=2).stderr)
