"""The evidence for choosing without labels: its domains, what is run once, and tables whose answers are known."""
import csv
import dataclasses
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import call, make_domain

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import read_list
from transfer_gluon.records.class_names import read_classes
from transfer_gluon.scores.basis import Score
from transfer_gluon.scores.choice import Rule
from transfer_gluon.scores.registry import SCORES
from transfer_gluon.scores.seen import Seen
from transfer_gluon.tools import degrade, digits, letters
from transfer_gluon.trials import decisions, evidence, verdicts
from transfer_gluon.trials.decisions import ByRule, groups, judge


def pictures(path):
    return [cv2.imread(file) for file in read_list(path).files]


def row(method, weight, epoch, accuracy, good=None, source_accuracy=0.9, class_shares=-0.1, pair="a", seed=0):
    """A row whose score `good` orders as accuracy does unless it is given, and whose score `bad` is its opposite."""
    good = accuracy / 10 if good is None else good
    return {"pair": pair, "seed": seed, "method": method, "weight": weight, "epoch": epoch,
            "is_source": int(method == "source"), "accuracy": accuracy, "good": good, "bad": -accuracy,
            "source_accuracy": source_accuracy, "class_shares": class_shares,
            **{f"ensemble_{decision}": good for decision in decisions.DECISIONS}}


@pytest.fixture
def told():
    """A source model of 50 %, JAN at two weights and DAN, three epochs each; the last of weight 2 is best by far, and
    has forgotten the source."""
    return [row("source", "", 8, 50.0),
            *[row("jan", "0.5", epoch, value) for epoch, value in ((1, 60.0), (2, 70.0), (3, 65.0))],
            *[row("jan", "2", epoch, value, source_accuracy=0.5) for epoch, value in ((1, 55.0), (2, 40.0), (3, 80.0))],
            *[row("dan", "0.5", epoch, value) for epoch, value in ((1, 45.0), (2, 48.0), (3, 46.0))]]


def write(path, told):
    evidence.write(path, told)
    return decisions.read(path)


def test_what_is_decided_among(told):
    epochs = groups(told, "epochs")
    assert [[one["accuracy"] for one in group.candidates] for group in epochs] == \
        [[60, 70, 65], [55, 40, 80], [45, 48, 46]]
    assert [[one["accuracy"] for one in group.candidates] for group in groups(told, "run")] == \
        [[60, 70, 65, 50], [55, 40, 80, 50], [45, 48, 46, 50]]      # the source model's beside
    weights, = groups(told, "weights")
    assert [one["accuracy"] for one in weights.candidates] == [65, 80]      # DAN has one weight: nothing to decide
    methods, = groups(told, "methods")
    assert [one["accuracy"] for one in methods.candidates] == [65, 80, 46, 50]      # with the source model
    everything, = groups(told, "all")
    assert len(everything.candidates) == 10 and everything.oracle == 80
    other = [{**one, "seed": 1} for one in told]
    assert len(groups(told + other, "epochs")) == 6 and len(groups(told + other, "all")) == 2
    with pytest.raises(InputError, match="a, seed 0: 0 rows are the source model"):
        groups(told[1:], "all")


def test_verdicts_on_good_and_bad_scores_are_known(told):
    good, bad = decisions.plain(["good", "bad"])
    epochs = groups(told, "epochs")
    assert judge(good, epochs) == decisions.Verdict(1, 0, 0, pytest.approx(1 / 3), 3)     # DAN is always below
    assert judge(bad, epochs) == decisions.Verdict(-1, pytest.approx((10 + 40 + 3) / 3), 40, pytest.approx(2 / 3), 3)
    assert judge(bad, groups(told, "methods")).lost == 80 - 46
    assert judge(good, groups(told, "run")) == decisions.Verdict(1, 0, 0, 0, 3)       # DAN's run is not taken
    assert judge(good, groups(told, "all")).below == 0
    half = decisions.correlation(np.array([1.0, 2.0, 3.0, 4.0]), [{"accuracy": value} for value in (1, 2, 4, 3)])
    assert half == pytest.approx(0.8)       # 1 - 6 Σd² / (n (n² - 1)), d = 0, 0, 1, 1
    assert np.isnan(decisions.correlation(np.ones(3), [{"accuracy": value} for value in (1, 2, 4)]))


