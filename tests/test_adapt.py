"""adapt.py: the whole way, as commands that are printed, run once, and can be copied."""
import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from transfer_gluon.cli.help import beside

import conftest
import pytest
from conftest import make_domain

from transfer_gluon.base.errors import InputError
from transfer_gluon.commands import adapt as adapt_command
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.symbols.registry import TRANSFER_LOSSES
from transfer_gluon.trials import adaptation, trial
from transfer_gluon.trials.advice import HOW, advise, drop_after

COLOURS = "blue", "green", "red"
QUICK = ["--common", "--num-epochs 1 --data-nthreads 2"]


def make_photos(folder, images=8, seed=0):
    """A folder with a folder a class, whose colour tells it."""
    for label, name in enumerate(COLOURS):
        make_domain(folder, name, [label] * images, seed=seed + label)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Photos, made once: ``my web`` and ``val`` with a folder a class, ``street`` without."""
    folder = tmp_path_factory.mktemp("photos")
    make_photos(folder / "my web")
    make_photos(folder / "val", images=3, seed=5)
    make_domain(folder, "street", [i % 3 for i in range(16)], seed=9)
    (folder / "street.lst").unlink()
    return folder


@pytest.fixture
def photos(kept, trained, tmp_path):
    """A folder of one's own with them, and the network model/s0."""
    shutil.copytree(kept, tmp_path / "p")
    shutil.copytree(trained, tmp_path / "p" / "model")
    return tmp_path / "p"


class AtOnce(Executor):
    """Runs what it is given in the thread that asks: only there, signals can be waited for."""

    def __init__(self, jobs):
        pass

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(monkeypatch):
    """Commands are run in this process, which spares their start; a list of those that were."""
    called = []

    def run(command, stdout, **_):
        script, *flags = command[1:]
        called.append([Path(script).name, *flags])
        done = conftest._answer_here([str(script), *flags], Path.cwd(), None)
        stdout.write(done.stdout + done.stderr)
        return done

    monkeypatch.setattr(trial, "subprocess", SimpleNamespace(run=run, STDOUT=None, DEVNULL=None))
    monkeypatch.setattr(trial, "ThreadPoolExecutor", AtOnce)
    return called


@pytest.fixture
def adapt(photos, command):
    """Call adapt.py on the photos."""
    def call(*flags, source="my web", target="street", **more):
        return command("adapt.py", "--source", source, "--target", target, *flags, cwd=photos, **more)

    return call


@pytest.fixture
def planned(adapt):
    """The commands of ``--dry-run``, in words, by what they write."""
    def call(*flags, **more):
        lines = [line for line in adapt("--dry-run", *flags, **more).stdout.splitlines() if ".py " in line]
        found = [shlex.split(line)[1:] for line in lines]
        names = {"fine_tune.py": "--model-prefix", "adabn.py": "--save-prefix",
                 **dict.fromkeys(["predict.py", "report.py"], "--out")}
        return {Path(given(words, names.get(Path(words[0]).name, "--output"))).stem: words for words in found}

    return call


def given(words, flag):
    """The only value of a flag in a command."""
    assert words.count(flag) == 1, words
    return words[words.index(flag) + 1]


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_dry_run_tells_commands_and_reasons_and_leaves_nothing(adapt, photos):
    before = sorted(photos.rglob("*"))
    said = adapt("--val", "val", "--dry-run").stdout
    *reasons, commands = re.split(r"\n(?=- )|\n\n", said.rstrip())
    assert [reason[:22] for reason in reasons] == \
        ["- the network stays as", "- 60 and 60 epochs, of", "- every transfer loss ", "- AdaBN puts the targe"]
    scripts = [Path(shlex.split(line)[1]).name for line in commands.splitlines()]
    assert scripts == ["fine_tune.py", "adabn.py", "fine_tune.py", "predict.py", "evaluate.py", "evaluate.py",
                       "report.py"]
    assert "--source 'my web' --target street --val val" in commands
    assert sorted(photos.rglob("*")) == before


