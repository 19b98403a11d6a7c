"""How well a network does: figures as by their formulas, tables and pictures under the names of the classes."""
import csv
import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import call

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import making_folder
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.inference import report
from transfer_gluon.inference.calibration import brier_scores, calibration, likelihood_losses, log_softmax
from transfer_gluon.inference.confusion import confusion_matrix, most_confused, precisions, recalls
from transfer_gluon.inference.pictures import draw_confusion, draw_reliability
from transfer_gluon.inference.report import evaluate_images, write_evaluation
from transfer_gluon.iters import read_list, write_list

FILES = ["calibration.csv", "classes.csv", "confusion.csv", "confusion.png", "evaluation.json", "predictions.csv",
         "reliability.png"]


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def judge(stage0, lst, tmp_path, *flags, expect=0):
    """Call evaluate.py, and get what it said and the folder that it wrote."""
    done = call("evaluate.py", "--model", stage0, "--epoch", 1, "--lst", lst, "--output", tmp_path / "out", *flags,
                expect=expect)
    return done, tmp_path / "out"


def test_figures_are_those_of_the_formulas():
    """One image at a time, in float64, by the definitions."""
    rng = np.random.default_rng(0)
    z, y = 3 * rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    log_p = log_softmax(z)
    np.testing.assert_allclose(likelihood_losses(log_p, y), [-np.log(p[i, c]) for i, c in enumerate(y)], rtol=1e-9)
    np.testing.assert_allclose(brier_scores(log_p, y), [sum((p[i, k] - (k == c))**2 for k in range(7))
                                                        for i, c in enumerate(y)], rtol=1e-9)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    error = 0
    for k in range(15):
        inside = [i for i in range(200) if k / 15 < confidence[i] <= (k + 1) / 15]
        if inside:
            error += len(inside) / 200 * abs(np.mean(right[inside]) - np.mean(confidence[inside]))
    found = calibration(confidence, right)
    assert found.error == pytest.approx(error, rel=1e-12) and len(found.counts) == 15 and found.counts.sum() == 200
    matrix = confusion_matrix(y, p.argmax(axis=1), 7)
    wanted = [[sum((y == true) & (p.argmax(axis=1) == taken)) for taken in range(7)] for true in range(7)]
    np.testing.assert_array_equal(matrix, wanted)
    np.testing.assert_allclose(recalls(matrix), [right[y == c].mean() for c in range(7)])
    np.testing.assert_allclose(precisions(matrix), [(y[p.argmax(axis=1) == c] == c).mean() for c in range(7)])
    assert most_confused(matrix, 1)[0][2] == (matrix - np.diag(np.diag(matrix))).max()


def test_edges_belong_to_the_bin_below_and_large_scores_do_no_harm():
    found = calibration([0.0, 0.5, 0.50001, 1.0], [True] * 4, num_bins=2)
    assert found.counts.tolist() == [2, 2]
    assert calibration([1.0] * 3, [True] * 3).error == 0 and calibration([1.0] * 3, [False] * 3).error == 1
    np.testing.assert_allclose(log_softmax(np.array([[1e30, 0.0], [-1e4, -1e4]])), [[0, -1e30], [np.log(0.5)] * 2])