def test_guards_refuse_who_forgets_the_source_and_else_the_source_model_is_kept(told):
    guarded = ByRule("guarded", Rule(("good",), 0.05, 0.2))
    methods, = groups(told, "methods")
    assert guarded.pick(methods)[0]["accuracy"] == 65
    epochs = groups(told, "epochs")
    assert [guarded.pick(group)[0]["accuracy"] for group in epochs] == [70, 50, 48]     # of weight 2 none is left
    collapsed = [{**one, "class_shares": -0.1 if one["is_source"] else -0.4} for one in told]
    assert all(guarded.pick(group)[0]["is_source"] for group in groups(collapsed, "epochs"))


def test_the_source_model_is_kept_unless_the_gain_exceeds_the_noise(told):
    methods, = groups(told, "methods")
    # Steps in the second half of the runs: -0.5, +4 and -0.2.
    assert methods.noise("good") == pytest.approx(0.5)
    picks = [ByRule("", Rule(("good",), 1, 1), margin).pick(methods)[0]["accuracy"] for margin in (0, 5.9, 6.1)]
    assert picks == [80, 80, 50]
    first = groups(told, "epochs")[2]           # where the source model is no candidate, it is kept too
    assert ByRule("", Rule(("good",), 1, 1), 0).pick(first)[0]["is_source"]
    assert not ByRule("", Rule(("good",), 1, 1)).pick(first)[0]["is_source"]


def test_what_a_score_cannot_tell_is_not_picked(told):
    good, = decisions.plain(["good"])
    unknown = [{**one, "good": float("nan")} if one["accuracy"] >= 70 else one for one in told]
    picks = [good.pick(group)[0]["accuracy"] for group in groups(unknown, "epochs")]
    assert picks == [65, 55, 48]
    nothing = [{**one, "good": float("nan")} for one in told]
    assert all(good.pick(group)[0]["is_source"] for group in groups(nothing, "all"))


def test_a_score_that_compares_has_a_column_a_decision(told):
    for one in told:
        one["ensemble_epochs"], one["ensemble_all"] = -one["accuracy"], one["accuracy"]
    assert decisions.score_names(told[0]) == ["good", "bad", "source_accuracy", "class_shares", "ensemble"]
    ensemble, = decisions.plain(["ensemble"])
    assert [ensemble.pick(groups(told, name)[0])[0]["accuracy"] for name in ("epochs", "all")] == [60, 80]


def test_the_tables_of_a_file(told, tmp_path):
    rows = write(tmp_path / "e.csv", told + [{**one, "pair": "b", "seed": seed, "accuracy": one["accuracy"] + seed}
                                             for seed in (0, 2) for one in told])
    text = verdicts.report(rows, {"b"}, {"a": "one", "b": "two"}, "good")
    lines = [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines()]
    assert "## Pairs that rules are chosen by: one" in text and "## Pairs that rules are reported on: two" in text
    first = ["good", "1.00 / 0.0 / 33 %", "1.00 / 0.0 / 0 %", "– / 0.0 / 0 %", "1.00 / 0.0 / 0 %", "1.00 / 0.0 / 0 %"]
    last = ["JAN, last epoch", "– / 2.3 / 33 %", "– / 3.0 / 33 %", "– / 15.0 / 0 %", "– / 15.0 / 0 %", "– / 15.0 / 0 %"]
    assert first in lines and last in lines
    assert ["jan, 2", "80.0", "81.0 ± 1.4"] in lines
    assert ["two", "2", "51.0 ± 1.4", "66.0 ± 1.4", "71.0 ± 1.4", "81.0 ± 1.4", "81.0 ± 1.4", "81.0 ± 1.4"] in lines
    best = verdicts.report(rows, {"b"}, {})
    assert "## good\n" in best                  # chosen by `a` alone
    wrong = write(tmp_path / "f.csv", [{**one, "good": -one["accuracy"], "bad": one["accuracy"]} if one["pair"] == "a"
                                       else one for one in rows])
    assert "## bad\n" in verdicts.report(wrong, {"b"}, {})
    with pytest.raises(InputError, match="`rule` is 'x'"):
        verdicts.report(rows, {"b"}, {}, "x")


