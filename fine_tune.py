#!/usr/bin/env python3
"""Train a classifier that carries over to another domain: stage 0 on the source, stage 1 on both."""
from base import installed  # noqa: F401, I001
from pathlib import Path

import click

from base.errors import InputError, exit_codes
from base.files import writable_folder
from base.flags import numbers
from base.framework import mx
from iters import Augmentation, DualIter, ListedIter, RecordIter, ShuffledIter, SyntheticIter, read_list, write_list
from iters.augmentation import MODES
from iters.lists import NULL_LABEL, list_text
from iters.shuffled import check_batch_size
from iters.sources import decoder_speed
from iters.transforms import centre_crop
from records import ensure_ready
from symbols import JMMDLoss, MMDLoss, TransferNet, TransferObjective, resnet, zoo_symbol
from training.checkpoint import Checkpoint, load_checkpoint
from training.devices import check_memory, find_devices, memory_needed
from training.frozen import trainable_prefixes
from training.loop import fit
from training.progress import log, log_to_stderr
from training.run import Run
from training.schedule import StepSchedule, step_updates
from training.signals import StopSignals
from training.stores import STORES, open_store
from training.throughput import computing_speed, reading_speed

ON_OFF = click.IntRange(0, 1)
# Flags that may differ when a run goes on; of --data-dir and the devices, lists and number are compared.
CHANGES_NO_NUMBER = {"num_epochs", "model_prefix", "no_checkpoint", "resume", "load_epoch", "overwrite", "keep",
                     "save_batches", "gpus", "cpus", "data_dir", "data_nthreads", "disp_batches", "monitor", "test_io"}


@click.command(context_settings=dict(show_default=True, help_option_names=["-h", "--help"]))
@click.option("--train-stage", type=click.IntRange(0, 1), default=0,
              help="0: a new classifier on pretrained features, softmax on labelled images. "
                   "1: go on from stage 0 with a transfer loss between source and target.")
@click.option("--num-classes", type=click.IntRange(min=1), required=True,
              help="Number of classes; labels count from 0.")
@click.option("--pretrained-model", default="model/resnet-152",
              help="Prefix of the checkpoint to start from: PREFIX-symbol.json, PREFIX-0000.params.")
@click.option("--pretrained-epoch", type=click.IntRange(min=0), default=0, help="Its epoch number.")
@click.option("--layer-before-fullc", default="flatten0", help="The layer whose output feeds the classifier fc.")
@click.option("--network", default=None,
              help="A new network with random weights instead of a checkpoint (stage 0): resnet, or a name of "
                   "gluoncv's model zoo, such as resnet50_v1d, vgg16, mobilenetv2_1.0.")
@click.option("--num-layers", type=click.IntRange(min=1), default=None,
              help="Depth of --network resnet: 18, 34, 50, 101, 152, 200, 269; up to 32 pixels 8, 14, 20, ….")
@click.option("--null-label", type=click.IntRange(min=0), default=NULL_LABEL, help="The label that means 'unknown'.")
@click.option("--use-dan", is_flag=True, help="Transfer loss MMD (DAN). Default: JMMD (JAN).")
@click.option("--transfer-weight", type=click.FloatRange(min=0), default=None,
              help="Weight of the transfer loss against the summed softmax loss.  [default: 1 for MMD, 2 for JMMD]")
@click.option("--freeze", is_flag=True,
              help="Train only a part of the network: the parameters that --trainable names.")
@click.option("--trainable", default=None,
              help="Prefixes of the names of the parameters that train with --freeze, such as stage4,fc.  "
                   "[default: bn1,fc,stage3,stage4, in networks that have these names]")
@click.option("--model-prefix", default=None, help="Prefix of the checkpoints to write, one an epoch.")
@click.option("--no-checkpoint", is_flag=True, help="Write no checkpoints.")
@click.option("--resume", is_flag=True,
              help="Go on where the run of --model-prefix was, as if it had never stopped; begin where there is none.")
@click.option("--load-epoch", type=click.IntRange(min=1), default=None,
              help="Go on from this epoch of --model-prefix (parameters and schedule; momentum starts at 0).")
@click.option("--overwrite", is_flag=True, help="Begin anew and replace the run of --model-prefix.")
@click.option("--keep", type=click.IntRange(min=0), default=0,
              help="Keep the checkpoints of this many last epochs and of the best on val.lst; 0: of all.")
@click.option("--save-batches", type=click.IntRange(min=0), default=0,
              help="Write what --resume needs every so many batches, too; 0: after every epoch.")