def test_from_two_folders_to_a_table_and_predictions(adapt, photos, here):
    flags = ["--val", "val", *QUICK]
    done = adapt(*flags)
    output = photos / "runs" / "adapt-my web-street"
    table = (output / "table.md").read_text()
    assert table in done.stdout
    figures = re.findall(r"\| (.+?) \| (\S+) \| (\d+\.\d) % \| `(.+?)` \|", table)
    assert [(title, held) for title, held, *_ in figures] == \
        [("source model (no transfer)", "–"), ("AdaBN", "–"), ("JAN (JMMD)", "–")]
    assert all((photos / checkpoint).exists() for *_, checkpoint in figures)
    found = rows(output / "predictions.csv")
    assert len(found) == 16 and {row["label_1"] for row in found} <= set(COLOURS)
    assert (output / "evaluation" / "confusion.png").exists()
    assert {row["true"] for row in rows(output / "evaluation" / "predictions.csv")} == set(COLOURS)
    for what in ("evaluation", "predictions.csv", "table.md", "commands.sh", "report.html"):
        assert f" {output.relative_to(photos) / what}\n" in done.stdout
    accuracy = float(rows(output / "jan-run" / "summary.csv")[-1]["validation_accuracy"])
    assert figures[-1][2] == f"{100 * accuracy:.1f}"
    adabn = json.loads((output / "evaluation-adabn" / "evaluation.json").read_text())
    assert figures[1][2] == f"{100 * adabn['accuracy']:.1f}" and "adabn-0001" in adabn["network"]
    calls = len(here)
    again = adapt(*flags)
    assert again.stdout == done.stdout
    assert again.stderr.count(": done before") == 7 and len(here) == calls == 7
    assert "seed" not in again.stderr
    saved = (output / "commands.sh").read_text()
    assert saved.startswith(f"set -e\ncd {shlex.quote(str(photos))}\n")
    assert [shlex.split(line)[2:] for line in saved.splitlines()[2:]] == [words[1:] for words in here]

    (photos / "val" / "red" / "000.jpg").unlink()       # other images: all that reads them is done again
    changed = adapt(*flags)
    assert changed.stderr.count(": anew, since images or commands are others") == 7 and len(here) == calls + 7
    assert sum(row["true"] == "red" for row in rows(output / "evaluation" / "predictions.csv")) == 2
    other = adapt(*flags, "--stage1", "--lr 0.002")     # other flags: what they concern, and what goes on from it
    assert other.stderr.count(": done before") == 3
    assert [words[0] for words in here[calls + 7:]] == ["fine_tune.py", "predict.py", "evaluate.py",
                                                           "report.py"]
    assert given(here[calls + 7], "--lr") == "0.002" and "--overwrite" in here[calls + 7]


def test_a_flat_target_without_labels(adapt, photos, here):
    done = adapt("--methods", "dan", *QUICK)
    assert re.search(r"\| DAN \(MMD\) \| – \| – \| `", done.stdout) and "%" not in done.stdout.partition("| model")[2]
    assert "target: nothing tells how well it works without labels; --val takes" in done.stdout
    assert "evaluation" not in done.stdout
    assert [words[0] for words in here] == ["fine_tune.py"] * 2 + ["predict.py", "report.py"]
    assert "--no-validation" in here[0] and "--no-validation" in here[1]
    assert {row["label_1"] for row in rows(photos / "runs" / "adapt-my web-street" / "predictions.csv")} <= set(COLOURS)


def test_the_held_out_part_of_the_source_is_in_the_table(adapt, photos, here):
    make_photos(photos / "more", images=34)
    done = adapt("--methods", "adabn", *QUICK, source="more")
    assert re.search(r"\| source model \(no transfer\) \| \d+\.\d % \| – \|", done.stdout)
    assert re.search(r"\| AdaBN \| – \| – \|", done.stdout)


