"""What is told of target images after every epoch, whose labels nobody asks for."""
import json
import math
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL, call
from tiny import SHAPE, StopAfter, TinyIter, tiny_net
from tiny import train as train_tiny

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.distributed.stores import Store
from transfer_gluon.inference.classifier import classifier
from transfer_gluon.iters import ImageList, OrderedIter, prepared, read_list, write_list
from transfer_gluon.iters.feature_file import read_features
from transfer_gluon.symbols import BNMLoss, DANNLoss, JMMDLoss, TransferObjective
from transfer_gluon.training.after_epoch import Epoch
from transfer_gluon.training.learner import Learner
from transfer_gluon.training.run import Run
from transfer_gluon.training.state import Position, load_state
from transfer_gluon.training.summary import EpochResult, read_summary
from transfer_gluon.training.watch import Watch, sample

COLUMNS = ["start_transfer_loss", "target_confidence", "target_entropy", "target_classes", "target_changed",
           "target_shares"]
STAGE1 = [*SMALL, "--train-stage", 1, "--pretrained-epoch", 1, "--num-epochs", 3]


def stage1(data, start, prefix, *flags, **how):
    return call("fine_tune.py", *STAGE1, "--data-dir", data, "--pretrained-model", start, "--model-prefix", prefix,
                *flags, **how)


def rows(prefix):
    return [{name: float(value) for name, value in row.items()} for row in read_summary(f"{prefix}-run/summary.csv")]


def logits_of(prefix, epoch, images):
    """What a checkpoint says of images."""
    batch, = OrderedIter(images, len(images), prepared(16, 16, None))
    net = classifier(load_checkpoint(prefix, epoch), mx.cpu())
    return net(batch.data[0].astype("float32")).asnumpy().astype(np.float64)


def test_the_figures_are_those_of_the_checkpoints_and_of_their_formulas(data, stage0, tmp_path):
    source = read_list(data / "source.lst")
    write_list(source.path, [0] * 12 + [1] * 9 + [2] * 3, source.files)
    stage1(data, stage0, tmp_path / "m", "--lr", 0.05)
    target = read_list(data / "target.lst")
    before = logits_of(stage0, 1, target).argmax(axis=1)
    told = rows(tmp_path / "m")
    assert len({row["target_confidence"] for row in told}) == 3 and any(row["target_changed"] for row in told)
    for row in told:
        logits = logits_of(tmp_path / "m", int(row["epoch"]), target)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        shares = np.bincount(p.argmax(axis=1), minlength=3) / 16
        expected = {"target_confidence": p.max(axis=1).mean(), "target_entropy": -(p * np.log(p)).sum(axis=1).mean(),
                    "target_classes": (shares > 0).sum() / 3, "target_changed": (before != p.argmax(axis=1)).mean(),
                    "target_shares": np.abs(shares - [1 / 2, 3 / 8, 1 / 8]).sum() / 2}
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_the_log_line_says_them_in_words(data, stage0, tmp_path):
    said = stage1(data, stage0, tmp_path / "m").stderr
    line = re.search("epoch 3: .*", said)[0]
    last = rows(tmp_path / "m")[-1]
    assert f"transfer {last['transfer_loss']:+.4f} (at the start {last['start_transfer_loss']:+.4f}), accuracy" in line
    assert (f", target: confidence {100 * last['target_confidence']:.0f} %, entropy {last['target_entropy']:.2g} nat, "
            f"{100 * last['target_changed']:.0f} % changed, {3 * last['target_classes']:.0f} of 3 classes, shares "
            f"differ by {last['target_shares']:.2g}, ") in line
    assert "target_" not in said and "start_transfer" not in said