@click.option("--gpus", default=None, help="Numbers of the GPUs to train on, such as 0,2,5.  [default: the CPU]")
@click.option("--cpus", type=click.IntRange(min=1), default=None,
              help="Number of CPU devices: a batch is divided among them as among GPUs.  [default: 1]")
@click.option("--kv-store", type=click.Choice(STORES), default="device",
              help="How gradients of several devices are summed.")
@click.option("--num-epochs", type=click.IntRange(min=1), default=100, help="Epoch to stop after.")
@click.option("--lr", type=click.FloatRange(min=0), default=0.1, help="Learning rate of the first update.")
@click.option("--lr-factor", type=click.FloatRange(min=0), default=0.1, help="Factor of the rate at every step.")
@click.option("--lr-step-epochs", default=None, help="Epochs after which the rate drops, such as 10,16.")
@click.option("--lr-step-unit", type=click.Choice(["flag", "epoch"]), default="flag",
              help="flag: as the original, which in stage 1 drops the rate at half the epochs named. "
                   "epoch: true epochs.")
@click.option("--optimizer", default="sgd", help="An optimizer of MXNet: sgd, nag, adam, ….")
@click.option("--mom", type=click.FloatRange(0, 1), default=0.9, help="Momentum, for optimizers that have one.")
@click.option("--wd", type=click.FloatRange(min=0), default=0.0, help="Weight decay, on *_weight and *_gamma only.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128,
              help="Images a batch over all devices; in stage 1 half source, half target.")
@click.option("--disp-batches", type=click.IntRange(min=1), default=10, help="A log line every so many batches.")
@click.option("--monitor", type=click.IntRange(min=0), default=0,
              help="Log statistics of all parameters every so many batches; 0: never.")
@click.option("--top-k", type=click.IntRange(min=0), default=0, help="Validate top-k accuracy too; 0: top-1 only.")
@click.option("--test-io", type=ON_OFF, default=0, help="1: measure what reading and computing allow, train nothing.")
@click.option("--benchmark", type=ON_OFF, default=0, help="1: random images instead of --data-dir.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of weights, order and augmentation.")
@click.option("--dtype", type=click.Choice(["float32"]), default="float32", help="Type of parameters and images.")
@click.option("--data-dir", default="./data", help="Folder with source.lst, target.lst and val.lst.")
@click.option("--read", type=click.Choice(["records", "files", "mxnet"]), default="records",
              help="records: lists are packed to RecordIO beside them, once. files: the image files are read as they "
                   "are, and nothing is packed. mxnet: records, through MXNet's ImageRecordIter in training; the same "
                   "augmentation by other random numbers, slower.")
@click.option("--no-validation", is_flag=True, help="Train without val.lst: the target has no labels at all.")
@click.option("--image-shape", default="3,320,320", help="Channels, height, width of the network's input, in pixels.")
@click.option("--data-nthreads", type=click.IntRange(min=1), default=15, help="Threads that decode images.")
@click.option("--rgb-mean", default=None,
              help="Mean to subtract from red, green, blue, in a layer put in front of the network, such as "
                   "123.68,116.779,103.939.  [default: none; the published networks normalise in bn_data]")
@click.option("--rgb-std", default=None, help="Standard deviations to divide by, in the same layer.  [default: 1,1,1]")
@click.option("--pad-size", type=click.IntRange(min=0), default=0,
              help="Border added around training images, in pixels.")
@click.option("--fill-value", type=click.IntRange(0, 255), default=255,
              help="Grey value of borders and of what rotation, shearing and scaling uncover.")
@click.option("--augmentation", type=click.Choice(MODES), default=None,
              help="original: colours change as floats that are not clipped, and the last batch of an epoch is filled "
                   "up with its first images. bytes: colours are rounded and kept within 0 to 255, and images that do "
                   "not fill a batch are left out.  [default: bytes]")
@click.option("--random-crop", type=ON_OFF, default=1,
              help="1: random resized crops. 0: centre crops, as in validation.")
@click.option("--random-mirror", type=ON_OFF, default=1, help="1: mirror every other image, by chance.")
@click.option("--min-random-area", type=click.FloatRange(0, 1, min_open=True), default=0.08,
              help="Smallest part of the image's area in a random crop.")
@click.option("--color-jitter", type=click.FloatRange(min=0), default=0.4,
              help="Largest relative change of brightness, contrast and saturation.")
@click.option("--pca-noise", type=click.FloatRange(min=0), default=0.1,
              help="Standard deviation of the noise along the principal colour axes.")
