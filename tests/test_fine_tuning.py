"""Fine-tuning by stages: a held-out part of the source, early ends, rates and decay by parts, layers begun anew."""
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL, call, make_data
from tiny import TinyIter, tiny_net

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.distributed.stores import open_store
from transfer_gluon.iters import ImageList, read_list, write_list
from transfer_gluon.symbols import TransferObjective, features_block
from transfer_gluon.training import domains
from transfer_gluon.training.after_epoch import EarlyStop
from transfer_gluon.training.loop import fit
from transfer_gluon.training.options import (
    DataOptions,
    ImageOptions,
    NetworkOptions,
    ObjectiveOptions,
    OptimizerOptions,
    RegularizationOptions,
    RunOptions,
)
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.stages import Stage
from transfer_gluon.training.start import starting_checkpoint, starting_network, starting_values
from transfer_gluon.training.summary import EpochResult, best_result, read_summary

SUMMARY = "m-run/summary.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder, and a checkpoint ``s0-0001`` of stage 0."""
    folder = tmp_path_factory.mktemp("fine-tuning")
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", make_data(folder / "data"),
         "--model-prefix", folder / "s0")
    return folder


def command(folder, prefix, *flags, fails=False, stage=0):
    """What fine_tune.py says, from the checkpoint s0 unless a network is given."""
    start = [] if "--network" in flags else ["--pretrained-model", folder / "s0", "--pretrained-epoch", 1]
    return call("fine_tune.py", *SMALL, "--train-stage", stage, "--data-dir", folder / "data", "--model-prefix", prefix,
                *start, *flags, expect=2 * fails).stderr


# Held out


def epoch_results(source, validation):
    return [EpochResult(number, number, 0.1, 1.0, 0.0, 0.5, valid, others={} if math.isnan(held) else
                        {"source_accuracy": held}) for number, (held, valid) in enumerate(zip(source, validation), 1)]


NONE = [math.nan] * 6


@pytest.mark.parametrize("source, validation, best", [
    (NONE, [.1, .5, .5, .4], 2), ([.7, .9, .9, .8], [.9, .1, .2, .3], 2), (NONE, NONE, None),
    ([.5, .4, .4], NONE, 1), (NONE, [math.nan, .1], 2)])
def test_an_epoch_is_chosen_by_the_source_where_a_part_of_it_is_held_out(source, validation, best):
    found = best_result(epoch_results(source, validation))
    assert best == (found and found.epoch)


@pytest.mark.parametrize("source, validation, ends", [
    (NONE, [.5, .6, .6, .6, .7], 4), (NONE, [.1, .2, .3, .4, .5], None), (NONE, NONE, None),
    ([.5, .4, .6, .5, .5], NONE, 5), ([.5, .5, .5, .5], [.1, .2, .3, .4], 3),
    ([.1, .2, .3, .4], [.9, .8, .7, .6], None)])
def test_training_ends_when_the_accuracy_has_not_risen_for_two_epochs(source, validation, ends):
    results, ended = epoch_results(source, validation), None
    for number, result in enumerate(results):
        epoch = SimpleNamespace(before=results[:number], result=result, ends="")
        EarlyStop(2)(epoch)
        if epoch.ends and ended is None:
            ended = result.epoch
    assert ended == ends


def stage(folder, train_stage=0, **groups):
    network = NetworkOptions(pretrained_model=str(folder / "s0"), pretrained_epoch=1)
    groups = {"network": network, "optimizer": OptimizerOptions(batch_size=8, num_epochs=1, lr=0.01),
              "data": DataOptions(data_dir=str(folder / "data")), **groups}
    return Stage(train_stage, 3, **groups)


