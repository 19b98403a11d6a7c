"""The commands as a user calls them, with good input and bad."""
import re
import shutil

import cv2
import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL, make_domain

from transfer_gluon.base import devices
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import DEFAULT_IMAGE_SHAPE, load_checkpoint
from transfer_gluon.commands import fine_tune
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.tools import digits
from transfer_gluon.training.summary import read_summary


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("flags", [[], ["--use-dan"], ["--cpus", 2], ["--freeze", "--wd", 0.001],
                                   ["--optimizer", "adam"]])
def test_stage_1_goes_on_from_stage_0(stage0, data, command, tmp_path, flags):
    prefix = tmp_path / "model" / "s1"
    done = command("fine_tune.py", "--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", stage0,
                   "--pretrained-epoch", 1, "--model-prefix", prefix, "--top-k", 2, *flags)
    assert re.search(r"epoch 1: loss \S+, transfer \S+ \(at the start \S+\), accuracy .*validation accuracy .*top-2",
                     done.stderr)
    before, after = load_checkpoint(stage0, 1).arg_params, load_checkpoint(prefix, 1).arg_params
    changed = {name for name in after if (after[name] != before[name]).sum().asscalar()}
    assert "fc_weight" in changed
    assert ("conv0_weight" in changed) == ("--freeze" not in flags)
    row, = read_summary(f"{prefix}-run/summary.csv")
    assert row["epoch"] == "1" and row["updates"] == "4" and float(row["transfer_loss"]) != 0


def test_lists_are_packed_by_the_way_and_only_once(data, command, tmp_path):
    first = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data)
    assert {"source.rec", "source.idx", "val.rec", "val.idx"} <= set(tree(data))
    written = (data / "source.rec").stat().st_mtime_ns
    again = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data)
    assert (data / "source.rec").stat().st_mtime_ns == written

    def losses(done):
        return re.findall(r"epoch 1: loss ([\d.]+)", done.stderr)

    assert losses(first) == losses(again) and losses(first)


def test_stage_0_takes_labelled_target_images_along(data, command):
    target = read_list(data / "target.lst")
    write_list(data / "target.lst", [0, 1] + [9999] * 14, target.files)
    done = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data)
    both = read_list(data / "stage0.lst")
    assert "2 target images have a label" in done.stderr
    assert len(both) == 26 and both.files[24:] == target.files[:2] and both.labels[24:].tolist() == [0, 1]
    written = (data / "stage0.lst").stat().st_mtime_ns
    command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data)
    assert (data / "stage0.lst").stat().st_mtime_ns == written


def test_images_need_not_be_square_and_may_be_fewer_than_a_batch_to_validate(data, command):
    val = read_list(data / "val.lst")
    write_list(data / "val.lst", val.labels[:3], val.files[:3])
    flags = ["3,16,32" if flag == "3,16,16" else flag for flag in STAGE0]
    done = command("fine_tune.py", *flags, "--data-dir", data)
    assert re.search(r"validation accuracy (0.00|33.33|66.67|100.00)%", done.stderr)


def test_plain_fine_tuning_needs_no_target(data, command):
    (data / "target.lst").unlink()
    (data / "val.lst").unlink()
    command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--no-validation")


def test_a_run_goes_on_at_a_saved_epoch(data, command, tmp_path):
    prefix = tmp_path / "model" / "m"
    flags = [*NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", prefix, "--mom", 0, "--lr-step-epochs", "1,2"]
    flags[flags.index("--num-epochs") + 1] = 3
    command("fine_tune.py", *flags)
    whole = {n: v.asnumpy() for n, v in load_checkpoint(prefix, 3).arg_params.items()}
    rows = read_summary(f"{prefix}-run/summary.csv")
    for epoch in (2, 3):
        (tmp_path / "model" / f"m-{epoch:04d}.params").unlink()
    command("fine_tune.py", *flags, "--load-epoch", 1)
    for name, value in load_checkpoint(prefix, 3).arg_params.items():
        np.testing.assert_array_equal(value.asnumpy(), whole[name])
    again = read_summary(f"{prefix}-run/summary.csv")
    assert again == rows


def test_monitor_test_io_benchmark_and_no_checkpoint(data, command, tmp_path):
    done = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--benchmark", 1, "--monitor", 100, "--disp-batches", 50,
                   "--model-prefix", tmp_path / "m" / "x", "--no-checkpoint", cwd=tmp_path)
    assert "monitor fc_weight: norm" in done.stderr and "batch 50 of 125" in done.stderr
    assert re.search(r"epoch 1 of 1, batch 100 of 125, loss \S+, accuracy \S+%, \d+ images/s, \d\d:\d\d left of",
                     done.stderr)
    assert "transfer" not in done.stderr        # which stage 0 has not
    assert tree(tmp_path / "m") == ["x-run", *(f"x-run/{name}" for name in ("lock", "log.txt", "settings.json",
                                                                            "summary.csv"))]
    done = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--test-io", 1)
    assert re.search(r"reading [\d.]+ images/s, raw decoder [\d.]+, computing [\d.]+: (reading|computing) limits",
                     done.stdout)
    assert "epoch" not in done.stderr.replace("updates an epoch", "")


