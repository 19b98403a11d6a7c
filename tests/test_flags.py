"""What flags let pass, what they say of it, and how quickly they answer."""
import ast
import dataclasses
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

from transfer_gluon.cli.exit_codes import Command, Group, exit_codes
from transfer_gluon.cli.types import FILE, IMAGE_SHAPE, RGB_STD, Number, refuse_idle

import click
import numpy as np
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL

from transfer_gluon.base.errors import InputError
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, saved_epochs
from transfer_gluon.commands import adabn, fine_tune, predict, reproduce
from transfer_gluon.iters import SyntheticIter, read_list, write_list
from transfer_gluon.tools import export, im2rec_helpers
from transfer_gluon.training.domains import with_labelled_target
from transfer_gluon.training.start import known_image_shape
from transfer_gluon.training.versions import git_revision

COMMANDS = [f"transfer_gluon.{name}" for name in (
    "commands.fine_tune", "commands.adabn", "commands.predict", "commands.evaluate",
    "commands.extract_features", "commands.train_classifier", "commands.reproduce", "commands.adapt", "commands.choose",
    "commands.report",
    "tools.im2rec_helpers", "tools.get_model", "tools.import_weights", "tools.layers", "tools.export", "tools.launch",
    "tools.digits", "tools.emoji", "tools.letters", "tools.degrade",
    "tools.evidence")]


def refused(command, *flags):
    """What click or the command says against flags, in this process."""
    with pytest.raises((InputError, click.ClickException)) as raised:
        command.main([str(flag) for flag in flags], standalone_mode=False)
    return raised.value.format_message() if isinstance(raised.value, click.ClickException) else str(raised.value)


LIBRARIES = ("base", "checkpoints", "distributed", "exchange", "inference", "iters", "records", "scores", "symbols",
             "training")
# Real command lines that messages and calls hold.
OF_OTHER_COMMANDS = {"--show-toplevel", "--porcelain", "--untracked-files=no", "--logdir"}