@pytest.mark.parametrize("read", ["records", "files"])
@pytest.mark.parametrize("train_stage", [0, 1])
def test_what_is_held_out_is_validated_and_never_trained_on(folder, tmp_path, read, train_stage):
    source = read_list(make_data(tmp_path / "data") / "source.lst")
    target = read_list(tmp_path / "data" / "target.lst")
    write_list(target.path, [0] * 4 + [9999] * 12, target.files)        # some are labelled, and train in stage 0, too
    told = stage(folder, train_stage, data=DataOptions(data_dir=str(tmp_path / "data"), source_validation=0.25,
                                                       read=read))
    with open_store("device") as store:
        found = domains.make_batches(told, domains.read_lists(told), (3, 16, 16), store, 1)
    reader = found.training.source if train_stage else found.training
    trained, held = set(reader.images.files), set(found.source_validation.images.files)
    assert len(held) == 6 and held < set(source.files) and not held & trained
    assert set(source.files) - held == trained - set(target.files)
    assert len(trained & set(target.files)) == (0 if train_stage else 4)
    pixels = {bytes(image.asnumpy()) for batch in found.source_validation for image in batch.data[0]}
    assert len(pixels) == 6
    again = domains.hold_out(source, len(source), 6, seed=0)[1]
    other = domains.hold_out(source, len(source), 6, seed=1)[1]
    assert set(again.files) == held and set(other.files) != held


def test_a_part_of_the_source_ends_the_training_and_chooses_the_checkpoint(folder, tmp_path):
    flags = ["--source-validation", 0.3, "--early-stop", 2, "--keep", "best", "--num-epochs", 40, "--lr", 0]
    said = command(folder, tmp_path / "m", *flags)
    rows = read_summary(tmp_path / SUMMARY)
    accuracies = [float(row["source_accuracy"]) for row in rows]
    assert len(rows) == 3 and len(set(accuracies)) == 1     # nothing changes at rate 0 but the statistics
    assert "the training ends here: no better accuracy than that of epoch 1 for 2 epochs" in said
    assert "the best on the source's held-out part is epoch 1" in said
    assert sorted(file.name for file in tmp_path.glob("*.params")) == ["m-0001.params", "m-0003.params"]
    assert "nothing is left to train" in command(folder, tmp_path / "m", *flags, "--resume")


def test_an_end_that_goes_by_labels_needs_some_and_says_whose(folder, tmp_path):
    val = read_list(make_data(tmp_path / "data") / "val.lst")
    flags = ["--data-dir", tmp_path / "data", "--early-stop", 2]
    assert "--early-stop goes by" in command(folder, tmp_path / "m", *flags)
    write_list(val.path, [9999] * len(val), val.files)
    assert "where no image has a label" in command(folder, tmp_path / "n", *flags, fails=True)
    command(folder, tmp_path / "n", *flags, "--source-validation", 0.3)


def test_fine_tuning_needs_a_source_and_nothing_else(folder, tmp_path):
    make_data(tmp_path / "data")
    for name in ("target.lst", "val.lst"):
        (tmp_path / "data" / name).unlink()
    said = call("fine_tune.py", *SMALL, "--data-dir", tmp_path / "data", "--pretrained-model", folder / "s0",
                "--pretrained-epoch", 1, "--model-prefix", tmp_path / "m", "--no-validation").stderr
    assert "accuracy" in said and (tmp_path / "m-0001.params").exists()


# Rates and decay


def updated(**how):
    """The parameters of a small network before and behind one update, and their gradients' share of it at rate 1."""
    net = tiny_net()
    net.initialize(mx.init.Uniform(0.5))
    net(mx.nd.zeros((1, 3, 4, 4)))
    for name, parameter in net.collect_params().items():
        if name.endswith(("bias", "beta")):
            parameter.set_data(mx.nd.full(parameter.shape, 0.25))
    before = {name: parameter.data().asnumpy().astype(np.float64) for name, parameter in net.collect_params().items()}
    fit(net, TransferObjective(), TinyIter(1), [mx.cpu()], StepSchedule(0.1), 1, momentum=0.0, **how)
    after = {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()
             if parameter.grad_req != "null"}
    return before, after


@pytest.mark.parametrize("wd_on, decays", [("weights", ("weight", "gamma")),
                                           ("all", ("weight", "gamma", "bias", "beta"))])
