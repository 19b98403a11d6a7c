"""What a run would take, told before it begins; and what never changes, computed once."""
import re
import shutil

import numpy as np
import pytest
from conftest import call, make_data

import transfer_gluon as tg
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.iters import Augmentation
from transfer_gluon.training import plan as planning
from transfer_gluon.training import throughput
from transfer_gluon.training.after_epoch import Validation
from transfer_gluon.training.cached import may_be_cached

FIXED = ["--random-crop", 0, "--random-mirror", 0, "--color-jitter", 0, "--pca-noise", 0]
COMMON = ["--data-dir", "data", "--num-classes", 3, "--image-shape", "3,16,16", "--batch-size", 8, "--num-epochs", 2,
          "--data-nthreads", 1]
HEAD = ["--freeze", "--trainable", "fc", "--frozen-statistics", "inference"]
FROZEN = tg.NetworkOptions(pretrained_model="model/s0", pretrained_epoch=1, freeze=True, trainable=["fc"],
                           frozen_statistics="inference")
STILL = Augmentation(random_crop=False, random_mirror=False, jitter=0, pca_noise=0)
WAYS = ["on features of flatten0, computed once", "end to end, frozen up to flatten0", "end to end, everything trains"]
START = ["--pretrained-model", "model/s0", "--pretrained-epoch", 1]


@pytest.fixture(scope="module")
def here(trained, tmp_path_factory):
    """A folder with data and a network of stage 0."""
    return shutil.copytree(trained.parent, tmp_path_factory.mktemp("planned") / "here")


def train(here, prefix, *flags):
    return call("fine_tune.py", *COMMON, "--train-stage", 1, "--pretrained-model", "model/s0", "--pretrained-epoch", 1,
                "--model-prefix", prefix, *flags, cwd=here)


def without_target(here):
    """A folder ``alone`` beside ``data``, which has no list of a target."""
    (here / "alone").mkdir(exist_ok=True)
    for name in "source.lst", "val.lst":
        shutil.copy(here / "data" / name, here / "alone")


def values(here, prefix):
    one = load_checkpoint(here / prefix, 2)
    return {name: value.asnumpy() for name, value in {**one.arg_params, **one.aux_params}.items()}


def test_tells_every_way_and_trains_nothing(here, monkeypatch):
    monkeypatch.setattr(throughput, "SECONDS", 0.05)
    before = sorted(path.name for path in here.iterdir() if not path.name.startswith("data"))
    done = train(here, "planned", "--plan")
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert {line[1].strip() for line in lines} == set(WAYS)
    assert "Frozen: --freeze, --trainable fc, --frozen-statistics inference" in done.stderr
    for line in lines:
        assert float(line[2]) > 0 and re.fullmatch(r" [0-9.]+ GB ", line[6]) and re.fullmatch(r" \d+:\d\d ", line[4])
    assert sorted(path.name for path in here.iterdir() if not path.name.startswith("data")) == before
    told = train(here, "planned", "--plan", *HEAD[:1], "--trainable", "stage3,fc", "--watch", 0).stdout
    assert "| as it is told |" in told


def test_the_way_that_ends_first_stands_first_and_memory_is_told_against_the_beginning(here, monkeypatch):
    speeds, peaks = iter([0.5, 2.0, 400.0]), iter([1e9, 2e9, 3e9, 5e9])
    monkeypatch.setattr(planning, "computing_speed", lambda *_: next(speeds))
    monkeypatch.setattr(planning, "_peak", lambda: next(peaks))
    said = train(here, "planned", "--plan", "--batch-size", 32).stdout      # 16 of which are computed
    rows = [(line.split("|")[1].strip(), line.split("|")[6].strip()) for line in said.splitlines()[3:]]
    assert rows == list(zip(reversed(WAYS), ["9.0 GB", "5.0 GB", "3.0 GB"]))


