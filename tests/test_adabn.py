"""AdaBN against the statistics computed in NumPy."""
import re
import shutil

import numpy as np
import pytest
from conftest import SMALL

from adabn import main
from transfer_gluon.base.errors import DivergedError, InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.inference import adabn
from transfer_gluon.inference.classifier import classifier, num_classes
from transfer_gluon.iters import OrderedIter, read_list, write_list
from transfer_gluon.iters.transforms import square_centre_crop
from transfer_gluon.symbols import features_block
from transfer_gluon.symbols.graph import batch_norm_layers


@pytest.fixture
def target(data):
    return OrderedIter(read_list(data / "val.lst"), 6, square_centre_crop(16, 16), threads=2)


def layer_input(checkpoint, layer, images):
    """The output of a layer for all images, in one go."""
    block = features_block(checkpoint.symbol.get_internals()[layer], checkpoint.arg_params, checkpoint.aux_params)
    block.initialize()
    return block(images).asnumpy().astype(np.float64)


@pytest.mark.parametrize("statistics", ["image", "pixel"])
def test_statistics_are_those_of_the_target(stage0, target, statistics):
    checkpoint = load_checkpoint(stage0, 1)
    names = {"bn1": "stage3_unit1_plus_output", "stage3_unit1_bn2": "stage3_unit1_conv1_output", "bn_data": "data"}
    target.next()       # wherever it is, it is read from its beginning
    adapted, predictions = adabn.adapt(checkpoint, target, [mx.cpu()], list(names), statistics)
    target.reset()
    images = mx.nd.concat(*(batch.data[0].astype("float32") for batch in target), dim=0)
    for layer, source in names.items():
        h = images.asnumpy().astype(np.float64) if source == "data" else layer_input(checkpoint, source, images)
        means = h.mean(axis=(2, 3))
        variance = means.var(axis=0) if statistics == "image" else h.var(axis=(0, 2, 3))
        np.testing.assert_allclose(adapted.aux_params[layer + "_moving_mean"].asnumpy(), means.mean(axis=0), rtol=1e-5,
                                   atol=1e-6)
        np.testing.assert_allclose(adapted.aux_params[layer + "_moving_var"].asnumpy(), variance, rtol=1e-4)
    for name, value in checkpoint.aux_params.items():
        if not name.startswith(tuple(names)):
            assert (adapted.aux_params[name] == value).asnumpy().all()
    scores = layer_input(checkpoint, "fc_output", images)
    np.testing.assert_array_equal(predictions, scores.argmax(axis=1))


def test_default_layers_are_the_last_two(stage0, target):
    checkpoint = load_checkpoint(stage0, 1)
    adapted, _ = adabn.adapt(checkpoint, target, [mx.cpu()])
    changed = {name for name, value in adapted.aux_params.items()
               if (value != checkpoint.aux_params[name]).asnumpy().any()}
    assert changed == {f"{layer}_moving_{kind}" for layer in ("stage3_unit1_bn2", "bn1") for kind in ("mean", "var")}
    from transfer_gluon.symbols import resnet
    assert batch_norm_layers(resnet(152, (3, 320, 320)))[-2:] == ["stage4_unit3_bn3", "bn1"]


def test_unknown_layers_are_refused_with_those_that_there_are(stage0, target):
    with pytest.raises(InputError, match="no batch normalisation layer bn9; it has bn_data stage1_unit1_bn1"):
        adabn.adapt(load_checkpoint(stage0, 1), target, [mx.cpu()], ["bn1", "bn9"])


def test_a_checkpoint_that_computes_no_numbers_is_not_adapted(stage0, target):
    checkpoint = load_checkpoint(stage0, 1)
    checkpoint.arg_params["fc_weight"][:] = 3e38    # finite, but what is computed with it is not
    with pytest.raises(DivergedError, match="s0-0001.params: class scores of 6 of 6 images are NaN or infinite"):
        adabn.adapt(checkpoint, target, [mx.cpu()])
    checkpoint.arg_params["fc_weight"][0, 0] = np.nan
    with pytest.raises(InputError, match="(?s)s0-0001.params: 1 of .* hold NaN or infinite values.*fc_weight"):
        adabn.adapt(checkpoint, target, [mx.cpu()])


def test_running_moments_of_blocks_are_those_of_all_rows():
    rows = np.random.default_rng(0).normal(1e6, 1, size=(1000, 3))
    moments = adabn.RunningMoments()
    for block in np.array_split(rows, 7):
        moments.add(block)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-9)


