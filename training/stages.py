"""The two stages of training: what each reads, which network it starts from, what it minimises.

Stage 0 puts a new classifier on pretrained features and trains with softmax on labelled images; stage 1 goes on from it
with a transfer loss between source and target.
"""
import contextlib
import dataclasses
import numbers
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.devices import check_memory, find_devices, memory_needed
from transfer_gluon.base.errors import InputError, does_nothing
from transfer_gluon.base.files import writable_folder
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.base.processor import processor_name
from transfer_gluon.checkpoints.checkpoint import parameter_file, saved_epochs
from transfer_gluon.distributed.stores import open_store
from transfer_gluon.iters import Augmentation
from transfer_gluon.iters.epoch_order import check_batch_size
from transfer_gluon.iters.image_list import MOST_LABEL
from transfer_gluon.iters.image_source import decoder_speed
from transfer_gluon.symbols import TransferObjective, transfer_loss
from transfer_gluon.symbols.frozen import trainable_prefixes
from transfer_gluon.symbols.mixup import Mixup
from transfer_gluon.symbols.objective import absolute_weight, relative_weight
from transfer_gluon.symbols.precision import usable_dtype
from transfer_gluon.symbols.registry import loss_class, options_of
from transfer_gluon.symbols.soft_labels import SoftLabels, balanced_weights
from transfer_gluon.training.after_epoch import EarlyStop, Validation
from transfer_gluon.training.cached import as_cached, cached_features, features_in_memory, may_be_cached
from transfer_gluon.training.classes import known_classes, need_number
from transfer_gluon.training.conflicts import check, choosing_settings, idle
from transfer_gluon.training.domains import domain_batch, make_batches, read_lists, synthetic_batches
from transfer_gluon.training.epoch_score import EpochScore, check_images
from transfer_gluon.training.loop import fit, own_random_numbers
from transfer_gluon.training.options import (
    GROUPS,
    DataOptions,
    ImageOptions,
    NetworkOptions,
    ObjectiveOptions,
    OptimizerOptions,
    RegularizationOptions,
    RunOptions,
)
from transfer_gluon.training.param_groups import check_new_layers, freeze_classifier, l2sp_penalty, rate_factors
from transfer_gluon.training.plan import plan, table
from transfer_gluon.training.pseudo_labels import PseudoLabels
from transfer_gluon.training.run import Run, recorded_settings
from transfer_gluon.training.schedule import InverseDecay, StepSchedule, Warmup, step_updates
from transfer_gluon.training.start import (
    known_image_shape,
    known_val_resize,
    starting_checkpoint,
    starting_network,
    starting_values,
)
from transfer_gluon.training.state import digest_of
from transfer_gluon.training.summary import SOURCE_ACCURACY
from transfer_gluon.training.tensorboard import TensorBoard
from transfer_gluon.training.throughput import AT_REST, computing_speed, reading_speed
from transfer_gluon.training.watch import Watch

# Settings that workers may have of their own.
_OF_A_WORKER = {"gpus", "cpus", "data_dir", "source", "target", "val", "features_dir", "data_nthreads", "disp_batches",
                "monitor", "keep", "kv_store"}
# Settings that may differ when a run goes on; of the data's folder and the devices, lists and number are compared.
CHANGES_NO_NUMBER = {"num_epochs", "early_stop", "model_prefix", "no_checkpoint", "resume", "load_epoch", "overwrite",
                     "keep", "save_batches", "gpus", "cpus", "data_dir", "data_nthreads", "disp_batches", "monitor",
                     "test_io", "features_dir", "source", "target", "val", "force_dtype", "watch", "tensorboard", "by",
                     "plan"}
# What runs did before the setting was there, where that is not its default.
_BEFORE = {"augmentation": "bytes"}
# Images a device of the original's published commands, for which a transfer loss has its usual weight.
_USUAL_IMAGES = 16
# How many times less, and more, than is usual a transfer loss may weigh before the log says so.
_FAR = 5, 8


