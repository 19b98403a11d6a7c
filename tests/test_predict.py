"""Predictions for images without labels."""
import csv
from pathlib import Path

import numpy as np
import pytest
from tiny import SHAPE, tiny_symbol

from predict import main
from transfer_gluon.base.errors import DivergedError, InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, save_checkpoint, write_checkpoint
from transfer_gluon.inference.predictions import predict, predict_images
from transfer_gluon.iters import OrderedIter, read_list, write_list
from transfer_gluon.iters.transforms import centre_crop, prepared
from transfer_gluon.symbols import TransferNet, features_block, image_shape_of
from transfer_gluon.training.learner import prepare


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_list_without_labels_is_classified_in_its_order(stage0, data, command, tmp_path):
    out, names = tmp_path / "p" / "predictions.csv", ["red, bright", "green", "blau ä"]
    (tmp_path / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    images = read_list(data / "target.lst")
    command("predict.py", "--model", stage0, "--epoch", 1, "--lst", images.path, "--out", out, "--batch-size", 5)
    header, *rows = read_csv(out)
    assert header == ["path", "label_1", "probability_1", "label_2", "probability_2", "label_3", "probability_3"]
    assert [row[0] for row in rows] == images.files and not images.labelled.any()
    checkpoint = load_checkpoint(stage0, 1)
    assert image_shape_of(checkpoint.symbol) == (3, 16, 16)
    net = checkpoint.classifier("flatten0", 3)
    net.initialize()
    batches = OrderedIter(images, 4, centre_crop(16, 16))
    pixels = mx.nd.concat(*(batch.data[0] for batch in batches), dim=0).astype("float32")
    wanted = mx.nd.softmax(net(pixels)[1]).asnumpy()
    labels = np.array([row[1::2] for row in rows], int)
    np.testing.assert_array_equal(labels, np.argsort(-wanted, axis=1))
    np.testing.assert_allclose(np.array([row[2::2] for row in rows], float),
                               np.take_along_axis(wanted, labels, axis=1), atol=1e-5)

    main(["--model", str(stage0), "--epoch", "1", "--lst", str(images.path), "--out", str(out), "--top-k", "1",
          "--classes", str(tmp_path / "classes.txt")], standalone_mode=False)
    assert [row[1] for row in read_csv(out)[1:]] == [names[label] for label in labels[:, 0]]


def test_the_accuracy_is_told_where_labels_are_known(stage0, data, command, tmp_path):
    images = read_list(data / "val.lst")
    lst = write_list(tmp_path / "some.lst", [*images.labels[:9], *[9999] * 7], images.files)
    Path(images.files[2]).write_text("no image")
    done = command("predict.py", "--model", stage0, "--epoch", 1, "--lst", lst, "--out", tmp_path / "p.csv", expect=2)
    right = [row[1] == str(label) for row, label in zip(read_csv(tmp_path / "p.csv")[1:], images.labels[:9]) if row[1]]
    assert f"accuracy of the 8 images with a label: {np.mean(right):.2%}" in done.stdout and len(right) == 8
    done = command("predict.py", "--model", stage0, "--epoch", 1, "--lst", data / "target.lst", "--out",
                   tmp_path / "p.csv", expect=2)
    assert "accuracy" not in done.stdout


def test_unreadable_images_are_named_and_cost_no_other_prediction(stage0, data, command, tmp_path):
    images = read_list(data / "target.lst")
    files = [*images.files[:3], str(tmp_path / "missing.jpg"), str(tmp_path / "text.jpg"), *images.files[3:5]]
    (tmp_path / "text.jpg").write_text("no image")
    lst = write_list(tmp_path / "some.lst", [9999] * 7, files)
    said = command("predict.py", "--model", stage0, "--epoch", 1, "--lst", lst, "--out", tmp_path / "p.csv",
                   "--batch-size", 2, expect=2).stderr
    assert "2 of its 7 images are missing" in said and "missing.jpg" in said and "text.jpg" in said
    rows = read_csv(tmp_path / "p.csv")[1:]
    assert [row[0] for row in rows] == files
    assert [not any(row[1:]) for row in rows] == [False] * 3 + [True] * 2 + [False] * 2
    write_list(lst, [9999] * 5, [*files[:3], *files[5:]])
    main(["--model", str(stage0), "--epoch", "1", "--lst", str(lst), "--out", str(tmp_path / "p.csv")],
         standalone_mode=False)
    for row, alone in zip([*rows[:3], *rows[5:]], read_csv(tmp_path / "p.csv")[1:]):
        assert row[0] == alone[0]
        np.testing.assert_allclose(np.array(row[1:], float), np.array(alone[1:], float), atol=1e-5)


@pytest.mark.parametrize("flags, problem", [
    (["--top-k", 4], "--top-k is 4, and .* has 3 classes"),
    (["--classes", "two.txt"], "two.txt: 2 classes, and .* has 3; expected"),
    (["--classes", "none.txt"], "none.txt: cannot be read"),
    (["--gpu", "0"], "CPU build"),
    (["--out", "two.txt/p.csv"], "--out: the folder two.txt cannot be written"),
    (["--epoch", 4], "no such checkpoint; of the prefix .* there are the epochs 1"),
])
def test_what_cannot_be_predicted_is_refused(stage0, data, tmp_path, monkeypatch, flags, problem):
    monkeypatch.chdir(tmp_path)
    Path("two.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=problem):
        main(["--model", str(stage0), "--epoch", "1", "--lst", str(data / "target.lst"), *map(str, flags)],
             standalone_mode=False)
    assert not Path("predictions.csv").exists()


def test_what_cannot_be_read_is_told_once_however_often_it_is_read(stage0, data):
    images = read_list(data / "val.lst")
    Path(images.files[3]).unlink()
    bad = ["of before"]
    for _ in range(2):
        classes, _ = predict_images(load_checkpoint(stage0, 1), images, [mx.cpu()], batch_size=3, bad=bad)
        assert len(bad) == 1 and "003.jpg cannot be used" in str(bad[0])
        assert np.flatnonzero(classes[:, 0] == -1).tolist() == [3] and classes.shape == (16, 3)
    with pytest.raises(InputError, match="`top_k` is 0, and .* has 3 classes"):
        predict_images(load_checkpoint(stage0, 1), images, [mx.cpu()], top_k=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_checkpoint_with_values_that_are_no_numbers_is_refused(stage0, data, tmp_path, value):
    checkpoint = load_checkpoint(stage0, 1)
    checkpoint.arg_params["fc_weight"][1, 2] = value
    checkpoint.aux_params["bn1_moving_var"][0] = value
    write_checkpoint(tmp_path / "m", 1, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    with pytest.raises(InputError, match="(?s)m-0001.params: 2 of .* NaN or infinite.*\n  bn1_moving_var\n  fc_weight"):
        main(["--model", str(tmp_path / "m"), "--epoch", "1", "--lst", str(data / "target.lst"), "--out",
              str(tmp_path / "p.csv")], standalone_mode=False)
    assert not (tmp_path / "p.csv").exists()
    for start in (checkpoint.features, lambda layer: checkpoint.classifier(layer, 3)):      # to train on, too
        with pytest.raises(InputError, match="NaN or infinite"):
            start("flatten0")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_class_scores_that_are_no_numbers_are_no_prediction(data, value):
    images = read_list(data / "val.lst")
    batches = OrderedIter(images, 16, centre_crop(16, 16))

    def scores(images):
        values = mx.nd.zeros((len(images), 3))
        values[5, 1] = value
        return values

    with pytest.raises(DivergedError, match="m-0001.params: class scores of 1 of 16 images are NaN or infinite"):
        predict(scores, batches, [mx.cpu()], 1, "m-0001.params")


def test_five_classes_are_named_unless_told_otherwise(data, tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr("transfer_gluon.inference.predictions.prepared",
                        lambda *given: sizes.append(given[:2]) or prepared(*given))
    net = TransferNet(features_block(tiny_symbol()), 7, image_shape=SHAPE)
    prepare(net, [mx.cpu()])
    net(mx.nd.zeros((1, *SHAPE)))
    save_checkpoint(tmp_path / "m", 1, net)
    flags = ["--model", str(tmp_path / "m"), "--epoch", "1", "--lst", str(data / "val.lst"), "--out",
             str(tmp_path / "p.csv")]
    for more, count in ([], 5), (["--top-k", "7", "--image-shape", "3,6,8"], 7):
        main([*flags, *more], standalone_mode=False)
        header, row, *_ = read_csv(tmp_path / "p.csv")
        assert len(header) == len(row) == 1 + 2 * count and len(set(row[1::2])) == count
    assert sizes == [(4, 4), (6, 8)]