def test_a_checkpoint_is_judged_by_the_labels_of_a_list(stage0, data, tmp_path):
    images = read_list(data / "val.lst")
    labels = [*images.labels[:12].tolist(), 9999, 9999, 1, 0]       # the last two may be wrong
    lst = write_list(data / "known.lst", labels, images.files)
    (tmp_path / "names.txt").write_text("red, bright\ngreen\nblau ä\n", encoding="utf-8")
    done, out = judge(stage0, lst, tmp_path, "--classes", tmp_path / "names.txt", "--batch-size", 5)
    assert sorted(path.name for path in out.iterdir()) == FILES and not list(tmp_path.glob(".out*"))

    call("predict.py", "--model", stage0, "--epoch", 1, "--lst", lst, "--out", tmp_path / "p.csv")
    said = rows(tmp_path / "p.csv")
    predicted = np.array([int(row["label_1"]) for row in said])
    p = np.array([[float(row[f"probability_{1 + [int(row[f'label_{r}']) for r in (1, 2, 3)].index(c)}"])
                   for c in range(3)] for row in said])
    known = np.array(labels) != 9999
    y, right = np.array(labels)[known], predicted[known] == np.array(labels)[known]
    found = json.loads((out / "evaluation.json").read_text())
    by_class = [right[y == c].mean() for c in range(3)]
    assert {name: found[name] for name in ("images", "counted")} == {"images": 16, "counted": 14}
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["mean_class_accuracy"] == pytest.approx(np.mean(by_class))
    assert found["negative_log_likelihood"] == pytest.approx(-np.log(p[known][np.arange(14), y]).mean(), rel=1e-4)
    assert found["brier_score"] == pytest.approx(((p[known] - np.eye(3)[y])**2).sum(axis=1).mean(), rel=1e-4)
    assert found["expected_calibration_error"] == pytest.approx(
        calibration(p[known].max(axis=1), right).error, abs=1e-4)
    assert "top_5_accuracy" not in found

    table = rows(out / "classes.csv")
    assert [row["class"] for row in table] == ["red, bright", "green", "blau ä"]
    assert [int(row["images"]) for row in table] == [sum(y == c) for c in range(3)]
    assert [float(row["accuracy"]) for row in table] == pytest.approx(by_class, rel=1e-5)
    matrix = rows(out / "confusion.csv")
    assert [row["true \\ predicted"] for row in matrix] == ["red, bright", "green", "blau ä"]
    np.testing.assert_array_equal([[int(row[name]) for name in ("red, bright", "green", "blau ä")] for row in matrix],
                                  confusion_matrix(y, predicted[known], 3))
    told = rows(out / "predictions.csv")
    names = ["red, bright", "green", "blau ä"]
    assert [row["path"] for row in told] == images.files
    assert [row["predicted"] for row in told] == [names[c] for c in predicted]
    assert [row["true"] for row in told] == [names[c] if c != 9999 else "" for c in labels]
    assert [row["right"] for row in told] == [str(int(c == k)) if c != 9999 else "" for c, k in zip(labels, predicted)]
    assert sum(int(row["images"]) for row in rows(out / "calibration.csv")) == 14

    assert "s0-0001.params on " in done.stdout and ": 14 images with a label" in done.stdout
    assert "2 images have no label, and do not count" in done.stdout
    assert f"accuracy                    {right.mean():.2%}" in done.stdout
    worst = names[int(np.argmin(by_class))]
    assert f"classes, the worst first:\n  {worst}" in done.stdout
    assert done.stdout.endswith(f"figures, tables and pictures: {out}\n")


def test_without_names_classes_are_numbers_and_the_folder_is_named_after_the_time(stage0, data, tmp_path):
    done = call("evaluate.py", "--model", stage0, "--epoch", 1, "--lst", data / "val.lst", cwd=tmp_path)
    folder = tmp_path / done.stdout.split()[-1]
    assert folder.parent == tmp_path / "runs" and folder.name.startswith("evaluate-")
    assert [row["class"] for row in rows(folder / "classes.csv")] == ["0", "1", "2"]


def test_a_list_without_labels_is_refused_and_says_what_to_do(stage0, data, tmp_path):
    done, out = judge(stage0, data / "target.lst", tmp_path, expect=2)
    assert "none of its 16 images has a label" in done.stderr and "Give a list with labels" in done.stderr
    assert not out.exists() and not done.stdout