def flags_in_strings(file):
    """Every string of a Python file, docstrings left out, that names a flag."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
             and id(node) not in docstrings]
    return [text for text in texts if re.search("--[a-z]", text)
            and not any(command in text for command in OF_OTHER_COMMANDS)]


def test_libraries_speak_of_parameters_and_not_of_flags():
    speaking = {file: flags_in_strings(file) for package in LIBRARIES for file in (ROOT / package).glob("*.py")}
    assert len(speaking) > 60 and not any(speaking.values()), {file: found for file, found in speaking.items() if found}
    assert flags_in_strings(ROOT / "fine_tune.py")      # which the search finds where they are


def test_a_command_puts_its_words_in_the_place_of_parameters():
    @click.command(cls=Command)
    @click.option("-g", "--gpu", "gpus")
    @click.argument("list_path", metavar="LIST")
    @click.argument("folder")
    def main(gpus, list_path, folder):
        raise InputError("`gpus`, `list_path`, `folder` and `other` are wrong.", "gpus", gpus)

    assert refused(main, "--gpu", "x", "a", "b") == "--gpu, LIST, FOLDER and `other` are wrong."

    @click.command(cls=Command)
    @click.option("--mom", "momentum", default=0.9)
    def adam(momentum):
        refuse_idle({"momentum": "with adam"})

    assert refused(adam, "--mom", 0.5) == "--mom was given with adam, where it does nothing; leave it out."
    adam.main([], standalone_mode=False)


def test_messages_begin_with_what_was_typed(capsys):
    @click.group(cls=Group)
    def main():
        pass

    @main.command()
    def inner():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        exit_codes(functools.partial(main, ["inner"], prog_name="transfer-gluon"))()
    assert capsys.readouterr().err.strip() == "transfer-gluon inner: interrupted"
    with pytest.raises(SystemExit):     # nor is what was typed before remembered
        exit_codes(lambda standalone_mode: open("/nowhere"))()
    assert capsys.readouterr().err == f"{Path(sys.argv[0]).name}: /nowhere: No such file or directory.\n"


def test_help_answers_without_importing_what_computes():
    code = ("import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    module = importlib.import_module(name)\n"
            "    command = getattr(module, 'main', None) or module.commands\n"
            "    command.main(['--help'], standalone_mode=False)\n"
            "heavy = {'mxnet.ndarray', 'cv2', 'gluoncv', 'matplotlib', 'sklearn', 'onnx', 'torch'}\n"
            "heavy &= sys.modules.keys()\n"
            "assert not heavy, heavy\n")
    done = subprocess.run([sys.executable, "-c", code, *COMMANDS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(COMMANDS)


@pytest.mark.parametrize("flags, why", [
    (["--use-dan"], "--use-dan was given in stage 0"),
    (["--transfer-weight", 1], "--transfer-weight was given in stage 0"),
    (["--relative-transfer-weight", 1], "--relative-transfer-weight was given in stage 0"),
    (["--train-stage", 1, "--network", "resnet"], "--network was given in stage 1"),
    (["--train-stage", 1, "--num-layers", 8], "--num-layers was given in stage 1"),
    (["--train-stage", 1, "--keep-classifier"], "--keep-classifier was given in stage 1"),
    (["--num-layers", 8], "--num-layers was given without --network resnet"),
    (["--network", "vgg16", "--pretrained-model", "m"], "--pretrained-model was given with --network"),
    (["--network", "vgg16", "--pretrained-epoch", 3], "--pretrained-epoch was given with --network"),
    (["--network", "vgg16", "--keep-classifier"], "--keep-classifier was given with --network"),
    (["--trainable", "fc"], "--trainable was given without --freeze"),
    (["--frozen-statistics", "still"], "--frozen-statistics was given without --freeze"),
    (["--optimizer", "adadelta", "--lr", 0.5], "--lr was given with --optimizer adadelta"),
    (["--optimizer", "AdaDelta", "--lr-step-epochs", "3"], "--lr-step-epochs was given with --optimizer adadelta"),
    (["--optimizer", "adam", "--mom", 0.5], "--mom was given with --optimizer adam"),
    (["--lr-factor", 0.5], "--lr-factor was given without --lr-step-epochs"),
    (["--lr-step-unit", "epoch"], "--lr-step-unit was given without --lr-step-epochs"),
    (["--no-checkpoint", "--keep", 2], "--keep was given with --no-checkpoint"),
    (["--no-checkpoint", "--save-batches", 2], "--save-batches was given with --no-checkpoint"),
    (["--no-validation", "--top-k", 2], "--top-k was given with --no-validation"),
    (["--random-crop", 0, "--min-random-area", 0.5], "--min-random-area was given with --random-crop 0"),
    (["--fill-value", 0], "--fill-value was given without padding"),
    (["--read", "features", "--watch", 9], "--watch was given in stage 0 with --read features"),
    (["--no-checkpoint", "--tensorboard"], "--tensorboard was given with --no-checkpoint and without --model-prefix"),
    (["--by", "infomax"], "--by was given without --keep"),
    (["--test-io", 1, "--tensorboard"], "--tensorboard was given with --test-io"),
    (["--benchmark", 1, "--watch", 9], "--watch was given with --benchmark"),
])
def test_flags_that_would_do_nothing_are_refused(flags, why):
    said = refused(fine_tune.main, "--num-classes", 3, *flags)
    assert why in said and "does nothing; leave it out" in said


def test_two_weights_of_the_transfer_loss_are_refused():
    said = refused(fine_tune.main, "--num-classes", 3, "--train-stage", 1, "--transfer-weight", 1,
                   "--relative-transfer-weight", 1)
    assert said.startswith("--transfer-weight and --relative-transfer-weight were both given; they say the same")


@pytest.mark.parametrize("flag", ["--lr", "--wd", "--mom", "--lr-factor", "--max-random-scale", "--min-random-scale",
                                  "--color-jitter", "--pca-noise", "--transfer-weight", "--min-random-area",
                                  "--relative-transfer-weight", "--max-random-shear-ratio",
                                  "--max-random-aspect-ratio"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "-1"])
def test_numbers_that_no_run_can_use_are_refused_by_their_flag(flag, value):
    assert flag in refused(fine_tune.main, "--num-classes", 3, "--train-stage", 1, flag, value)


@pytest.mark.parametrize("flag", ["--rgb-mean", "--rgb-std"])
@pytest.mark.parametrize("value", ["nan,0,0", "1,2", "1,2,inf", "1,2,1e308", "a,b,c", "", "1,2,-3", "1_0,2,3"])
def test_colours_that_no_run_can_use_are_refused_by_their_flag(flag, value):
    assert flag in refused(fine_tune.main, "--num-classes", 3, flag, value)


@pytest.mark.parametrize("command", [fine_tune.main, adabn.main, predict.main])
@pytest.mark.parametrize("value", ["3,16", "1,20,20", "3,0,16", "3,16,-1", "3,16,100000", "3,1.5,2", "3,16,1_6", "x"])
def test_image_shapes_that_cannot_be_are_refused(command, value):
    required = ["--num-classes", 3] if command is fine_tune.main else ["--model", "m", "--epoch", 1]
    said = refused(command, *required, "--image-shape", value)
    assert "--image-shape" in said and "3,HEIGHT,WIDTH" in said


def test_types_let_good_values_pass():
    assert IMAGE_SHAPE.convert("3,16,32", None, None) == (3, 16, 32)
    assert RGB_STD.convert("0.5,58.395,1", None, None) == (0.5, 58.395, 1.0)
    assert Number(0).convert("1e38", None, None) == 1e38
    with pytest.raises(click.BadParameter, match="0.001"):
        RGB_STD.convert("0,1,1", None, None)


@pytest.mark.parametrize("script, flag", [
    ("fine_tune.py", "--model-prefix"), ("fine_tune.py", "--data-dir"), ("fine_tune.py", "--pretrained-model"),
    ("adabn.py", "--model"), ("predict.py", "--out"), ("reproduce.py", "--output")])
def test_paths_that_no_system_holds_are_refused(script, flag):
    required = {"fine_tune.py": ["--num-classes", "3"], "adabn.py": ["--epoch", "1"],
                "predict.py": ["--model", "m", "--epoch", "1"], "reproduce.py": ["--num-classes", "3"]}[script]
    done = subprocess.run([sys.executable, ROOT / script, *required, flag, b"a\xffb"], capture_output=True)
    assert done.returncode == 2 and flag.encode() in done.stderr and b"is not UTF-8" in done.stderr
    with pytest.raises(click.BadParameter, match="NUL"):
        FILE.convert("a\0b", None, None)


def test_an_error_of_the_system_is_told_by_its_file():
    def command(standalone_mode):
        open(ROOT)

    with pytest.raises(SystemExit) as ended:
        exit_codes(command)()
    assert ended.value.code == 2


def test_output_that_nobody_reads_any_more_is_no_error():
    code = ("from transfer_gluon.cli.exit_codes import exit_codes; "
            "exit_codes(lambda standalone_mode: [print('line', flush=True) for _ in range(10**5)])()")
    done = subprocess.run(f'{sys.executable} -c "{code}" | head -n 1', shell=True, capture_output=True, text=True,
                          cwd=ROOT)
    assert done.stdout == "line\n" and done.stderr == ""


def test_a_run_without_a_prefix_is_kept_and_named(data, command, tmp_path):
    done = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, cwd=tmp_path)
    prefix, = re.findall(r"no --model-prefix was given; this run is kept as (runs/stage0-\S+)", done.stderr)
    assert re.search(rf"done: {prefix}-0001.params; what led to it is in {prefix}-run\n$", done.stderr)
    assert saved_epochs(tmp_path / prefix) == [1]
    command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--no-checkpoint", cwd=tmp_path)
    assert len(list((tmp_path / "runs").glob("*.params"))) == 1


def test_a_classifier_that_is_there_is_drawn_anew_with_a_word_or_kept(stage0, data, command, tmp_path):
    flags = ["--train-stage", 0, *SMALL, "--data-dir", data, "--pretrained-model", stage0, "--pretrained-epoch", 1,
             "--freeze", "--trainable", "bn1", "--lr", 0]
    before = load_checkpoint(stage0, 1).arg_params["fc_weight"].asnumpy()
    said = command("fine_tune.py", *flags, "--model-prefix", tmp_path / "new").stderr
    assert "has a classifier fc of 3 classes; a new one takes its place. --keep-classifier goes on with" in said
    assert (load_checkpoint(tmp_path / "new", 1).arg_params["fc_weight"].asnumpy() != before).all()
    said = command("fine_tune.py", *flags, "--model-prefix", tmp_path / "kept", "--keep-classifier").stderr
    assert "takes its place" not in said
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "kept", 1).arg_params["fc_weight"].asnumpy(), before)


def test_stage_1_keeps_the_image_shape_of_its_checkpoint(stage0, data, command, tmp_path):
    place = SMALL.index("--image-shape")
    small = SMALL[:place] + SMALL[place + 2:]
    assert load_checkpoint(stage0, 1).image_shape == (3, 16, 16)
    command("fine_tune.py", "--train-stage", 1, *small, "--data-dir", data, "--pretrained-model", stage0,
            "--pretrained-epoch", 1, "--model-prefix", tmp_path / "m")
    assert load_checkpoint(tmp_path / "m", 1).image_shape == (3, 16, 16)
    stage0.with_name("s0-symbol.json").unlink()     # what a run began with is known to the run
    done = command("fine_tune.py", "--train-stage", 1, *small, "--data-dir", data, "--pretrained-model", stage0,
                   "--pretrained-epoch", 1, "--model-prefix", tmp_path / "m", "--resume")
    assert "nothing is left to train" in done.stderr


def test_drops_behind_the_last_epoch_are_said_never_to_come(data, command, tmp_path):
    said = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--lr-step-epochs", "1,2", "--num-epochs",
                   2, "--no-checkpoint").stderr
    assert "learning rate 0.01, then 0.001 after 1 epochs (update 3)\n" in said
    assert "never, since the run ends after 2 epochs: 0.0001 after 2 epochs (update 6)" in said


def test_adabn_and_predictions_replace_nothing_that_they_read(stage0, data):
    flags = ["--model", stage0, "--epoch", 1]
    before = stage0.with_name("s0-0001.params").read_bytes()
    assert "--save-prefix" in refused(adabn.main, *flags, "--val", data / "val.lst", "--save-prefix", stage0)
    assert stage0.with_name("s0-0001.params").read_bytes() == before
    said = refused(predict.main, *flags, "--lst", data / "val.lst", "--out", data / "." / "val.lst")
    assert "--out" in said and len(read_list(data / "val.lst")) == 16


def test_the_revision_is_that_of_the_project_and_no_other(tmp_path):
    env = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
           "GIT_COMMITTER_EMAIL": "a@b"}
    (tmp_path / "inside").mkdir()
    for step in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", tmp_path, *step], check=True, env=env)
    assert re.fullmatch("[0-9a-f]{40}", git_revision(tmp_path))
    assert git_revision(tmp_path / "inside") is None
    (tmp_path / "file").write_text("1")
    for step in (["add", "file"], ["commit", "-q", "-m", "y"]):
        subprocess.run(["git", "-C", tmp_path, *step], check=True, env=env)
    clean = git_revision(tmp_path)
    (tmp_path / "file").write_text("2")
    assert git_revision(tmp_path) == f"{clean}+"


def test_going_on_from_an_epoch_keeps_the_image_shape_of_the_run(data, command, tmp_path):
    place = SMALL.index("--image-shape")
    small = SMALL[:place] + SMALL[place + 2:]
    flags = [*NEW_NETWORK, "--data-dir", data, "--model-prefix", tmp_path / "m"]
    command("fine_tune.py", *SMALL, *flags)
    assert known_image_shape(tmp_path / "m", None) == (3, 16, 16)
    command("fine_tune.py", *small, *flags, "--load-epoch", 1, "--num-epochs", 2)
    assert load_checkpoint(tmp_path / "m", 2).image_shape == (3, 16, 16)
    (tmp_path / "m-run" / "settings.json").unlink()
    assert known_image_shape(tmp_path / "m", None) == (3, 16, 16)


def test_outputs_replace_nothing_that_commands_read(stage0, data):
    for file in (f"{stage0}-0001.params", f"{stage0}-symbol.json"):
        flags = ["--model", stage0, "--epoch", 1]
        assert "--out is" in refused(predict.main, *flags, "--lst", data / "val.lst", "--out", file)
        assert "--output is" in refused(export.main, *flags, "--output", file)
    said = refused(im2rec_helpers.commands, "info", data / "val.lst", "--sheet", data / "val.lst")
    assert "--sheet is" in said and len(read_list(data / "val.lst")) == 16
    assert load_checkpoint(stage0, 1)


def test_flags_of_the_tools_that_would_do_nothing_are_refused(data):
    assert "--null-label was given without --num-classes" in refused(
        im2rec_helpers.commands, "verify", data / "val.lst", "--null-label", 7)
    for name in ("split", "pack"):
        assert "No such option" in refused(im2rec_helpers.commands, name, data / "val.lst", "--null-label", 7)


def test_a_list_of_stage_0_that_is_none_is_written_anew_or_refused(data):
    source, target = read_list(data / "source.lst"), read_list(data / "target.lst")
    target = dataclasses.replace(target, labels=np.zeros(len(target), int))
    (data / "stage0.lst").write_bytes(b"\xff\xfe")
    assert len(with_labelled_target(source, target)) == 40
    (data / "stage0.lst").unlink()
    os.mkfifo(data / "stage0.lst")
    with pytest.raises(InputError, match="stage0.lst: is not a file"):
        with_labelled_target(source, target)


def test_a_table_needs_labels(data):
    write_list(data / "val.lst", [9999] * 16, read_list(data / "val.lst").files)
    said = refused(reproduce.main, "--data-dir", data, "--num-classes", 3, "--output", data / "out")
    assert "val.lst: no image has a label" in said


def test_numbers_that_mxnet_does_not_hold_are_refused():
    assert "--transfer-weight" in refused(fine_tune.main, "--num-classes", 3, "--train-stage", 1, "--transfer-weight",
                                          "1e38")
    with pytest.raises(InputError, match="batches of 1000000000 images of 3 × 16 × 16: more numbers than"):
        SyntheticIter(10**9, (3, 16, 16), 3)
