"""What reproduce.py calls, when it calls it again, and which numbers it takes."""
import csv
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from transfer_gluon.cli.options import filled
from transfer_gluon.cli.types import refuse_idle

import cv2
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL, make_domain

from transfer_gluon.base.errors import InputError
from transfer_gluon.commands import fine_tune, reproduce
from transfer_gluon.iters import read_list
from transfer_gluon.training.options import GROUPS
from transfer_gluon.training.stages import Stage
from transfer_gluon.training.summary import EpochResult, Summary, best_result, read_summary
from transfer_gluon.trials import curves, domains, methods, tables, trial

WORDS = dict(stage0=["--num-epochs", "18"], stage1=["--num-epochs", "14"], common=["--num-epochs", "5", "--wd", "0.1"],
             adabn=["--layers", "all"])


@pytest.fixture
def runs(tmp_path):
    """The commands of two seeds by seed and method."""
    return {(run.seed, run.method): run
            for stage in methods.plan(tmp_path, "cars", {"val.lst": "0"}, 7, "2,3", 2, **WORDS) for run in stage}


def given(run, flag):
    """What a flag is in a command: the last that was given counts."""
    return run.command[len(run.command) - run.command[::-1].index(flag)]


def write_accuracies(run, accuracies, of_source=None):
    summary = Summary()
    for epoch, accuracy in enumerate(accuracies, start=1):
        others = {"source_accuracy": of_source[epoch - 1]} if of_source else {}
        summary.add(EpochResult(epoch, epoch, 0.1, 1.0, 0.0, 0.5, accuracy, accuracy, others))
    folder = Path(f"{run.prefix}-run")
    folder.mkdir(parents=True, exist_ok=True)
    run.done.write_bytes(b"")
    summary.write(folder / "summary.csv")       # which may be what tells that the run is done


def test_every_row_of_the_table_is_called_by_its_own_flags(runs, tmp_path):
    assert runs.keys() == {(seed, method) for seed in (0, 1) for method in methods.METHODS}
    for (seed, method), run in runs.items():
        cnn = str(tmp_path / f"seed{seed}" / "cnn")
        if method == "adabn":
            assert run.command == ("adabn.py", "--model", cnn, "--epoch", "18", "--val", "cars/val.lst", "--gpu", "2",
                                   "--layers", "all")
            continue
        assert run.command[0] == "fine_tune.py" and "--resume" in run.command
        for flag, value in (("--data-dir", "cars"), ("--num-classes", "7"), ("--seed", str(seed)), ("--gpus", "2,3"),
                            ("--model-prefix", str(tmp_path / f"seed{seed}" / method)), ("--wd", "0.1"),
                            ("--num-epochs", "18" if method == "cnn" else "14")):
            assert given(run, flag) == value
        assert given(run, "--train-stage") == ("0" if method == "cnn" else "1")
        assert ("--use-dan" in run.command) == (method == "dan")
        assert run.done == tmp_path / f"seed{seed}" / (f"{method}-0018.params" if method == "cnn" else
                                                       f"{method}-0014.params")
        if method != "cnn":
            assert (given(run, "--pretrained-model"), given(run, "--pretrained-epoch")) == (cnn, "18")
    assert not any("gpu" in word for stage in methods.plan(tmp_path, "cars", {}, 7, None, 1, **WORDS)
                   for run in stage for word in run.command)


