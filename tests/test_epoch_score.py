"""The best epoch by a score without target labels."""
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL, call

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, saved_epochs
from transfer_gluon.iters import OrderedIter, prepared, read_list, write_list
from transfer_gluon.scores import SCORES, Score, look, score
from transfer_gluon.training import DataOptions, RunOptions, Stage
from transfer_gluon.training.after_epoch import Epoch
from transfer_gluon.training.domains import hold_out
from transfer_gluon.training.epoch_score import EpochScore
from transfer_gluon.training.summary import EpochResult, best_result, read_summary
from transfer_gluon.training.watch import sample

STAGE1 = [*SMALL, "--train-stage", 1, "--pretrained-epoch", 1, "--num-epochs", 4, "--lr", 0.05]


def stage1(data, stage0, prefix, *flags, **how):
    return call("fine_tune.py", *STAGE1, "--data-dir", data, "--pretrained-model", stage0, "--model-prefix", prefix,
                *flags, **how)


def column(prefix, name):
    return [float(row[f"score_{name}"]) for row in read_summary(f"{prefix}-run/summary.csv")]


def seen_of(prefix, epoch, data):
    """What the checkpoint says, of the images that a run looks at by --watch 12 and --source-validation 0.25."""
    net = load_checkpoint(prefix, epoch).classifier("flatten0", 3, (3, 16, 16))
    net.initialize()
    source, target = read_list(data / "source.lst"), read_list(data / "target.lst")
    trained, held = hold_out(source, 24, 6, 0)
    lists = target.part(sample(target, 12)), held, trained.part(sample(trained, 500))
    return look(net, *[next_of(images) for images in lists][:1], [mx.cpu()], *map(next_of, lists[1:]))


def next_of(images):
    return OrderedIter(images, 8, prepared(16, 16, None))


@pytest.mark.parametrize("name", ["infomax", "dev", "mixval", "class_shares"])
def test_a_score_is_that_of_the_checkpoint(data, stage0, tmp_path, name):
    stage1(data, stage0, tmp_path / "m", "--keep", 9, "--by", name, "--source-validation", 0.25, "--watch", 12)
    told = column(tmp_path / "m", name)
    expected = [score(name)(seen_of(tmp_path / "m", epoch, data)) for epoch in (1, 2, 3, 4)]
    assert told == pytest.approx(expected, rel=1e-4, abs=1e-6) and len(set(told)) > 1


@pytest.mark.parametrize("name", ["dev", "class_shares"])
def test_held_out_images_without_a_label_are_left_out(data, stage0, tmp_path, name):
    source = read_list(data / "source.lst")
    write_list(data / "source.lst", [*source.labels[:22], 9999, 9999], source.files)
    stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", name, "--source-validation", 0.6, "--num-epochs", 2)
    assert not {22, 23}.isdisjoint(hold_out(source, 24, 14, 0)[1].indices)
    assert np.isfinite(column(tmp_path / "m", name)).all()


def test_the_best_by_the_score_is_kept_and_said(data, stage0, tmp_path, monkeypatch):
    class Second(Score):
        """Best in the second epoch."""
        asked = 0

        def __call__(self, seen):
            Second.asked += 1
            return -abs(Second.asked - 2)

    monkeypatch.setitem(SCORES, "entropy", Second)
    said = stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", "entropy").stderr
    assert column(tmp_path / "m", "entropy") == [-1, 0, -1, -2]
    assert saved_epochs(tmp_path / "m") == [2, 4] and "--keep goes by" not in said
    assert re.search("the best by entropy is epoch 2, 0; its validation accuracy is ", said)
    assert re.search("epoch 3: .*, score_entropy -1, ", said)


def test_neither_the_choice_nor_another_changes_the_training(data, stage0, tmp_path):
    stage1(data, stage0, tmp_path / "a", "--keep", "best", "--by", "infomax", "--no-validation")
    stage1(data, stage0, tmp_path / "b", "--watch", 0, "--no-validation")
    assert (tmp_path / "a-0004.params").read_bytes() == (tmp_path / "b-0004.params").read_bytes()
    stage1(data, stage0, tmp_path / "c", "--keep", "best", "--num-epochs", 2, "--by", "infomax", "--no-validation")
    stage1(data, stage0, tmp_path / "c", "--keep", "best", "--by", "infomax", "--no-validation", "--resume")
    assert column(tmp_path / "c", "infomax") == column(tmp_path / "a", "infomax")
    assert saved_epochs(tmp_path / "c") == saved_epochs(tmp_path / "a")
    stage1(data, stage0, tmp_path / "c", "--keep", "best", "--by", "entropy", "--no-validation", "--num-epochs", 5,
           "--resume")
    assert [math.isnan(value) for value in column(tmp_path / "c", "entropy")] == [True] * 4 + [False]


@pytest.mark.parametrize("flags", [["--read", "features"], ["--read", "files"], ["--cpus", 2],
                                   ["--transfer-layers", "relu1"]])
def test_every_way_of_reading_is_judged(data, stage0, tmp_path, flags):
    stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", "nuclear_norm", *flags)
    assert np.isfinite(column(tmp_path / "m", "nuclear_norm")).all()


