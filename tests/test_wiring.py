"""Every flag of fine_tune.py reaches what it names: without it, or with another in its place, a test here fails.

Nothing is trained: what would read, train and keep is replaced by pieces that note what they were given.
"""
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_data

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.commands import fine_tune
from transfer_gluon.distributed.stores import Store
from transfer_gluon.iters import SyntheticIter, read_list, write_list
from transfer_gluon.symbols import CORALLoss, JMMDLoss, Mixup, MMDLoss
from transfer_gluon.training import (
    DataOptions,
    NetworkOptions,
    OptimizerOptions,
    RegularizationOptions,
    RunOptions,
    domains,
    stages,
)
from transfer_gluon.training.run import Run
from transfer_gluon.training.stages import Stage
from transfer_gluon.training.summary import SOURCE_ACCURACY
from transfer_gluon.training.watch import Watch

STAGE0 = ["--num-classes", 3, "--image-shape", "3,16,16", "--network", "resnet", "--num-layers", 8, "--batch-size", 8,
          "--num-epochs", 9]
STAGE1 = ["--num-classes", 3, "--train-stage", 1, "--pretrained-epoch", 1, "--batch-size", 8, "--num-epochs", 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``data/``, another data folder, ``more/``, and one without a target, ``alone/``."""
    folder = tmp_path_factory.mktemp("wiring")
    make_data(folder / "data")
    make_data(folder / "more")
    (make_data(folder / "alone") / "target.lst").unlink()
    source = read_list(make_data(folder / "unequal") / "source.lst")
    write_list(source.path, [0] * 16 + [1] * 4 + [2] * 4, source.files)
    (folder / "unequal" / "target.lst").unlink()
    return folder


@pytest.fixture
def told(folder, trained, monkeypatch):
    """A function that calls fine_tune.py with flags, and tells what was asked of the parts."""
    monkeypatch.chdir(folder)
    seen = SimpleNamespace()

    def reader(name):
        def note(images, batch_size, image_shape, augmentation, threads, seed, **part):
            seen.__dict__.update(reader=name, augmentation=augmentation, shape=image_shape, threads=threads,
                                 batch=batch_size, reader_seed=seed, part=part)
            seen.lists = [*getattr(seen, "lists", []), images]
            return SyntheticIter(batch_size, image_shape, 3, len(images))
        return note

    def validation(images, batch_size, prepare, threads, **part):
        seen.validated, seen.validation_threads, seen.prepare = getattr(seen, "validated", images), threads, prepare
        seen.validations, seen.watched = [*getattr(seen, "validations", []), images], images
        return "validation"

    def fit(net, objective, batches, devices, schedule, num_epochs, **others):
        seen.__dict__.update(others, net=net, objective=objective, batches=batches, devices=devices, schedule=schedule,
                             num_epochs=num_epochs)

    def run(prefix, settings, **others):
        seen.__dict__.update(others, prefix=prefix, settings=settings)
        return Run(prefix, settings, **others)

    def ready(lists, threads, packed, crop):
        seen.packed, seen.crop = packed, crop
        return lists

    def open_store(name):
        seen.store = name
        return opened(name)

    opened = stages.open_store
    for name, function in (("ShuffledIter", reader("ours")), ("RecordIter", reader("mxnet")),
                           ("OrderedIter", validation), ("ensure_ready", ready)):
        monkeypatch.setattr(domains, name, function)
    for name, function in (("fit", fit), ("Run", run), ("open_store", open_store),
                           ("reading_speed", lambda batches: 1.0), ("decoder_speed", lambda *_: 1.0),
                           ("computing_speed", lambda train, batches: train(batches) or 1.0)):
        monkeypatch.setattr(stages, name, function)
    monkeypatch.setattr(mx.random, "seed", lambda seed: seen.__dict__.setdefault("weight_seed", seed))

    def call(*flags):
        vars(seen).clear()
        if "--pretrained-model" not in flags and "--network" not in flags:
            flags = [*flags, "--pretrained-model", trained / "s0"]
        fine_tune.main.main([str(flag) for flag in flags], standalone_mode=False)
        return seen

    return call


def weight(seen):
    """What the transfer loss is multiplied by."""
    rng = np.random.default_rng(0)
    arrays = [mx.nd.array(rng.normal(size=(8, width))) for width in (5, 3)]
    value, statistics = seen.objective(*arrays, mx.nd.array([0, 1, 2, 0, *[seen.objective._null_label] * 4]))
    softmax, transfer, _, labelled = statistics.asnumpy()
    assert labelled == 4
    return round(float((value.asscalar() - softmax) / transfer), 3)


def estimate(seen, loss=None):
    """The transfer loss of some batch: the objective's, or another."""
    rng = np.random.default_rng(0)
    features, logits = [mx.nd.array(rng.normal(size=(8, width))) for width in (5, 3)]
    return (loss or seen.objective.transfer)(features, logits).asscalar()


def quadratic(seen):
    return estimate(seen, JMMDLoss(estimate="quadratic"))


AUGMENTATION = {    # flag: value, name of the attribute
    "--pad-size": (2, "pad_size"), "--color-jitter": (0.3, "jitter"), "--pca-noise": (0.2, "pca_noise"),
    "--random-crop": (0, "random_crop"), "--random-mirror": (0, "random_mirror"),
    "--min-random-area": (0.5, "min_random_area"), "--max-random-h": (7, "max_random_h"),
    "--max-random-s": (8, "max_random_s"), "--max-random-l": (9, "max_random_l"),
    "--max-random-aspect-ratio": (0.25, "max_random_aspect_ratio"),
    "--max-random-rotate-angle": (11, "max_random_rotate_angle"),
    "--max-random-shear-ratio": (0.125, "max_random_shear_ratio"), "--max-random-scale": (1.5, "max_random_scale"),
    "--min-random-scale": (0.75, "min_random_scale"), "--augmentation": ("bytes", "mode"),
    "--crop": ("plain", "crop"), "--train-resize": (20, "train_resize"), "--aa": ("rand-m9-mstd0.5-inc1", "aa"),
    "--reprob": (0.25, "reprob"),
}
PRETRAINED = STAGE1[:2] + STAGE1[4:]        # stage 0, from a checkpoint


def rows(seen, labels=(0, 1, 2, 9999)):
    """What a batch's labels become on their way to the network."""
    images, labels = mx.nd.ones((len(labels), 3, 2, 2)), mx.nd.array(labels)
    for change in seen.before_forward:
        images, labels = change(images, labels)
    return labels.asnumpy()


def penalty(seen, **values):
    """What the penalty rises by where the parameters of the network are so much larger."""
    seen.net.initialize()
    seen.net(mx.nd.zeros((1, 3, 16, 16)))
    of_all = {name: mx.nd.zeros(parameter.shape) for name, parameter in seen.net.collect_params().items()
              if parameter.grad_req != "null"}
    start = seen.penalties[0](of_all).asscalar()
    return {name: float(seen.penalties[0]({**of_all, name: of_all[name] + value}).asscalar() - start)
            for name, value in values.items()}


def rates(seen):
    """The first rates of the classifier and of three layers."""
    return [round(seen.schedule(1) * seen.lr_mult.get(name, 1.0), 9)
            for name in ("fc_weight", "stage3_unit1_conv1_weight", "stage1_unit1_conv1_weight", "conv0_weight")]


WIRES = {   # flag: the rest of the command, its value, what is then true, and is not without it
    **{flag: (STAGE0, value, lambda seen, name=name, value=value: getattr(seen.augmentation, name) == value)
       for flag, (value, name) in AUGMENTATION.items()},
    "--remode": ([*STAGE0, "--reprob", 0.5], "pixel", lambda seen: seen.augmentation.remode == "pixel"),
    "--val-resize": (STAGE0, "squeeze", lambda seen: seen.net.image_input.resize == seen.settings["val_resize"]
                     == "squeeze" and seen.prepare(np.tri(16, 40, -8, np.uint8)[:, :, None].repeat(3, 2)).max()),
    "--mixup": (STAGE0, 0.2, lambda seen: type(seen.before_forward[1]) is Mixup
                and seen.before_forward[1]._alpha == 0.2),
    "--label-smoothing": (STAGE0, 0.3, lambda seen: rows(seen).round(3).tolist() == np.round(
        [[.8, .1, .1], [.1, .8, .1], [.1, .1, .8], [0, 0, 0]], 3).astype(np.float32).tolist()),
    "--class-weights": ([*STAGE0, "--data-dir", "unequal"], "balanced",
                        lambda seen: rows(seen)[:3].diagonal().tolist() == [.5, 2., 2.]),
    "--l2sp": (PRETRAINED, 0.5, lambda seen: penalty(seen, fc_bias=2.0, bn_data_beta=1.0) == pytest.approx(
        {"fc_bias": 0.25 * 3 * 4, "bn_data_beta": 0}, rel=1e-3)),
    "--l2sp-published": ([*PRETRAINED, "--num-lowlrs", 2], None, lambda seen: penalty(seen, fc_bias=2.0)["fc_bias"]
                         == pytest.approx(0.00025 * 3 * 4, rel=1e-2)),
    "--num-lowlrs": ([*STAGE1, "--lr", "3,2,1"], 2, lambda seen: rates(seen) == [3, 2, 1, 1]),
    "--head-lr-mult": (STAGE0, 10, lambda seen: seen.lr_mult == {"fc_weight": 10, "fc_bias": 10}),
    "--lr-schedule": (STAGE0, "inv", lambda seen: seen.schedule(4) == pytest.approx(0.1 * (1 + 10 / 9)**-0.75)),
    "--lr-gamma": ([*STAGE0, "--lr-schedule", "inv"], 18,
                   lambda seen: seen.schedule(4) == pytest.approx(0.1 * (1 + 18 / 9)**-0.75)),
    "--lr-power": ([*STAGE0, "--lr-schedule", "inv"], 2,
                   lambda seen: seen.schedule(4) == pytest.approx(0.1 * (1 + 10 / 9)**-2)),
    "--lr-step-every": (STAGE0, 2, lambda seen: [round(seen.schedule(t), 9) for t in (6, 7, 12, 13)]
                        == [0.1, 0.01, 0.01, 0.001]),
    "--warmup-epochs": (STAGE0, 2,
                        lambda seen: [round(seen.schedule(t), 6) for t in (3, 4, 7)] == [1e-4, 0.05005, 0.1]),
    "--warmup-lr": ([*STAGE0, "--warmup-epochs", 2], 0.02, lambda seen: seen.schedule(3) == 0.02),
    "--wd-on": ([*STAGE0, "--wd", 0.1], "all", lambda seen: seen.wd_on == "all"),
    "--ema": (STAGE0, 0.75, lambda seen: seen.ema == 0.75),
    "--new-layers": (PRETRAINED, 2, lambda seen: begun_anew(seen) == {"stage3_unit1_conv1_weight",
                                                                      "stage3_unit1_sc_weight"}),
    "--bottleneck": (STAGE0, 7, lambda seen: seen.net.bottleneck.units == 7),
    "--new-init": (STAGE0, "normal", lambda seen: (seen.net.fc_weight.init.sigma, seen.net.fc_bias.init.value)
                   == (0.005, 0.1)),
    "--source-validation": (STAGE0, 0.25, lambda seen: len(seen.lists[0]) == 18 and
                            [len(images) for images in seen.validations] == [16, 6, 16]),
    "--tensorboard": ([*STAGE0, "--model-prefix", "m/x"], None, lambda seen: seen.after_epoch[-1]._folder.parts[-2:]
                      == ("x-run", "tensorboard") and set(seen.after_epoch[-1]._samples) == {"source", "target"}),
    "--watch": (STAGE1, 5, lambda seen: len(seen.watched) == 5),
    "--early-stop": (STAGE0, 4, lambda seen: seen.after_epoch[-1]._patience == 4),
    "--fill-value": ([*STAGE0, "--pad-size", 1], 17, lambda seen: seen.augmentation.fill_value == 17),
    "--train-stage": (STAGE1[:2] + STAGE1[4:], 1, lambda seen: len(seen.lists) == 2 and seen.batch == 4),
    "--pretrained-epoch": (STAGE1[:4] + STAGE1[6:], 1, lambda seen: seen.settings["pretrained_epoch"] == 1),
    "--use-dan": (STAGE1, None, lambda seen: type(seen.objective.transfer) is MMDLoss and weight(seen) == 0.5),
    "--transfer": (STAGE1, "coral", lambda seen: type(seen.objective.transfer) is CORALLoss),
    "--transfer-options": ([*STAGE1, "--transfer", "dann"], "hidden=7,reversal=0.5",
                           lambda seen: (seen.objective.transfer.hidden._units, seen.objective.transfer._reversal)
                           == (7, 0.5)),
    "--transfer-layers": (STAGE1, "relu1,pool1", lambda seen: len(seen.net(mx.sym.var("data"))[0]) == 3),
    "--estimate": (STAGE1, "quadratic", lambda seen: estimate(seen) == pytest.approx(quadratic(seen), rel=1e-4)),
    "--transfer-weight": (STAGE1, 0.375, lambda seen: weight(seen) == 0.375),
    # Of 8 images on a device: 0.75 against the mean of 4 is 3 against their sum.
    "--relative-transfer-weight": (STAGE1, 0.75, lambda seen: weight(seen) == 3),
    "--null-label": ([*STAGE0, "--data-dir", "alone"], 77,
                     lambda seen: seen.null_label == seen.objective._null_label == seen.lists[0].null_label == 77),
    "--keep-classifier": (STAGE1[:2] + STAGE1[4:], None, lambda seen: seen.net.fc_weight.shape == (3, 64)),
    "--freeze": (STAGE1, None, lambda seen: seen.trainable == ["bn1", "fc", "stage3", "stage4"]),
    "--trainable": ([*STAGE1, "--freeze"], "stage2,fc", lambda seen: seen.trainable == ["stage2", "fc"]),
    "--frozen-statistics": ([*STAGE1, "--freeze"], "still", lambda seen: seen.frozen_statistics == "still"),
    "--model-prefix": (STAGE0, "m/x", lambda seen: str(seen.prefix) == "m/x"),
    "--no-checkpoint": (STAGE0, None, lambda seen: not seen.checkpoints and seen.prefix is None),
    "--resume": ([*STAGE0, "--model-prefix", "m/x"], None, lambda seen: seen.resume),
    "--overwrite": ([*STAGE0, "--model-prefix", "m/x"], None, lambda seen: seen.overwrite),
    "--keep": (STAGE0, 5, lambda seen: seen.keep == 5),
    "--by": ([*STAGE0, "--keep", "best"], "infomax", lambda seen: seen.by == seen.after_epoch[-1]._name == "infomax"),
    "--save-batches": (STAGE0, 6, lambda seen: seen.save_batches == 6),
    "--cpus": (STAGE0, 2, lambda seen: seen.devices == [mx.cpu(0), mx.cpu(1)]),
    "--kv-store": (STAGE0, "local", lambda seen: seen.store == "local"),
    "--num-epochs": (STAGE0[:-2], 7, lambda seen: seen.num_epochs == 7),
    "--lr": (STAGE0, 0.05, lambda seen: seen.schedule(1) == 0.05),
    "--lr-step-epochs": (STAGE0, "2", lambda seen: seen.schedule(7) == pytest.approx(0.01) and seen.schedule(6) == 0.1),
    "--lr-factor": ([*STAGE0, "--lr-step-epochs", "1"], 0.5, lambda seen: seen.schedule(9) == pytest.approx(0.05)),
    "--lr-step-unit": ([*STAGE1, "--lr-step-epochs", "2"], "epoch", lambda seen: seen.schedule(8) == 0.1),
    "--optimizer": (STAGE0, "adam", lambda seen: seen.optimizer == "adam"),
    "--mom": (STAGE0, 0.5, lambda seen: seen.momentum == 0.5),
    "--wd": (STAGE0, 0.25, lambda seen: seen.wd == 0.25),
    "--batch-size": (STAGE0[:8] + STAGE0[10:], 12, lambda seen: seen.batch == 12),
    "--disp-batches": (STAGE0, 3, lambda seen: seen.disp_batches == 3),
    "--monitor": (STAGE0, 4, lambda seen: seen.monitor == 4),
    "--top-k": (STAGE0, 2, lambda seen: seen.top_k == 2),
    "--test-io": (STAGE0, 1, lambda seen: seen.num_epochs == 1 and seen.schedule(1) < 1e-6
                  and not hasattr(seen, "stop")),
    "--benchmark": (STAGE0, 1, lambda seen: not hasattr(seen, "reader") and isinstance(seen.batches, SyntheticIter)),
    "--seed": (STAGE0, 5, lambda seen: seen.seed == seen.reader_seed == seen.weight_seed == 5),
    "--data-dir": (STAGE0, "more", lambda seen: seen.lists[0].path.parent.name == "more"),
    "--target": (STAGE1, "more/target.lst", lambda seen: seen.lists[1].path.parent.name == "more"),
    "--val": (STAGE0, "more/val.lst", lambda seen: seen.validations[0].path.parent.name == "more"),
    "--read": (STAGE0, "files", lambda seen: not seen.packed and not seen.part["packed"]),
    "--no-validation": (STAGE0, None, lambda seen: seen.validation is None),
    "--data-nthreads": (STAGE0, 3, lambda seen: seen.threads == seen.validation_threads == 3),
    "--image-shape": (STAGE0[:2] + STAGE0[4:], "3,24,20", lambda seen: seen.shape == (3, 24, 20) and seen.crop == 24
                      and seen.net.image_input.shape == (3, 24, 20)),
    "--rgb-mean": (STAGE0, "9,8,7", lambda seen: mean(seen) == ((9, 8, 7), (1, 1, 1))),
    "--rgb-std": (STAGE0, "2,3,4", lambda seen: mean(seen) == ((0, 0, 0), (2, 3, 4))),
    "--network": (STAGE0[:4] + STAGE0[8:], "mobilenet0.25", lambda seen: seen.net.fc_weight.shape[1] != 64),
    "--num-layers": (STAGE0[:6] + STAGE0[8:], 14, lambda seen: any("unit2" in name
                                                                   for name in seen.net.collect_params())),
}
# Those that are asked for otherwise: by what fails without them, below.
OTHERS = {"--num-classes", "--pretrained-model", "--layer-before-fullc", "--load-epoch", "--gpus", "--dtype",
          "--features-dir", "--feature-views", "--source",      # these three in test_cached.py and test_folders.py
          "--force-dtype", "--plan"}                            # and these in test_precision.py and test_plan.py


def begun_anew(seen):
    """Which convolutions of the last two stages are others than those of the checkpoint that is started from."""
    seen.net.initialize()
    seen.net(mx.nd.zeros((1, 3, 16, 16)))
    before = load_checkpoint(seen.settings["pretrained_model"], 1).arg_params
    return {name for name, value in before.items() if re.match("stage[23].*(conv1|sc)_weight", name)
            and (seen.net.collect_params()[name].data().asnumpy() != value.asnumpy()).any()}


def mean(seen):
    from transfer_gluon.symbols import normalization
    return normalization(seen.net(mx.sym.var("data"))[0])


def test_every_flag_is_looked_at():
    flags = {option.opts[0] for option in fine_tune.main.params}
    assert flags == set(WIRES) | OTHERS


@pytest.mark.parametrize("flag", WIRES)
def test_a_flag_reaches_what_it_names(told, flag):
    rest, value, reached = WIRES[flag]

    def holds(*flags):
        try:
            return bool(reached(told(*flags)))
        except (AttributeError, LookupError, ValueError, InputError):
            return False

    given = [flag] if value is None else [flag, value]
    assert reached(told("--data-dir", "data", *rest, *given))
    assert not holds("--data-dir", "data", *rest)


def test_the_null_label_is_that_of_the_part_that_is_held_out_and_of_class_weights(told):
    seen = told("--data-dir", "alone", *STAGE0, "--null-label", 77, "--source-validation", 0.25)
    assert seen.after_epoch[0]._null_label == 77 and seen.after_epoch[0]._name == SOURCE_ACCURACY
    stage = Stage(0, 10_000, data=DataOptions(null_label=10_001),
                  regularization=RegularizationOptions(class_weights="balanced"))
    labels = np.array([*range(10_000), 9999, *[10_001] * 5])
    change, = stages._changes_of_batches(stage, [SimpleNamespace(labels=labels)])
    of_classes = change(None, mx.nd.array([0, 9999, 10_001]))[1].max(axis=1).asnumpy()
    np.testing.assert_allclose(of_classes, [1.0001, 0.50005, 0], rtol=1e-6)


def test_domains_are_mixed_each_with_itself(told):
    seen = told("--data-dir", "data", *STAGE1, "--mixup", 0.2)
    assert rows(seen, (0, 1, 9999, 9999)).sum(axis=1) == pytest.approx([1, 1, 0, 0])


@pytest.mark.parametrize("layer, features", [("flatten0", 64), ("relu1", 64 * 16)])
def test_a_new_classifiers_bias_is_drawn_by_the_features_that_feed_it(told, layer, features):
    seen = told("--data-dir", "data", *STAGE0, "--layer-before-fullc", layer, "--new-init", "torch")
    assert seen.net.fc_bias.init.scale == pytest.approx(features**-0.5)


def test_the_transfer_losses_are_the_ones_that_are_named(told):
    seen = told("--data-dir", "data", *STAGE1)
    assert type(seen.objective.transfer) is JMMDLoss and weight(seen) == 1
    for flags, loss in ([], JMMDLoss()), (["--use-dan"], MMDLoss()):
        x, z = (mx.nd.array(np.random.default_rng(0).normal(size=(8, width))) for width in (5, 3))
        _, statistics = told("--data-dir", "data", *STAGE1, *flags).objective(x, z, mx.nd.array([0, 1, 2, 0] * 2))
        assert statistics[1].asscalar() == pytest.approx(loss(x, z).asscalar(), rel=1e-5)
    assert told("--data-dir", "data", *STAGE0).objective.transfer is None


def test_what_is_needed_is_asked_for(told, trained):
    with pytest.raises(Exception, match="num.classes"):
        told("--data-dir", "data", "--network", "resnet")
    with pytest.raises(InputError, match="fc has 3 classes, and --num-classes is 4"):
        told("--data-dir", "data", "--num-classes", 4, *STAGE1[2:])
    with pytest.raises(InputError, match="nowhere-0001.params: no such checkpoint"):
        told("--data-dir", "data", *STAGE1, "--pretrained-model", "nowhere")
    with pytest.raises(InputError, match="--layer-before-fullc is pool9"):
        told("--data-dir", "data", *STAGE1, "--layer-before-fullc", "pool9")
    with pytest.raises(InputError, match="--gpus"):
        told("--data-dir", "data", *STAGE0, "--gpus", "0")
    with pytest.raises(Exception, match="float32"):
        told("--data-dir", "data", *STAGE0, "--dtype", "float16")
    with pytest.raises(InputError, match="of the prefix m/none there is no epoch"):
        told("--data-dir", "data", *STAGE0, "--model-prefix", "m/none", "--load-epoch", 1)
    assert load_checkpoint(trained / "s0", 1).num_classes == 3


def test_layers_that_cannot_be_compared_are_refused(told):
    for layers in ("fc", "softmax", "flatten0", "relu1,relu1", "no_such"):
        with pytest.raises(InputError, match="--transfer-layers are .*; expected different layers below flatten0"):
            told("--data-dir", "data", *STAGE1, "--transfer-layers", layers)


def test_a_stage_leaves_random_numbers_as_they_were(folder, trained, monkeypatch):
    def drawn():
        mx.random.seed(11)
        Stage(1, 3, data=DataOptions(benchmark=True),
              network=NetworkOptions(pretrained_model=str(trained / "s0"), pretrained_epoch=1),
              optimizer=OptimizerOptions(batch_size=8, num_epochs=1), run=RunOptions(no_checkpoint=True, seed=seed)
              ).train()
        return mx.nd.random.uniform(shape=(3,)).asnumpy().tolist()

    monkeypatch.setattr(stages, "fit", lambda *_, **__: [])
    seed = 1
    first = drawn()
    seed = 2
    assert drawn() == first


def test_the_seams_of_a_stage_are_those_of_fit(told, folder, trained):
    told("--data-dir", "data", *STAGE1)
    seen, items = told("--data-dir", "data", *STAGE1), ([print], [len], [repr])
    network = NetworkOptions(pretrained_model=str(trained / "s0"), pretrained_epoch=1)
    Stage(1, 3, network=network, optimizer=OptimizerOptions(batch_size=8), before_forward=items[0], penalties=items[1],
          after_epoch=items[2]).train()
    assert (seen.before_forward, seen.penalties, seen.after_epoch[:1]) == items
    watch, = seen.after_epoch[1:]       # behind what may change the network
    assert type(watch) is Watch and watch._before_forward == items[0] and watch._shares.tolist() == [1 / 3] * 3


# What may differ when a run goes on, and what workers may have of their own.
LISTS = {"data_dir", "source", "target", "val"}
OF_NO_NUMBER = {"num_epochs", "early_stop", "model_prefix", "no_checkpoint", "resume", "load_epoch", "overwrite",
                "keep", "save_batches", "gpus", "cpus", *LISTS, "features_dir", "data_nthreads", "disp_batches",
                "monitor", "test_io", "force_dtype", "watch", "tensorboard", "by", "plan"}
OF_A_WORKER = {"gpus", "cpus", *LISTS, "features_dir", "data_nthreads", "disp_batches", "monitor", "keep", "kv_store"}


def test_what_numbers_depend_on_is_compared_when_a_run_goes_on_and_among_workers(told, monkeypatch):
    compared = []
    monkeypatch.setattr(Store, "compare", lambda self, settings: compared.append(set(settings)))
    flags = {option.opts[0].lstrip("-").replace("-", "_") for option in fine_tune.main.params} - {"use_dan"}
    lists = {"source.lst", "target.lst", "val.lst"}
    settings = set(told("--data-dir", "data", *STAGE1).settings)
    assert settings == flags - OF_NO_NUMBER | lists | {"devices", "workers", "transfer_weighs", "computed_once"}
    assert compared[0] == flags - OF_A_WORKER and compared[1] > lists


def test_an_epoch_of_the_schedule_is_that_of_the_smaller_domain(told):
    schedule = told("--data-dir", "data", *STAGE1, "--lr-step-epochs", "2").schedule     # 24 and 16 images
    assert schedule(4) == 0.1 and schedule(5) == pytest.approx(0.01)


def test_one_worker_writes_and_each_reads_its_part(told, monkeypatch):
    for rank in 0, 1:
        monkeypatch.setattr(stages, "open_store", lambda name, rank=rank: Store("device", 2, rank))
        monkeypatch.setattr(Store, "compare", lambda *_: None)
        seen = told("--data-dir", "data", *STAGE0, "--model-prefix", "m/x", "--lr-step-epochs", "2")
        assert seen.writes == (rank == 0) and seen.settings["workers"] == 2
        assert (seen.part["num_parts"], seen.part["part_index"]) == (2, rank)
        assert seen.schedule(2) == 0.1 and seen.schedule(3) == pytest.approx(0.01)      # 24 images, 8 a worker


def test_gpus_are_asked_for_the_memory_of_their_own_part(told, monkeypatch):
    asked = []
    monkeypatch.setattr(stages, "find_devices", lambda *_: [mx.cpu(0), mx.cpu(1)])
    monkeypatch.setattr(stages, "memory_needed", lambda net, shape: asked.append(shape) or 7)
    monkeypatch.setattr(stages, "check_memory", lambda devices, needed: asked.append((len(devices), needed)))
    told("--data-dir", "data", *STAGE0, "--gpus", "0,1")
    assert asked == [(4, 3, 16, 16), (2, 7)]


def test_mxnets_reader_reads_bytes(told):
    seen = told("--data-dir", "data", *STAGE0, "--read", "mxnet")
    assert seen.reader == "mxnet" and seen.augmentation.mode == "bytes" and seen.settings["augmentation"] == "bytes"
    assert told("--data-dir", "data", *STAGE0).augmentation.mode == "original"


def test_validation_reads_its_own_list_and_every_domain_its_own(told):
    seen = told("--data-dir", "data", *STAGE1)
    assert [images.path.name for images in seen.lists] == ["source.lst", "target.lst"]
    assert seen.validated.path.name == "val.lst" and seen.top_k == 1