def test_images_that_cannot_be_read_do_not_count_and_are_named(stage0, data, tmp_path):
    images = read_list(data / "val.lst")
    Path(images.files[3]).write_text("no image")
    done, out = judge(stage0, data / "val.lst", tmp_path, expect=2)
    assert "1 of its 16 images are missing or cannot be decoded, and do not count" in done.stderr
    assert "003.jpg" in done.stderr and "1 image cannot be read, and do not count" in done.stdout
    assert json.loads((out / "evaluation.json").read_text())["counted"] == 15
    assert {*rows(out / "predictions.csv")[3].values()} == {images.files[3], "0", ""}
    for file in images.files:
        Path(file).unlink()
    with pytest.raises(InputError, match="none of its images with a label can be read"):
        evaluate_images(load_checkpoint(stage0, 1), images, [mx.cpu()], bad=[])


@pytest.mark.parametrize("flags, problem", [
    (["--classes", "two.txt"], "2 names of classes were given, .* and .*s0-0001.params has 3 classes"),
    (["--null-label", 1, "--lst", "seven.lst"], "has the labels 7, and .* has 3 classes; say by --null-label"),
    (["--output", "full"], "full: is there already"),
    (["--output", "two.txt/x"], "--output: the folder two.txt cannot be written"),
    (["--epoch", 4], "no such checkpoint; of the prefix .* there are the epochs 1"),
    (["--gpu", "0"], "CPU build"),
    (["--val-resize", 3], "3"),
])
def test_what_cannot_be_judged_is_refused(stage0, data, tmp_path, flags, problem):
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    write_list(tmp_path / "seven.lst", [0, 1, 7], read_list(data / "val.lst").files[:3])
    done = call("evaluate.py", "--model", stage0, "--epoch", 1, "--lst", data / "val.lst", *flags, expect=2,
                cwd=tmp_path)
    assert re.search(problem, done.stderr), done.stderr
    assert not list(tmp_path.glob("runs/*/*"))


def test_the_null_label_is_the_one_that_is_named(stage0, data, tmp_path):
    _, out = judge(stage0, data / "val.lst", tmp_path, "--null-label", 2)
    assert json.loads((out / "evaluation.json").read_text())["counted"] == 11
    assert rows(out / "classes.csv")[2]["accuracy"] == ""


def test_sizes_reach_the_reader(stage0, data, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(report, "prepared", lambda *given: seen.append(given) or (_ for _ in ()).throw(InputError("")))
    for flags, wanted in ([], (16, 16, None)), (["--image-shape", "3,20,24"], (20, 24, None)), (
            ["--val-resize", "squeeze"], (16, 16, "squeeze")):
        judge(stage0, data / "val.lst", tmp_path, *flags, expect=2)
        assert seen.pop() == wanted


def test_many_classes_are_told_by_the_worst_ten_and_by_the_five_most_probable(stage0, data, monkeypatch, tmp_path):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(16, 40)).astype(np.float32)
    scores[2, :9] = scores[2].max() + 1                     # of equal ones, the first is the most probable
    files = read_list(data / "val.lst").files
    images = read_list(write_list(data / "many.lst", [5 if i < 3 else 2 * i for i in range(16)], files))
    monkeypatch.setattr(report, "num_classes", lambda *_: 40)
    monkeypatch.setattr(report, "ready_classifier", lambda *_: None)

    def outputs(net, batches, *_):
        for places in np.array_split(np.arange(16), 3):
            yield type("Batch", (), dict(logits=scores[places], index=places, __len__=lambda self: 1))()
    monkeypatch.setattr(report, "outputs", outputs)
    found = evaluate_images(load_checkpoint(stage0, 1), images, [mx.cpu()], [f"model {c}" for c in range(40)])
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = [order[i].tolist().index(label) for i, label in enumerate(images.labels)]
    assert found.ranks.tolist() == ranks and found.predicted[2] == 0
    assert found.figures()["top_5_accuracy"] == np.mean(np.array(ranks) < 5)
    assert found.figures()["accuracy"] == np.mean(np.array(ranks) == 0)
    assert "the worst 10 of 14 classes:" in str(found) and "most often taken for another:\n  model" in str(found)
    write_evaluation(tmp_path / "e", found)
    assert len(rows(tmp_path / "e" / "confusion.csv")) == 40