def test_tables_are_made_again_of_a_file_alone(told, tmp_path):
    evidence.write(tmp_path / "evidence.csv", told)
    said = call("tools/evidence.py", "--tables", "--output", tmp_path, "--rule", "bad").stdout
    assert "## bad\n" in said and (tmp_path / "tables.md").read_text() in said
    said = call("tools/evidence.py", "--tables", "--output", tmp_path, "--seeds", 2, expect=2).stderr
    assert "--seeds was given with --tables, which runs nothing" in said
    (tmp_path / "evidence.csv").write_text("pair,seed\na,0\n")
    assert "not a table of evidence" in call("tools/evidence.py", "--tables", "--output", tmp_path, expect=2).stderr
    (tmp_path / "evidence.csv").unlink()
    assert "evidence.csv" in call("tools/evidence.py", "--tables", "--output", tmp_path, expect=2).stderr


# --- what is run

TINY = evidence.Pair("tiny", 3, "--image-shape 3,16,16 --lr 0.01 --batch-size 8",
                     "--network resnet --num-layers 8 --num-epochs 1", "--num-epochs 2", "--image-shape 3,16,16")


@pytest.fixture
def pair(data, monkeypatch):
    """The pair `data`, tiny; the folder it lies in."""
    monkeypatch.setattr(evidence, "PAIRS", {"data": TINY})
    return data.parent


def words(run):
    return " ".join(run.trial.command)


def test_every_method_is_called_by_its_own_flags(pair, tmp_path):
    methods = "adabn", "jan", "jan:2", "jan-quadratic", "dann", "mcc"
    runs = evidence.plan("data", TINY, pair, tmp_path / "out", 3, methods, "n")
    source, adabn, jan, heavy, quadratic, dann, mcc = runs
    assert source.is_source and "--train-stage 0" in words(source) and "--pretrained-model" not in words(source)
    assert all("--seed 3" in words(run) and "--source-validation 0.1" in words(run) for run in (source, jan, mcc))
    assert all("--no-validation" in words(run) for run in (source, jan))        # no target label is read
    assert "target.lst" in words(adabn) and adabn.epochs == (1,) and jan.epochs == (1, 2)
    for run, loss, weight in ((jan, "jmmd", "0.5"), (heavy, "jmmd", "2"), (quadratic, "jmmd", "0.5"),
                              (dann, "dann", "1")):
        assert f"--transfer {loss} --relative-transfer-weight {weight}" in words(run) and run.weight == float(weight)
        assert f"--pretrained-model {source.trial.prefix} --pretrained-epoch 1" in words(run)
    assert "--estimate quadratic" in words(quadratic) and "--estimate" not in words(jan)
    assert "--transfer mcc" in words(mcc) and "weight" not in words(mcc) and mcc.weight is None
    assert len({run.trial.prefix for run in runs}) == 7
    for wrong, why in ("jan:x", "a number above 0"), ("jan:-1", "a number above 0"), ("no", "`methods` is 'no'"):
        with pytest.raises(InputError, match=why):
            evidence.plan("data", TINY, pair, tmp_path, 0, [wrong], "n")
    thinned = dataclasses.replace(TINY, stage1="--num-epochs 5", every=2)
    assert evidence.plan("data", thinned, pair, tmp_path, 0, ["jan"], "n")[1].epochs == (1, 3, 5)


