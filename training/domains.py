"""What a stage reads: the lists of its domains, packed and checked, and batches of them."""
import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text
from transfer_gluon.base.log import log
from transfer_gluon.iters import (
    DualIter,
    OrderedFeatures,
    OrderedIter,
    RecordIter,
    ShuffledFeatures,
    ShuffledIter,
    SyntheticIter,
    prepared,
    read_list,
    write_list,
)
from transfer_gluon.iters.image_list import list_text
from transfer_gluon.records import ensure_ready
from transfer_gluon.records.folders import read_images
from transfer_gluon.records.ready import as_packed
from transfer_gluon.training.classes import KnownClasses, check_source, need_number
from transfer_gluon.training.watch import sample

# Images of the source whose features TensorBoard shows, and scores look at.
_SAMPLE = 500


def domain_batch(stage):
    """Images of each domain in a batch."""
    return stage.optimizer.batch_size // len(stage.domains)


@dataclass
class Lists:
    """The lists of a stage.

    Attributes
    ----------
    domains : list of ImageList
        Those to train on: the source, and in stage 1 the target, or that alone.
    validated : ImageList or None
        That to validate on.
    num_source : int
        Images of the source alone, the first ones of `domains`, without labelled images of the target; 0 where it is
        not trained on.
    num_held : int
        How many of them are held out.
    num_classes : int
    classes : tuple of str or None
        What they are called, where that is known.
    judging : ImageList or None
        The source, where it is not trained on, and its held-out part judges.
    target : ImageList or None
        The target, whatever is trained on.
    joined : dict of str to ImageList
        What the first of `domains` was joined of, where it was: the source, and the target's labelled images.
    """

    domains: list
    validated: object
    num_source: int
    num_held: int = 0
    num_classes: int = 1
    classes: Optional[tuple] = None
    judging: object = None
    target: Optional[object] = None
    joined: dict = field(default_factory=dict)

    @property
    def all(self):
        """All lists: the domains, then that which judges, and that to validate on, if there are such."""
        return [*self.domains, *filter(None, [self.judging, self.validated])]

    @property
    def roles(self):
        """What each of them is: "source", "target" or "val"."""
        domains = ("source", "target") if self.num_source else ("target",)
        return [*domains[:len(self.domains)], *["source"] * bool(self.judging), *["val"] * bool(self.validated)]

    @property
    def sizes(self):
        """How many images of each domain are trained on."""
        return [len(images) - self.num_held * (role == "source") for images, role in zip(self.domains, self.roles)]

    @property
    def num_examples(self):
        """What an epoch of the original's schedule counts: the source, or in stage 1 the smaller domain."""
        return min([self.num_source - self.num_held] * bool(self.num_source) + self.sizes)

    def digests(self):
        """A digest of each list, by its name, and by what it serves as where that is not its name."""
        usual = {"source.lst": "source", "stage0.lst": "source", "target.lst": "target", "val.lst": "val"}
        return {name if usual.get(name) == role else f"`{role}` {name}": images.digest
                for role, images, name in zip(self.roles, self.all, (images.path.name for images in self.all))}

    def joined_digests(self):
        """A digest of each part of a joined list, so that it is known again as what it was."""
        return {f"`{role}` of {self.domains[0].path.name}": images.digest for role, images in self.joined.items()}


@dataclass
class Read:
    """Batches of a stage: to train on; to validate on, of the source's held-out part, and of the target images that are
    watched, or None.

    `domains` are the lists that are trained on, `num_examples` is what an epoch of the original's schedule counts, and
    `own` are all images of the only domain in their order, for a loss that makes labels of them. `again` makes the
    batches to train on once more, `apart` those of each domain, by its name. `source_sample` are some images of the
    source, as for validation; None where it is not trained on.
    """

    training: object
    validation: object = None
    source_validation: object = None
    watched: object = None
    domains: list = field(default_factory=list)
    num_examples: int = 0
    own: object = None
    again: Optional[Callable] = None
    apart: Optional[Callable] = None
    source_sample: object = None


