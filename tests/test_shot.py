"""SHOT: information maximisation and pseudo-labels against float64, and stages that train on the target alone."""
import csv
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import reference
from conftest import ROOT, call, make_data
from test_mmd import batch, value_and_gradients
from tiny import SHAPE, tiny_net

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.iters import RowIter, read_list, write_list
from transfer_gluon.symbols import SHOTIMLoss, SHOTLoss, TransferObjective, centroid_labels
from transfer_gluon.training import DataOptions, NetworkOptions, ObjectiveOptions, OptimizerOptions, Stage, domains
from transfer_gluon.training import RegularizationOptions as Regularization
from transfer_gluon.training.loop import fit
from transfer_gluon.training.pseudo_labels import PseudoLabels
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.state import load_state

# The formulas


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("make", [SHOTIMLoss, SHOTLoss])
@pytest.mark.parametrize("b, c", [(1, 3), (3, 3), (8, 7), (64, 40)])
def test_value_and_gradient_equal_the_float64_reference(b, c, make, hybridize):
    x, z = batch(b, c=c, seed=b)
    value, dz = reference.shot_im(z)
    loss = make()
    if hybridize:
        loss.hybridize()
    found, (dx, gradient) = value_and_gradients(loss, [x], z)
    assert found == pytest.approx(value, rel=1e-5, abs=1e-6)
    assert np.abs(gradient - dz).max() < 1e-5 * np.abs(dz).max() + 1e-7
    assert not dx.any()


def test_sure_predictions_stay_finite():
    z = np.array([[900.0, 0, 0], [0, 900, 0], [900, 0, 0], [0, 900, 0]])
    found, (_, gradient) = value_and_gradients(SHOTIMLoss(), [np.zeros((4, 2))], z)
    assert found == pytest.approx(-np.log(2)) and np.isfinite(gradient).all()


@pytest.mark.parametrize("n, c, d", [(50, 5, 8), (20, 30, 4), (7, 2, 1), (1, 3, 2)])
def test_pseudo_labels_equal_those_of_the_authors_code(n, c, d):
    rng = np.random.default_rng(n)
    for spread in (0.3, 2):
        features = np.maximum(rng.normal(size=(n, d)) + rng.normal(size=(c, d))[rng.integers(0, c, n)], 0)
        z = spread * rng.normal(size=(n, c))
        found = centroid_labels(features.astype(np.float32), z.astype(np.float32))
        np.testing.assert_array_equal(found, reference.centroid_labels(features, z))
    assert n < 20 or (found != z.argmax(axis=1)).any()


def test_pseudo_labels_weigh_what_they_are_told_to():
    x, z = batch(8)
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 0])
    cross_entropy = -np.log(reference.softmax(z)[np.arange(8), labels]).sum()
    for options, share in ((dict(), 0.3), (dict(pseudo_weight=1.0), 1.0), (dict(pseudo_weight=0), 0)):
        objective = TransferObjective(SHOTLoss(**options), 2.0)
        objective.hybridize(static_alloc=True, static_shape=True)
        total, statistics = objective(mx.nd.array(x), mx.nd.array(z), mx.nd.array(labels))
        assert statistics.asnumpy()[0] == pytest.approx(cross_entropy, rel=1e-5)
        assert total.asscalar() == pytest.approx(share * cross_entropy + 2 * reference.shot_im(z)[0], rel=1e-5)
    with pytest.raises(ValueError, match="`pseudo_weight` is -1.*expected a number from 0 up"):
        SHOTLoss(pseudo_weight=-1)


# The loop