def test_stage_0_is_judged_by_its_target(data, tmp_path):
    flags = [*NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", tmp_path / "m", "--keep", "best", "--by"]
    call("fine_tune.py", *flags, "neighbourhood")
    assert np.isfinite(column(tmp_path / "m", "neighbourhood")).all()
    (data / "target.lst").unlink()
    said = call("fine_tune.py", *flags, "entropy", "--overwrite", expect=2).stderr
    assert "--by was given without a target to look at, where it does nothing" in said
    said = call("fine_tune.py", *flags[:-3], "--overwrite", "--watch", 7, expect=2).stderr
    assert "--watch was given without a target to look at" in said


def test_epochs_that_the_score_cannot_judge_are_kept(data, stage0, tmp_path, monkeypatch):
    class Never(Score):
        """NaN."""
        def __call__(self, seen):
            return math.nan

    class Third(Never):
        """Able to judge from the second epoch on, and the third is the best."""
        epoch = 0

        def __call__(self, seen):
            Third.epoch += 1
            return math.nan if Third.epoch < 2 else -abs(Third.epoch - 3)

    monkeypatch.setitem(SCORES, "entropy", Never)
    said = stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", "entropy").stderr
    assert saved_epochs(tmp_path / "m") == [1, 2, 3, 4] and all(map(math.isnan, column(tmp_path / "m", "entropy")))
    assert said.count("cannot be judged by entropy") == 1 and "epoch 1 cannot be judged by entropy" in said
    assert "no epoch could be judged by entropy, so that all checkpoints are kept" in said
    monkeypatch.setitem(SCORES, "entropy", Third)
    said = stage1(data, stage0, tmp_path / "n", "--keep", "best", "--by", "entropy").stderr
    assert saved_epochs(tmp_path / "n") == [1, 3, 4] and "no epoch could be judged" not in said
    assert best_result([], "infomax") is None


def test_what_another_score_has_kept_stays(data, stage0, tmp_path, monkeypatch):
    """A run that goes on by another one."""
    class First(Score):
        """Falls."""
        asked = 0

        def __call__(self, seen):
            First.asked -= 1
            return First.asked

    monkeypatch.setitem(SCORES, "entropy", First)
    stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", "entropy", "--num-epochs", 3)
    assert saved_epochs(tmp_path / "m") == [1, 3]
    monkeypatch.setitem(SCORES, "infomax", First)
    stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", "infomax", "--num-epochs", 6, "--resume")
    assert saved_epochs(tmp_path / "m") == [1, 3, 4, 6]


def test_too_few_images_for_the_score_are_refused(data, stage0, tmp_path):
    flags = "--keep", "best", "--batch-size", 4, "--by"
    said = stage1(data, stage0, tmp_path / "m", *flags, "class_ami", "--watch", 2, expect=2).stderr
    assert "--by class_ami was given, which looks at 3 target images or more, and --watch has 2 of them" in said
    write_list(data / "target.lst", [9999] * 2, read_list(data / "target.lst").files[:2])
    said = stage1(data, stage0, tmp_path / "m", *flags, "neighbourhood", expect=2).stderr
    assert "looks at 3 target images or more, and --watch has 2" in said and not list(tmp_path.glob("m-*.params"))


@pytest.mark.parametrize("name, flags, why", [
    ("ensemble", [], "it compares networks with each other"),
    ("infomax", ["--watch", 0], "it looks at the target images of --watch, which is 0"),
    ("dev", [], "a part of the source that is held out; --source-validation 0.1 holds a tenth out"),
    ("mmd", ["--no-validation"], "a part of the source that is held out"),
    ("mixval", ["--read", "features"], "it mixes images, and --read features reads none"),
    ("infomax", ["--train-stage", 0, "--read", "features"], "--read features of stage 0 has none of the target"),
    ("infomax", ["--kv-store", "dist_sync"], "it looks at all images together, and each worker reads a part"),
])
def test_a_score_that_a_run_cannot_tell_is_refused(data, stage0, tmp_path, name, flags, why):
    said = stage1(data, stage0, tmp_path / "m", "--keep", "best", "--by", name, *flags, expect=2).stderr
    assert f"--by {name} was given: " in said and why in " ".join(said.split())
    assert not list(tmp_path.glob("m-*"))


def test_the_library_refuses_what_the_command_does():
    with pytest.raises(InputError, match="`by` ensemble was given: it compares"):
        Stage(1, 3, run=RunOptions(keep="best", by="ensemble"))
    with pytest.raises(InputError, match="`by` was given without `keep`"):
        Stage(1, 3, run=RunOptions(by="infomax"))
    with pytest.raises(InputError, match="`by` is 'loudest'; expected"):
        RunOptions(by="loudest")
    with pytest.raises(InputError, match="`name` is ensemble: it compares networks with each other"):
        EpochScore("ensemble", None)
    Stage(1, 3, data=DataOptions(source_validation=0.1), run=RunOptions(keep=3, by="dev"))


def test_a_score_without_what_it_needs_cannot_be_told(data):
    """Of a library's items nobody has asked what they read."""
    target = next_of(read_list(data / "target.lst"))
    epoch = Epoch(EpochResult(1, 1, 0.1, 1.0, 0.5, 0.5), SimpleNamespace(
        on_batches=lambda images: (images, images.mean(axis=(2, 3))), devices=[mx.cpu()]), None, None, None)
    EpochScore("source_accuracy", target)(epoch)
    EpochScore("entropy", target)(epoch)
    assert math.isnan(epoch.result.others["score_source_accuracy"]) and epoch.result.others["score_entropy"] < 0
