"""Classifiers on features that are computed already: what they reach, what they write, and what they refuse."""
import csv
import json
import math
import os
import pickle
import re
import subprocess
import sys
import time

from transfer_gluon.cli.types import SPLIT

import click
import numpy as np
import pytest
from conftest import ROOT, call
from sklearn.linear_model import LogisticRegression

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters.feature_file import Features, FeatureSource, read_features, write_features
from transfer_gluon.iters.rows import RowIter
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.training import ClassifierOptions
from transfer_gluon.training import classifier as training_classifier
from transfer_gluon.training.classifier import stratified, train_classifier
from transfer_gluon.training.labelled_features import LabelledFeatures, read_labelled
from transfer_gluon.training.summary import COLUMNS

SOURCE = FeatureSource("model/net-0001.params", "0123456789abcdef", "flatten0", "data/a.lst", "a" * 16, (3, 16, 16), 18)


def blobs(number=300, seed=0, classes=3, width=5):
    """Rows around a centre a class, which overlap."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, number)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    return (centres[labels] + rng.normal(size=(number, width))).astype(np.float32), labels


def pack(path, values, labels, **more):
    with open(path, "wb") as file:
        pickle.dump({"features": values, "labels": labels, **more}, file, 2)
    return path


def feature_file(path, values, labels, views=None, **told):
    import dataclasses
    views = np.empty((0, *values.shape), np.float32) if views is None else views
    source = dataclasses.replace(SOURCE, **{"views": len(views), "images": path.stem.ljust(16, "0"), **told})
    write_features(Features(path, values, views, np.arange(len(values)), np.asarray(labels, np.int64),
                            [f"{number}.jpg" for number in range(len(values))], source))
    return path


def labelled(values, labels, views=None):
    return LabelledFeatures("rows", values, labels, np.empty((0, *values.shape)) if views is None else views)


@pytest.fixture
def packs(tmp_path):
    """Flags for a pack to train on and one to validate on, and a prefix."""
    return ["--training-file", pack(tmp_path / "train.p", *blobs()), "--validation-file",
            pack(tmp_path / "val.p", *blobs(100, seed=1)), "--model-prefix", tmp_path / "m" / "c"]


def train(*flags, **more):
    return call("train_classifier.py", *flags, **more)


def rows_of(prefix):
    return list(csv.DictReader(open(f"{prefix}-run/summary.csv")))


def settings_of(prefix):
    return json.loads(open(f"{prefix}-run/settings.json").read())["settings"]


def penalised(weight, bias, values, labels, wd):
    """The mean cross-entropy and half of wd times the squares of the weights, in float64."""
    scores = values.astype(float) @ weight.T + bias
    scores -= scores.max(axis=1, keepdims=True)
    cross = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]
    return cross.mean() + wd / 2 * (weight.astype(float) ** 2).sum()


@pytest.mark.parametrize("options", [dict(batches=1, epochs=300, lr=0.05),
                                     dict(optimizer="sgd", batch_size=100, epochs=200, lr=0.02),
                                     dict(optimizer="sgd", batches=1, epochs=200, lr=0.2)])
def test_the_loss_of_scikit_learn(options):
    values, labels = blobs()
    C = 0.1
    wd = 1 / (C * len(labels))
    theirs = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(values.astype(float), labels)
    net = train_classifier(labelled(values, labels), ClassifierOptions(wd=wd, **options)).net
    ours = [parameter.data().asnumpy() for parameter in (net.fc_weight, net.fc_bias)]
    optimum = penalised(theirs.coef_, theirs.intercept_, values, labels, wd)
    assert penalised(*ours, values, labels, wd) == pytest.approx(optimum, abs=1e-3)
    assert optimum > 0.3        # the classes overlap, and the weights are held


def test_says_what_the_last_epoch_came_to_and_stock_mxnet_loads_it(packs, tmp_path):
    test = pack(tmp_path / "test.p", *blobs(80, seed=2))
    said = train(*packs, "--test-file", test, "--epochs", 3, "--lr", 0.1).stdout
    loss, *accuracies = re.fullmatch(
        r"epoch 3, the last: training loss ([0-9.]+); training accuracy ([0-9.]+)% of 300; validation accuracy "
        r"([0-9.]+)% of 100; test accuracy ([0-9.]+)% of 80\n", said).groups()
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(tmp_path / "m" / "c"), 3)
    for (values, labels), said in ((blobs(80, seed=2), accuracies[2]), (blobs(100, seed=1), accuracies[1])):
        module = mx.mod.Module(symbol, label_names=["softmax_label"])
        module.bind([("data", values.shape)], for_training=False)
        module.set_params(arguments, auxiliary)
        module.forward(mx.io.DataBatch([mx.nd.array(values)]), is_train=False)
        right = (module.get_outputs()[0].asnumpy().argmax(axis=1) == labels).mean()
        assert f"{100 * right:.2f}" == said
    last = rows_of(tmp_path / "m" / "c")[-1]
    assert (f"{float(last['loss']):.4f}", f"{100 * float(last['accuracy']):.2f}") == (loss, accuracies[0])


def test_a_hidden_layer_learns_what_softmax_cannot():
    values = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    labels = (values[:, 0] * values[:, 1] > 0).astype(int)
    told = dict(epochs=60, lr=0.02, batch_size=50)
    plain, hidden = (train_classifier(labelled(values, labels), ClassifierOptions(hidden=units, **told))
                     for units in (0, 32))
    assert plain.results[-1].accuracy < 0.75 and hidden.results[-1].accuracy > 0.95
    assert hidden.net.bottleneck.weight.shape == (32, 2)


@pytest.mark.parametrize("flags", [[], ["--hidden", 7, "--optimizer", "sgd"], ["--batches", 10, "--no-shuffle"]])
def test_resumed_bitwise(packs, tmp_path, flags):
    flags = [*packs[:4], *flags]
    train(*flags, "--model-prefix", tmp_path / "whole", "--epochs", 4)
    train(*flags, "--model-prefix", tmp_path / "parts", "--epochs", 2)
    again = train(*flags, "--model-prefix", tmp_path / "parts", "--epochs", 4, "--resume")
    for end in "-symbol.json", "-0004.params", "-run/summary.csv", "-run/state.params":
        assert (tmp_path / f"whole{end}").read_bytes() == (tmp_path / f"parts{end}").read_bytes(), end
    (tmp_path / "parts-run" / "summary.csv").unlink()
    more = train(*flags, "--model-prefix", tmp_path / "parts", "--epochs", 4, "--resume")
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    assert "nothing is left to train" in more.stderr and more.stdout == again.stdout


def test_a_run_that_is_there_is_not_replaced(packs, tmp_path):
    train(*packs, "--epochs", 1)
    assert "of a run are there already. --resume goes on" in train(*packs, expect=2).stderr
    train(*packs, "--epochs", 1, "--overwrite", "--lr", 0.5)
    assert "lr: 0.5 then, 0.25 now" in train(*packs, "--resume", "--lr", 0.25, expect=2).stderr
    for place, name in (1, "training"), (3, "validation"):
        others = [*packs[:place], pack(tmp_path / "other.p", *blobs(50, seed=7)), *packs[place + 1:]]
        said = train(*others, "--resume", "--lr", 0.5, "--epochs", 2, expect=2).stderr
        assert re.search(rf"{name}: [0-9a-f]{{16}} then, [0-9a-f]{{16}} now \(digests of the features\)", said)


def test_only_the_last_and_the_best_are_kept(packs, tmp_path):
    train(*packs, "--epochs", 6, "--lr", 0.5)
    kept = {int(file.stem[-4:]) for file in (tmp_path / "m").glob("*.params")}
    accuracy = [float(row["validation_accuracy"]) for row in rows_of(tmp_path / "m" / "c")]
    assert kept == {6, 1 + int(np.argmax(accuracy))}


def test_without_a_prefix_the_run_is_named(packs, tmp_path):
    said = train(*packs[:4], "--epochs", 1, cwd=tmp_path).stderr
    prefix, = re.findall(r"no --model-prefix was given; this run is kept as (runs/classifier-\S+)", said)
    assert (tmp_path / f"{prefix}-0001.params").exists()


@pytest.fixture
def seen(packs, monkeypatch):
    """A function that calls the command with flags, and tells what the loop was given."""
    told = {}

    def fit(net, objective, batches, devices, schedule, num_epochs, **others):
        told.update(others, net=net, batches=batches, schedule=schedule, num_epochs=num_epochs)
        net.initialize()
        net(batches.next().data[0])
        others["run"]._summary.rows = [dict.fromkeys(COLUMNS, 1)]

    monkeypatch.setattr(training_classifier, "fit", fit)

    def run(*flags):
        train(*packs[:4], *flags)
        return dict(told)
    return run


def order(told):
    told["batches"].set_epoch(0)
    return [place for batch in told["batches"] for place in batch.index]


def sizes(told):
    told["batches"].set_epoch(0)
    return [batch.data[0].shape[0] for batch in told["batches"]]


def spread(told):
    weight = told["net"].fc_weight.data().asnumpy()
    return float(np.abs(weight).max()), told["net"].fc_bias.data().asnumpy().tolist()


WIRES = {   # flag: its value, what is then true, and is not without it
    "--hidden": (7, lambda told: told["net"].bottleneck is not None and told["net"].bottleneck.units == 7),
    "--init": ("normal", lambda told: spread(told)[0] < 0.03 and spread(told)[1] == pytest.approx([0.1] * 3)),
    "--optimizer": ("sgd", lambda told: told["optimizer"] == "sgd"),
    "--lr": (0.25, lambda told: told["schedule"](1) == 0.25),
    "--wd": (0.125, lambda told: told["wd"] == 0.125),
    "--epochs": (3, lambda told: told["num_epochs"] == 3),
    "--batch-size": (128, lambda told: sizes(told) == [128, 128, 44]),
    "--batches": (7, lambda told: sizes(told) == [42, 43, 43, 43, 43, 43, 43]),
    "--no-shuffle": (None, lambda told: order(told) == list(range(300))),
    "--seed": (5, lambda told: told["seed"] == 5 and order(told) == np.random.default_rng((5, 0)).permutation(
        300).tolist()),
}


@pytest.mark.parametrize("flag", WIRES)
def test_flags_reach_what_they_name(seen, flag):
    value, true = WIRES[flag]
    assert not true(seen()), flag
    assert true(seen(flag, *([] if value is None else [value]))), flag


def test_every_flag_has_a_test():
    from transfer_gluon.commands import train_classifier as command
    flags = {flag for parameter in command.main.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    here = open(__file__).read()
    assert all(f'"{flag}"' in here for flag in flags), flags


def test_the_seed_draws_the_weights(seen):
    one, same, other = (spread(seen("--seed", seed))[0] for seed in (1, 1, 2))
    assert one == same != other


def test_rows_come_once_an_epoch_in_another_order_with_shuffle(seen):
    told = seen("--shuffle")
    first = order(told)
    told["batches"].set_epoch(1)
    second = [place for batch in told["batches"] for place in batch.index]
    assert first != second and sorted(first) == sorted(second) == list(range(300))


def test_the_published_spelling_of_flags(packs, tmp_path):
    train("--training_file", packs[1], "--validation_file", packs[3], "--epochs", 2, "--batch_size", 64,
          "--model-prefix", tmp_path / "m")
    assert settings_of(tmp_path / "m")["batch_size"] == 64 and rows_of(tmp_path / "m")[1]["updates"] == "10"


def test_a_truncated_classifier_is_loaded_by_stock_mxnet(packs, tmp_path):
    train(*packs, "--init", "truncated", "--epochs", 1)
    code = ("import mxnet as mx, sys\ns, a, b = mx.model.load_checkpoint(sys.argv[1], 1)\n"
            "m = mx.mod.Module(s)\nm.bind([('data', (2, 5))], [('softmax_label', (2,))])\n"
            "m.init_params(arg_params=a, aux_params=b)\nprint(m.get_params()[0]['fc_weight'].shape)\n"
            "m.init_params(force_init=True)\n")      # as the network says, without our initializers
    done = subprocess.run([sys.executable, "-c", "import numpy; numpy.bool = bool\n" + code, tmp_path / "m" / "c"],
                          capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "(3, 5)\n"), done.stderr


# Splitting.


def test_one_file_is_split_class_by_class(tmp_path):
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    values = np.arange(200, dtype=np.float32)[:, None] + labels[:, None]
    file = pack(tmp_path / "all.p", values, labels)
    said = train("--training-file", file, "--model-prefix", tmp_path / "m", "--epochs", 1).stdout
    assert "of 160; validation accuracy" in said and "of 20; test accuracy" in said and said.endswith("of 20\n")
    said = train("--training-file", file, "--model-prefix", tmp_path / "n", "--epochs", 1, "--split", "67,33,0").stdout
    assert "of 134; validation accuracy" in said and "of 66\n" in said and "test" not in said
    parts = stratified(labels, (80, 10, 10), seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    assert [np.bincount(labels[part]).tolist() for part in parts] == [[80, 48, 32], [10, 6, 4], [10, 6, 4]]
    assert [len(set(labels[parts[0]][start:start + 40])) for start in (0, 40, 80, 120)] == [3] * 4    # mixed
    assert any((one != other).any() for one, other in zip(parts, stratified(labels, (80, 10, 10), seed=4)))


def test_the_split_of_the_published_flowers():
    parts = stratified(np.repeat(np.arange(5), [633, 898, 641, 699, 799]), (80, 10, 10))
    assert [len(part) for part in parts] == [2936, 367, 367]


@pytest.mark.parametrize("sizes", [[1, 1, 1, 97], [5] * 20, [3, 3, 3, 2]])
def test_no_class_is_divided_by_more_than_a_row_too_many(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(5):
        parts = stratified(labels, (60, 30, 10), seed)
        for part, share in zip(parts, (0.6, 0.3, 0.1)):
            found = np.bincount(labels[part], minlength=len(sizes))
            assert (np.abs(found - share * np.array(sizes)) < 2).all()


@pytest.mark.parametrize("split, expect", [("80,10", "expected TRAINING,VALIDATION,TEST"),
                                           ("80,10,20", "--split is"), ("0,50,50", "--split is"),
                                           ("98,1,1", "leaves none for the 1 %"), ("a,b,c", "TRAINING,VALIDATION")])
def test_splits_that_cannot_be(tmp_path, split, expect):
    file = pack(tmp_path / "few.p", *blobs(20))
    said = train("--training-file", file, "--model-prefix", tmp_path / "m", "--split", split, expect=2).stderr
    assert expect in said and not list(tmp_path.glob("m*"))
    with pytest.raises(click.BadParameter):
        SPLIT.convert("80,10,-1", None, None)


# What is read.


def test_a_feature_file_without_labels_in_part(tmp_path, packs):
    values, labels = blobs(30)
    file = feature_file(tmp_path / "a.npz", values.reshape(30, 5, 1, 1), np.where(np.arange(30) < 4, 9999, labels))
    found = read_labelled(file)
    assert (found.values == values[4:]).all() and (found.labels == labels[4:]).all()
    feature_file(file, values, [9999] * 30)
    said = train("--training-file", file, "--model-prefix", tmp_path / "m", expect=2).stderr
    assert "none of the 30 images of data/a.lst has a label" in said


def test_views_are_taken_in_turn():
    values, labels = blobs(30)
    views = np.stack([values + 1, values + 2])
    batches = RowIter(values, labels, batch_size=30, shuffle=False, views=views)
    for epoch in range(3):
        batches.set_epoch(epoch)
        assert (batches.next().data[0].asnumpy() == views[epoch % 2]).all()


def test_the_views_of_a_file_train(tmp_path, seen):
    values, labels = blobs(30)
    views = np.stack([values + 1, values + 2]).reshape(2, 30, 5, 1, 1)
    file = feature_file(tmp_path / "a.npz", values.reshape(30, 5, 1, 1), np.where(labels == 1, 9999, labels), views)
    told = seen("--training-file", file, "--validation-file", feature_file(tmp_path / "b.npz", *blobs(20, seed=1)),
                "--no-shuffle")
    told["batches"].set_epoch(0)
    assert (told["batches"].next().data[0].asnumpy() == values[labels != 1] + 1).all()


@pytest.mark.parametrize("labels", [lambda labels: labels[:, None], lambda labels: labels.astype(np.uint8),
                                    lambda labels: labels.astype(np.float32), lambda labels: labels.tolist()])
def test_labels_of_packs(tmp_path, labels):
    values, truth = blobs(20)
    found = read_labelled(pack(tmp_path / "a.p", values.astype(np.float64).reshape(20, 1, 5, 1), labels(truth),
                               sizes=[1, 2]))
    assert found.values.dtype == np.float32 and (found.values == values).all()
    assert found.labels.dtype == np.int64 and (found.labels == truth).all()


GOOD = np.zeros((4, 3), np.float32)
BAD = {     # name: what the pack holds, what is said
    "no dict": ([1, 2], "holds a list; expected a dict with 'features' and 'labels'"),
    "no labels": ({"features": GOOD, "y": [0] * 4}, "holds a dict of 'features', 'y'; expected"),
    "too few labels": ({"features": GOOD, "labels": [0, 1]}, r"'labels' has the shape \(2,\) and 'features' \(4, 3\)"),
    "one-hot": ({"features": GOOD, "labels": np.eye(4)}, r"'labels' has the shape \(4, 4\)"),
    "fractions": ({"features": GOOD, "labels": [0, 1, 0.5, 1]}, "1 of 4 labels are no classes, such as 0.5 in row 2"),
    "negative": ({"features": GOOD, "labels": [0, -1, 0, 1]}, "such as -1 in row 1"),
    "huge": ({"features": GOOD, "labels": [0, 1, 2, 10**9]}, "such as 1000000000 in row 3; expected .* to 9999"),
    "nan label": ({"features": GOOD, "labels": [0, math.nan, 0, 1]}, "such as nan in row 1"),
    "names": ({"features": GOOD, "labels": ["a", "b", "a", "b"]}, "'labels' is no array of numbers, but list"),
    "truth": ({"features": GOOD, "labels": [True, False] * 2}, "'labels' is no array of numbers"),
    "nan": ({"features": np.array([[0.0], [math.nan]]), "labels": [0, 1]}, "in 1 of 2 rows, first in row 1"),
    "too large": ({"features": np.array([[0.0], [1e300]]), "labels": [0, 1]}, "what float32 does not hold"),
    "flat": ({"features": np.zeros(4), "labels": [0] * 4}, r"'features' has the shape \(4,\)"),
    "empty": ({"features": np.zeros((0, 3)), "labels": []}, r"'features' has the shape \(0, 3\)"),
    "ragged": ({"features": [[1.0], [1.0, 2.0]], "labels": [0, 1]}, "'features' is no array of numbers"),
    "complex": ({"features": GOOD + 1j, "labels": [0] * 4}, "'features' is no array of numbers"),
    "nothing": ({}, "holds a dict of nothing"),
}


@pytest.mark.parametrize("name", BAD)
def test_packs_that_are_none(tmp_path, name):
    content, expect = BAD[name]
    (tmp_path / "bad.p").write_bytes(pickle.dumps(content))
    said = train("--training-file", tmp_path / "bad.p", "--model-prefix", tmp_path / "m", expect=2).stderr
    assert re.search(expect, said) and "bad.p" in said
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.p"]


class Malicious:
    def __reduce__(self):
        return print, ("RAN",)


def test_a_pack_that_would_run_code_is_refused_by_name(tmp_path, capfd):
    (tmp_path / "bad.p").write_bytes(pickle.dumps({"features": GOOD, "labels": Malicious()}))
    said = train("--training-file", tmp_path / "bad.p", "--model-prefix", tmp_path / "m", expect=2)
    assert "print" in said.stderr and "nothing ran" in said.stderr
    assert "RAN" not in said.stdout + capfd.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"no pickle"])
def test_files_that_are_neither(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert str(tmp_path / "x") in train("--training-file", tmp_path / "x", expect=2).stderr


def test_a_file_that_is_not_there(tmp_path):
    assert "No such file" in train("--training-file", tmp_path / "x.p", expect=2).stderr


# What does not belong together.


@pytest.mark.parametrize("told, one, other", [
    (dict(layer="relu1"), "the layer relu1", "the layer flatten0"),
    (dict(digest="f" * 16, network="model/new-0002.params"), "model/new-0002.params", "model/net-0001.params"),
    (dict(image_shape=(3, 24, 24)), "3×24×24", "3×16×16"), (dict(resize="squeeze"), "squeeze", "resized to 18")])
def test_feature_files_of_something_else_are_refused_with_both_named(tmp_path, told, one, other):
    first = feature_file(tmp_path / "a.npz", *blobs(30))
    second = feature_file(tmp_path / "b.npz", *blobs(30, seed=1), **told)
    for flag in "--validation-file", "--test-file":
        said = train("--training-file", first, flag, second, "--model-prefix", tmp_path / "m", expect=2).stderr
        assert all(text in said for text in ("a.npz", "b.npz", one, other, "do not belong together")), said


def test_names_and_views_may_differ(tmp_path):
    values, labels = blobs(30)
    first = feature_file(tmp_path / "a.npz", values, labels, values[None] + 1, augmentation={}, seed=0)
    second = feature_file(tmp_path / "b.npz", *blobs(30, seed=1), network="elsewhere/net-0001.params", list="b.lst")
    train("--training-file", first, "--validation-file", second, "--model-prefix", tmp_path / "m", "--epochs", 1)


def test_packs_of_other_sizes_and_files_of_two_kinds(tmp_path, packs):
    wide = pack(tmp_path / "wide.p", *blobs(30, width=6))
    said = train("--training-file", packs[1], "--validation-file", wide, expect=2).stderr
    assert "the one has 6 numbers an image, the other 5" in said and "wide.p" in said and "train.p" in said
    ours = feature_file(tmp_path / "a.npz", *blobs(30))
    said = train("--training-file", packs[1], "--test-file", ours, expect=2).stderr
    assert "a.npz" in said and "train.p" in said and "the one is a feature file, the other a pack" in said


def test_what_trains_does_not_judge_itself(tmp_path, packs):
    said = train("--training-file", packs[1], "--validation-file", packs[1], expect=2).stderr
    assert "hold the same features" in said


def test_a_class_without_rows_is_told(tmp_path, packs):
    values, labels = blobs(50, seed=4)
    other = pack(tmp_path / "more.p", values, labels + 2)
    said = train("--training-file", packs[1], "--validation-file", other, "--model-prefix", tmp_path / "m",
                 "--epochs", 1).stderr
    assert "has no row of 2 of 5 classes, which cannot be learned: 3, 4" in said


@pytest.mark.parametrize("flags, expect", [
    (["--batches", 2, "--batch-size", 256], "--batch-size was given with --batches"),
    (["--optimizer", "adadelta", "--lr", 0.1], "--lr was given with --optimizer adadelta"),
    (["--split", "80,10,10"], "--split was given with --validation-file or --test-file"),
    (["--batches", 301], "--batches is 301; expected at most 300"),
    (["--optimizer", "nothing"], "--optimizer is 'nothing'"),
    (["--resume", "--overwrite"], "--resume and --overwrite were both given"),
    (["--lr", 0], "--lr"), (["--init", "none"], "--init"), (["--hidden", -1], "--hidden")])
def test_what_cannot_be_is_refused(packs, tmp_path, flags, expect):
    assert expect in train(*packs, *flags, expect=2).stderr
    assert not list(tmp_path.glob("m/*"))


def test_a_library_user_is_told_too():
    rows = labelled(*blobs(30))
    with pytest.raises(InputError, match="`batch_size` was given with `batches`"):
        train_classifier(rows, ClassifierOptions(batches=2, batch_size=7))
    with pytest.raises(InputError, match="`resume`, `load_epoch` or `overwrite` was given without `prefix`"):
        train_classifier(rows, resume=True)


def test_resume_and_overwrite_want_a_prefix(packs):
    for flag in "--resume", "--overwrite":
        assert f"{flag} was given without --model-prefix" in train(*packs[:4], flag, expect=2).stderr


def test_more_classes_than_the_usual_null_label():
    """9999 is a class like any other."""
    labels = np.array([0, 9999] * 3)
    labels = np.concatenate([labels, np.zeros(10_000 - 6, int)])
    values = np.where(labels == 9999, 1.0, -1.0).astype(np.float32)[:, None] * np.ones((1, 2), np.float32)
    one, other = (labelled(values[-4:] + shift, np.full(4, 9999)) for shift in (1, 2))
    done = train_classifier(labelled(values, labels), ClassifierOptions(epochs=1, batches=1), validation=one,
                            test=other)
    assert done.net.fc_weight.shape == (10_000, 2)
    assert not math.isnan(done.results[-1].validation_accuracy) and not math.isnan(done.test_accuracy)
    loss, _, correct, counted = TransferObjective(null_label=training_classifier._NO_NULL_LABEL)(
        mx.nd.zeros((1, 2)), mx.nd.zeros((1, 10_000)), mx.nd.array([9999]))[1].asnumpy()
    assert (loss, correct, counted) == (pytest.approx(math.log(10_000), rel=1e-4), 0, 1)


def test_from_a_network_to_a_classifier(stage0, data, tmp_path):
    """What extract_features.py writes is what train_classifier.py reads."""
    for name in "source", "val":
        call("extract_features.py", "--model", stage0, "--epoch", 1, "--lst", data / f"{name}.lst", "--image-shape",
             "3,16,16", "--out", tmp_path / f"{name}.npz")
    said = train("--training-file", tmp_path / "source.npz", "--validation-file", tmp_path / "val.npz",
                 "--model-prefix", tmp_path / "c", "--epochs", 60, "--lr", 0.01).stdout
    accuracy = float(re.search(r"validation accuracy ([0-9.]+)%", said)[1])
    assert accuracy > 60 and read_features(tmp_path / "val.npz").values.shape == (16, 64)


def test_a_smaller_last_batch_has_a_mean_of_its_own():
    """7 rows in batches of 4: the second step is that of the mean over 3 rows."""
    values, labels = blobs(7)
    net = train_classifier(labelled(values, labels), ClassifierOptions(epochs=1, batch_size=4, shuffle=False, lr=0.5,
                                                                       optimizer="sgd")).net
    begun = train_classifier(labelled(values, labels), ClassifierOptions(epochs=1, batch_size=4, shuffle=False,
                                                                         lr=1e-30, optimizer="sgd")).net
    weight, bias = (value.data().asnumpy().astype(float) for value in (begun.fc_weight, begun.fc_bias))
    moved = [0, 0]
    for rows in slice(0, 4), slice(4, 7):
        scores = np.exp(values[rows] @ weight.T + bias)
        wrong = scores / scores.sum(axis=1, keepdims=True) - np.eye(len(bias))[labels[rows]]
        gradients = wrong.T @ values[rows] / len(wrong), wrong.mean(axis=0)
        moved = [0.9 * before - 0.5 * gradient for before, gradient in zip(moved, gradients)]
        weight, bias = weight + moved[0], bias + moved[1]
    np.testing.assert_allclose(net.fc_weight.data().asnumpy(), weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.fc_bias.data().asnumpy(), bias, rtol=1e-4, atol=1e-5)


def test_runs_without_a_prefix_keep_apart(packs, tmp_path, monkeypatch):
    """However many processes begin in one second."""
    monkeypatch.setattr(time, "strftime", lambda *_: "then")
    for process in 1001, 1002:
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        train(*packs[:4], "--epochs", 1, cwd=tmp_path)
    assert {path.name for path in (tmp_path / "runs").glob("*-run")} == {"then-1001-run", "then-1002-run"}


def test_killed_it_goes_on_bitwise(packs, tmp_path):
    flags = [*packs[:4], "--epochs", 12, "--batch-size", 2, "--model-prefix"]
    train(*flags, tmp_path / "whole")
    command = [sys.executable, ROOT / "train_classifier.py", *flags, tmp_path / "killed", "--resume"]
    for least in 1, 3:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (tmp_path / f"killed-{least:04d}.params").exists():
            time.sleep(0.002)
        process.kill()
        process.wait()
    train(*flags, tmp_path / "killed", "--resume")
    for end in "-symbol.json", "-0012.params", "-run/summary.csv", "-run/state.params":
        assert (tmp_path / f"whole{end}").read_bytes() == (tmp_path / f"killed{end}").read_bytes(), end