def test_a_pretrained_network_begins_stage_0_and_leaves_adabn_out(pair, tmp_path):
    cached = dataclasses.replace(TINY, stage0="--num-epochs 1", adabn=None, pretrained=True)
    source, jan = evidence.plan("data", cached, pair, tmp_path, 0, ["adabn", "jan"], "model/net")
    assert "--pretrained-model model/net --pretrained-epoch 0" in words(source)
    assert jan.prunes and not source.prunes


def test_all_pairs_are_there_and_half_of_them_are_reported():
    assert len(evidence.PAIRS) == 6 and sum(pair.reported for pair in evidence.PAIRS.values()) == 3
    for pair in evidence.PAIRS.values():
        assert pair.pretrained == (pair.adabn is None) == ("--read features" in pair.common)


def looked(monkeypatch, calls):
    """Have `look_at_all` say something of its own of every candidate, and remember whom it was asked of."""
    def look_at_all(candidates, target, devices, source, trained, **more):
        calls.append([(Path(one.prefix).name, one.epoch, one.is_source) for one in candidates])
        assert len(source) == 2 and len(trained) == 22 and not set(source.files) & set(trained.files)
        rng = np.random.default_rng(0)
        return [Seen(rng.normal(size=(16, 3)).astype(np.float32), rng.normal(size=(16, 4)).astype(np.float32),
                     rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32),
                     source.labels, target_labels=target.labels) for _ in candidates]

    monkeypatch.setattr(evidence, "look_at_all", look_at_all)


def test_what_was_judged_is_not_looked_at_again_unless_a_score_is_new(pair, tmp_path, monkeypatch):
    runs, calls = evidence.plan("data", TINY, pair, tmp_path / "out", 0, ["jan"], "n"), []
    looked(monkeypatch, calls)
    runs[0].kept.parent.mkdir(parents=True)
    names = ["infomax", "source_accuracy"]
    assert [run.missing(names) for run in runs] == [names] * 2
    evidence.judge(runs, names, pair / "data")
    assert calls == [[("source", 1, True), ("jan", 1, False), ("jan", 2, False)]]
    before = runs[1].read()
    assert not any(run.missing(names) for run in runs) and before["seen_target_logits"].shape == (2, 16, 3)
    assert runs[1].missing([*names, "entropy"]) == ["entropy"]
    evidence.judge(runs[1:], [*names, "entropy"], pair / "data")
    assert calls[1] == [("jan", 1, False), ("jan", 2, False)] and not runs[1].missing([*names, "entropy"])
    np.testing.assert_array_equal(runs[1].read()["infomax"], before["infomax"])
    other = evidence.plan("data", TINY, pair, tmp_path / "out", 0, ["jan:0.5"], "n")[1]
    moved = dataclasses.replace(other, trial=dataclasses.replace(other.trial, prefix=runs[1].trial.prefix))
    assert moved.missing(names) == names            # another command wrote there
    runs[1].kept.write_bytes(b"damaged")
    assert runs[1].missing(names) == names


def test_large_checkpoints_go_when_they_were_looked_at(pair, tmp_path, monkeypatch):
    looked(monkeypatch, [])
    cached = dataclasses.replace(TINY, pretrained=True)
    source, jan = evidence.plan("data", cached, pair, tmp_path / "out", 0, ["jan"], "n")
    folder = source.kept.parent
    (folder / "jan-run").mkdir(parents=True)
    for name in "jan-0001.params", "jan-0002.params", "jan-2-0001.params", "source-0001.params":
        (folder / name).write_bytes(b"")
    evidence.judge([source, jan], ["infomax"], pair / "data")
    assert sorted(path.name for path in folder.glob("*.params")) == ["jan-2-0001.params", "source-0001.params"]
    assert not (folder / "jan-run").exists() and not jan.missing(["infomax"])