@pytest.mark.parametrize("flags", [["--label-smoothing", 0.1], ["--class-weights", "balanced"], ["--mixup", 0.5],
                                   ["--optimizer", "ftrl"], ["--optimizer", "ftml"], ["--transfer", "shot"],
                                   ["--transfer", "shot_im"]])
def test_whatever_can_be_trained_can_be_planned(here, monkeypatch, flags):
    monkeypatch.setattr(throughput, "SECONDS", 0.05)
    said = train(here, "planned", "--plan", *flags).stdout
    titles = [line.split("|")[1].strip() for line in said.splitlines()[3:]]
    # Without a bottleneck SHOT has nothing to train above the layer.
    assert set(titles) == set(WAYS[-1:] if "--transfer" in flags else WAYS)


def test_what_a_user_changes_of_images_is_not_tried_on_features(here, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "SECONDS", 0.05)
    monkeypatch.chdir(here)

    def flipped(images, labels):
        return images.flip(axis=3), labels

    tg.Stage(1, 3, data=tg.DataOptions(data_dir="data"), images=tg.ImageOptions(image_shape=(3, 16, 16)),
             network=tg.NetworkOptions(pretrained_model="model/s0", pretrained_epoch=1),
             optimizer=tg.OptimizerOptions(batch_size=8, num_epochs=1), run=tg.RunOptions(plan=True),
             before_forward=[flipped]).train()
    assert WAYS[0] in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ftrl", "ftml"])
def test_speeds_are_measured_with_optimizers_that_divide_by_the_rate(here, monkeypatch, name):
    monkeypatch.setattr(throughput, "SECONDS", 0.05)
    done = call("fine_tune.py", *COMMON, "--train-stage", 1, *START, "--test-io", 1, "--optimizer", name, cwd=here)
    assert "limits this run" in done.stdout


def test_features_are_timed_in_the_type_of_the_run(here, monkeypatch):
    monkeypatch.setattr(throughput, "SECONDS", 0.05)
    real, types = planning.for_inference, []
    monkeypatch.setattr(planning, "for_inference", lambda symbol, devices, dtype: types.append(dtype) or real(
        symbol, devices, dtype))
    train(here, "planned", "--plan", "--dtype", "bfloat16", "--force-dtype")
    assert types == ["bfloat16"]


@pytest.mark.parametrize("flags", [["--test-io", 1], ["--read", "features"]])
def test_cannot_stand_beside_what_measures_or_reads_otherwise(here, flags):
    done = call("fine_tune.py", *COMMON, "--train-stage", 1, "--pretrained-model", "model/s0", "--pretrained-epoch", 1,
                "--model-prefix", "planned", "--plan", *flags, cwd=here, expect=2)
    assert "--plan" in done.stderr


def test_what_never_changes_is_computed_once(here):
    said = train(here, "once", *HEAD, *FIXED).stderr
    assert "nothing below flatten0 changes" in said
    train(here, "asked", "--read", "features", "--feature-views", 1, *FIXED)
    once, asked = values(here, "once"), values(here, "asked")
    assert all(np.array_equal(once[name], asked[name]) for name in asked)
    assert "nothing below" not in train(here, "changing", *HEAD, "--overwrite").stderr
    assert "nothing below" not in train(here, "moving", *HEAD[:3], *FIXED, "--overwrite").stderr
    assert "nothing below" not in train(here, "deeper", "--freeze", "--trainable", "stage3,fc", "--frozen-statistics",
                                        "inference", *FIXED).stderr