def test_what_decays_is_what_is_named(wd_on, decays):
    before, plain = updated()
    _, decayed = updated(wd=0.5, wd_on=wd_on)
    for name in plain:
        if name == "bn_data_gamma":     # fixed: made 1 by every forward pass
            continue
        expected = 0.1 * 0.5 * before[name] if name.endswith(decays) else 0
        np.testing.assert_allclose(plain[name] - decayed[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_what_decays_is_one_of_two_words():
    with pytest.raises(InputError, match="`wd_on` is 'biases'; expected one of weights, all"):
        updated(wd_on="biases")


def test_three_rates_are_those_of_the_parts(folder, tmp_path):
    """A step of each part is as long as its rate says, in the network that the command trains."""
    flags = ["--mom", 0, "--num-epochs", 1, "--keep-classifier"]
    command(folder, tmp_path / "one", *flags, "--lr", 0.02)
    command(folder, tmp_path / "three", *flags, "--lr", "0.02,0.01,0", "--num-lowlrs", 2)
    start, one, three = (load_checkpoint(prefix, 1).arg_params for prefix in (folder / "s0", tmp_path / "one",
                                                                             tmp_path / "three"))
    for name in ("conv0_weight", "stage1_unit1_conv1_weight"):
        assert (three[name].asnumpy() == start[name].asnumpy()).all() and (one[name] != start[name]).asnumpy().any()
    for name in ("stage2_unit1_conv1_weight", "stage3_unit1_conv2_weight", "fc_weight"):
        assert (three[name] != start[name]).asnumpy().any()


def test_a_rate_of_the_head_is_a_multiple_of_the_others(folder, tmp_path):
    """With one batch an epoch, the first step of the classifier alone is ten times as long."""
    steps = {}
    for name, flags in (("plain", []), ("ten", ["--head-lr-mult", 10])):
        command(folder, tmp_path / name, "--batch-size", 24, "--mom", 0, "--keep-classifier", "--lr", 1e-3, *flags)
        now, start = load_checkpoint(tmp_path / name, 1).arg_params, load_checkpoint(folder / "s0", 1).arg_params
        steps[name] = {key: (now[key] - start[key]).asnumpy() for key in ("fc_weight", "fc_bias", "conv0_weight")}
    for key, factor in (("fc_weight", 10), ("fc_bias", 10), ("conv0_weight", 1)):
        np.testing.assert_allclose(steps["ten"][key], factor * steps["plain"][key], rtol=1e-2, atol=1e-6)


# Layers that begin anew, and values that others are held near


def test_the_last_groups_begin_anew_statistics_included_and_the_others_as_they_were(folder):
    network = NetworkOptions(pretrained_model=str(folder / "s0"), pretrained_epoch=1, new_layers=3, new_init="torch")
    told = stage(folder, network=network)
    before = load_checkpoint(folder / "s0", 1)
    before = {**before.arg_params, **before.aux_params}
    mx.random.seed(4)
    net = starting_network(told, starting_checkpoint(told, None, (3, 16, 16)), False, (3, 16, 16))
    net.initialize()
    net(mx.nd.zeros((1, 3, 16, 16)))
    now = {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}
    anew = {name for name in now if not name.startswith("fc_") and (now[name] != before[name].asnumpy()).any()}
    assert all(name.startswith(("stage2", "stage3", "bn1")) for name in anew)
    for name in ("stage2_unit1_conv1_weight", "stage3_unit1_sc_weight", "stage3_unit1_bn2_moving_var",
                 "stage2_unit1_bn1_moving_mean", "bn1_moving_mean"):
        assert name in anew
    assert (now["bn1_moving_var"] == 1).all() and (now["stage2_unit1_bn1_gamma"] == 1).all()
    bound = 1 / math.sqrt(now["stage3_unit1_conv1_weight"][0].size)
    assert 0.8 * bound < abs(now["stage3_unit1_conv1_weight"]).max() <= bound
    assert 0.3 / 8 < abs(now["fc_bias"]).max() <= 1 / 8      # of 64 features
    assert set(starting_values(told)) == {name for name in before if not name.startswith(
        ("stage2", "stage3", "bn1", "fc_")) and not name.endswith(("moving_mean", "moving_var"))}


@pytest.mark.parametrize("train_stage, keeps, held", [(1, False, True), (0, True, True), (0, False, False)])
def test_a_classifier_is_held_where_it_was_taken_over(folder, train_stage, keeps, held):
    network = NetworkOptions(pretrained_model=str(folder / "s0"), pretrained_epoch=1, keep_classifier=keeps)
    assert {"fc_weight", "fc_bias"}.issubset(starting_values(stage(folder, train_stage, network=network))) == held


def test_l2sp_pulls_to_where_the_stage_started(folder, tmp_path):
    """The stronger it is, the nearer the weights stay; new layers go to zero."""
    distances = []
    for number, flags in enumerate([[], ["--l2sp", 5], ["--l2sp", 50]]):
        command(folder, tmp_path / str(number), "--num-epochs", 3, "--lr", 0.01, "--mom", 0, *flags)
        now, start = load_checkpoint(tmp_path / str(number), 3).arg_params, load_checkpoint(folder / "s0", 1).arg_params
        distances.append([float((now["conv0_weight"] - start["conv0_weight"]).norm().asscalar()),
                          float(now["fc_weight"].norm().asscalar())])
    assert distances[0][0] > distances[1][0] > distances[2][0] and distances[0][1] > distances[1][1] > distances[2][1]


def test_a_run_held_near_a_checkpoint_goes_on_with_the_same_alone(folder, tmp_path):
    for name in ("s0-symbol.json", "s0-0001.params"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    flags = ["--pretrained-model", tmp_path / "s0", "--l2sp", 0.1]
    command(folder, tmp_path / "m", *flags)
    values = mx.nd.load(str(tmp_path / "s0-0001.params"))
    values["arg:conv0_weight"] += 1
    mx.nd.save(str(tmp_path / "s0-0001.params"), values)
    said = command(folder, tmp_path / "m", *flags, "--num-epochs", 2, "--resume", fails=True)
    assert re.search("l2sp_start: [0-9a-f]{16} then, [0-9a-f]{16} now", said)


def test_a_schedule_that_depends_on_the_number_of_epochs_goes_on_with_it(folder, tmp_path):
    for schedule, fails in (("inv", True), ("step", False)):
        flags = ["--lr-schedule", schedule]
        command(folder, tmp_path / schedule, *flags, "--num-epochs", 2)
        said = command(folder, tmp_path / schedule, *flags, "--num-epochs", 3, "--resume", fails=fails)
        assert ("num_epochs: 2 then, 3 now" in said) == fails


# Several devices


def test_what_devices_begin_with_is_what_the_first_forward_pass_leaves():
    """A fixed gamma becomes 1 in it; MXNet would spread the old one, and write it over."""
    devices = [mx.cpu(0), mx.cpu(1)]
    x = mx.sym.var("data")
    for number in range(6):
        x = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=32, name=f"conv{number}")
    net = features_block(mx.sym.Flatten(mx.sym.BatchNorm(x, fix_gamma=True, name="bn")))
    net.initialize(ctx=devices)
    images = [mx.nd.ones((4, 3, 48, 48), ctx=device) for device in devices]
    for part in images:
        net(part)
    gamma = net.collect_params()["bn_gamma"]
    gamma.set_data(mx.nd.full(gamma.shape, 0.5))
    learning = {name: parameter for name, parameter in net.collect_params().items() if parameter.grad_req != "null"}
    with open_store("device") as store:
        trainer = store.trainer(learning, mx.optimizer.SGD(learning_rate=0.0))
        with mx.autograd.record():
            losses = [net(part).sum() for part in images]
        mx.autograd.backward(losses)
        trainer.step(8)
        mx.nd.waitall()
    assert [value.asnumpy().min() for value in gamma.list_data()] == [1, 1]


# What is refused


@pytest.mark.parametrize("flags, why", [
    (["--lr", "0.1,0.2"], "'0.1,0.2' has 2 numbers; expected one, or three"),
    (["--lr", "0.1,0.2,x"], "'x' is not a valid float"),
    (["--new-layers", 9], "--new-layers is 9, and the network has 4 groups of layers.* a number from 1 to 5"),
    (["--lr", "3,2,1", "--num-lowlrs", 5], "--num-lowlrs is 5, and the network has 4 groups of layers"),
    (["--lr", "3,2,1"], "--lr was given for three parts of the network, and --num-lowlrs does not say"),
    (["--l2sp-published"], "--l2sp-published was given for three parts of the network, and --num-lowlrs does not"),
    (["--num-lowlrs", 2], "--num-lowlrs was given without three rates in --lr or --l2sp"),
    (["--l2sp", 0.1, "--network", "resnet", "--num-layers", 8], "--l2sp was given with --network, which begins with"),
    (["--l2sp-published", "--num-lowlrs", 2, "--l2sp", 1], "--l2sp was given with --l2sp-published"),
    (["--head-lr-mult", 2, "--lr", "3,2,1", "--num-lowlrs", 1], "--head-lr-mult was given with three rates in --lr"),
    (["--class-weights", "balanced", "--num-classes", 4], "no image is of class 3; expected some of each of 4 classes"),
    (["--early-stop", 3, "--no-validation"], "--early-stop was given with --no-validation and without --source-valid"),
    (["--lr-step-every", 3, "--lr-step-epochs", "1"], "--lr-step-every and --lr-step-epochs were both given"),
    (["--lr-schedule", "inv", "--lr-factor", 0.5], "--lr-factor was given with --lr-schedule inv"),
    (["--lr-gamma", 5], "--lr-gamma was given with --lr-schedule step"),
    (["--warmup-lr", 0.1], "--warmup-lr was given without --warmup-epochs"),
    (["--warmup-epochs", 1], "--warmup-epochs is 1 and --num-epochs is 1: the warm-up would never end"),
    (["--wd-on", "all"], "--wd-on was given without --wd"),
    (["--keep-classifier", "--new-init", "torch"], "--new-init was given with --keep-classifier"),
    (["--mixup", 0.2, "--batch-size", 9], "--batch-size is 9 on 1 device; expected a multiple of 2"),
    (["--source-validation", 0.2, "--read", "mxnet"], "--source-validation was given with --read mxnet"),
    (["--source-validation", 0.9], "source.lst: 2 images .*without those held out; a batch takes 8"),
    (["--ema", 1], "--ema"), (["--keep", "worst"], "--keep"),
])
def test_what_cannot_be_is_refused_in_a_sentence(folder, tmp_path, flags, why):
    said = command(folder, tmp_path / "m", *flags, fails=True)
    assert re.search(why, " ".join(said.split())), said
    assert not list(tmp_path.glob("m*"))


@pytest.mark.parametrize("make, why", [
    (lambda: OptimizerOptions(lr=(1, 2)), "`lr` is .*; expected a number from 0 up, or three"),
    (lambda: OptimizerOptions(lr=(1, 2, -1)), "`lr` is"), (lambda: OptimizerOptions(lr="0.1"), "`lr` is '0.1'"),
    (lambda: RegularizationOptions(l2sp=(1.0, math.nan, 1.0)), "`l2sp` is"),
    (lambda: RegularizationOptions(class_weights="equal"), "`class_weights` is 'equal'; expected one of none"),
    (lambda: Stage(1, 3, network=NetworkOptions(new_layers=2)), "`new_layers` was given in stage 1"),
    (lambda: Stage(0, 3, regularization=ObjectiveOptions()), "`regularization` is .*; expected RegularizationOptions"),
])
def test_what_cannot_be_is_refused_from_a_library_too(make, why):
    with pytest.raises(InputError, match=why):
        make()


def test_one_rate_in_a_list_is_that_rate():
    assert OptimizerOptions(lr=[0.5]).lr == 0.5 and OptimizerOptions(lr=np.float32(0.5)).lr == 0.5
    assert OptimizerOptions(lr=[3, 2, np.int64(1)]).lr == (3, 2, 1)
    assert Stage(0, 3, optimizer=OptimizerOptions(lr=(3, 2, 1), num_lowlrs=2)).settings()["lr"] == "3,2,1"


def test_a_stage_trains_with_everything_from_a_library(folder, tmp_path):
    results = Stage(
        1, 3, data=DataOptions(data_dir=str(folder / "data")), images=ImageOptions(image_shape=(3, 16, 16)),
        network=NetworkOptions(pretrained_model=str(folder / "s0"), pretrained_epoch=1),
        regularization=RegularizationOptions(mixup=0.2, label_smoothing=0.1, class_weights="balanced", l2sp=(1, 2, 3)),
        optimizer=OptimizerOptions(lr=(0.01, 0.005, 0.001), num_lowlrs=2, ema=0.9, batch_size=8, num_epochs=2),
        run=RunOptions(prefix=str(tmp_path / "m"), cpus=2)).train()
    assert [result.epoch for result in results] == [1, 2] and all(0 < result.loss < 10 for result in results)
    assert type(read_list(folder / "data" / "source.lst")) is ImageList and ROOT.is_dir()