def test_watching_changes_nothing_else(data, stage0, tmp_path):
    """Mixing and dropping out draw by chance; the network's moving statistics move in training mode."""
    how = ["--mixup", 0.3, "--ema", 0.5, "--cpus", 2, "--transfer", "dann", "--transfer-options", "hidden=4",
           "--source-validation", 0.2]
    stage1(data, stage0, tmp_path / "a", *how)
    stage1(data, stage0, tmp_path / "b", *how, "--watch", 0)
    for epoch in 1, 2, 3:
        assert (tmp_path / f"a-{epoch:04d}.params").read_bytes() == (tmp_path / f"b-{epoch:04d}.params").read_bytes()
    watched, plain = rows(tmp_path / "a"), rows(tmp_path / "b")
    assert [{name: value for name, value in row.items() if name not in COLUMNS} for row in watched] == plain
    assert set(COLUMNS) <= watched[0].keys()
    states = [load_state(tmp_path / f"{name}-run" / "state.params") for name in "ab"]
    arrays = [{name: array.asnumpy() for name, array in state.others.items()} for state in states]
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], err_msg=name)


@pytest.mark.parametrize("how", [["--read", "files"], ["--read", "features"], ["--read", "mxnet"],
                                 ["--freeze", "--trainable", "stage3,fc"], ["--cpus", 2]])
def test_every_way_of_reading_and_training_is_watched_and_changed_by_nothing(data, stage0, tmp_path, how):
    stage1(data, stage0, tmp_path / "a", *how)
    stage1(data, stage0, tmp_path / "b", *how, "--watch", 0)
    assert (tmp_path / "a-0003.params").read_bytes() == (tmp_path / "b-0003.params").read_bytes()
    for row in rows(tmp_path / "a"):
        assert all(math.isfinite(row[name]) for name in COLUMNS)


def test_features_are_watched_as_the_images_are(data, stage0, tmp_path):
    """What lies below does not train: the network that the stage begins with is the same."""
    how = ["--freeze", "--trainable", "fc", "--frozen-statistics", "inference", "--lr", 0.1]
    stage1(data, stage0, tmp_path / "images", *how)
    stage1(data, stage0, tmp_path / "features", "--read", "features", "--lr", 0.1)
    for name in "images", "features":
        net = logits_of(tmp_path / name, 3, read_list(data / "target.lst")).argmax(axis=1)
        before = logits_of(stage0, 1, read_list(data / "target.lst")).argmax(axis=1)
        assert rows(tmp_path / name)[-1]["target_changed"] == pytest.approx((net != before).mean())


def test_a_run_that_goes_on_compares_with_what_it_began_with(data, stage0, tmp_path):
    """Whenever it was stopped, and though the network that it began with is gone."""
    stage1(data, stage0, tmp_path / "whole" / "m", "--lr", 0.05)
    for epochs in 1, 2, 3:
        stage1(data, stage0, tmp_path / "parts" / "m", "--lr", 0.05, "--num-epochs", epochs, "--resume")
    for name in "m-0003.params", "m-run/state.params", "m-run/summary.csv":
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert rows(tmp_path / "whole" / "m")[-1]["target_changed"] > 0


def test_a_run_that_goes_on_from_an_epoch_does_so_too(data, stage0, tmp_path):
    stage1(data, stage0, tmp_path / "m", "--lr", 0.05, "--num-epochs", 2)
    before = rows(tmp_path / "m")
    said = stage1(data, stage0, tmp_path / "m", "--lr", 0.05, "--load-epoch", 2).stderr
    last = rows(tmp_path / "m")[-1]
    assert last["start_transfer_loss"] == before[0]["start_transfer_loss"] and "at the start, ±" not in said
    assert math.isfinite(last["target_changed"])


def test_what_was_not_kept_is_not_told(data, stage0, tmp_path):
    """Of a run that was not watched when it began, or of which other images were."""
    stage1(data, stage0, tmp_path / "m", "--num-epochs", 1, "--watch", 0)
    said = stage1(data, stage0, tmp_path / "m", "--num-epochs", 2, "--resume").stderr
    assert "was not kept of these target images" in said and "at the start" not in said and "changed" not in said
    first, second = rows(tmp_path / "m")
    assert all(math.isnan(first[name]) for name in COLUMNS)
    assert {name for name in COLUMNS if math.isnan(second[name])} == {"target_changed", "start_transfer_loss"}
    stage1(data, stage0, tmp_path / "n", "--num-epochs", 1)
    stage1(data, stage0, tmp_path / "n", "--num-epochs", 2, "--resume", "--watch", 5)
    assert math.isnan(rows(tmp_path / "n")[-1]["target_changed"])