def make_batches(stage, lists, image_shape, store, num_devices, features=None):
    """What a stage reads, packed and checked, as a `Read`; `lists` are `Lists`, or None with `benchmark`.

    `features`: the `Features` of each list, in the order of `Lists.all`, to be read instead of images; None: images.
    """
    if stage.data.benchmark:
        batches = synthetic_batches(stage, image_shape, num_devices)
        return Read(batches, num_examples=batches.num_images)
    data, packed = stage.data, stage.data.read != "files"
    ready = lists.all if features else ensure_ready(lists.all, data.threads, packed, crop=max(image_shape[1:]))
    domains, held, places = ready[:len(lists.domains)], None, {role: place for place, role in enumerate(lists.roles)}
    if lists.num_held:
        source = ready[places["source"]]
        trained, held = hold_out(source, lists.num_source or len(source), lists.num_held, stage.run.seed)
        if not lists.judging:
            domains[0] = trained
    part = dict(num_parts=store.num_workers, part_index=store.rank)
    if features:
        shuffled, ordered = _of_features(stage, features, part)
    else:
        shuffled, ordered = _of_images(stage, image_shape, packed, part)
    validation, source_validation = [ordered(images, places[role]) if images else None for images, role in
                                     ((lists.validated and ready[places["val"]], "val"), (held, "source"))]
    own = None
    if stage.target_alone:
        own = ordered(domains[0], 0, num_parts=1, part_index=0) if stage.makes_labels else None
        labels = np.arange(len(domains[0])) if stage.makes_labels else np.full(len(domains[0]), stage.data.null_label)
        domains[0] = dataclasses.replace(domains[0], labels=labels)

    def apart():
        return {name: shuffled(images, place) for place, (name, images) in enumerate(zip(stage.domains, domains))}

    def together():
        return _together(list(apart().values()), num_devices)

    source = ordered(domains[0].part(sample(domains[0], _SAMPLE)), 0) \
        if (stage.run.tensorboard or stage.run.by) and not stage.target_alone else None
    return Read(together(), validation, source_validation, _watched(stage, lists, domains, ordered), domains,
                lists.num_examples, own, together, apart, source)


def _watched(stage, lists, domains, ordered):
    """Batches of the target images that are watched, or None. In stage 0 one that cannot be read is passed over."""
    if lists.target is None or not stage.data.watch or not stage.train_stage and stage.data.read == "features":
        return None
    if stage.train_stage:
        images, how = domains[-1], {}
    else:
        (images, packed), = as_packed([lists.target])
        how = dict(packed=packed and stage.data.read != "files", bad=[])
    return ordered(images.part(sample(images, stage.data.watch)), len(domains) - 1, **how)


def _of_images(stage, image_shape, packed, part):
    """What makes iterators to train on, and to validate on, of a list; the latter of the part of it that is told."""
    prepare, threads = prepared(*image_shape[1:], stage.images.val_resize), stage.data.threads
    arguments = domain_batch(stage), image_shape, stage.augmentation, threads, stage.run.seed

    def shuffled(images, _):
        return RecordIter(images, *arguments) if stage.data.read == "mxnet" else \
            ShuffledIter(images, *arguments, packed=packed, **part)

    return shuffled, lambda images, _, **how: OrderedIter(images, stage.optimizer.batch_size, prepare, threads,
                                                          **{"packed": packed, **part, **how})


def _of_features(stage, features, part):
    """The same of a list and its place among the `features`."""
    def shuffled(images, place):
        return ShuffledFeatures(features[place], images, domain_batch(stage), stage.augmentation.mode, stage.run.seed,
                                **part)

    return shuffled, lambda images, place, **how: OrderedFeatures(features[place], images, stage.optimizer.batch_size,
                                                                  **{**part, **how})


def synthetic_batches(stage, image_shape, num_devices, batch_size=None):
    """Random batches in the place of those of a stage, of `batch_size` images or as many as it has."""
    number = batch_size // len(stage.domains) if batch_size else domain_batch(stage)
    return _together([SyntheticIter(number, image_shape, stage.num_classes)
                      for _ in stage.domains], num_devices)


def _together(readers, num_devices):
    return DualIter(*readers, num_devices=num_devices) if len(readers) > 1 else readers[0]