@dataclass(frozen=True)
class Stage:
    """A stage of training, and all that it is told: `train` does it.

    Parameters
    ----------
    train_stage : 0 or 1
        0: softmax on labelled images. 1: softmax and a transfer loss, on source and target.
    num_classes : int or None
        Labels count from 0. None: as many as the folders of the source, ``classes.txt`` beside its list, or the
        checkpoint to go on with.
    data, images, augmentation, network, objective, regularization, optimizer, run
        See `DataOptions`, `ImageOptions`, `Augmentation`, `NetworkOptions`, `ObjectiveOptions`,
        `RegularizationOptions`, `OptimizerOptions`, `RunOptions`.
    before_forward, penalties, after_epoch : sequence of callables
        As `fit` takes them. What is given here does not stand in the run's settings.

    Raises: InputError for values that cannot be, and for those that would do nothing beside the others.

    >>> stage = Stage(1, 10, objective=ObjectiveOptions(transfer="mmd"))
    >>> stage.settings()["transfer"], stage.settings()["lr"]
    ('mmd', 0.1)
    >>> Stage(0, 10, objective=ObjectiveOptions(transfer="mmd"))
    Traceback (most recent call last):
    transfer_gluon.base.errors.InputError: `transfer` was given in stage 0, which has no transfer loss, where it does \
nothing; leave it out.
    """

    train_stage: int
    num_classes: Optional[int] = None
    data: DataOptions = DataOptions()
    images: ImageOptions = ImageOptions()
    augmentation: Augmentation = Augmentation()
    network: NetworkOptions = NetworkOptions()
    objective: ObjectiveOptions = ObjectiveOptions()
    regularization: RegularizationOptions = RegularizationOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    run: RunOptions = RunOptions()
    before_forward: tuple = ()
    penalties: tuple = ()
    after_epoch: tuple = ()

    @property
    def groups(self):
        """The dataclasses of settings."""
        return [getattr(self, name) for name in GROUPS]

    def __post_init__(self):
        for name, least, most in (("train_stage", 0, 1), ("num_classes", 1, MOST_LABEL)):
            value = getattr(self, name)
            if name == "num_classes" and value is None:
                continue
            if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not least <= value <= most:
                raise InputError.of(name, value, f"a whole number from {least} to {most}")
            object.__setattr__(self, name, int(value))
        for field in dataclasses.fields(self)[2:]:
            value, kind = getattr(self, field.name), type(field.default)
            if kind is not tuple and not isinstance(value, kind):
                raise InputError.of(field.name, value, f"{kind.__name__}(…)")
            if kind is tuple and not (isinstance(value, (list, tuple)) and all(map(callable, value))):
                raise InputError.of(field.name, value, "a sequence of callables")
        without_effect = self.idle()
        for group in self.groups:
            for name in group.changed():
                if name in without_effect:
                    raise does_nothing(name, without_effect[name], getattr(group, name))
        check(self)

    @property
    def domains(self):
        """The domains that it trains on: of "source" and "target"."""
        return ("source",) if not self.train_stage else ("target",) if self.target_alone else ("source", "target")

    @property
    def target_alone(self):
        """Whether it trains on the target alone: see `TransferLoss`."""
        return bool(self.train_stage and getattr(loss_class(self.objective.transfer), "target_alone", False))

    @property
    def makes_labels(self):
        """Whether the target's labels are made anew before every epoch."""
        loss = loss_class(self.objective.transfer)
        return self.target_alone and getattr(loss, "makes_labels", None) is not None

    def idle(self):
        """The settings that do nothing beside the others: a dict from their names to why."""
        return idle(self)

    def settings(self):
        """All that it is told, as a dict of JSON types by the names of flags with underscores."""
        named = {"train_stage": self.train_stage, "num_classes": self.num_classes}
        for group in self.groups:
            named.update(group.settings())
        return {name: _text(value) for name, value in named.items()}

    @staticmethod
    def defaults():
        """The settings of runs that began before a setting was there."""
        named = {name: field.default for group in GROUPS.values() for name, field in group.flags().items()}
        return {**{name: _text(value) for name, value in named.items()}, **_BEFORE}

    def train(self, stop=None):
        """Read, train and keep, in the order in which things can go wrong.

        Parameters
        ----------
        stop : StopSignals or None
            Entered while the network trains; asked after every batch whether to end.

        Returns: list of `EpochResult`, of the epochs that this call has trained.

        Raises: InputError for whatever cannot be used; as `fit`.
        """
        stage = self._with_mode()
        with open_store(stage.run.kv_store) as store:
            told = stage.settings()
            store.compare({name: value for name, value in told.items() if name not in _OF_A_WORKER})
            if stage.data.read == "mxnet" and store.num_workers > 1:
                raise InputError(f"`read` mxnet was given to {store.num_workers} workers, and reads for one; leave it "
                                 "out.")
            with own_random_numbers():
                return _train(stage, store, stop)

    def _with_mode(self):
        """With the mode of augmentation that is meant where none is given: that of the run to go on with, else the
        reader's usual one."""
        if self.augmentation.mode:
            return self
        run = self.run
        recorded = recorded_settings(run.prefix) if run.resume and run.prefix else {}
        mode = recorded.get("augmentation", _BEFORE["augmentation"]) if recorded else \
            "bytes" if self.data.read == "mxnet" else "original"
        return dataclasses.replace(self, augmentation=dataclasses.replace(self.augmentation, mode=mode))

    def with_val_resize(self, known):
        """With the `val_resize` that is `known` where none is given."""
        images = dataclasses.replace(self.images, val_resize=self.images.val_resize or known)
        return dataclasses.replace(self, images=images)

    def with_num_classes(self, known, lists):
        """With the number of classes that the `lists` have, or the classifier that is `known`; see `training.classes`.
        """
        return dataclasses.replace(self, num_classes=lists.num_classes if lists else need_number(self, known, None))

    def with_new_prefix(self, store):
        """The same; kept under a prefix in ``runs/`` that nothing has yet, named after stage and time."""
        if store.num_workers > 1:
            raise InputError("`prefix` was not given, and several workers must know where the run is; give it.")
        prefix = Path("runs", time.strftime(f"stage{self.train_stage}-%Y%m%d-%H%M%S"))
        while saved_epochs(prefix) or Path(f"{prefix}-run").exists():
            prefix = prefix.with_name(f"{prefix.name}x")
        log.info("no `prefix` was given; this run is kept as %s", prefix)
        return dataclasses.replace(self, run=dataclasses.replace(self.run, prefix=str(prefix)))