def test_so_many_images_are_looked_at_whatever_the_seed(data, stage0, tmp_path):
    stage1(data, stage0, tmp_path / "m", "--watch", 5)
    places = sample(range(16), 5)
    assert len(set(places.tolist())) == 5 and places.tolist() != sorted(places), "in no order"
    target = read_list(data / "target.lst")
    p = logits_of(tmp_path / "m", 3, target)
    p = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    assert rows(tmp_path / "m")[-1]["target_confidence"] == pytest.approx(p[places].max(axis=1).mean(), rel=1e-5)


# Stage 0

def test_stage_0_is_watched_where_there_is_a_target(data, tmp_path):
    said = call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", tmp_path / "m").stderr
    row, = rows(tmp_path / "m")
    assert {"target_confidence", "target_entropy", "target_classes", "target_shares"} < row.keys()
    assert not {"target_changed", "start_transfer_loss"} & row.keys() and "target: confidence" in said
    call("fine_tune.py", *SMALL, "--data-dir", data, "--model-prefix", tmp_path / "n", "--pretrained-model",
         tmp_path / "m", "--pretrained-epoch", 1, "--keep-classifier")
    assert "target_changed" in rows(tmp_path / "n")[0]
    (data / "target.lst").unlink()
    assert "target" not in call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix",
                                tmp_path / "o").stderr


def test_stage_0_does_not_depend_on_images_that_it_only_looks_at(data, tmp_path):
    target = read_list(data / "target.lst")
    files = [str(shutil.copy(file, data / f"own{place}.jpg")) for place, file in enumerate(target.files)]
    write_list(target.path, [9999] * 16, files)
    for file in files[:4]:
        (data / file).write_text("no image")
    cv2.imwrite(files[4], np.zeros((5, 5, 3)))
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", tmp_path / "m")
    assert not (data / "target.rec").exists()
    p = logits_of(tmp_path / "m", 1, write_and_read(data / "rest.lst", files[4:]))
    p = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    assert rows(tmp_path / "m")[0]["target_confidence"] == pytest.approx(p.max(axis=1).mean(), rel=1e-5)
    for file in files:
        (data / file).write_text("no image")
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", tmp_path / "n")
    assert math.isnan(rows(tmp_path / "n")[0]["target_confidence"])


def write_and_read(path, files):
    return read_list(write_list(path, [9999] * len(files), files))


# By the library: the loop, its devices and workers

class Target(TinyIter):
    """Eight images, the same after every epoch; of them the part of a worker."""

    def __init__(self, part=slice(None), index=True):
        self._part, self._index = part, index
        self.images = ImageList(Path("t"), np.arange(8), np.full(8, 9999), [f"{place}.jpg" for place in range(8)],
                                in_place=True)
        super().__init__(1)

    @property
    def values(self):
        return np.random.default_rng(5).uniform(0, 255, (8, *SHAPE))

    def next(self):
        if self._done:
            raise StopIteration
        self._done = 1
        images = self.values[self._part]
        return mx.io.DataBatch([mx.nd.array(images)], [mx.nd.zeros(len(images))], pad=0,
                               index=list(range(8))[self._part] if self._index else None)


def told_by(watch, learner, store, position=None):
    epoch = Epoch(EpochResult(1, 1, 0.1, 1.0, 0.5, 0.5), learner, None, position or Position(), store)
    watch.begin(learner, epoch.position, store)
    watch(epoch)
    return epoch


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("loss", ["jmmd", "dann"])
def test_the_library_watches_and_goes_on_bit_for_bit(tmp_path, devices, loss):
    def train(run, **how):
        return train_tiny(run, 3, devices=devices, loss=loss, optimizer="adam", regular=True, after_epoch=[
            Watch(Target(index=False), 3, [1, 1, 2], lambda: TinyIter(4), how_batches_change)], **how)

    how_batches_change = train_changes()
    whole = train(Run(tmp_path / "whole" / "m"))
    assert set(COLUMNS) <= whole[-1].others.keys()
    for batches in 0, 3, 2, 4:
        with pytest.raises(Stopped):
            train(Run(tmp_path / "parts" / "m", resume=True), stop=StopAfter(batches))
    train(Run(tmp_path / "parts" / "m", resume=True))
    for name in "m-0003.params", "m-run/state.params", "m-run/summary.csv":
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def train_changes():
    from tiny import everything
    return everything(2)["before_forward"]