def test_accuracies_are_those_of_the_last_epoch_and_after_adabn(runs, tmp_path):
    write_accuracies(runs[0, "dan"], [0.25, 0.75, 0.5])
    runs[1, "adabn"].log.parent.mkdir(parents=True)
    runs[1, "adabn"].log.write_text("accuracy of 8 images: 12.50% before AdaBN, 62.50% after\n")
    chosen = [runs[0, "dan"], runs[1, "adabn"]]
    assert [trial.accuracy(run) for run in chosen] == [50, 62.5]
    tables.write_csv(tmp_path / "results.csv", chosen)
    with open(tmp_path / "results.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["method", "seed", "accuracy_percent", "command"]
    assert [row[:3] for row in rows] == [["dan", "0", "50.0000"], ["adabn", "1", "62.5000"]]
    assert rows[0][3] == " ".join(runs[0, "dan"].command)


def test_a_command_is_called_again_unless_this_very_one_has_ended(runs, monkeypatch):
    called = []

    def call(command, **_):
        called.append(command[2:])
        if dies:
            raise KeyboardInterrupt
        write_accuracies(run, [0.5])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", call)
    bar, dies = SimpleNamespace(write=lambda *_, **__: None, update=lambda: None), False
    run = first = runs[0, "dan"]
    other, edited = replace(first, command=(*first.command, "--wd", "0")), replace(first, lists={"val.lst": "1"})
    for run, calls in (first, 1), (first, 1), (other, 2), (other, 2), (first, 3), (edited, 4), (first, 5):
        trial.execute(run, bar)
        assert len(called) == calls and called[-1] == list(run.command[1:])
    run, dies = other, True
    with pytest.raises(KeyboardInterrupt):
        trial.execute(other, bar)
    run, dies = first, False        # whatever the one that was interrupted has written
    trial.execute(first, bar)
    assert len(called) == 7


def test_further_rows_vary_stage_0_or_go_on_from_it(tmp_path):
    also = [("jmmd", ["--ema", "0.99"]), ("jmmd", []), ("cnn", ["--mixup", "0.2"]), ("jmmd", ["--mixup", "0.2"])]
    first, second = methods.plan(tmp_path, "cars", {}, 7, None, 1, also=also, **WORDS)
    assert [run.method for run in first] == ["cnn", "cnn-mixup-0.2"]
    rows = {run.method: run for run in first + second}
    assert list(rows)[-3:] == ["jmmd", "jmmd-plain", "jmmd-mixup-0.2"]
    assert [rows[name].title for name in ("cnn-mixup-0.2", "jmmd", "jmmd-plain")] == \
        ["CNN (no transfer), --mixup 0.2", "JAN, --ema 0.99", "JAN"]
    variant = rows["cnn-mixup-0.2"]
    assert given(variant, "--train-stage") == "0" and given(variant, "--mixup") == "0.2"
    assert given(variant, "--num-epochs") == "18" and "--mixup" not in rows["cnn"].command
    for name in ("jmmd", "jmmd-plain", "jmmd-mixup-0.2"):
        assert given(rows[name], "--pretrained-model") == str(rows["cnn"].prefix)
        assert given(rows[name], "--transfer") == "jmmd" and rows[name].prefix == tmp_path / "seed0" / name
    both = methods.further_rows([("cnn", ["--lr", "0.1"]), ("cnn", ["--lr=0.1"])])
    assert [title for _, title, _ in both.values()] == ["CNN (no transfer), --lr 0.1", "CNN (no transfer), --lr=0.1"]
    for wrong, what in ([("cnn", [])], "without flags"), ([("mmd", ["--lr", "1"])] * 2, "twice with --lr 1"):
        with pytest.raises(InputError, match=what):
            methods.further_rows(wrong)


def test_the_picture_takes_variants_and_runs_that_stopped_early(data, tmp_path):
    also = [("cnn", ["--mixup", "0.2"]), ("coral", ["--early-stop", "1"])]
    stages = methods.plan(tmp_path, data, {}, 3, None, 2, also=also, **WORDS)
    for run in sum(stages, []):
        write_accuracies(run, [0.5, 0.75, 0.25][:3 - run.seed])
        run.log.write_text("62.50% after\n")
    curves.draw(tmp_path / "curves.png", sum(stages, []), data)
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 10


def make_folders(folder, labels=(0, 1, 2), images=4):
    """A folder a class, in it images of the class's colour."""
    for label in labels:
        make_domain(folder, f"class{label}", [label] * images, seed=label)


@pytest.fixture
def office(tmp_path):
    """Three domains of three classes; one as it is downloaded, with a level `images`."""
    for domain in ("amazon/images", "dslr", "webcam"):
        make_folders(tmp_path / "office" / domain)
    (tmp_path / "office" / ".hidden").mkdir()
    return tmp_path / "office"


PAIRS = {(source, target) for source in ("amazon", "dslr", "webcam") for target in ("amazon", "dslr", "webcam")
         if source != target}


def test_every_ordered_pair_of_domains_is_trained_on_one_and_judged_on_the_other(office, tmp_path):
    lists, num_classes = domains.list_domains(office, tmp_path / "out")
    assert num_classes == 3 and list(lists) == ["amazon", "dslr", "webcam"]
    also = [("cnn", ["--mixup", "0.2"])]
    trials = domains.plan_pairs(tmp_path / "out", lists, 3, "0", 2, ["--num-epochs", "5"], ["--wd", "0.1"], also)
    assert {(run.pair, run.seed, run.method) for run in trials} == \
        {(pair, seed, name) for pair in PAIRS for seed in (0, 1) for name in ("cnn", "cnn-mixup-0.2")}
    assert len({run.prefix for run in trials}) == len(trials) == 24
    for run in trials:
        folder = Path(given(run, "--data-dir"))
        assert sorted(file.name for file in folder.glob("*.lst")) == ["source.lst", "val.lst"]
        for name, domain in zip(("source.lst", "val.lst"), run.pair):
            images = read_list(folder / name, 3)
            assert len(images) == 12 and run.lists[name] == images.digest
            for file, label in zip(images.files, images.labels):
                assert Path(file).is_relative_to(office / domain) and Path(file).parent.name == f"class{label}"
        for flag, value in (("--num-classes", "3"), ("--seed", str(run.seed)), ("--train-stage", "0"), ("--gpus", "0"),
                            ("--read", "files"), ("--num-epochs", "5"), ("--wd", "0.1")):
            assert given(run, flag) == value
        assert ("--mixup" in run.command) == (run.method != "cnn") and "--resume" in run.command
    assert (tmp_path / "out" / "classes.txt").read_text() == "class0\nclass1\nclass2\n"


def test_a_class_that_a_domain_lacks_is_named_with_the_domain(office, tmp_path):
    make_folders(office / "dslr", [3])
    (office / "webcam" / "class3").mkdir()
    with pytest.raises(InputError, match="2 of its 3 domains lack(?s:.*)amazon: no images of class3\n  "
                                         "webcam: no images of class3$"):
        domains.list_domains(office, tmp_path / "out")


def test_stage_0_must_reach_the_epoch_that_others_go_on_from(tmp_path):
    ends = ["--early-stop", "3"]
    for where in ("stage0", "common"):
        with pytest.raises(InputError, match="`stage0` or `common` has --early-stop"):
            methods.plan(tmp_path, "cars", {}, 7, None, 1, **{**WORDS, where: WORDS[where] + ends})
    for more in (dict(stage1=WORDS["stage1"] + ends), dict(also=[("cnn", ends)])):
        methods.plan(tmp_path, "cars", {}, 7, None, 1, **{**WORDS, **more})


@pytest.mark.parametrize("folder, message", [
    ("office/amazon", "expected a folder with two folders or more, one a domain. It has images"),
    ("nowhere", "cannot be read"), ("empty", "hold no folders")])
def test_folders_that_are_no_domains_are_refused(office, tmp_path, folder, message):
    for domain in ("a", "b"):
        (tmp_path / "empty" / domain).mkdir(parents=True)
    with pytest.raises(InputError, match=message):
        domains.list_domains(tmp_path / folder, tmp_path / "out")


def test_the_best_epoch_is_chosen_by_the_source_and_is_the_first_of_equals(runs):
    run = runs[0, "cnn"]
    write_accuracies(run, [0.25, 0.5, 0.75, 0.125], of_source=[0.5, 0.875, 0.875, 0.75])
    assert tables.pair_accuracies(run) == (12.5, 50)
    write_accuracies(run, [0.25, 0.5])
    last, best = tables.pair_accuracies(run)
    assert last == 50 and best != best
    assert "| a → b | 50.0 % | |\n" in tables.pair_table({("a", "b"): [(last, best)]}, "mine")


def test_the_table_of_pairs_has_both_epochs_and_nothing_is_run_again(office, command, tmp_path, monkeypatch):
    called = []

    def train(words, **_):
        words = list(map(str, words))
        called.append(words)
        run = SimpleNamespace(command=tuple(words), prefix=words[words.index("--model-prefix") + 1])
        run.done = Path(f"{run.prefix}-0002.params")
        write_accuracies(run, [0.75, 0.5] if "amazon" in Path(run.prefix).parts[-3] else [0.25, 1], [1, 0])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", train)
    flags = ["--domains", office, "--seeds", 2, "--output", tmp_path / "out"]
    done = command("reproduce.py", *flags)
    assert len(called) == 12
    text = (tmp_path / "out" / "table.md").read_text()
    assert done.stdout.startswith(text) and text.splitlines() == [
        "| office, source only, 2 seeds | last epoch | best by source validation |", "| --- | --- | --- |",
        "| amazon → dslr | 100.0 ± 0.0 % | 25.0 ± 0.0 % |", "| amazon → webcam | 100.0 ± 0.0 % | 25.0 ± 0.0 % |",
        "| dslr → amazon | 50.0 ± 0.0 % | 75.0 ± 0.0 % |", "| dslr → webcam | 100.0 ± 0.0 % | 25.0 ± 0.0 % |",
        "| webcam → amazon | 50.0 ± 0.0 % | 75.0 ± 0.0 % |", "| webcam → dslr | 100.0 ± 0.0 % | 25.0 ± 0.0 % |",
        "| mean of 6 pairs | 83.3 ± 0.0 % | 41.7 ± 0.0 % |"]
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and [rows[0][name] for name in (
        "method", "source", "target", "seed", "last_epoch", "last_accuracy_percent", "best_epoch",
        "best_accuracy_percent")] == ["cnn", "amazon", "dslr", "0", "2", "100.0000", "1", "25.0000"]
    assert command("reproduce.py", *flags).stdout == done.stdout and len(called) == 12
    make_folders(office / "webcam", images=5)
    command("reproduce.py", *flags)
    assert len(called) == 12 + 2 * 4        # those that read webcam


@pytest.mark.parametrize("flags, message", [
    (["--data-dir", "d"], "--data-dir was given with --domains, whose folders tell it"),
    (["--num-classes", 3], "--num-classes was given with --domains"),
    (["--stage1", "--lr 1"], "--stage1 was given with --domains, which is stage 0 only"),
    (["--adabn", "--layers all"], "--adabn was given with --domains"),
    (["--also", "dann", ""], "--also dann was given with --domains, which is stage 0 only; expected cnn")])
def test_flags_that_do_nothing_beside_domains_are_refused(office, command, tmp_path, flags, message):
    said = command("reproduce.py", "--domains", office, "--output", tmp_path / "out", *flags, expect=2).stderr
    assert message in said


def test_flags_given_again_are_added_behind(office, command, tmp_path, monkeypatch):
    called = []

    def fail(words, **_):
        called.append(list(map(str, words)))
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(subprocess, "run", fail)
    for flags, recipe in ([], True), (["--stage0", "--lr 3 --wd 1", "--stage0", "--lr 4"], False):
        command("reproduce.py", "--domains", office, "--output", tmp_path / "out", *flags, expect=2)
        assert ("--source-validation" in called[-1]) == recipe
    assert called[-1][-6:] == ["--lr", "3", "--wd", "1", "--lr", "4"]


def test_two_domains_are_trained_and_a_second_call_trains_nothing(command, tmp_path):
    for domain in ("a", "b/images"):
        make_folders(tmp_path / "two" / domain, images=8)
    recipe = ["--num-epochs", 2, "--source-validation", 0.25, "--keep", "best", "--early-stop", 2, "--head-lr-mult", 10,
              "--new-init", "normal"]
    flags = ["--domains", tmp_path / "two", "--output", tmp_path / "out", "--seeds", 1, "--stage0",
             shlex.join(map(str, [*NEW_NETWORK[2:], *SMALL[2:], *recipe]))]
    done = command("reproduce.py", *flags)
    assert re.search(r"\| a → b \| \d+\.\d % \| \d+\.\d % \|\n\| b → a \| .*\n\| mean of 2 pairs \| .* % \|\n",
                     done.stdout)
    assert not list((tmp_path / "out").rglob("*.rec"))
    with open(tmp_path / "out" / "results.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["source"], line["target"], line["last_epoch"]) for line in lines] == \
        [("a", "b", "2"), ("b", "a", "2")]
    for line in lines:
        folder = tmp_path / "out" / line["source"] / line["target"] / "seed0"
        summary = Summary(read_summary(folder / "cnn-run" / "summary.csv")).results()
        best = best_result(summary)
        assert int(line["best_epoch"]) == best.epoch and (folder / f"cnn-{best.epoch:04d}.params").exists()
        for result, name in ((summary[-1], "last"), (best, "best")):
            assert float(line[f"{name}_accuracy_percent"]) == pytest.approx(100 * result.validation_accuracy, abs=1e-3)
    again = command("reproduce.py", *flags)
    assert again.stdout == done.stdout
    assert re.findall("seed 0, (.*), source only: done before", again.stderr) == ["a → b", "b → a"]


def recipe_flags(recipe, **variables):
    """The flags of fine_tune.py in a recipe that calls reproduce.py, as words."""
    text = " ".join(re.findall(r'--(?:common|stage0) "(.*?)"', (ROOT / "recipes" / recipe).read_text()))
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    return text.split()


@pytest.mark.parametrize("recipe", ["office-31.sh", "office-31-2018.sh"])
def test_the_flags_of_the_recipes_go_together(recipe):
    words = recipe_flags(recipe, network="alexnet", side="227")
    with fine_tune.main.make_context("fine_tune.py", ["--num-classes", "31", "--read", "files", *words]) as context:
        stage = Stage(0, 31, **{name: filled(group, context.params) for name, group in GROUPS.items()})
        assert stage.optimizer.head_lr_mult == 10
        refuse_idle(stage.idle())


def test_without_flags_domains_are_trained_by_the_later_recipe():
    words, default = recipe_flags("office-31.sh", network="resnet50"), reproduce.OFFICE_STAGE0.split()
    assert dict(zip(words[::2], words[1::2])) == dict(zip(default[::2], default[1::2]))
