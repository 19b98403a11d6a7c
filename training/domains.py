"""What a stage reads: the lists of its domains, packed and checked, and batches of them."""
from pathlib import Path

from transfer_gluon.base.files import read_text
from transfer_gluon.base.log import log
from transfer_gluon.iters import (
    DualIter,
    OrderedIter,
    RecordIter,
    ShuffledIter,
    SyntheticIter,
    centre_crop,
    read_list,
    write_list,
)
from transfer_gluon.iters.image_list import list_text
from transfer_gluon.records import ensure_ready


def domain_batch(stage):
    """Images of each domain in a batch."""
    return stage.optimizer.batch_size // (1 + stage.train_stage)


def make_batches(stage, lists, image_shape, store, num_devices):
    """What to train on and what to validate on (or None), packed and checked; `lists` are those of `read_lists`."""
    if stage.data.benchmark:
        return synthetic_batches(stage, image_shape, num_devices), None
    data = stage.data
    packed = data.read != "files"
    lists = ensure_ready(lists, data.threads, packed, crop=max(image_shape[1:]))
    domains, validated = lists[:1 + stage.train_stage], lists[1 + stage.train_stage:]
    arguments = domain_batch(stage), image_shape, stage.augmentation, data.threads, stage.run.seed
    part = dict(packed=packed, num_parts=store.num_workers, part_index=store.rank)
    readers = [RecordIter(images, *arguments) if data.read == "mxnet" else ShuffledIter(images, *arguments, **part)
               for images in domains]
    validation = [OrderedIter(images, stage.optimizer.batch_size, centre_crop(*image_shape[1:]), data.threads, **part)
                  for images in validated]
    return _together(readers, num_devices), validation[0] if validation else None


def synthetic_batches(stage, image_shape, num_devices):
    return _together([SyntheticIter(domain_batch(stage), image_shape, stage.num_classes)
                      for _ in range(1 + stage.train_stage)], num_devices)


def _together(readers, num_devices):
    return DualIter(*readers, num_devices=num_devices) if len(readers) > 1 else readers[0]


def read_lists(stage):
    """The lists of the domains to train on, the list to validate on or None, and the number of examples that
    an epoch of the schedule counts: those of the source, or in stage 1 of the smaller domain."""
    folder, data = Path(stage.data.data_dir), stage.data

    def read(name):
        return read_list(folder / name, stage.num_classes, data.null_label)

    source = read("source.lst")
    target = read("target.lst") if stage.train_stage or (folder / "target.lst").exists() else None
    validated = None if data.no_validation else read("val.lst")
    if stage.train_stage:
        return [source, target], validated, min(len(source), len(target))
    return [with_labelled_target(source, target)], validated, len(source)


def with_labelled_target(source, target):
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