def read_lists(stage, known=None):
    """The `Lists` of a stage; `known` are the `KnownClasses` of the network that it goes on with.

    Raises: InputError for images that cannot be found, and for classes that do not fit each other.
    """
    data, known = stage.data, known or KnownClasses()
    paths = {role: getattr(data, role) or not data.source and str(Path(data.data_dir, f"{role}.lst"))
             for role in ("source", "target", "val")}

    def read(role, classes, number, labels=True):
        images = read_images(paths[role], number, data.null_label, classes, labels)
        if images.in_place and data.read == "mxnet":
            raise InputError(f"`{role}` is the folder {images.path}, and `read` mxnet reads records; leave it out, or "
                             "give a list.", role, str(images.path), "a list")
        return images

    judged = "source" in stage.domains or data.source_validation       # by the source, whoever trains on it
    for role, what in ("source", "the labelled images"), ("target", "those of the target"):
        needed = judged if role == "source" else role in stage.domains
        if not data.source and not Path(paths[role]).exists() and needed:
            raise InputError(f"{paths[role]}: no such file; it lists {what}. `{role}` names another list, or a folder.",
                             role, None, "a list or a folder")
    source = read("source", known.names, stage.num_classes or (len(known.names) if known.names else None)) \
        if judged else None
    number, classes = need_number(stage, known, source), source.classes if source else known.names
    target = validated = None
    if stage.train_stage or data.target or paths["target"] and Path(paths["target"]).exists():
        target = read("target", classes, number, labels=False)
    if not data.no_validation:
        check_val(paths["val"])
        validated = read("val", classes, number)
    elif not data.source_validation:
        log.info("nothing judges this run but the images that it trains on: `no_validation` was given without "
                 "`source_validation`, which holds a part of the source out, such as 0.1, and validates that")
    if target and target.in_place:
        log.info("%s: %d target images; folders tell no labels of a target%s", target.path, len(target),
                 "" if stage.train_stage else ", so that stage 0 does without it")
    held = max(round(data.source_validation * len(source)), 1) if data.source_validation else 0
    if stage.target_alone:
        return Lists([target], validated, 0, held, number, classes, source, target)
    domains = [source, target] if stage.train_stage else [with_labelled_target(source, target)]
    check_source(domains[0], number)
    joined = {} if domains[0] is source else {"source": source, "target": target.part(target.labelled)}
    return Lists(domains, validated, len(source), held, number, classes, target=target, joined=joined)


def check_val(path):
    """Raise InputError that says how to do without, where there is nothing to validate on."""
    if not Path(path).exists():
        raise InputError(f"{path}: no such file; it lists target images with their labels, which validate the "
                         "training, or is a folder of them. Without any, give `no_validation`; `source_validation` 0.1 "
                         "then holds a tenth of the source out, and that is watched instead.")


def hold_out(images, first, count, seed):
    """A list without `count` of its `first` images, chosen by chance, and a list of these.

    Both keep indices, order and record of the whole, under the same name.
    """
    held = np.zeros(len(images), bool)
    held[np.random.default_rng(seed).permutation(first)[:count]] = True
    return [images.part(places) for places in (~held, held)]


def with_labelled_target(source, target):
    """The source and those target images that have a label, as one list: ``stage0.lst`` beside ``source.lst``; of other
    lists `stage0-` and a digest, and of folders none, since nothing is written beside a person's photos."""
    if target is None or not target.labelled.any():
        return source
    labelled = target.labelled
    files = source.files + [file for file, known in zip(target.files, labelled) if known]
    labels = [*source.labels.tolist(), *target.labels[labelled].tolist()]
    if source.in_place:
        log.info("%d target images have a label and join the source", labelled.sum())
        return dataclasses.replace(source, indices=np.arange(len(files)), labels=np.array(labels), files=files)
    path = source.path.with_name("stage0.lst")
    if (source.path.name, target.path.name) != ("source.lst", "target.lst") or source.path.parent != target.path.parent:
        path = path.with_name(f"stage0-{hashlib.sha256(repr((labels, files)).encode()).hexdigest()[:8]}.lst")
    log.info("%d target images have a label and join the source in %s", labelled.sum(), path)
    if not path.exists() or read_text(path) != list_text(labels, files):
        write_list(path, labels, files)
    return dataclasses.replace(read_list(path, null_label=source.null_label), classes=source.classes)