class Half(Store):
    """One of two workers, whose sums another one has added to."""

    def __init__(self, rank, others):
        super().__init__("device", 2, rank)
        object.__setattr__(self, "_others", others)

    def gather(self, values):
        values = np.array(values, np.float64).ravel()
        if self.rank:
            self._others.append(values)
            return np.stack([np.zeros_like(values), values])
        return np.stack([values, self._others.pop(0)])


def test_workers_look_at_their_parts_and_all_tell_the_whole():
    objective = TransferObjective(JMMDLoss())
    with Learner(tiny_net(), objective, [mx.cpu()]) as learner:
        learner.fill_in(TinyIter())
        alone, sent = told_by(Watch(Target(), 3, [1, 1, 2]), learner, Store("device")).result.others, []
        told_by(Watch(Target(slice(5, 8)), 3, [1, 1, 2]), learner, Half(1, sent))
        together = told_by(Watch(Target(slice(0, 5)), 3, [1, 1, 2]), learner, Half(0, sent)).result.others
        assert together == pytest.approx(alone, rel=1e-5) and not sent


def test_the_transfer_loss_at_the_start_is_that_of_the_batches_to_come_in_training_mode():
    """With a rate of 0, the mean of the first epoch: the network that normalises by its batches, and drops out, is the
    one that it began with; only what is dropped is drawn anew."""
    from transfer_gluon.training.loop import fit
    from transfer_gluon.training.schedule import StepSchedule
    for dropped, close in (False, 1e-4), (True, None):
        net = plain_net() if not dropped else tiny_net()
        results = fit(net, TransferObjective(JMMDLoss()), TinyIter(4), [mx.cpu()], StepSchedule(0.0), 2,
                      after_epoch=[Watch(Target(), 3, pairs=lambda: TinyIter(4))])
        start = results[0].others["start_transfer_loss"]
        assert start != results[1].transfer_loss and results[1].others["start_transfer_loss"] == start
        if close:
            assert start == pytest.approx(results[0].transfer_loss, rel=close)


def plain_net():
    """As `tiny_net`, and nothing is dropped."""
    from tiny import tiny_symbol

    from transfer_gluon.symbols import TransferNet, features_block
    mx.random.seed(3)
    return TransferNet(features_block(tiny_symbol().get_internals()["flat0_output"]), 3, image_shape=SHAPE)


def test_moving_statistics_stay_where_they_were_whatever_moves_them():
    net, objective = plain_net(), TransferObjective(JMMDLoss())
    with Learner(net, objective, [mx.cpu()], ["fc"], "move") as learner:
        learner.fill_in(TinyIter())
        before = {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}
        watch = Watch(Target(), 3, pairs=lambda: TinyIter(4))
        told_by(watch, learner, Store("device"))
        for name, value in before.items():
            np.testing.assert_array_equal(net.collect_params()[name].data().asnumpy(), value, err_msg=name)
        with mx.autograd.record():      # which training does move
            learner._forward(TinyIter(1).next().data[0])
        assert any((net.collect_params()[name].data().asnumpy() != value).any() for name, value in before.items())


def test_a_state_whose_beginning_is_no_dict_is_damaged(tmp_path):
    from transfer_gluon.training.state import digest_of
    train_tiny(Run(tmp_path / "m"), 1)
    file = tmp_path / "m-run" / "state.params"
    values = mx.nd.load(str(file))
    told = json.loads(values["json"].asnumpy().tobytes())
    told["position"]["began"] = 3
    del values["sha256"]
    values["json"] = mx.nd.array(np.frombuffer(json.dumps(told).encode(), np.uint8), dtype="uint8")
    values["sha256"] = mx.nd.array(np.frombuffer(digest_of(values), np.uint8), dtype="uint8")
    mx.nd.save(str(file), values)
    with pytest.raises(InputError, match="not the state of a run"):
        load_state(file)


# What is said at the end