def _text(value):
    if isinstance(value, (tuple, list)):
        return ",".join(f"{part[0]}={part[1]:.12g}" if isinstance(part, tuple) else
                        part if isinstance(part, str) else f"{part:.12g}" for part in value) or None
    return value


def _train(stage, store, stop):
    run, optimizer, regularization = stage.run, stage.optimizer, stage.regularization
    if stage.data.benchmark:
        log.info("random images with `benchmark`: lists, reader, augmentation and validation do not matter")
    devices = find_devices(run.gpus, run.cpus)
    dtype = usable_dtype(run.dtype, devices, run.force_dtype)
    objective = _objective(stage, len(devices))
    _check_batch_size(stage, len(devices), objective)
    if not (run.prefix or run.no_checkpoint or run.test_io or run.plan):
        stage = stage.with_new_prefix(store)
        run = stage.run
    if run.prefix:
        writable_folder(run.prefix, "prefix")
        if Path(run.prefix).resolve() == Path(stage.network.pretrained_model).resolve():
            raise InputError(f"`prefix` and `pretrained_model` are both {run.prefix}; the run would replace what it "
                             "starts from. Give another `prefix`.")
    known_by = (run.resume or run.load_epoch) and run.prefix, \
        not stage.network.network and stage.network.pretrained_model
    image_shape = stage.images.image_shape or known_image_shape(*known_by)
    stage = stage.with_val_resize(known_val_resize(*known_by, image_shape))
    known = known_classes(stage, image_shape)
    lists = None if stage.data.benchmark else read_lists(stage, known)
    stage = stage.with_num_classes(known, lists)
    settings = {name: value for name, value in stage.settings().items() if name not in CHANGES_NO_NUMBER}
    settings["image_shape"] = _text(image_shape)
    settings["dtype"] = dtype
    # Runs of before it was so go on as they began.
    recorded = recorded_settings(run.prefix) if run.prefix and (run.resume or run.load_epoch) else {}
    settings["computed_once"] = recorded.get("computed_once", False) if recorded else True
    defaults = {**Stage.defaults(), "computed_once": False}
    if stage.train_stage:
        settings["transfer_weighs"] = objective.weight
        defaults["transfer_weighs"] = getattr(objective.transfer, "usual_weight", 1.0)
    if optimizer.lr_schedule == "inv":
        settings["num_epochs"] = optimizer.num_epochs
    for images, size in zip(lists.domains, lists.sizes) if lists else ():
        check_batch_size(images, size // store.num_workers, domain_batch(stage))
    if lists and not lists.num_held:
        for name in choosing_settings(run)[:1]:
            _check_judge(lists.validated, name, getattr(run, name))
    if lists and not lists.target:
        for options, name in (run, "by"), (stage.data, "watch"):
            if name in options.changed():
                raise does_nothing(name, "without a target to look at", getattr(options, name))
    if run.by:
        check_images(run.by, min(stage.data.watch, len(lists.target)), stage.num_classes)
    if lists:
        joined = lists.joined_digests()
        settings.update({**lists.digests(), **joined})
        defaults.update(joined)     # runs of before know the whole alone
    settings.update(devices=len(devices), workers=store.num_workers)
    pulled_to = starting_values(stage) if regularization.l2sp or regularization.l2sp_published else None
    if pulled_to:
        settings["l2sp_start"] = digest_of(pulled_to).hex()[:16]
    record = Run(run.prefix, settings, defaults=defaults, resume=run.resume, load_epoch=run.load_epoch or 0,
                 overwrite=run.overwrite, keep=run.keep, by=run.by, save_batches=run.save_batches,
                 checkpoints=not run.no_checkpoint, writes=store.rank == 0)
    # All workers have seen the same before the first one writes.
    store.compare({**settings, "kv_store": None, "epoch to go on after": record.position.epoch,
                   "batch to go on after": record.position.batch})
    if record.position.epoch >= optimizer.num_epochs or record.position.ended:
        why = f", which ended it: {record.position.ended}" if record.position.ended else ""
        log.info("%s has %d epochs%s: nothing is left to train", run.prefix, record.position.epoch, why)
        record.mend()
        return []

    mx.random.seed(run.seed)
    start = starting_checkpoint(stage, record.checkpoint, image_shape)
    net = starting_network(stage, start, record.checkpoint is not None, image_shape,
                           lists.classes if lists else known.names)
    told, once = stage, settings["computed_once"] and may_be_cached(stage, net, lists)
    if once:
        log.info("nothing below %s changes, neither layers nor images: what it gives is computed once, as by `read` "
                 "features with one of `feature_views`, and kept in memory", stage.network.layer)
        stage = as_cached(stage)
    cached = stage.data.read == "features"
    if run.gpus and not cached:
        check_memory(devices, memory_needed(net, (optimizer.batch_size // len(devices), *image_shape)))
    if stage.target_alone:
        freeze_classifier(stage, net)
    if stage.network.freeze:
        check_new_layers(stage, net)
    features = features_in_memory(told, start, lists, image_shape, devices, dtype) if once else \
        cached_features(stage, start, lists, image_shape, store, devices, dtype) if cached else None
    del start           # the network has its values
    read = make_batches(stage, lists, image_shape, store, len(devices), features)
    schedule = _schedule(optimizer, read, store.num_workers)
    own_labels = PseudoLabels(objective, len(read.domains[0]) if read.domains else stage.num_classes, read.own) \
        if stage.makes_labels else None
    training = dict(
        optimizer=optimizer.optimizer, momentum=optimizer.momentum, wd=optimizer.wd, wd_on=optimizer.wd_on,
        lr_mult=rate_factors(stage, net), kvstore=store, dtype=dtype,
        trainable=trainable_prefixes(net, stage.network.trainable) if stage.network.freeze else None,
        frozen_statistics=stage.network.frozen_statistics,
        features_from=stage.network.layer if cached else None, ema=optimizer.ema,
        before_forward=[*([own_labels.put_in] if own_labels else []), *stage.before_forward,
                        *_changes_of_batches(stage, read.domains)],
        penalties=[*stage.penalties, *([l2sp_penalty(stage, net, pulled_to)] if pulled_to else [])])
    del pulled_to       # of which the penalty has its own
    if run.test_io:
        packed = stage.data.read != "files"
        decoders = [decoder_speed(images, stage.data.threads, packed) for images in read.domains]
        synthetic = synthetic_batches(stage, image_shape, len(devices))
        computing = computing_speed(lambda batches: fit(net, objective, batches, devices, AT_REST, 1,
                                                        disp_batches=0, **training), synthetic)
        _say_what_limits(reading_speed(read.training), computing, decoders)
        return []
    if run.plan:
        # The objective wants labels as these changes make them; what a user changes is about images.
        training["before_forward"] = _changes_of_batches(stage, read.domains)
        ways = plan(net, objective, read, devices, training, image_shape=image_shape, batch_size=optimizer.batch_size,
                    layer=None if stage.objective.transfer_layers else stage.network.layer,
                    num_epochs=optimizer.num_epochs, synthetic=lambda number, shape: synthetic_batches(
                        stage, shape, len(devices), number))
        print(f"on {processor_name()}, in batches of {optimizer.batch_size}:\n{table(ways, optimizer.num_epochs)}")
        return []
    judges = [Validation(read.source_validation, null_label=stage.data.null_label, name=SOURCE_ACCURACY)] \
        if read.source_validation else []
    watch = [_watch(stage, lists, read, training["before_forward"])] if read.watched else []
    if run.by:
        watch.append(EpochScore(run.by, read.watched, read.source_validation, read.source_sample))
    board = [_tensorboard(stage, lists, read, record)] if run.tensorboard else []
    early_stop = [EarlyStop(run.early_stop)] if run.early_stop else []
    after_epoch = [*judges, *stage.after_epoch, *watch, *early_stop, *board]
    with contextlib.nullcontext() if stop is None else stop:
        results = fit(net, objective, read.training, devices, schedule, optimizer.num_epochs,
                      validation=read.validation, top_k=max(run.top_k, 1), null_label=stage.data.null_label, run=record,
                      stop=stop, seed=run.seed, disp_batches=run.disp_batches, monitor=run.monitor,
                      before_epoch=[own_labels.before_epoch] if own_labels else [], after_epoch=after_epoch,
                      **training)
    if not run.no_checkpoint:
        log.info("done: %s; what led to it is in %s", parameter_file(run.prefix, record.position.epoch), record.folder)
        record.say_best()
    return results


def _watch(stage, lists, read, before_forward):
    """Of the target: see `Watch`."""
    source = lists.domains[0].labels[:lists.num_source] if lists.num_source else lists.judging.labels \
        if lists.judging else np.empty(0, int)
    known = source[source != stage.data.null_label]
    shares = np.bincount(known, minlength=stage.num_classes) if len(known) else None
    return Watch(read.watched, stage.num_classes, shares,
                 read.again if stage.train_stage and not stage.makes_labels else None, before_forward,
                 compares=bool(stage.train_stage or stage.network.keep_classifier))


def _tensorboard(stage, lists, read, record):
    """What is written beside the summary: see `TensorBoard`."""
    samples = {"source": read.source_sample, "target": read.watched}
    return TensorBoard(record.folder / "tensorboard", read.apart,
                       {domain: batches for domain, batches in samples.items() if batches},
                       lists.classes if lists else None, stage.data.null_label)


def _check_judge(validated, name, value):
    """Of a setting that chooses an epoch by what is validated."""
    if not validated.labelled.any():
        raise InputError(f"`{name}` goes by {validated.path}, where no image has a label. Give some, or hold a "
                         "part of the source out by `source_validation`, such as 0.2.", name, value, "labels to go by")
    log.info("`%s` goes by %s: where that is the target, the epoch is chosen by looking at its labels; "
             "`source_validation` does without", name, validated.path)


def _objective(stage, num_devices):
    labels = dict(null_label=stage.data.null_label, sparse_label=not _soft_labels(stage.regularization))
    if not stage.train_stage:
        return TransferObjective(**labels)
    told = stage.objective
    options = dict(told.transfer_options)
    if "estimate" in options_of(told.transfer):
        options.setdefault("estimate", told.estimate)
    loss, weight, batch = transfer_loss(told.transfer, **options), told.transfer_weight, stage.optimizer.batch_size
    if told.relative_transfer_weight is not None:
        weight = absolute_weight(told.relative_transfer_weight, batch, num_devices, len(stage.domains))
    elif weight is None:
        weight = getattr(loss, "usual_weight", 1.0) * batch / num_devices / _USUAL_IMAGES
    objective = TransferObjective(loss, weight, **labels)
    _say_weight(told, objective, batch, num_devices, len(stage.domains))
    return objective


def _say_weight(told, objective, batch_size, num_devices, domains):
    """Both forms of the weight; and where it is far from what is usual, what to give instead."""
    relative = relative_weight(objective.weight, batch_size, num_devices, domains)
    log.info("the transfer loss %s weighs %.6g against the summed softmax loss (`transfer_weight`), %.4g against the "
             "mean (`relative_transfer_weight`), in batches of %d on %d device%s", told.transfer, objective.weight,
             relative, batch_size, num_devices, "s" * (num_devices > 1))
    usual = getattr(objective.transfer, "usual_relative_weight", None)
    asked = told.relative_transfer_weight is not None or told.transfer_weight == 0
    if usual and not asked and not usual / _FAR[0] <= relative <= usual * _FAR[1]:
        log.info("that is %s: `relative_transfer_weight` %g is a good one whatever the batch",
                 "next to nothing" if relative < usual else "far more than usual", usual)


def _soft_labels(told):
    """Whether labels become rows of probabilities."""
    return bool(told.mixup or told.label_smoothing or told.class_weights == "balanced")


def _changes_of_batches(stage, domains):
    """What happens to batches behind the reader."""
    told = stage.regularization
    if not _soft_labels(told):
        return []
    weights = None
    if told.class_weights == "balanced" and domains:
        labels = np.concatenate([images.labels for images in domains])
        weights = balanced_weights(labels, stage.num_classes, stage.data.null_label)
    labels = SoftLabels(stage.num_classes, stage.data.null_label, told.label_smoothing, weights)
    return [labels, *([Mixup(told.mixup, domains=len(stage.domains))] if told.mixup else [])]


def _check_batch_size(stage, num_devices, objective):
    batch_size = stage.optimizer.batch_size
    # The reader gives pairs of each domain to every device.
    both = len(stage.domains) == 2
    multiple = max(objective.batch_multiple, 4 if both else 2 if stage.regularization.mixup else 1)
    unit = multiple * num_devices
    if batch_size % unit:
        nearest = max(unit, round(batch_size / unit) * unit)
        why = f"{multiple} × the number of devices (pairs of source and of target images on each)" \
            if both else "2 × the number of devices (pairs to mix)" if multiple == 2 else \
            "the number of devices"
        raise InputError(f"`batch_size` is {batch_size} on {num_devices} device{'s' * (num_devices > 1)}; expected a "
                         f"multiple of {unit}, {why}. {nearest} would do.", "batch_size", batch_size,
                         f"a multiple of {unit}")


def _schedule(optimizer, read, num_workers):
    """The learning rate by number of updates; a log line says what will happen."""
    an_epoch, num_epochs = read.training.batches_per_epoch, optimizer.num_epochs
    rate = max(optimizer.lr) if isinstance(optimizer.lr, tuple) else optimizer.lr
    begins = f"{an_epoch} updates an epoch; learning rate {rate:g}"
    if optimizer.warmup_epochs:
        begins += f" after {optimizer.warmup_epochs} epochs of warm-up from {optimizer.warmup_lr:g}"
    if optimizer.lr_schedule == "inv":
        schedule = InverseDecay(rate, optimizer.lr_gamma, optimizer.lr_power, num_epochs=num_epochs,
                                updates_per_epoch=an_epoch)
        log.info("%s, falling to %g in the last epoch", begins, schedule(num_epochs * an_epoch))
    else:
        steps = step_updates(optimizer.lr_step_epochs, read.num_examples, optimizer.batch_size, an_epoch,
                             optimizer.lr_step_unit, num_workers)
        if optimizer.lr_step_every:
            steps = [epoch * an_epoch for epoch in range(optimizer.lr_step_every, num_epochs, optimizer.lr_step_every)]
        schedule = StepSchedule(rate, optimizer.lr_factor, steps)
        _log_steps(begins, rate, optimizer.lr_factor, steps, an_epoch, num_epochs)
    if optimizer.warmup_epochs:
        schedule = Warmup(schedule, optimizer.warmup_lr, optimizer.warmup_epochs, an_epoch)
    return schedule


def _log_steps(begins, rate, factor, steps, an_epoch, num_epochs):
    drops = [f"{rate * factor**i:g} after {step / an_epoch:.4g} epochs (update {step})"
             for i, step in enumerate(steps, start=1)]
    happen = sum(step < num_epochs * an_epoch for step in steps)
    log.info("%s%s", begins, f", then {', '.join(drops[:happen])}" if happen else "")
    if drops[happen:]:
        log.info("never, since the run ends after %d epochs: %s", num_epochs, ", ".join(drops[happen:]))


def _say_what_limits(reading, computing, decoders):
    """Speeds in images/s; `decoders` has one of each domain, of which a batch takes equal parts."""
    decoder = f", raw decoder {len(decoders) / sum(1 / speed for speed in decoders):.1f}" if decoders else ""
    print(f"reading {reading:.1f} images/s{decoder}, computing {computing:.1f}: "
          f"{'reading' if reading < computing else 'computing'} limits this run")