def test_a_score_that_compares_sees_those_of_its_decision(pair, tmp_path, monkeypatch):
    class Fellows(Score):
        def of_all(self, seen):
            return np.full(len(seen), len(seen), float)

    monkeypatch.setitem(SCORES, "fellows", Fellows)
    own = [name for name in SCORES if name not in ("ensemble", "mixval", "fellows")]
    assert evidence.own_scores() == own
    looked(monkeypatch, [])
    runs = evidence.plan("data", TINY, pair, tmp_path / "out", 0, ["jan", "jan:2", "dan"], "n")
    runs[0].kept.parent.mkdir(parents=True)
    evidence.judge(runs, evidence.own_scores(), pair / "data")
    source, *adapted = evidence.rows(runs)
    assert [adapted[1][f"fellows_{name}"] for name in decisions.DECISIONS] == [2, 3, 2, 4, 7]
    assert [adapted[1].get(f"fellows_{name}_source") for name in decisions.DECISIONS] == [None, 3, None, 4, 7]
    assert np.isnan([source["fellows_epochs"], adapted[0]["fellows_methods"], adapted[-1]["fellows_weights"]]).all()


def test_the_source_model_has_the_score_that_it_has_beside_a_run(told):
    for one in told:
        one["ensemble_run_source"] = 9.0 if one["method"] == "dan" else 0.0
    of_jan, _, of_dan = groups(told, "run")
    assert (of_jan.values("ensemble")[-1], of_dan.values("ensemble")[-1]) == (0, 9)
    assert of_dan.values("good")[-1] == 5
    assert decisions.score_names(told[0]) == ["good", "bad", "source_accuracy", "class_shares", "ensemble"]