@pytest.mark.parametrize("devices", [1, 2])
def test_labels_are_made_before_every_epoch_and_every_image_gets_its_own(tmp_path, devices):
    rng = np.random.default_rng(0)
    images = (rng.uniform(0, 255, (12, *SHAPE)) * rng.uniform(0, 1, (12, 3, 1, 1))).astype(np.float32)
    objective, seen, known, net = TransferObjective(SHOTLoss(), 2.0), [], [], tiny_net()
    own = PseudoLabels(objective, 12, RowIter(images, np.zeros(12), 5, shuffle=False))

    class Shuffled(RowIter):
        def read(self, epoch, number):
            places = np.random.default_rng((7, epoch)).permutation(12)[4 * number:4 * number + 4]
            return self.batch_of(images[places], places)

    def note(images, labels):
        seen.extend(zip(map(bytes, images.asnumpy()), labels.asnumpy().tolist()))
        return images, labels

    def know(learner):
        features, logits = net(mx.nd.array(images))
        known.append(centroid_labels(features.asnumpy(), logits.asnumpy()).tolist())

    fit(net, objective, Shuffled(images, np.arange(12), 4), [mx.cpu(i) for i in range(devices)], StepSchedule(0.5), 4,
        before_epoch=[know, own.before_epoch], before_forward=[own.put_in, note], run=Run(tmp_path / "m"))
    assert len(known) == 4 and len({tuple(labels) for labels in known}) > 1
    for epoch, labels in enumerate(known):
        wanted = {(bytes(image), float(label)) for image, label in zip(images, labels)}
        assert set(seen[12 * epoch:12 * epoch + 12]) == wanted
    kept = load_state(tmp_path / "m-run" / "state.params").others
    assert kept["objective.pseudo_labels"].asnumpy().tolist() == known[-1]


# Stages