def test_it_sees_the_images_that_are_there_now_and_writes_nothing_but_the_run(here, tmp_path):
    """Other images under the same names, and a run anew: as if the others had never been."""
    lists, flags = ["source.lst", "target.lst", "val.lst"], [*HEAD, *FIXED, "--read", "files"]
    for name in lists:
        shutil.copy(here / "data" / name, tmp_path)
    folder = make_data(tmp_path / "data")
    start = ["--pretrained-model", here / "model/s0"]
    before = sorted(folder.rglob("*"))
    train(tmp_path, "m", *start, *flags)
    first = values(tmp_path, "m")
    files = sorted((folder / "source").iterdir())
    kept = [file.read_bytes() for file in files]
    for file, content in zip(files, kept[1:] + kept[:1]):       # each now looks like the next class
        file.write_bytes(content)
    train(tmp_path, "m", *start, *flags, "--overwrite")
    train(tmp_path, "new", *start, *flags)
    again, new = values(tmp_path, "m"), values(tmp_path, "new")
    assert all(np.array_equal(again[name], new[name]) for name in new)
    assert np.abs(again["fc_weight"] - first["fc_weight"]).max() > 1e-4
    assert sorted(folder.rglob("*")) == before
    assert not list(tmp_path.rglob("*.npz")) and not list(tmp_path.rglob("features*"))


@pytest.mark.parametrize("flags", [["--mixup", 0.5], ["--read", "mxnet"], ["--tensorboard"],
                                   ["--transfer-layers", "stage3_unit1_plus"],
                                   ["--watch", 5, "--keep", "best", "--by", "mixval"]])
def test_what_changes_or_looks_at_images_is_done_end_to_end(here, flags):
    if flags == ["--tensorboard"]:
        pytest.importorskip("tensorboardX")
    assert "nothing below" not in train(here, "images", "--overwrite", *HEAD, *FIXED, *flags).stderr


@pytest.mark.parametrize("flags, where", [
    ([*START], "data"), ([*START, "--watch", 10], "data"), ([*START, "--watch", 0], "data"),
    ([*START, "--keep", "best", "--by", "infomax"], "data"),
    (["--network", "resnet", "--num-layers", 8], "alone")])
def test_stage_0_that_features_cannot_serve_is_done_end_to_end(here, flags, where):
    """Of its target, which it watches, it would have no features; a new network has none yet."""
    without_target(here)
    said = call("fine_tune.py", *COMMON[2:], "--data-dir", where, "--train-stage", 0, "--model-prefix", "zero",
                "--overwrite", *HEAD, *FIXED, *flags, cwd=here).stderr
    assert "nothing below" not in said
    header = (here / "zero-run/summary.csv").read_text().splitlines()[0]
    assert ("target_confidence" in header) == (where == "data" and flags[-2:] != ["--watch", 0])


def test_stage_0_without_a_target_is_computed_once(here):
    without_target(here)
    said = call("fine_tune.py", *COMMON[2:], "--data-dir", "alone", "--train-stage", 0, "--model-prefix", "zero",
                "--overwrite", *HEAD, *FIXED, *START, cwd=here).stderr
    assert "nothing below flatten0 changes" in said


def test_several_workers_train_end_to_end_each_on_its_part(here):
    net = load_checkpoint(here / "model/s0", 1).classifier("flatten0", 3)

    def may(**run):
        return may_be_cached(tg.Stage(1, 3, augmentation=STILL, network=FROZEN, run=tg.RunOptions(**run)), net, None)

    assert may() and not may(kv_store="dist_sync")


def test_items_after_an_epoch_get_the_whole_network(here, monkeypatch):
    monkeypatch.chdir(here)
    val = tg.OrderedIter(tg.read_list("data/val.lst"), 8, tg.centre_crop(16, 16))
    result, = tg.Stage(
        1, 3, data=tg.DataOptions(data_dir="data"), images=tg.ImageOptions(image_shape=(3, 16, 16)),
        network=FROZEN, augmentation=STILL,
        optimizer=tg.OptimizerOptions(batch_size=8, num_epochs=1), run=tg.RunOptions(prefix="items"),
        after_epoch=[Validation(val, name="mine")]).train()
    assert 0 <= result.others["mine"] <= 1