def test_files_can_be_read_without_packing(data, command):
    def losses(*flags):
        said = command("fine_tune.py", *STAGE0, "--data-dir", data, *flags).stderr
        return re.findall(r"(?:loss|accuracy) [\d.]+%?", said)

    before = tree(data)
    from_files = losses("--read", "files")
    assert tree(data) == before
    assert from_files == losses() and from_files and "val.rec" in tree(data)
    by_mxnet = losses("--read", "mxnet")
    assert len(by_mxnet) == len(from_files) and by_mxnet != from_files


def test_too_few_images_for_a_batch_are_told_before_packing(data, command):
    before = tree(data)
    flags = [40 if flag == 8 else flag for flag in STAGE0]
    assert "source.lst: 24 images; a batch takes 40" in fails(command, *flags, "--data-dir", data)
    assert tree(data) == before


def test_start_up_says_when_the_rate_really_drops(stage0, data, command):
    flags = ["--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", stage0, "--pretrained-epoch", 1,
             "--lr-step-epochs", "2,4"]
    assert "0.001 after 1 epochs (update 4)" in command("fine_tune.py", *flags).stderr
    assert "0.001 after 2 epochs (update 8)" in command("fine_tune.py", *flags, "--lr-step-unit", "epoch").stderr


def test_every_flag_of_the_original_is_there_with_help(command):
    said = command("fine_tune.py", "--help").stdout
    for flag in """train-stage pretrained-model pretrained-epoch layer-before-fullc num-classes null-label use-dan
                   freeze no-checkpoint model-prefix load-epoch network num-layers gpus kv-store num-epochs lr lr-factor
                   lr-step-epochs optimizer mom wd batch-size disp-batches monitor top-k test-io data-dir rgb-mean
                   image-shape pad-size data-nthreads benchmark dtype random-crop random-mirror max-random-h
                   max-random-s max-random-l max-random-aspect-ratio max-random-rotate-angle max-random-shear-ratio
                   max-random-scale min-random-scale""".split():
        assert f"--{flag} " in said, flag
    defaults = {option.opts[0].lstrip("-").replace("-", "_"): option.default for option in fine_tune.main.params}
    assert defaults["lr"] == 0.1 and defaults["batch_size"] == 128 and defaults["wd"] == 0 and defaults["mom"] == 0.9
    assert defaults["pretrained_model"] == "model/resnet-152" and defaults["image_shape"] is None
    assert DEFAULT_IMAGE_SHAPE == (3, 320, 320)
    assert defaults["null_label"] == 9999 and defaults["kv_store"] == "device" and defaults["data_nthreads"] == 15


def fails(command, *flags, script="fine_tune.py", **others):
    """The message of a call that ends with exit code 2."""
    return command(script, *flags, expect=2, **others).stderr


STAGE0 = [*NEW_NETWORK, *SMALL]


@pytest.mark.parametrize("name", ["source", "target", "val"])
def test_a_missing_or_empty_list_is_refused(data, command, stage0, name):
    flags = ["--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", stage0, "--pretrained-epoch", 1]
    (data / f"{name}.lst").write_text("")
    assert f"{name}.lst: empty" in fails(command, *flags)
    (data / f"{name}.lst").unlink()
    assert f"{name}.lst: no such file" in fails(command, *flags)


def test_a_bad_line_is_refused_and_nothing_is_packed(data, command):
    before = tree(data)
    with open(data / "source.lst", "a") as file:
        file.write("99\t3\tx.jpg\n")
    said = fails(command, *STAGE0, "--data-dir", data)
    assert "source.lst" in said and "line 25: label 3; expected 0 to 2" in said
    assert tree(data) == before


def test_unusable_images_are_refused_and_nothing_is_half_packed(data, command):
    images = read_list(data / "source.lst")
    open(images.files[3], "wb").close()
    shutil.move(images.files[5], images.files[5] + ".away")
    said = fails(command, *STAGE0, "--data-dir", data)
    assert "2 of 24 images cannot be used" in said and images.files[3] in said and images.files[5] in said
    assert not any(".rec" in name or ".idx" in name for name in tree(data))