def test_command_prints_accuracies_and_writes_the_adapted_checkpoint(stage0, data, command, tmp_path):
    flags = ["--model", stage0, "--epoch", 1, "--val", data / "val.lst", "--image-shape", "3,16,16"]
    done = command("adabn.py", *flags, "--layers", "all", "--statistics", "pixel",
                   "--save-prefix", tmp_path / "a" / "m")
    found = re.search(r"accuracy of 16 images: ([\d.]+)% before AdaBN, ([\d.]+)% after", done.stdout)
    adapted = load_checkpoint(tmp_path / "a" / "m", 1)
    net = classifier(adapted, mx.cpu())
    images = read_list(data / "val.lst")
    batch = OrderedIter(images, 16, square_centre_crop(16, 16)).next()
    right = (net(batch.data[0].astype("float32")).asnumpy().argmax(axis=1) == images.labels).mean()
    assert float(found[2]) == pytest.approx(100 * right, abs=0.01)
    # The adapted checkpoint is a start for stage 1 like any other.
    command("fine_tune.py", "--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", tmp_path / "a" / "m",
            "--pretrained-epoch", 1)


@pytest.mark.parametrize("layers, statistics", [("bn1", "pixel"), ("all", "image"), ("all", "pixel")])
def test_the_command_counts_labelled_images_before_and_after(stage0, data, tmp_path, capsys, layers, statistics):
    """Of 16 images ten have a label, by which the checkpoint is right in seven."""
    files, lst, prefix = read_list(data / "val.lst").files, data / "some.lst", tmp_path / "a" / "m"

    def batches():
        return OrderedIter(read_list(lst, null_label=77), 16, square_centre_crop(24, 20))

    write_list(lst, [77] * 16, files)
    checkpoint = load_checkpoint(stage0, 1)
    names = batch_norm_layers(checkpoint.symbol) if layers == "all" else [layers]
    adapted, before = adabn.adapt(checkpoint, batches(), [mx.cpu()], names, statistics)
    labels = np.where(np.arange(16) < 10, before, 77)
    labels[7:10] = (labels[7:10] + 1) % 3
    write_list(lst, labels, files)
    main(["--model", str(stage0), "--epoch", "1", "--val", str(lst), "--null-label", "77", "--layers", layers,
          "--statistics", statistics, "--save-prefix", str(prefix), "--image-shape", "3,24,20", "--batch-size", "5"],
         standalone_mode=False)
    scores = classifier(adapted, mx.cpu())(batches().next().data[0]).asnumpy()
    after = (scores.argmax(axis=1) == labels)[:10].mean()
    assert capsys.readouterr().out == f"accuracy of 10 images: 70.00% before AdaBN, {after:.2%} after\n"
    saved = load_checkpoint(prefix, 1)
    for name, value in adapted.aux_params.items():
        np.testing.assert_allclose(saved.aux_params[name].asnumpy(), value.asnumpy(), rtol=1e-4, atol=1e-5)


def test_command_without_labels_tells_no_accuracy(stage0, data, command):
    write_list(data / "val.lst", [9999] * 16, read_list(data / "val.lst").files)
    done = command("adabn.py", "--model", stage0, "--epoch", 1, "--val", data / "val.lst", "--image-shape", "3,16,16")
    assert "no image has a label" in done.stdout


@pytest.mark.parametrize("flags, problem", [
    (["--epoch", 7], "no such checkpoint"), (["--layers", "bn1,bn7"], "no batch normalisation layer bn7"),
    (["--val", "none.lst"], "none.lst: no such file"), (["--gpu", "0"], "CPU build"),
    (["--image-shape", "3"], "--image-shape"),
    (["--save-prefix", "/dev/null/x/m"], "--save-prefix")])
def test_bad_input_is_refused(stage0, data, command, flags, problem):
    given = {"--model": stage0, "--epoch": 1, "--val": data / "val.lst", "--image-shape": "3,16,16",
             **dict([flags])}
    assert problem in command("adabn.py", *(part for pair in given.items() for part in pair), expect=2).stderr


@pytest.mark.parametrize("value, problem", [
    ("x", "'--gpu': 'x'; expected numbers of GPUs separated by commas"),
    ("0", "--gpu was given, and this MXNet is the CPU"),
    ("", "'--gpu': ''"), ("1,1", r"--gpu is \(1, 1\); expected different numbers"),
    ("-1", "'--gpu': '-1'; expected numbers")])
