"""The two stages of training: what each reads, which network it starts from, what it minimises.

Stage 0 puts a new classifier on pretrained features and trains with softmax on labelled images; stage 1 goes on from it
with a transfer loss between source and target.
"""
import time
from pathlib import Path

from transfer_gluon.base.devices import check_memory, find_devices, memory_needed
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, writable_folder
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log, log_to_stderr
from transfer_gluon.checkpoints.checkpoint import (
    DEFAULT_IMAGE_SHAPE,
    Checkpoint,
    load_checkpoint,
    parameter_file,
    saved_epochs,
    symbol_file,
)
from transfer_gluon.checkpoints.files import read_symbol
from transfer_gluon.distributed.stores import open_store
from transfer_gluon.iters import (
    Augmentation,
    DualIter,
    OrderedIter,
    RecordIter,
    ShuffledIter,
    SyntheticIter,
    read_list,
    write_list,
)
from transfer_gluon.iters.image_list import list_text
from transfer_gluon.iters.image_source import decoder_speed
from transfer_gluon.iters.shuffled import check_batch_size
from transfer_gluon.iters.transforms import centre_crop
from transfer_gluon.records import ensure_ready
from transfer_gluon.symbols import JMMDLoss, MMDLoss, TransferNet, TransferObjective, image_shape_of, resnet, zoo_symbol
from transfer_gluon.symbols.backbone import parse_image_shape
from transfer_gluon.symbols.frozen import trainable_prefixes
from transfer_gluon.training.loop import fit
from transfer_gluon.training.run import Run, recorded_settings
from transfer_gluon.training.schedule import StepSchedule, step_updates
from transfer_gluon.training.signals import StopSignals
from transfer_gluon.training.throughput import computing_speed, reading_speed

# Flags that workers may have of their own.
_OF_A_WORKER = {"gpus", "cpus", "data_dir", "data_nthreads", "disp_batches", "monitor", "keep", "kv_store"}
# Flags that may differ when a run goes on; of --data-dir and the devices, lists and number are compared.
CHANGES_NO_NUMBER = {"num_epochs", "model_prefix", "no_checkpoint", "resume", "load_epoch", "overwrite", "keep",
                     "save_batches", "gpus", "cpus", "data_dir", "data_nthreads", "disp_batches", "monitor", "test_io"}


# What runs did before the flag was there, where that is not the flag's default.
_BEFORE = {"augmentation": "bytes"}


def run(flags, defaults):
    """Do what the flags of fine_tune.py ask for: a dict by the names of its parameters, and another of the defaults,
    which are the settings of a run that began before the flag was there."""
    log_to_stderr()
    flags = dict(flags)
    flags["augmentation"] = flags["augmentation"] or _mode(flags)
    settings = {name: _text(value) for name, value in flags.items() if name not in CHANGES_NO_NUMBER}
    with open_store(flags["kv_store"]) as store:
        store.compare({name: _text(value) for name, value in flags.items() if name not in _OF_A_WORKER})
        del flags["kv_store"]
        train(store=store, settings=settings, defaults={**defaults, **_BEFORE}, **flags)


def _mode(flags):
    """The mode of augmentation where no flag names it: that of the run to go on with, else the reader's usual one."""
    recorded = recorded_settings(flags["model_prefix"]) if flags["resume"] and flags["model_prefix"] else {}
    if recorded:
        return recorded.get("augmentation", _BEFORE["augmentation"])
    return "bytes" if flags["read"] == "mxnet" else Augmentation.mode


def _text(value):
    return ",".join(f"{number:.12g}" for number in value) if isinstance(value, tuple) else value