SMALL = ["--image-shape", "3,16,16", "--data-nthreads", 1, "--batch-size", 4, "--lr", 0.1, "--num-epochs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With data, and the checkpoint s0 of a stage 0 that has a bottleneck."""
    folder = tmp_path_factory.mktemp("shot")
    call("fine_tune.py", "--network", "resnet", "--num-layers", 8, "--bottleneck", 6, "--num-classes", 3, *SMALL, 2,
         "--data-dir", make_data(folder / "data"), "--model-prefix", folder / "s0")
    return folder


def words(folder, prefix, *flags, epochs=3, transfer="shot", data="data"):
    return ["--train-stage", 1, "--pretrained-model", folder / "s0", "--pretrained-epoch", 2, "--data-dir",
            folder / data, "--transfer", transfer, "--model-prefix", prefix, *SMALL, epochs, *flags]


def values(prefix, epoch):
    checkpoint = load_checkpoint(prefix, epoch)
    return {name: value.asnumpy() for name, value in {**checkpoint.arg_params, **checkpoint.aux_params}.items()}


@pytest.mark.parametrize("flags", [[], ["--cpus", 2, "--ema", 0.9], ["--read", "features"],
                                   ["--mixup", 0.2, "--label-smoothing", 0.1]])
def test_a_run_that_is_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_bits(folder, tmp_path, flags):
    whole, parts = tmp_path / "whole" / "m", tmp_path / "parts" / "m"
    said = call("fine_tune.py", *words(folder, whole, *flags)).stderr
    assert said.count("16 images of the target have labels by their nearest centroids") == 3
    killed = ("import os, signal; from transfer_gluon.commands import fine_tune\n"
              "from transfer_gluon.training.run import Run\nsave, left = Run.save_batch, list(range(6))\n"
              "def kill(*what):\n    save(*what)\n    left.pop()\n    left or os.kill(os.getpid(), signal.SIGKILL)\n"
              "Run.save_batch = kill\nfine_tune.main()")
    done = subprocess.run([sys.executable, "-c", killed, *map(str, words(folder, parts, *flags, "--save-batches", 1))],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    position = load_state(f"{parts}-run/state.params").position
    assert (position.epoch, position.batch) == (1, 2)
    call("fine_tune.py", *words(folder, parts, *flags, "--resume"))
    for name in ("m-0003.params", "m-symbol.json", "m-run/state.params", "m-run/summary.csv"):
        assert (whole.parent / name).read_bytes() == (parts.parent / name).read_bytes(), name


@pytest.mark.parametrize("transfer, flags", [("shot_im", []), ("shot", []), ("shot", ["--freeze", "--trainable",
                                                                                     "bottleneck"])])
def test_the_classifier_stays_and_what_feeds_it_learns_from_the_target_alone(folder, tmp_path, transfer, flags):
    shutil.copytree(folder / "data", tmp_path / "data")
    (tmp_path / "data" / "source.lst").unlink()
    target = read_list(tmp_path / "data" / "target.lst")
    said = call("fine_tune.py", *words(folder, tmp_path / "m", *flags, transfer=transfer), "--data-dir",
                tmp_path / "data", "--disp-batches", 2).stderr
    assert f"--transfer {transfer} trains on the target alone" in said and "4 updates an epoch" in said
    before, after = values(folder / "s0", 2), values(tmp_path / "m", 3)
    for name in ("fc_weight", "fc_bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert abs(after["bottleneck_weight"] - before["bottleneck_weight"]).max() > 1e-4
    told = [line for line in said.splitlines() if re.search(r" transfer [+-]", line)]      # of batches, and of epochs
    assert len(told) > 3 and all((" loss " in line) == (" accuracy " in line.replace("validation accuracy", "")) ==
                                 (transfer == "shot") for line in told)
    assert "nan" not in said
    write_list(target.path, [0] * 16, target.files)         # which are wrong, and not looked at
    call("fine_tune.py", *words(folder, tmp_path / "n", *flags, transfer=transfer), "--data-dir", tmp_path / "data")
    for name, value in values(tmp_path / "n", 3).items():
        np.testing.assert_array_equal(value, after[name])


def test_a_part_of_the_source_may_judge_what_the_target_alone_has_trained(folder, tmp_path):
    for name, flags in ("m", []), ("f", ["--read", "features"]):
        said = call("fine_tune.py", *words(folder, tmp_path / name, "--source-validation", 0.25, "--keep", "best",
                                           "--no-validation", *flags)).stderr
        rows = list(csv.DictReader(open(tmp_path / f"{name}-run" / "summary.csv")))
        assert all(0 <= float(row["source_accuracy"]) <= 1 for row in rows) and "4 updates an epoch" in said
    data = DataOptions(data_dir=str(folder / "data"), source_validation=0.25)
    how = dict(data=data, optimizer=OptimizerOptions(batch_size=4))
    lists = domains.read_lists(Stage(1, 3, objective=ObjectiveOptions(transfer="shot"), **how))
    assert [len(images) for images in lists.domains] == [16] and lists.roles == ["target", "source", "val"]
    store = type("Alone", (), dict(num_workers=1, rank=0))
    read = [domains.make_batches(one, domains.read_lists(one), (3, 16, 16), store, 1)
            for one in (Stage(1, 3, objective=ObjectiveOptions(transfer="shot"), **how), Stage(0, 3, **how))]
    held = [set(one.source_validation.images.files) for one in read]
    assert held[0] == held[1] and len(held[0]) == 6     # the same images as stage 0 has held out


def test_what_contradicts_it_is_refused(folder, tmp_path):
    def stage(transfer="shot", **groups):
        return lambda: Stage(1, 3, objective=ObjectiveOptions(transfer=transfer), **groups)

    for make, why in (
            (stage(network=NetworkOptions(freeze=True, trainable=("stage3", "fc"))),
             "`trainable` names fc, and `transfer` shot"),
            (stage(regularization=Regularization(class_weights="balanced")),
             "`class_weights` was given with `transfer` shot"),
            (stage("shot_im", regularization=Regularization(label_smoothing=0.1)),
             "`label_smoothing` was given with `transfer` shot_im, which trains on no labels")):
        with pytest.raises(InputError, match=why):
            make()
    call("fine_tune.py", "--network", "resnet", "--num-layers", 8, "--num-classes", 3, *SMALL, 2, "--data-dir",
         folder / "data", "--model-prefix", tmp_path / "s0")
    said = call("fine_tune.py", *words(folder, tmp_path / "m", "--read", "features", "--pretrained-model",
                                       tmp_path / "s0"), expect=2).stderr
    assert re.search("nothing is left to train: --transfer shot .* --bottleneck in stage 0", said)
    said = call("fine_tune.py", *words(folder, tmp_path / "m", "--head-lr-mult", 10, "--pretrained-model",
                                       tmp_path / "s0"), expect=2).stderr
    assert "--head-lr-mult was given with --transfer shot, by which the classifier fc does not learn" in said
    said = call("fine_tune.py", *words(folder, tmp_path / "m"), "--batch-size", 20, expect=2).stderr
    assert "16 images; a batch takes 20 of them" in said


def test_speeds_can_be_measured(folder, tmp_path):
    assert "limits this run" in call("fine_tune.py", *words(folder, tmp_path / "m", "--test-io", 1)).stdout
    call("fine_tune.py", *words(folder, tmp_path / "m", "--benchmark", 1, epochs=1))