def ended(caplog, transfer=(0.2, 0.2, 0.2), start=0.2, noise=0.01, confidence=0.5, classes=1.0, loss=None, weight=1.0,
          shares=(1, 1, 1), before=(0, 1, 2, 0, 1, 2, 0, 1)):
    caplog.clear()
    objective = TransferObjective(loss or JMMDLoss(), weight)
    with Learner(tiny_net(), objective, [mx.cpu()]) as learner:
        learner.fill_in(TinyIter())
        watch = Watch(Target(), 3, shares)
        position = Position(1, updates=4, began={"target": Target().images.digest, "classes": list(before),
                                                 "transfer_loss": start, "noise": noise})
        watch.begin(learner, position, Store("device"))
        watch.end(learner, [EpochResult(number, number, 0.1, 1.0, value, 0.5, others={
            "target_confidence": confidence, "target_classes": classes}) for number, value in enumerate(transfer, 1)])
    return " ".join(record.getMessage() for record in caplog.records)


def test_a_transfer_loss_that_does_not_fall_is_told_at_the_end(caplog):
    caplog.set_level("INFO")
    said = ended(caplog)
    assert said.startswith("the transfer loss has not fallen by more than its noise: +0.2000 ± 0.0100 at the start, ")
    assert "+0.2000 over the last 3 epochs; " in said
    assert "`relative_transfer_weight`" in said
    assert "has not fallen" in ended(caplog, (0.1, 0.185, 0.185, 0.185))        # the last three, within its noise
    assert not ended(caplog, (0.3, 0.17, 0.17, 0.17))
    assert "no more than its noise" in ended(caplog, start=0.015)
    assert not ended(caplog, weight=0.0)
    assert not ended(caplog, loss=DANNLoss(hidden=4)), "which rises where the domains are alike"
    assert not ended(caplog, noise=math.nan)


def test_a_loss_that_compares_no_domains_gets_no_advice_on_domains(caplog):
    caplog.set_level("INFO")
    for start in 0.2, 0.015:
        said = ended(caplog, start=start, loss=BNMLoss())
        assert "has not fallen" in said and "a larger `relative_transfer_weight`, more epochs or a larger" in said
        assert not any(word in said for word in ("domains", "`estimate`", "`transfer_layers`"))


def test_advice_is_not_contradicted(caplog):
    caplog.set_level("INFO")
    said = ended(caplog, confidence=0.9, classes=1 / 3)
    assert "a smaller `relative_transfer_weight`" in said and "has not fallen" not in said


def test_confident_predictions_of_few_classes_are_told_at_the_end(caplog):
    caplog.set_level("INFO")
    fallen = dict(transfer=(0.0,), start=0.2)
    said = ended(caplog, confidence=0.9, classes=1 / 3, **fallen)
    assert said.startswith("the network is sure of the target, 90% on average, and finds 1 of 3 classes in it (3 at ")
    assert not ended(caplog, confidence=0.7, classes=1 / 3, **fallen)
    assert not ended(caplog, confidence=0.9, classes=2 / 3, **fallen)
    assert not ended(caplog, confidence=0.9, classes=1 / 3, shares=(1, 0, 0), **fallen), "where no more are expected"


def test_all_that_is_said_at_the_end_is_said_by_a_command(data, stage0, tmp_path):
    said = stage1(data, stage0, tmp_path / "m", "--lr", 0).stderr
    assert "the transfer loss has not fallen" in said and "--estimate quadratic" in said
    assert "has not fallen" not in stage1(data, stage0, tmp_path / "n", "--lr", 0, "--transfer", "dann").stderr


def test_features_of_the_sample_are_found_by_their_index(data, stage0, tmp_path):
    """The file has those of all images."""
    stage1(data, stage0, tmp_path / "m", "--read", "features", "--features-dir", tmp_path / "f", "--watch", 5,
           "--lr", 0)
    features = read_features(next((tmp_path / "f").glob("target*.npz")))
    net = load_checkpoint(tmp_path / "m", 3)
    weight, bias = (net.arg_params[f"fc_{name}"].asnumpy() for name in ("weight", "bias"))
    logits = features.values[sample(range(16), 5)] @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert rows(tmp_path / "m")[-1]["target_confidence"] == pytest.approx(p.max(axis=1).mean(), rel=1e-5)