def test_the_commands_file_runs_from_anywhere(adapt, photos, tmp_path):
    adapt("--methods", "adabn", *QUICK, "--output", "my out")
    wanted = (photos / "my out" / "predictions.csv").read_bytes()
    for file in (photos / "my out").iterdir():
        if file.name != "commands.sh":
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    done = subprocess.run(["sh", photos / "my out" / "commands.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (photos / "my out" / "predictions.csv").read_bytes() == wanted


def test_a_command_that_fails_is_told_by_its_last_words(adapt, photos):
    said = adapt("--stage0", "--layer nowhere", *QUICK, expect=2).stderr
    assert re.search(r": source model \(no transfer\): ended with exit code 2. Its last words, from "
                     r"runs/adapt-my web-street/source.log:\n", said) and "No such option '--layer'" in said
    assert not (photos / "runs" / "adapt-my web-street" / "table.md").exists()


def test_what_another_command_left_gives_way_and_what_this_one_left_is_gone_on_with(tmp_path, monkeypatch):
    first = trial.Trial("source", "source", None, ("fine_tune.py", "--resume"), tmp_path / "source",
                        tmp_path / "source-0001.params", {"source": "1"}, anew=True)
    other = replace(first, lists={"source": "2"})
    called, state = [], tmp_path / "source-run" / "state.params"
    state.parent.mkdir()

    def call(run, ends):
        def process(command, **_):
            called.append(command[2])
            if ends != "refused":
                state.write_text(str(len(called)))
                os.utime(state, ns=(0, len(called)))
            if ends == "stopped":
                raise KeyboardInterrupt
            run.done.touch()
            return SimpleNamespace(returncode=2 * (ends == "refused"))

        monkeypatch.setattr(subprocess, "run", process)
        with contextlib.suppress(KeyboardInterrupt, InputError):
            trial.execute(run, SimpleNamespace(write=lambda *_, **__: None, update=lambda: None))
        return called[-1]

    assert call(first, "stopped") == "--resume" and call(first, "done") == "--resume"
    assert call(first, "done") and len(called) == 2
    assert call(other, "refused") == "--overwrite"      # before it began: the run of the first is still there
    assert call(other, "stopped") == "--overwrite" and call(other, "refused") == "--resume"
    assert call(other, "done") == "--resume" and call(first, "done") == "--overwrite"
    later = replace(first, after=(first,))
    assert call(later, "done") == "--overwrite" and call(later, "done") and len(called) == 8
    assert call(replace(later, after=(other,)), "done") == "--overwrite" and len(called) == 9
    assert call(replace(other, anew=False), "done") == "--resume"


def test_every_flag_reaches_the_commands(planned, photos):
    usual = planned("--val", "val")
    assert list(usual) == ["source", "adabn", "jan", "predictions", "evaluation-adabn", "evaluation", "report"]
    source, jan = usual["source"], usual["jan"]
    assert (given(source, "--pretrained-model"), given(source, "--pretrained-epoch")) == ("model/s0", "1")
    assert (given(jan, "--pretrained-model"), given(jan, "--pretrained-epoch")) == \
        (given(source, "--model-prefix"), "60")
    assert (given(source, "--train-stage"), given(jan, "--train-stage"), given(jan, "--transfer")) == ("0", "1", "jmmd")
    assert given(source, "--read") == "features" and given(jan, "--estimate") == "quadratic"
    assert given(source, "--data-dir") == "runs/adapt-my web-street" and "--gpus" not in source
    assert given(usual["adabn"], "--val") == "street" and given(usual["evaluation-adabn"], "--lst") == "val"
    assert given(usual["predictions"], "--model") == given(jan, "--model-prefix")
    assert given(usual["evaluation"], "--model") == given(jan, "--model-prefix")
    assert given(usual["evaluation-adabn"], "--model") == given(usual["adabn"], "--save-prefix")
    assert given(usual["predictions"], "--images") == "street"

    whole = planned("--how", "whole")
    assert "--read" not in whole["source"] and "--data-dir" not in whole["source"]
    assert given(whole["jan"], "--lr") == "0.0001"
    on_gpus = planned("--val", "val", "--gpus", "1,2")
    assert "--read" not in on_gpus["source"]
    assert {given(on_gpus[name], "--gpus") for name in ("source", "jan")} == {"1,2"}
    assert {given(on_gpus[name], "--gpu") for name in ("adabn", "predictions", "evaluation")} == {"1"}
    assert given(planned("--gpus", "0,1,2")["source"], "--batch-size") == "12"      # a multiple of 6

    shaped = planned("--seed", 3, "--image-shape", "3,32,48", "--output", "elsewhere")
    for name in ("source", "jan"):
        assert (given(shaped[name], "--seed"), given(shaped[name], "--image-shape")) == ("3", "3,32,48")
        assert given(shaped[name], "--model-prefix") == f"elsewhere/{name}"
    assert "--seed" not in source and "--image-shape" not in source

    new = planned("--network", "resnet", "--num-layers", 8)
    assert (given(new["source"], "--network"), given(new["source"], "--num-layers")) == ("resnet", "8")
    assert "--pretrained-model" not in new["source"] and given(new["source"], "--lr") == "0.05"
    assert "--num-layers" not in planned("--network", "vgg16")["source"]

    all_rows = planned("--methods", "dann,dan,coral,adabn")
    assert list(all_rows) == ["source", "dann", "dan", "coral", "adabn", "predictions", "report"]
    assert {name: given(all_rows[name], "--transfer") for name in ("dann", "dan", "coral")} == \
        {"dann": "dann", "dan": "mmd", "coral": "coral"}
    assert "--estimate" not in all_rows["dann"] + all_rows["coral"]
    assert {name: given(all_rows[name], "--relative-transfer-weight") for name in ("dann", "dan", "coral")} == \
        {"dann": "1", "dan": "0.5", "coral": "100"}
    assert (given(all_rows["predictions"], "--model"), given(all_rows["predictions"], "--epoch")) == \
        (given(all_rows["adabn"], "--save-prefix"), "60")

    shutil.copy(photos / "model" / "s0-0001.params", photos / "model" / "s0-0004.params")
    assert given(planned("--model", "model/s0")["source"], "--pretrained-epoch") == "4"
    assert given(planned("--model", "model/s0", "--epoch", 1)["source"], "--pretrained-epoch") == "1"


def test_further_flags_win_and_the_rest_fits_them(planned):
    told = planned("--common", "--num-epochs 9 --wd 0.1", "--stage0", "--num-epochs=8 --lr 0.5", "--stage1",
                   "--transfer-weight 2", "--stage1", "--batch-size 6")
    source, jan = told["source"], told["jan"]
    assert "--num-epochs" in source and "--num-epochs=8" in source and given(source, "--lr") == "0.5"
    assert source.index("--num-epochs") < source.index("--num-epochs=8") and given(source, "--lr-step-epochs") == "6"
    assert given(jan, "--num-epochs") == "9" and given(jan, "--lr-step-epochs") == "7"
    assert given(jan, "--pretrained-epoch") == given(told["adabn"], "--epoch") == "8"
    assert given(told["predictions"], "--epoch") == "9" and given(jan, "--wd") == given(source, "--wd") == "0.1"
    assert given(jan, "--batch-size") == "6" and given(source, "--batch-size") == "16"
    assert given(jan, "--transfer-weight") == "2" and "--relative-transfer-weight" not in jan
    inverse = planned("--common", "--lr-schedule inv")["source"]
    assert not [word for word in inverse if word.startswith("--lr-step")]
    assert given(planned("--common", "--lr-step-epochs 7")["jan"], "--lr-step-epochs") == "7"


@pytest.mark.parametrize("flags, why", [
    (["--model", "m", "--network", "resnet"], "--model and --network were both given, and each names the network"),
    (["--weights", "w", "--model", "m"], "--model and --weights were both given"),
    (["--architecture", "resnet50"], "--architecture was given without --weights"),
    (["--weights", "w.pth"], "--weights was given without --architecture, which says"),
    (["--num-layers", 8], "--num-layers was given without --network"),
    (["--epoch", 8], "--epoch was given without --model"),
    (["--network", "resnet", "--how", "whole"], "--how is whole, and a new network, which --network names, begins"),
    (["--how", "new"], "--how is new, and no --network says which new one; give it"),
    (["--methods", "jan,svm"], "--methods is 'jan,svm'; expected different ones of adabn, dan, jan, coral, dann"),
    (["--methods", "jan,jan"], "--methods is 'jan,jan'; expected different ones"),
    (["--model", "model/s1"], "--model model/s1: no such checkpoint; expected a prefix"),
    (["--model", "model/s0", "--epoch", 7], "--model model/s0: no such checkpoint; there are the epochs 1 of it"),
    (["--weights", "w.pth", "--architecture", "resnet18"], "w.pth"),
    (["--common", "--lr '0.1"], "--common is --lr '0.1, which cannot be cut into words"),
    (["--stage0", "--early-stop 3"], "--stage0 has --early-stop, without which the commands would not find"),
    (["--common", "--gpus=3"], "--common has --gpus, which --gpus says; give that."),
    (["--stage1", "--num-epochs x"], "--num-epochs is 'x'; expected a number"),
    (["--val", "street"], "street: its 16 images lie in it side by side, which tells no label"),
    (["--image-shape", "1,16,16"], "--image-shape"), (["--gpus", "a"], "--gpus"),
])
def test_what_cannot_be_is_told_at_once(adapt, photos, flags, why):
    said = adapt(*flags, expect=2).stderr
    assert why in said and not (photos / "runs").exists()


def test_the_network_in_the_folder_is_found_or_asked_for(adapt, photos):
    for kind in ("0001.params", "symbol.json"):
        shutil.copy(photos / "model" / f"s0-{kind}", photos / "model" / f"b-{kind}")
    said = adapt("--dry-run", expect=2).stderr
    assert "network to start from was not said, and model/ has several: model/b, model/s0. Say which by --model" in said
    shutil.rmtree(photos / "model")
    said = adapt("--dry-run", expect=2).stderr
    assert "no pretrained network is in model/. tools/get_model.py fetches one; --weights and --architecture" in said


def test_lists_and_their_labels(adapt, planned, photos):
    files = sorted(str(file) for file in (photos / "street").iterdir())
    write_list(photos / "target.lst", [9999] * 16, files)
    assert given(planned(target="target.lst")["predictions"], "--lst") == "target.lst"
    said = adapt("--val", "target.lst", expect=2).stderr
    assert "target.lst: no image has a label, by which to tell how well it works; leave --val out" in said
    source = read_list(make_domain(photos, "half", [0, 1, 2] * 4))
    write_list(source.path, [0, 1, 2, 0, 1, 2, *[9999] * 6], source.files)      # as many as have labels make a batch
    (photos / "classes.txt").write_text("a\nb\nc\n")
    assert given(planned(source="half.lst")["source"], "--batch-size") == "6"
    said = adapt("--val", "val", source="half.lst", expect=2).stderr
    assert "blue" in said


def test_weights_are_imported_first(adapt, planned, photos, here, monkeypatch):
    (photos / "w.pth").write_bytes(b"weights")
    told = planned("--weights", "w.pth", "--architecture", "resnet18", "--output", "out")
    assert told["resnet18"][1:] == ["w.pth", "--architecture", "resnet18", "--output", "out/resnet18"]
    assert next(iter(told)) == "resnet18" and told["resnet18"][0].endswith("tools/import_weights.py")
    assert (given(told["source"], "--pretrained-model"), given(told["source"], "--pretrained-epoch")) == \
        ("out/resnet18", "0")
    assert "not" in adapt("--weights", "w.pth", "--architecture", "resnet18", expect=2).stderr
    assert [words[0] for words in here] == ["import_weights.py"]
    before = adaptation.import_command(photos / "out", photos / "w.pth", "resnet18")
    (photos / "w.pth").write_bytes(b"others")
    assert before.made_of != adaptation.import_command(photos / "out", photos / "w.pth", "resnet18").made_of


def test_another_network_in_the_place_of_the_old_one_is_noticed(photos, monkeypatch):
    monkeypatch.chdir(photos)
    made_of = [adapt_command._start(Path("out"), "model/s0", None, None, None, None, None)[2] for _ in range(2)]
    (photos / "model" / "s0-0001.params").write_bytes(b"another")
    assert made_of[0] == made_of[1] != adapt_command._start(Path("out"), "model/s0", 1, None, None, None, None)[2]


@pytest.mark.parametrize("argv, called", [
    ("adapt.py", "python fine_tune.py"), ("../check out/adapt.py", "python '../check out/fine_tune.py'"),
    ("/v/bin/transfer-gluon", "transfer-gluon fine-tune"),
    ("/v/transfer_gluon/__main__.py", "python -m transfer_gluon fine-tune")])
def test_commands_are_printed_as_one_types_them(argv, called, tmp_path, monkeypatch):
    for name in ("python", "transfer-gluon"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setattr(sys, "argv", [argv])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert beside()("fine_tune.py") == called
    monkeypatch.setattr(sys, "executable", "/v/bin/python")     # of an environment that was not activated
    said = beside()("fine_tune.py")
    assert said == (f"/v/bin/{called}" if called.startswith("python") else
                    "/v/bin/python -m transfer_gluon fine-tune")


def test_rules_give_what_can_be_trained_with():
    for how in HOW:
        for images in (2, 3, 7, 99, 100, 101, 1000, 10**6):
            for target in (2, 5, 64, 10**6):
                advice = advise(images, target, how)
                for flags, epochs in zip((advice.stage0, advice.stage1), advice.epochs):
                    told = dict(zip(flags[::2], flags[1::2]))
                    assert int(told["--num-epochs"]) == epochs and 1 <= int(told["--lr-step-epochs"]) < epochs
                sizes = [int(given(flags, "--batch-size")) for flags in (
                    advice.stage0, advice.for_loss("jmmd"), advice.for_loss("shot"))]
                assert sizes[1] == 2 * sizes[0] <= 128 and sizes[0] % 2 == 0 and sizes[0] <= min(images, target)
                assert sizes[2] == sizes[0]     # of the target alone, which has no more
                assert ("--source-validation" in advice.common) == (images >= 100)
                assert ("--read" in advice.common) == ("--bottleneck" in advice.stage0) == (how == "features")
    assert advise(10**6, 10**6, "whole").epochs == (4, 4) and advise(2, 2, "new").epochs == (100, 100)
    assert advise(1000, 64, "features").epochs == (40, 60)      # a tenth held out; an epoch of the smaller domain
    assert "come near 600 updates" in " ".join(advise(1000, 640, "features").reasons)
    assert given(advise(100, 100, "whole", 4).stage0, "--batch-size") == "64"
    assert given(advise(50, 50, "whole", 4).stage0, "--batch-size") == "48"
    assert [drop_after(epochs) for epochs in (1, 2, 3, 4, 60)] == [1, 1, 2, 3, 45]


@pytest.mark.parametrize("source, target, devices, least", [(1, 9, 1, 2), (9, 1, 1, 2), (5, 9, 3, 6)])
def test_too_few_images_are_told(source, target, devices, least):
    with pytest.raises(InputError, match=f"{source} source and {target} target images: expected at least {least} of"):
        advise(source, target, "whole", devices)


def test_ways_that_there_are_not_are_refused():
    with pytest.raises(InputError, match="`how` is 'slow'; expected one of features, whole, new"):
        advise(9, 9, "slow")


def test_a_transfer_loss_that_is_added_is_a_row():
    assert {loss for _, loss in adaptation.METHODS.values()} - {None} == set(TRANSFER_LOSSES)
    assert set(adapt_command._METHODS) == set(adaptation.METHODS) - {"source"}