@pytest.mark.parametrize("read", ["records", "files"])
def test_it_reads_what_the_run_would_read(here, tmp_path, read):
    """Without its image files, a record serves whoever reads records, and nobody else."""
    make_data(tmp_path / "data")
    flags = ["--train-stage", 1, "--pretrained-model", here / "model/s0", "--pretrained-epoch", 1, *HEAD]
    call("fine_tune.py", *COMMON, *flags, "--model-prefix", "packed", cwd=tmp_path)     # augmented: from records
    shutil.rmtree(tmp_path / "data" / "source")
    done = call("fine_tune.py", *COMMON, *flags, *FIXED, "--model-prefix", read, "--read", read, cwd=tmp_path,
                expect=0 if read == "records" else 2)
    assert "nothing below flatten0 changes" in done.stderr
    assert read == "records" or "source/000.jpg" in done.stderr


def test_it_equals_training_end_to_end(here, monkeypatch):
    from transfer_gluon.training import stages
    monkeypatch.setattr(stages, "may_be_cached", lambda *_: False)
    train(here, "whole", *HEAD, *FIXED)
    monkeypatch.undo()
    train(here, "once2", *HEAD, *FIXED)
    whole, once = values(here, "whole"), values(here, "once2")
    for name in whole:
        np.testing.assert_allclose(once[name], whole[name], atol=1e-6, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("change", [{"random_crop": True}, {"random_mirror": True}, {"jitter": 0.1}, {"pca_noise": 0.1},
                                    {"aa": "rand-m9-mstd0.5-inc1"}, {"reprob": 0.1}, {"max_random_h": 1},
                                    {"max_random_s": 1}, {"max_random_l": 1}, {"max_random_rotate_angle": 1},
                                    {"max_random_shear_ratio": 0.1}, {"max_random_scale": 1.1},
                                    {"max_random_aspect_ratio": 0.1}, {"min_random_scale": 0.9}])
def test_any_chance_makes_an_augmentation_change(change):
    still = dict(random_crop=False, random_mirror=False, jitter=0, pca_noise=0)
    assert Augmentation(**still).fixed and Augmentation(**still, pad_size=2).fixed
    assert not Augmentation(**{**still, **change}).fixed


def test_a_run_that_began_before_goes_on_as_it_began(here, monkeypatch):
    from transfer_gluon.training import stages
    monkeypatch.setattr(stages, "may_be_cached", lambda *_: False)
    real = stages.Run
    monkeypatch.setattr(stages, "Run", lambda prefix, settings, **how: real(
        prefix, {name: value for name, value in settings.items() if name != "computed_once"}, **how))
    call("fine_tune.py", *COMMON[:-4], "--num-epochs", 1, "--data-nthreads", 1, "--train-stage", 1,
         "--pretrained-model", "model/s0", "--pretrained-epoch", 1, "--model-prefix", "older", *HEAD, *FIXED, cwd=here)
    monkeypatch.undo()
    said = train(here, "older", *HEAD, *FIXED, "--resume").stderr
    assert "going on after epoch 1" in said and "nothing below" not in said


def test_layers_above_that_stay_are_trained_end_to_end(here):
    """Features would train all that lies above them, the bottleneck too."""
    call("fine_tune.py", *COMMON, "--train-stage", 0, "--pretrained-model", "model/s0", "--pretrained-epoch", 1,
         "--bottleneck", 5, "--model-prefix", "neck", cwd=here)
    flags = ["--pretrained-model", "neck", "--pretrained-epoch", 2, *FIXED]
    assert "nothing below" not in train(here, "neck-fc", *HEAD, *flags).stderr
    both = [*HEAD[:2], "bottleneck,fc", *HEAD[3:]]
    assert "nothing below flatten0 changes" in train(here, "neck-both", *both, *flags).stderr
    before, after = values(here, "neck"), values(here, "neck-fc")
    assert np.array_equal(before["bottleneck_weight"], after["bottleneck_weight"])
    assert not np.array_equal(before["bottleneck_weight"], values(here, "neck-both")["bottleneck_weight"])