def train(*, store, settings, defaults, train_stage, num_classes, image_shape, num_epochs, lr, lr_factor,
          lr_step_epochs, lr_step_unit, batch_size, gpus, cpus, model_prefix, no_checkpoint, resume, load_epoch,
          overwrite, keep, save_batches, use_dan, transfer_weight, null_label, freeze, trainable, frozen_statistics,
          optimizer, mom, wd, disp_batches, monitor, top_k, test_io, seed, dtype, benchmark, data_dir, read,
          no_validation, data_nthreads, pretrained_model, pretrained_epoch, layer_before_fullc, network, num_layers,
          keep_classifier, rgb_mean, rgb_std, **augmentation):
    """What the flags ask for, in the order in which things can go wrong."""
    from transfer_gluon.cli.types import parse_gpus  # until the flag has a type of its own
    devices = find_devices(gpus and parse_gpus(gpus), cpus)
    _check_batch_size(batch_size, len(devices), train_stage)
    if null_label < num_classes:
        raise InputError(f"--null-label is {null_label}, which is also one of the {num_classes} classes; "
                         f"choose a number from {num_classes} up, and use it in target.lst.")
    if top_k > num_classes:
        raise InputError(f"--top-k is {top_k}, and there are {num_classes} classes; choose at most that many.")
    augmentation = _augmentation(**augmentation)
    for flag, given in (("--resume", resume), ("--load-epoch", load_epoch), ("--overwrite", overwrite)):
        if given and not model_prefix:
            raise InputError(f"{flag} was given without --model-prefix, which says which run is meant.")
    if (resume, bool(load_epoch), overwrite).count(True) > 1:
        raise InputError("more than one of --resume, --load-epoch and --overwrite was given; expected one of them.")
    if read == "mxnet" and store.num_workers > 1:
        raise InputError(f"--read mxnet was given to {store.num_workers} workers, and reads for one; leave it out.")
    if read == "mxnet" and augmentation.mode != "bytes":
        raise InputError(f"--augmentation {augmentation.mode} was given with --read mxnet, which reads bytes; leave "
                         "one of them out.")
    if num_layers and network != "resnet":
        raise InputError(f"--num-layers was given with --network {network}; only resnet takes it.")
    if load_epoch and load_epoch >= num_epochs:
        raise InputError(f"--load-epoch is {load_epoch} and --num-epochs is {num_epochs}: nothing is left to train. "
                         "--num-epochs counts from the beginning.")
    if not (model_prefix or no_checkpoint or test_io):
        model_prefix = _new_prefix(train_stage, store)
    if model_prefix:
        writable_folder(model_prefix, "--model-prefix")
        if Path(model_prefix).resolve() == Path(pretrained_model).resolve():
            raise InputError(f"--model-prefix and --pretrained-model are both {model_prefix}; the run would replace "
                             "what it starts from. Give another --model-prefix.")
    image_shape = image_shape or _known_image_shape((resume or load_epoch) and model_prefix,
                                                    not network and pretrained_model)
    settings["image_shape"] = _text(image_shape)
    domain_batch = batch_size // 2 if train_stage else batch_size
    if not benchmark:
        domains, val, num_examples = _lists(Path(data_dir), train_stage, num_classes, null_label, no_validation)
        for images in domains:
            check_batch_size(images, len(images) // store.num_workers, domain_batch)
        lists = [*domains, *([val] if val else [])]
        settings.update({images.path.name: images.digest for images in lists})
    settings.update(devices=len(devices), workers=store.num_workers)
    record = Run(model_prefix, settings, defaults=defaults, resume=resume, load_epoch=load_epoch or 0,
                 overwrite=overwrite, keep=keep, save_batches=save_batches, checkpoints=not no_checkpoint,
                 writes=store.rank == 0)
    # All workers have seen the same before the first one writes.
    store.compare({**settings, "kv_store": None, "epoch to go on after": record.position.epoch,
                   "batch to go on after": record.position.batch})
    if record.position.epoch >= num_epochs:
        log.info("%s has %d epochs: nothing is left to train", model_prefix, record.position.epoch)
        record.mend()
        return

    mx.random.seed(seed)
    if record.checkpoint:
        start = record.checkpoint
    elif network and not train_stage:
        start = _new_network(network, num_layers, image_shape)
    else:
        start = load_checkpoint(pretrained_model, pretrained_epoch)
    if rgb_mean or rgb_std:
        start = start.normalized(rgb_mean or (0, 0, 0), rgb_std or (1, 1, 1))
    if record.checkpoint or train_stage or keep_classifier:
        net = start.classifier(layer_before_fullc, num_classes, image_shape)
    else:
        if start.num_classes == num_classes:
            log.info("%s has a classifier fc of %d classes; a new one takes its place. --keep-classifier goes on with "
                     "the old one", start.name, num_classes)
        net = TransferNet(start.features(layer_before_fullc, image_shape), num_classes, image_shape=image_shape)
    if gpus:
        check_memory(devices, memory_needed(net, (batch_size // len(devices), *image_shape)))
    names = trainable and [name.strip() for name in trainable.split(",")]
    trainable = trainable_prefixes(net, names) if freeze else None

    def both(readers):
        return DualIter(*readers, num_devices=len(devices)) if train_stage else readers[0]

    def synthetic():
        return both([SyntheticIter(domain_batch, image_shape, num_classes) for _ in range(1 + train_stage)])

    if benchmark:
        batches, validation = synthetic(), None
        num_examples = batches.num_images
    else:
        packed = read != "files"
        lists = ensure_ready(lists, data_nthreads, packed, crop=max(image_shape[1:]))
        domains = lists[:len(domains)]
        arguments = domain_batch, image_shape, augmentation, data_nthreads, seed
        part = dict(packed=packed, num_parts=store.num_workers, part_index=store.rank)
        batches = both([RecordIter(images, *arguments) if read == "mxnet" else ShuffledIter(images, *arguments, **part)
                        for images in domains])
        validation = val and OrderedIter(lists[-1], batch_size, centre_crop(*image_shape[1:]), data_nthreads, **part)
    steps = step_updates(lr_step_epochs, num_examples, batch_size, batches.batches_per_epoch, lr_step_unit,
                         store.num_workers)
    _log_schedule(lr, lr_factor, steps, batches.batches_per_epoch, num_epochs)
    objective = _objective(train_stage, use_dan, transfer_weight, null_label)
    training = dict(optimizer=optimizer, momentum=mom, wd=wd, kvstore=store, trainable=trainable,
                    frozen_statistics=frozen_statistics)
    if test_io:
        decoders = [] if benchmark else [decoder_speed(images, data_nthreads, packed) for images in domains]
        computing = computing_speed(lambda batches: fit(net, objective, batches, devices, StepSchedule(0.0), 1,
                                                        **training), synthetic())
        _say_what_limits(reading_speed(batches), computing, decoders)
        return
    with StopSignals() as stop:
        fit(net, objective, batches, devices, StepSchedule(lr, lr_factor, steps), num_epochs, validation=validation,
            top_k=max(top_k, 1), null_label=null_label, run=record, stop=stop, seed=seed, disp_batches=disp_batches,
            monitor=monitor, **training)
    if not no_checkpoint:
        log.info("done: %s; what led to it is in %s", parameter_file(model_prefix, num_epochs), record.folder)


def _new_prefix(train_stage, store):
    """A prefix in ``runs/`` that nothing has yet, named after stage and time."""
    if store.num_workers > 1:
        raise InputError("--model-prefix was not given, and several workers must know where the run is; give it.")
    prefix = Path("runs", time.strftime(f"stage{train_stage}-%Y%m%d-%H%M%S"))
    while saved_epochs(prefix) or Path(f"{prefix}-run").exists():
        prefix = prefix.with_name(f"{prefix.name}x")
    log.info("no --model-prefix was given; this run is kept as %s", prefix)
    return prefix


def _known_image_shape(run_prefix, pretrained_model):
    """The size of images that a run began with, else that the pretrained network was trained with, else the
    original's."""
    if run_prefix:
        recorded = parse_image_shape(recorded_settings(run_prefix).get("image_shape"))
        if recorded:
            return recorded
    for prefix in (run_prefix, pretrained_model):
        shape = prefix and symbol_file(prefix).exists() and image_shape_of(read_symbol(symbol_file(prefix)))
        if shape:
            return shape
    return DEFAULT_IMAGE_SHAPE


def _check_batch_size(batch_size, num_devices, train_stage):
    unit = 4 * num_devices if train_stage else num_devices
    if batch_size % unit:
        nearest = max(unit, round(batch_size / unit) * unit)
        why = "4 × the number of devices (pairs of source and of target images on each)" if train_stage else \
            "the number of devices"
        raise InputError(f"--batch-size is {batch_size} on {num_devices} device{'s' * (num_devices > 1)}; expected a "
                         f"multiple of {unit}, {why}. {nearest} would do.")


def _lists(folder, train_stage, num_classes, null_label, no_validation):
    """The lists of the domains to train on, the list to validate on or None, and the number of examples that
    an epoch of the schedule counts: those of the source, or in stage 1 of the smaller domain."""

    def read(name):
        return read_list(folder / name, num_classes, null_label)

    source = read("source.lst")
    target = read("target.lst") if train_stage or (folder / "target.lst").exists() else None
    val = None if no_validation else read("val.lst")
    if train_stage:
        return [source, target], val, min(len(source), len(target))
    return [_with_labelled_target(source, target)], val, len(source)


def _with_labelled_target(source, target):
    """The source and those target images that have a label, as one list: ``stage0.lst`` beside them."""
    if target is None or not target.labelled.any():
        return source
    labelled = target.labelled
    files = source.files + [file for file, known in zip(target.files, labelled) if known]
    labels = [*source.labels.tolist(), *target.labels[labelled].tolist()]
    path = source.path.with_name("stage0.lst")
    log.info("%d target images have a label and join the source in %s", labelled.sum(), path)
    if not path.exists() or read_text(path) != list_text(labels, files):
        write_list(path, labels, files)
    return read_list(path, null_label=source.null_label)


def _new_network(network, num_layers, image_shape):
    if network == "resnet":
        if num_layers is None:
            raise InputError("--network resnet was given without --num-layers; 50 is a usual depth.")
        symbol = resnet(num_layers, image_shape)
    else:
        symbol = zoo_symbol(network)
    return Checkpoint(f"--network {network}", symbol)


def _augmentation(*, augmentation, color_jitter, random_crop, random_mirror, **others):
    if others["min_random_scale"] > others["max_random_scale"]:
        raise InputError(f"--min-random-scale is {others['min_random_scale']} and --max-random-scale is "
                         f"{others['max_random_scale']}; the smallest must not exceed the largest.")
    return Augmentation(bool(random_crop), bool(random_mirror), jitter=color_jitter, mode=augmentation, **others)


def _objective(train_stage, use_dan, transfer_weight, null_label):
    if not train_stage:
        return TransferObjective(null_label=null_label)
    loss, usual = (MMDLoss(), 1.0) if use_dan else (JMMDLoss(), 2.0)
    weight = usual if transfer_weight is None else transfer_weight
    return TransferObjective(loss, weight, joint=not use_dan, null_label=null_label)


def _log_schedule(lr, factor, steps, batches_per_epoch, num_epochs):
    drops = [f"{lr * factor**i:g} after {step / batches_per_epoch:.4g} epochs (update {step})"
             for i, step in enumerate(steps, start=1)]
    happen = sum(step < num_epochs * batches_per_epoch for step in steps)
    log.info("%d updates an epoch; learning rate %g%s", batches_per_epoch, lr,
             f", then {', '.join(drops[:happen])}" if happen else "")
    if drops[happen:]:
        log.info("never, since the run ends after %d epochs: %s", num_epochs, ", ".join(drops[happen:]))


def _say_what_limits(reading, computing, decoders):
    """Speeds in images/s; `decoders` has one of each domain, of which a batch takes equal parts."""
    decoder = f", raw decoder {len(decoders) / sum(1 / speed for speed in decoders):.1f}" if decoders else ""
    print(f"reading {reading:.1f} images/s{decoder}, computing {computing:.1f}: "
          f"{'reading' if reading < computing else 'computing'} limits this run")