def test_the_command_runs_judges_and_tells_and_does_nothing_twice(pair, tmp_path, monkeypatch):
    flags = ["--data-dir", pair, "--output", tmp_path / "out", "--methods", "adabn,jan", "--seeds", 1]
    said = call("tools/evidence.py", *flags).stdout
    with open(tmp_path / "out" / "evidence.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(one["method"], one["epoch"], one["is_source"]) for one in rows] == \
        [("source", "1", "1"), ("adabn", "1", "0"), ("jan", "1", "0"), ("jan", "2", "0")]
    assert all(0 <= float(one["accuracy"]) <= 100 and one["infomax"] for one in rows)
    assert {*evidence.own_scores(), "ensemble_all"} <= rows[0].keys() and "## Accuracy on the target" in said
    for what in "execute_all", "ProcessPoolExecutor":
        monkeypatch.setattr(evidence, what, None)
    assert call("tools/evidence.py", *flags).stdout == said
    said = call("tools/evidence.py", *flags, "--pairs", "cars", expect=2).stderr
    assert "--pairs is 'cars'; expected one of data" in said


# --- the domains

def test_handwritten_digits_are_the_source_on_the_way_back(tmp_path):
    call("tools/digits.py", "--data-dir", tmp_path / "back", "--num-source", 20, "--back")
    digits.make(tmp_path / "there", 20)
    assert len(read_list(tmp_path / "back" / "source.lst")) == 1797
    assert not read_list(tmp_path / "back" / "target.lst").labelled.any()
    for one, other in (("source", "val"), ("val", "source")):
        assert (read_list(tmp_path / "back" / f"{one}.lst").labels ==
                read_list(tmp_path / "there" / f"{other}.lst").labels).all()
        np.testing.assert_array_equal(pictures(tmp_path / "back" / f"{one}.lst"),
                                      pictures(tmp_path / "there" / f"{other}.lst"))


def test_letters_are_upright_and_slanted_or_bold(tmp_path):
    for name, flags in ("a", []), ("b", []), ("c", ["--seed", 1]):
        call("tools/letters.py", "--data-dir", tmp_path / name, "--number", 260, *flags)
    assert not set(letters.UPRIGHT) & set(letters.SLANTED_OR_BOLD)
    assert not any(re.search("Bold|Italic|Oblique|BolIta", name) for name in letters.UPRIGHT)
    source, target, val = (read_list(tmp_path / "a" / f"{name}.lst", 26) for name in ("source", "target", "val"))
    assert source.labels.tolist() == val.labels.tolist() == [i % 26 for i in range(260)]
    assert not target.labelled.any() and target.files == val.files
    upright, others, again, anew = (np.array(pictures(tmp_path / name)) for name in (
        "a/source.lst", "a/val.lst", "b/source.lst", "c/source.lst"))
    assert upright.shape == (260, 32, 32, 3) and (upright == again).all() and (upright != anew).any()

    def slant(images):      # of dark ink: how far its columns lie to the right, the higher its rows
        ink, place = 255.0 - images[..., 0], np.arange(32) - 15.5
        return -np.einsum("nij,i,j->", ink, place, place) / np.einsum("nij,i->", ink, place**2)

    assert others.mean() < upright.mean() - 10 and slant(others) > slant(upright) + 0.1


def test_degraded_pictures_are_darker_and_the_same_from_the_same_seed(tmp_path):
    for label in range(3):
        make_domain(tmp_path / "photos", f"class{label}", [label] * 5, side=64, suffix=".png")
        (tmp_path / "photos" / f"class{label}.lst").unlink()
    for name, flags in ("a", []), ("b", []), ("c", ["--seed", 1]):
        said = call("tools/degrade.py", tmp_path / "photos", "--data-dir", tmp_path / name, *flags).stdout
    assert said == f"{tmp_path / 'c'}: 8 pictures as they are, 7 degraded\n"
    source, target, val = (read_list(tmp_path / "a" / f"{name}.lst", 3) for name in ("source", "target", "val"))
    assert not target.labelled.any() and target.files == val.files and read_classes(tmp_path / "a" / "classes.txt")
    assert np.bincount(source.labels).tolist() == [3, 2, 3] and np.bincount(val.labels).tolist() == [2, 3, 2]
    assert all("photos" in file for file in source.files) and all(file.endswith(".jpg") for file in val.files)
    for one, same, other in zip(*(read_list(tmp_path / name / "val.lst").files for name in "abc")):
        assert Path(one).read_bytes() == Path(same).read_bytes() != Path(other).read_bytes()
    assert np.mean(pictures(tmp_path / "a" / "val.lst")) < 0.8 * np.mean(pictures(tmp_path / "a" / "source.lst"))


def test_every_degradation_is_seen():
    y, x = np.mgrid[:64, :64]
    board = np.repeat((255 * ((x // 8 + y // 8) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    made = [degrade.degraded(board, np.random.default_rng(seed)) for seed in range(20)]
    images, qualities = zip(*made)
    assert all(0.28 * 255 < np.percentile(image, 95) < 0.85 * 255 for image in images)      # darker
    assert all(np.std(image[:, :, 0] - image[:, :, 1].astype(float)) > 4 for image in images)      # noise has a colour
    edges = [np.abs(np.diff(image.mean(axis=2), axis=1)).max() / image.mean() for image in images]
    assert max(edges) < np.abs(np.diff(board.mean(axis=2), axis=1)).max() / board.mean()      # blurred
    assert 15 <= min(qualities) < max(qualities) < 50 and len({image.tobytes() for image in images}) == 20


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "b").mkdir()
    for name in "a/1.jpg", "a/2.jpg", "b/1.jpg":
        (tmp_path / "photos" / name).write_bytes(b"no picture")
    said = call("tools/degrade.py", tmp_path / "photos", "--data-dir", tmp_path / "out", expect=2).stderr
    assert "2.jpg: is missing, or no picture" in said and not (tmp_path / "out" / "val.lst").exists()