@pytest.mark.parametrize("flags, problem", [
    (["--train-stage", 1, "--batch-size", 6], "--batch-size is 6 on 1 device; expected a multiple of 4"),
    (["--train-stage", 1, "--batch-size", 12, "--cpus", 2], "expected a multiple of 8"),
    (["--batch-size", 9, "--cpus", 2], "expected a multiple of 2"),
    (["--batch-size", 0], "--batch-size"),
    (["--batch-size", 32], "source.lst: 24 images; a batch takes 32"),
    (["--gpus", "0"], "--gpus was given, and this MXNet is the CPU build"),
    (["--gpus", "x"], "Invalid value for '--gpus': 'x'; expected numbers of GPUs"),
    (["--kv-store", "disk"], "--kv-store"),
    (["--kv-store", "dist_sync"], "this process is no worker of a distributed run"),
    (["--gpus", "0", "--cpus", 1], "both"),
    (["--lr", "fast"], "--lr"),
    (["--lr-step-epochs", "3,2"], "--lr-step-epochs is (3, 2); expected rising epochs"),
    (["--load-epoch", 1, "--model-prefix", "m", "--resume"], "more than one of --resume"),
    (["--num-layers", 9], "--num-layers is 9"),
    (["--optimizer", "sdg"], "--optimizer is 'sdg'"),
    (["--min-random-scale", 2], "--min-random-scale"),
    (["--load-epoch", 1], "--load-epoch"),
    (["--load-epoch", 1, "--model-prefix", "m"], "nothing is left to train"),
    (["--null-label", 2], "--null-label is 2, which is also one of the 3 classes"),
    (["--top-k", 4], "--top-k is 4, and there are 3 classes"),
    (["--freeze", "--trainable", "stage4"], "--trainable: no parameter begins with 'stage4'"),
    (["--trainable", "fc"], "--trainable was given without --freeze"),
    (["--network", "vgg", "--num-layers", None], "no image classifier of this name. Did you mean vgg"),
    (["--network", "vgg16"], "--num-layers was given with --network vgg16"),
    (["--rgb-mean", "1,2,3", "--rgb-std", "0.5,0.5,0.5", "--network", "vgg16"], "--num-layers was given"),
])
def test_flags_that_cannot_be_are_refused(data, command, flags, problem, stage0):
    merged = {**dict(zip(STAGE0[::2], STAGE0[1::2])), "--data-dir": data}
    rest = []
    while flags:
        if len(flags) > 1 and not str(flags[1]).startswith("--"):
            merged[flags[0]], flags = flags[1], flags[2:]
        else:
            rest, flags = rest + flags[:1], flags[1:]
    if merged["--train-stage"] == 1:
        merged.update({"--pretrained-model": stage0, "--pretrained-epoch": 1, "--network": None, "--num-layers": None})
    merged = {flag: value for flag, value in merged.items() if value is not None}
    assert problem in fails(command, *(part for pair in merged.items() for part in pair), *rest)


def test_checkpoints_that_cannot_be_used_are_refused(data, command, stage0, tmp_path):
    stage1 = ["--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-epoch", 1]
    assert "no such checkpoint" in fails(command, *stage1, "--pretrained-model", tmp_path / "none")
    assert "has no such layer" in fails(command, *stage1, "--pretrained-model", stage0, "--layer-before-fullc", "flat")
    four = [4 if flag == 3 else flag for flag in stage1]
    assert "fc has 3 classes, and --num-classes is 4" in fails(command, *four, "--pretrained-model", stage0)
    values = mx.nd.load(f"{stage0}-0001.params")
    mx.nd.save(f"{stage0}-0002.params", {n: v for n, v in values.items() if "fc_" not in n})
    assert "has no fc_weight" in fails(command, *stage1, "--pretrained-epoch", 2, "--pretrained-model", stage0)
    parameters = stage0.with_name("s0-0001.params")
    parameters.write_bytes(parameters.read_bytes()[:5000])
    assert "cut off (5000 bytes)" in fails(command, *stage1, "--pretrained-model", stage0)


def test_a_folder_that_cannot_be_written_is_refused_before_training(data, command, tmp_path):
    (tmp_path / "file").write_text("")
    said = fails(command, *STAGE0, "--data-dir", data, "--model-prefix", tmp_path / "file" / "m")
    assert "--model-prefix: the folder" in said and "cannot be written" in said
    assert not (data / "source.rec").exists()


def test_a_nan_ends_the_run_with_epoch_batch_and_checkpoint(data, command, tmp_path):
    flags = [*STAGE0, "--lr", 1e38, "--num-epochs", 30, "--data-dir", data, "--model-prefix", tmp_path / "m"]
    said = fails(command, *flags, "--no-checkpoint")
    assert re.search(r"(the loss (is|has exploded: .* and is) (nan|-?inf) in epoch \d+, batch \d|"
                     r"are NaN or infinite after epoch \d+); no checkpoint was written", said)
    assert not list(tmp_path.glob("m-*.params"))