@click.option("--max-random-h", type=click.IntRange(0, 180), default=0, help="Largest change of hue, of 180.")
@click.option("--max-random-s", type=click.IntRange(0, 255), default=0, help="Largest change of saturation, of 255.")
@click.option("--max-random-l", type=click.IntRange(0, 255), default=0, help="Largest change of lightness, of 255.")
@click.option("--max-random-aspect-ratio", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              help="Largest relative change of the aspect ratio, beyond that of random crops.")
@click.option("--max-random-rotate-angle", type=click.IntRange(0, 180), default=0, help="Largest rotation, in degrees.")
@click.option("--max-random-shear-ratio", type=click.FloatRange(0, 1), default=0.0, help="Largest shear.")
@click.option("--max-random-scale", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Largest scale.")
@click.option("--min-random-scale", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Smallest scale.")
def main(**flags):
    """Train a classifier that carries over from a labelled source domain to an unlabelled target domain.

    --data-dir holds source.lst, target.lst and val.lst: a line an image with index, label and path,
    separated by tabs. Target images whose label is unknown have the null label. Lists are packed to
    RecordIO when that has not been done yet.
    """
    log_to_stderr()
    flags["augmentation"] = flags["augmentation"] or ("bytes" if flags["read"] == "mxnet" else Augmentation.mode)
    settings = {name: value for name, value in flags.items() if name not in CHANGES_NO_NUMBER}
    with open_store(flags.pop("kv_store")) as store:
        run(store=store, settings=settings, **flags)


def run(*, store, settings, train_stage, num_classes, image_shape, num_epochs, lr, lr_factor, lr_step_epochs,
        lr_step_unit, batch_size, gpus, cpus, model_prefix, no_checkpoint, resume, load_epoch, overwrite, keep,
        save_batches, use_dan, transfer_weight, null_label, freeze, trainable, optimizer, mom, wd, disp_batches,
        monitor, top_k, test_io, seed, dtype, benchmark, data_dir, read, no_validation, data_nthreads,
        pretrained_model, pretrained_epoch, layer_before_fullc, network, num_layers, rgb_mean, rgb_std,
        **augmentation):
    """What the flags ask for, in the order in which things can go wrong."""
    devices = find_devices(gpus, cpus)
    _check_batch_size(batch_size, len(devices), train_stage)
    if null_label < num_classes:
        raise InputError(f"--null-label is {null_label}, which is also one of the {num_classes} classes; "
                         f"choose a number from {num_classes} up, and use it in target.lst.")
    if top_k > num_classes:
        raise InputError(f"--top-k is {top_k}, and there are {num_classes} classes; choose at most that many.")
    image_shape = numbers("--image-shape", image_shape, 3, int)
    augmentation = _augmentation(**augmentation)
    for flag, given in (("--resume", resume), ("--load-epoch", load_epoch), ("--overwrite", overwrite)):
        if given and not model_prefix:
            raise InputError(f"{flag} was given without --model-prefix, which says which run is meant.")
    if (resume, bool(load_epoch), overwrite).count(True) > 1:
        raise InputError("more than one of --resume, --load-epoch and --overwrite was given; expected one of them.")
    normalization = None
    if rgb_mean or rgb_std:
        normalization = numbers("--rgb-mean", rgb_mean or "0,0,0", 3), numbers("--rgb-std", rgb_std or "1,1,1", 3)
    if read == "mxnet" and store.num_workers > 1:
        raise InputError(f"--read mxnet was given to {store.num_workers} workers, and reads for one; leave it out.")
    if read == "mxnet" and augmentation.mode != "bytes":
        raise InputError(f"--augmentation {augmentation.mode} was given with --read mxnet, which reads bytes; leave "
                         "one of them out.")
    if trainable and not freeze:
        raise InputError("--trainable was given without --freeze; it says what --freeze leaves to train.")
    if load_epoch and load_epoch >= num_epochs:
        raise InputError(f"--load-epoch is {load_epoch} and --num-epochs is {num_epochs}: nothing is left to train. "
                         "--num-epochs counts from the beginning.")
    if model_prefix:
        writable_folder(model_prefix, "--model-prefix")
        if Path(model_prefix).resolve() == Path(pretrained_model).resolve():
            raise InputError(f"--model-prefix and --pretrained-model are both {model_prefix}; the run would replace "
                             "what it starts from. Give another --model-prefix.")
    domain_batch = batch_size // 2 if train_stage else batch_size
    if not benchmark:
        training, val, num_examples = _lists(Path(data_dir), train_stage, num_classes, null_label, no_validation)
        for images in training:
            check_batch_size(images, len(images) // store.num_workers, domain_batch)
        settings.update({images.path.name: images.digest for images in [*training, *([val] if val else [])]})
    settings.update(devices=len(devices), workers=store.num_workers)
    record = Run(model_prefix, settings, resume=resume, load_epoch=load_epoch or 0, overwrite=overwrite, keep=keep,
                 save_batches=save_batches, checkpoints=not no_checkpoint, writes=store.rank == 0)
    store.barrier()     # all workers have seen what there is before the first one writes
    if record.position.epoch >= num_epochs:
        log.info("%s has %d epochs: nothing is left to train", model_prefix, record.position.epoch)
        return

    mx.random.seed(seed)
    if record.checkpoint:
        start = record.checkpoint
    elif network and not train_stage:
        start = _new_network(network, num_layers, image_shape)
    else:
        start = load_checkpoint(pretrained_model, pretrained_epoch)
    if normalization:
        start = start.normalized(*normalization)
    net = start.classifier(layer_before_fullc, num_classes, image_shape) if record.checkpoint or train_stage else \
        TransferNet(start.features(layer_before_fullc, image_shape), num_classes, image_shape=image_shape)
    if gpus:
        check_memory(devices, memory_needed(net, (batch_size // len(devices), *image_shape)))
    trainable = trainable_prefixes(net, trainable) if freeze else None

    def both(domains):
        return DualIter(*domains, num_devices=len(devices)) if train_stage else domains[0]

    def synthetic():
        return both([SyntheticIter(domain_batch, image_shape, num_classes) for _ in range(1 + train_stage)])

    if benchmark:
        batches, validation = synthetic(), None
        num_examples = batches.num_images
    else:
        packed = read != "files"
        lists = ensure_ready([*training, *([val] if val else [])], data_nthreads, packed)
        training, val = lists[:len(training)], lists[-1] if val else None
        arguments = domain_batch, image_shape, augmentation, data_nthreads, seed
        part = dict(packed=packed, num_parts=store.num_workers, part_index=store.rank)
        batches = both([RecordIter(images, *arguments) if read == "mxnet" else ShuffledIter(images, *arguments, **part)
                        for images in training])
        validation = val and ListedIter(val, batch_size, centre_crop(*image_shape[1:]), data_nthreads, **part)
    steps = step_updates(lr_step_epochs, num_examples, batch_size, batches.batches_per_epoch, lr_step_unit,
                         store.num_workers)
    _log_schedule(lr, lr_factor, steps, batches.batches_per_epoch)
    objective = _objective(train_stage, use_dan, transfer_weight, null_label)
    if test_io:
        def train(batches):
            fit(net, objective, batches, devices, StepSchedule(0.0), 1, optimizer=optimizer, momentum=mom, wd=wd,
                kvstore=store, trainable=trainable)

        decoders = [] if benchmark else [decoder_speed(images, data_nthreads, packed) for images in training]
        _say_what_limits(reading_speed(batches), computing_speed(train, synthetic()), decoders)
        return
    with StopSignals() as stop:
        fit(net, objective, batches, devices, StepSchedule(lr, lr_factor, steps), num_epochs, optimizer=optimizer,
            momentum=mom, wd=wd, kvstore=store, trainable=trainable, validation=validation, top_k=max(top_k, 1),
            null_label=null_label, run=record, stop=stop, seed=seed, disp_batches=disp_batches, monitor=monitor)


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
    if not path.exists() or path.read_text(encoding="utf-8") != list_text(labels, files):
        write_list(path, labels, files)
    return read_list(path, null_label=source.null_label)


def _new_network(network, num_layers, image_shape):
    if network == "resnet":
        if num_layers is None:
            raise InputError("--network resnet was given without --num-layers; 50 is a usual depth.")
        symbol = resnet(num_layers, image_shape)
    else:
        symbol = zoo_symbol(network)
        if num_layers:
            raise InputError(f"--num-layers was given with --network {network}; only resnet takes it.")
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


def _log_schedule(lr, factor, steps, batches_per_epoch):
    drops = ", ".join(f"{lr * factor**i:g} after {step / batches_per_epoch:.4g} epochs (update {step})"
                      for i, step in enumerate(steps, start=1))
    log.info("%d updates an epoch; learning rate %g%s", batches_per_epoch, lr, f", then {drops}" if drops else "")


def _say_what_limits(reading, computing, decoders):
    """Speeds in images/s; `decoders` has one of each domain, of which a batch takes equal parts."""
    decoder = f", raw decoder {len(decoders) / sum(1 / speed for speed in decoders):.1f}" if decoders else ""
    print(f"reading {reading:.1f} images/s{decoder}, computing {computing:.1f}: "
          f"{'reading' if reading < computing else 'computing'} limits this run")


if __name__ == "__main__":
    exit_codes(main)()