@pytest.mark.parametrize("script", ["adabn.py", "predict.py"])
def test_the_flag_gpu_is_answered_by_its_name(script, value, problem, command):
    said = command(script, "--model", "m", "--epoch", 1, "--gpu", value, expect=2).stderr
    assert re.search(problem, said) and "--gpus" not in said and "`" not in said.replace("`make gpu`", "")


@pytest.mark.parametrize("layers", ["", "bn1,", "bn1,,bn2", ","])
def test_names_of_layers_are_none_of_them_empty(layers, command):
    said = command("adabn.py", "--model", "m", "--epoch", 1, "--layers", layers, expect=2).stderr
    assert "'--layers'" in said and "expected names separated by commas" in said


def test_several_devices_adapt_as_one(stage0, data):
    checkpoint, images = load_checkpoint(stage0, 1), read_list(data / "val.lst")
    alone, three = (adabn.adapt_to_images(checkpoint, images, [mx.cpu(i) for i in range(count)], "all", "pixel",
                                          batch_size=5) for count in (1, 3))
    assert (three.before, three.num_labelled) == (alone.before, 16)
    for name, value in alone.checkpoint.aux_params.items():
        np.testing.assert_allclose(three.checkpoint.aux_params[name].asnumpy(), value.asnumpy(), rtol=1e-4, atol=1e-5)


def test_other_words_are_refused_by_the_name_of_their_parameter(stage0, target):
    checkpoint = load_checkpoint(stage0, 1)
    for layers, statistics, parameter in ([], "image", "layers"), ("bn9", "image", "layers"), (None, "x", "statistics"):
        with pytest.raises(InputError, match=f"`{parameter}`") as caught:
            adabn.adapt(checkpoint, target, [mx.cpu()], layers, statistics)
        assert caught.value.parameter == parameter


def test_a_missing_image_is_named(stage0, data, command):
    images = read_list(data / "val.lst")
    (data / "val" / "003.jpg").unlink()
    said = command("adabn.py", "--model", stage0, "--epoch", 1, "--val", images.path, "--image-shape", "3,16,16",
                   expect=2).stderr
    assert "val.lst: the image" in said and "003.jpg cannot be used: No such file" in said


def test_labels_beyond_the_classes_are_no_errors_of_the_network(stage0, data, command):
    val = read_list(data / "val.lst")
    write_list(data / "val.lst", [77, *val.labels[1:]], val.files)
    flags = ["--model", stage0, "--epoch", 1, "--val", data / "val.lst"]
    said = command("adabn.py", *flags, expect=2).stderr
    assert "val.lst: has the labels 77, and" in said and "has 3 classes; say by --null-label" in said
    assert "accuracy of 15 images" in command("adabn.py", *flags, "--null-label", 77).stdout


def test_what_is_saved_replaces_no_other_network(stage0, trained, data, command, tmp_path):
    there = tmp_path / "m" / "a"
    there.parent.mkdir()
    for epoch in (1, 2):
        shutil.copy(trained / "s0-0001.params", f"{there}-{epoch:04d}.params")
    flags = ["--model", stage0, "--epoch", 1, "--val", data / "val.lst", "--save-prefix", there]
    (tmp_path / "m" / "a-symbol.json").write_text("another")
    said = command("adabn.py", *flags, expect=2).stderr
    assert "--save-prefix: the epochs 1, 2 of" in said and (tmp_path / "m" / "a-symbol.json").read_text() == "another"
    (tmp_path / "m" / "a-0002.params").rename(tmp_path / "kept")       # nor the same epoch of another one
    assert "--save-prefix: the epochs 1 of" in command("adabn.py", *flags, expect=2).stderr
    (tmp_path / "kept").rename(tmp_path / "m" / "a-0002.params")
    # The same network at another epoch may stand beside it.
    (tmp_path / "m" / "a-symbol.json").write_text(load_checkpoint(stage0, 1).symbol.tojson())
    command("adabn.py", *flags)
    assert load_checkpoint(there, 2)


def test_a_network_that_is_no_classifier_is_refused():
    data = mx.sym.var("data")
    for symbol in (mx.sym.relu(data), mx.sym.sum(data, axis=(0, 1, 2, 3)), mx.sym.sum(data, axis=(0, 1))):
        with pytest.raises(InputError, match="the network: gives .* expected a classifier"):
            num_classes(symbol, (3, 4, 4))
    with pytest.raises(InputError, match="the network: does not work for images of 3 × 4 × 4"):
        num_classes(mx.sym.Convolution(data, kernel=(9, 9), num_filter=2), (3, 4, 4))