@pytest.mark.parametrize("classes", [1, 4, 49, 263])
def test_pictures_have_room_for_every_name(classes, tmp_path, monkeypatch):
    from matplotlib.figure import Figure
    said = {}

    def save(figure, path, **_):
        figure.draw_without_rendering()
        axis = figure.axes[0]
        said["names"] = [[label.get_text() for label in labels][:classes]         # then those of the other side
                         for labels in (axis.get_yticklabels(), axis.get_xticklabels())]
        boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
        said["apart"] = all(high.y0 >= low.y1 - 1 or low.y0 >= high.y1 - 1 for high, low in zip(boxes, boxes[1:]))
        said["formulas"] = any(label.get_parse_math() for label in (*axis.get_yticklabels(), *axis.get_xticklabels()))
        said["height"] = boxes[0].height
        said["inside"] = all(box.x0 >= 0 for box in boxes)
        said["texts"] = {text.get_text() for text in axis.texts}
        original(figure, path, **_)
    original = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", save)
    names = [f"class {c} $x$ 鳥" if c else "a name that is far too long to stand on an axis" for c in range(classes)]
    matrix = np.eye(classes, dtype=int) * 7
    draw_confusion(tmp_path / "c.png", matrix, names)
    shown = ["a name that is far too long…", *names[1:]]
    assert said["names"] == [shown, shown] and said["apart"] and said["inside"] and said["height"] > 8
    assert not said["formulas"]
    assert said["texts"] == ({"7"} if classes < 25 else set())
    picture = cv2.imread(str(tmp_path / "c.png"))
    assert min(picture.shape[:2]) >= 10 * classes and max(picture.shape) < 6500


def test_the_diagram_tells_the_error(tmp_path):
    draw_reliability(tmp_path / "r.png", calibration([0.2, 0.9], [False, True]))
    assert cv2.imread(str(tmp_path / "r.png")).shape[0] > 300


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "made"
    with pytest.raises(ZeroDivisionError):
        with making_folder(path) as folder:
            (folder / "one").touch()
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with making_folder(path) as folder:
        (folder / "one").touch()
        assert not path.exists()
        dead = folder.rename(folder.with_name(folder.name.replace(f".{os.getpid()}.", ".999999999.")))
        folder.mkdir()
    assert dead.is_dir() and path.is_dir()
    (tmp_path / "made").rmdir()
    path.mkdir()        # an empty one is no loss
    with making_folder(path) as folder:
        (folder / "two").touch()
    assert [one.name for one in tmp_path.iterdir()] == ["made"] and (path / "two").exists()
    with pytest.raises(InputError, match="made: is there already"):
        with making_folder(path):
            pass
    with making_folder(path, ["one", "two"]) as folder:
        (folder / "one").touch()
        assert (path / "two").exists()
    assert [one.name for one in path.iterdir()] == ["one"]
    (path / "letter").touch()
    with pytest.raises(InputError, match="made: is there already"):     # nor does anything else give way
        with making_folder(path, ["one", "two"]):
            pass
    assert (path / "letter").exists()


def test_an_evaluation_gives_way_to_another_where_asked(stage0, data, command, tmp_path):
    flags = ["--model", stage0, "--epoch", 1, "--lst", data / "val.lst", "--output", tmp_path / "e"]
    command("evaluate.py", *flags)
    assert "is there already" in command("evaluate.py", *flags, expect=2).stderr
    command("evaluate.py", *flags[:-3], data / "source.lst", *flags[-2:], "--overwrite")
    assert len(rows(tmp_path / "e" / "predictions.csv")) == 24
    said = command("evaluate.py", *flags[:-2], "--overwrite", expect=2).stderr
    assert "--overwrite was given without --output" in said
