"""What fine-tuning is told is done, or refused before anything is written, in the words of the command."""
import re

import pytest
from conftest import NEW_NETWORK, SMALL, call, make_data

from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.symbols import L2SP
from transfer_gluon.training import stages
from transfer_gluon.training.options import DataOptions, OptimizerOptions, RunOptions
from transfer_gluon.training.stages import Stage


@pytest.fixture
def start(stage0, data, tmp_path):
    """Flags of stage 0, from a checkpoint, to the prefix ``new/m``."""
    return [*SMALL, "--data-dir", data, "--pretrained-model", stage0, "--pretrained-epoch", 1,
            "--model-prefix", tmp_path / "new" / "m"]


@pytest.mark.parametrize("flags, why", [
    (["--l2sp-published", "--num-lowlrs", 9], "--l2sp-published holds 9 low groups .--num-lowlrs. near .* of 4"),
    (["--l2sp", "0,0,0", "--num-lowlrs", 2], "--l2sp has a rate for no parameter that learns"),
    (["--l2sp", 0.1, "--freeze", "--trainable", "bn1"], "--l2sp has a rate for no parameter that learns"),
    (["--head-lr-mult", 10, "--freeze", "--trainable", "stage3"], "--head-lr-mult was given with --trainable stage3"),
    (["--new-layers", 3, "--freeze", "--trainable", "fc,stage3"],
     "--new-layers is 3, and --trainable names only some of the layers .* stage2_unit1_bn1_gamma"),
    (["--optimizer", "ftrl", "--lr", "0.1,0.1,0", "--num-lowlrs", 2], "--lr has a rate of 0, and --optimizer ftrl"),
    (["--optimizer", "SGLD", "--head-lr-mult", 0], "--head-lr-mult has a rate of 0, and --optimizer SGLD draws"),
    (["--optimizer", "ftml", "--warmup-epochs", 1, "--num-epochs", 2, "--warmup-lr", 0], "--warmup-lr has a rate of 0"),
    (["--benchmark", 1, "--class-weights", "balanced"], "--class-weights was given with --benchmark"),
    (["--benchmark", 1, "--source-validation", 0.2], "--source-validation was given with --benchmark"),
    (["--benchmark", 1, "--early-stop", 2], "--early-stop was given with --benchmark"),
    (["--benchmark", 1, "--keep", "best"], "--keep best was given with --benchmark and without --source-validation"),
    (["--no-validation", "--keep", "best"], "--keep best was given with --no-validation and without --source-valid"),
    (["--keep", "bst"], "'bst'; expected a number from 0 up, or best"),
])
def test_what_would_do_nothing_is_refused_before_anything_is_written(start, tmp_path, flags, why):
    said = call("fine_tune.py", *start, *flags, expect=2).stderr
    assert re.search(why, " ".join(said.split())), said
    assert not list(tmp_path.glob("new/*"))


def test_the_best_epoch_wants_labels(start, data, tmp_path):
    write_list(data / "val.lst", [9999] * 16, read_list(data / "val.lst").files)
    said = call("fine_tune.py", *start, "--keep", "best", expect=2).stderr
    assert re.search("--keep goes by .*val.lst, where no image has a label", said)
    call("fine_tune.py", *start, "--keep", "best", "--source-validation", 0.2)
    assert RunOptions(keep="best").keep == "best" and RunOptions(keep=2).keep == 2


def test_a_rate_for_what_does_not_train_is_told(start):
    said = call("fine_tune.py", *start, "--freeze", "--trainable", "fc,stage3", "--lr", "0.1,0.01,0.001", "--l2sp",
                "0.1,0.1,0.2", "--num-lowlrs", 2).stderr
    assert "--lr has the rate 0.001 for the low part, of which nothing trains" in said
    assert "--l2sp has the rate 0.2 for the low part, of which nothing trains" in said
    assert "high part" not in said and "classifier part" not in said


def test_new_layers_that_train_may_be_among_frozen_ones(start):
    call("fine_tune.py", *start, "--new-layers", 2, "--freeze", "--trainable", "fc,stage3,bn1")


def test_a_pretrained_checkpoint_that_has_changed_is_named(start, stage0):
    call("fine_tune.py", *start, "--l2sp", 0.1)
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", start[start.index("--data-dir") + 1], "--seed", 5,
         "--model-prefix", stage0, "--overwrite")
    said = call("fine_tune.py", *start, "--l2sp", 0.1, "--resume", expect=2).stderr
    assert "(digests of the weights that L2-SP holds to, in the checkpoint of --pretrained-model)" in said


def test_the_speed_of_computing_is_measured_with_the_average(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(stages, "fit", lambda *_, **told: found.append(told))
    monkeypatch.setattr(stages, "computing_speed", lambda train, batches: train(batches) or 1.0)
    monkeypatch.setattr(stages, "reading_speed", lambda batches: 1.0)
    Stage(0, 3, data=DataOptions(data_dir=str(make_data(tmp_path / "data"))), network=stages.NetworkOptions(
        network="resnet", num_layers=8), images=stages.ImageOptions(image_shape=(3, 16, 16)),
        optimizer=OptimizerOptions(ema=0.9, batch_size=8), run=RunOptions(test_io=True)).train()
    assert [told["ema"] for told in found] == [0.9]


def test_l2sp_without_a_rate_is_refused_at_once():
    with pytest.raises(ValueError, match="`l2sp` has a rate for no parameter"):
        L2SP({"a_weight": 0.0}, {})


def test_the_classifier_may_stand_on_any_layer(start, stage0, data, tmp_path):
    call("fine_tune.py", *start, "--layer-before-fullc", "relu1", "--new-init", "torch", "--l2sp", 0.1)
    before = tmp_path / "new" / "m"
    assert load_checkpoint(before, 1).arg_params["fc_weight"].shape == (3, 64 * 4 * 4)
    call("fine_tune.py", *SMALL, "--data-dir", data, "--train-stage", 1, "--pretrained-model", before,
         "--pretrained-epoch", 1, "--layer-before-fullc", "relu1", "--transfer", "mmd", "--model-prefix",
         tmp_path / "new" / "t")


def test_an_end_without_checkpoints_does_not_say_that_one_goes_on(start):
    flags = ["--source-validation", 0.2, "--early-stop", 1, "--lr", 0, "--num-epochs", 3]
    hint = "--load-epoch goes on from it"
    assert hint not in call("fine_tune.py", *start[:-2], *flags, "--no-checkpoint").stderr
    assert hint in call("fine_tune.py", *start, *flags).stderr