def test_gpus_are_checked_against_what_mxnet_can_drive(monkeypatch):
    class Features:
        def is_enabled(self, name):
            return True

    monkeypatch.setattr(mx.runtime, "Features", Features)
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    monkeypatch.setattr(devices, "compute_capability", lambda number: ((7, 5), (9, 0))[number])
    assert devices.find_devices([0]) == [mx.gpu(0)]
    with pytest.raises(InputError, match="names GPU 2; MXNet sees 0 to 1"):
        devices.find_devices([0, 2])
    for given in ("0,1", [], [0, 0], [-1]):
        with pytest.raises(InputError, match="`gpus` is .*; expected different numbers from 0 up"):
            devices.find_devices(given)
    with pytest.raises(InputError, match="GPU 1, of compute capability 9.0"):
        devices.find_devices([0, 1])
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 0)
    with pytest.raises(InputError, match="MXNet sees none"):
        devices.find_devices([0])


def test_reproduce_makes_table_csv_and_picture_and_does_not_repeat_itself(data, command, tmp_path):
    epochs = "--num-epochs 1 --batch-size 8 --lr 0.01"
    flags = ["--data-dir", data, "--num-classes", 3, "--seeds", 1, "--jobs", 2, "--output", tmp_path / "out",
             "--common", "--image-shape 3,16,16 --data-nthreads 2", "--adabn", "--image-shape 3,16,16",
             "--stage0", f"--network resnet --num-layers 8 {epochs}", "--stage1", epochs]
    done = command("reproduce.py", *flags)
    assert re.search(r"\| JAN \(JMMD\) \| \d+\.\d % \| [+-]\d+\.\d \|\n", done.stdout)
    assert (tmp_path / "out" / "results.csv").read_text().count("\n") == 5
    picture = cv2.imread(str(tmp_path / "out" / "curves.png"))
    assert picture.shape[1] > 1000 and picture.std() > 10
    again = command("reproduce.py", *flags)
    assert again.stdout == done.stdout and again.stderr.count("done before") == 4
    beside = command("reproduce.py", *flags, "--published").stdout
    assert re.search(r"\| JAN \(JMMD\) \| \d+\.\d % \| [+-]\d+\.\d \| 78.9 % \|\n", beside)
    source, val = read_list(data / "source.lst"), read_list(data / "val.lst")
    write_list(data / "val.lst", (val.labels + 1) % 3, val.files)
    said = fails(command, *flags, script="reproduce.py")
    assert "done before" not in said and "val.lst" in said and "then" in said
    write_list(data / "val.lst", val.labels, val.files)
    write_list(data / "source.lst", [5] * 24, source.files)
    assert "source.lst" in fails(command, *flags, script="reproduce.py")
    assert "cannot be cut into words" in fails(command, *flags, "--stage0", "--lr '0.1", script="reproduce.py")


def test_reproduce_passes_on_why_a_command_failed(data, command, tmp_path):
    said = fails(command, "--data-dir", data, "--num-classes", 3, "--seeds", 1, "--output", tmp_path / "out",
                 "--stage0", "--num-epochs 1 --batch-size 8 --pretrained-model nowhere/x", script="reproduce.py")
    assert "nowhere/x-0000.params: no such checkpoint" in said and "cnn.log" in said


def test_digits_are_reproducible_files_and_lists(command, tmp_path):
    for folder in ("a", "b"):
        command("tools/digits.py", "--data-dir", tmp_path / folder, "--num-source", 30)
    a, b = (read_list(tmp_path / folder / "source.lst", 10) for folder in ("a", "b"))
    assert len(a) == 30 and a.labels.tolist() == [i % 10 for i in range(30)]
    for first, second in zip(a.files, b.files):
        np.testing.assert_array_equal(cv2.imread(first), cv2.imread(second))
    digits.make(tmp_path / "c", 10, seed=1)
    other = read_list(tmp_path / "c" / "source.lst").files
    assert any((cv2.imread(first) != cv2.imread(second)).any() for first, second in zip(a.files, other))
    target, val = (read_list(tmp_path / "a" / name, 10) for name in ("target.lst", "val.lst"))
    assert len(target) == 1797 and not target.labelled.any() and val.labelled.all() and target.files == val.files
    assert cv2.imread(val.files[0]).shape == (32, 32, 3)


def test_make_domain_labels_are_learnable(tmp_path):
    images = read_list(make_domain(tmp_path, "x", [0, 1, 2]))
    assert [cv2.imread(file).mean(axis=(0, 1))[::-1].argmax() for file in images.files] == [0, 1, 2]
