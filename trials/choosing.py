"""What a choice among runs looks at: their checkpoints, the network they began with, images that they did not train
on."""
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.checkpoints.checkpoint import saved_epochs
from transfer_gluon.iters.image_list import NULL_LABEL, ImageList
from transfer_gluon.records.folders import read_images
from transfer_gluon.scores.candidates import (
    MOST_TARGET,
    Candidate,
    each_once,
    find_candidates,
    look_at_all,
    split_epoch,
)
from transfer_gluon.scores.seen import sample
from transfer_gluon.training.domains import hold_out
from transfer_gluon.training.run import recorded_settings


@dataclass(frozen=True)
class Gathered:
    """What a choice among runs needs.

    Attributes
    ----------
    candidates : list of Candidate
        The source models first.
    target : ImageList
    source : ImageList or None
        Images of the source that no candidate's run trained on, where there are such; else all.
    trained : ImageList or None
        Others, that were trained on.
    val : ImageList or None
        Target images with labels, to tell what a choice has cost: none whose label `target` has.
    notes : list of str
        What a person must know of these.
    """

    candidates: list
    target: ImageList
    source: Optional[ImageList] = None
    trained: Optional[ImageList] = None
    val: Optional[ImageList] = None
    notes: list = field(default_factory=list)


def gather(runs, source_model=None, *, data_dir="data", source=None, target=None, val=None, null_label=NULL_LABEL):
    """Find what a choice among runs needs.

    Parameters
    ----------
    runs : sequence of str
        ``PREFIX``, all epochs of a run, or ``PREFIX:EPOCH``.
    source_model : str or None
        ``PREFIX:EPOCH`` of the network that adaptation began with. None: what the runs' settings say.
    data_dir : str or Path
        Folder of ``source.lst``, ``target.lst`` and ``val.lst``.
    source, target, val : str, Path or None
        Other lists, or folders. Where `data_dir` has no ``source.lst``, it is done without; without ``val.lst`` too, or
        where `target` is given and `val` is not.
    null_label : int

    Returns: `Gathered`.

    Raises: InputError for a run without checkpoints, for a source model that is not there, and for lists that cannot be
    used.
    """
    candidates, settings, notes = with_sources(runs, source_model)
    others = [one for one in candidates if not one.is_source]
    classes = candidates[0].load().classes

    def read(given, name, labels=None):
        path = Path(given or Path(data_dir, f"{name}.lst"))
        return read_images(path, null_label=null_label, classes=classes, labels=labels) if given or path.exists() \
            else None

    images = read(target, "target", labels=False)
    if images is None:
        raise InputError(f"{Path(data_dir, 'target.lst')}: no such file; it lists target images, which the choice "
                         "looks at. `target` names another list, or a folder.", "target", None, "a list or a folder")
    if images.in_place and not {*(classes or ())}.isdisjoint(Path(file).parent.name for file in images.files):
        notes.append(f"{images.path}: its folders are called like classes, which is not looked at: folders tell no "
                     "labels of a target. Give labelled photos as `val`, to hear how well networks do on them")
    if images.labelled.any() and any(one.digest in told.values() for told in settings.values()
                                     for one in (images, images.part(images.labelled))):
        notes.append(f"the {images.labelled.sum()} labels of {images.path} were trained on, and are not looked at")
        images = replace(images, labels=np.full(len(images), images.null_label))
    told, began = ([settings[prefix] for prefix in dict.fromkeys(one.prefix for one in some) if settings[prefix]]
                   for some in (others, (one for one in candidates if one.is_source)))
    held, trained = _apart(read(source, "source"), told, began, notes)
    told = _unseen(read(val, "val") if val or not target else None, images.part(images.labelled), notes)
    return Gathered(candidates, images, held, trained, told, notes)


def _unseen(val, few, notes):
    """`val` without the images whose labels the choice looks at, since these do not tell what it is worth; or None."""
    here = {os.path.abspath(file) for file in few.files}
    seen = np.array([os.path.abspath(file) in here for file in val.files]) if val else np.zeros(0, bool)
    if not seen.any():
        return val
    notes.append(f"{seen.sum()} images of {val.path} have labels in {few.path} that the choice looks at, and tell "
                 "nothing of what it has cost")
    return None if seen.all() else val.part(~seen)


def with_sources(runs, source_model=None):
    """What runs name, behind the networks that they began with; the settings of all by their prefixes; and what a
    person must know of these. Parameters and errors: as of `gather`."""
    found, notes = find_candidates(runs), []
    settings = {one.prefix: recorded_settings(one.prefix) for one in found}
    sources = [_named(source_model)] if source_model else _sources_of(settings, notes)
    settings.update((one.prefix, recorded_settings(one.prefix)) for one in sources)
    return each_once([*sources, *found]), settings, notes


def _named(text):
    prefix, epoch = split_epoch(text)
    if epoch is None:
        there = ", ".join(map(str, saved_epochs(prefix))) or "none"
        raise InputError(f"`source_model` is {text}; expected PREFIX:EPOCH. The epochs of {prefix}: {there}.",
                         "source_model", text, "PREFIX:EPOCH")
    return replace(find_candidates([text])[0], is_source=True)


def _sources_of(settings, notes):
    """The checkpoints that the stage-1 runs of these prefixes began with."""
    began = dict.fromkeys((told["pretrained_model"], int(told["pretrained_epoch"])) for told in settings.values()
                          if told.get("train_stage") and told.get("pretrained_model"))
    for prefix, epoch in began:
        if epoch not in saved_epochs(prefix):
            raise InputError(f"{prefix}:{epoch}: no such checkpoint, and runs began with it, as their settings.json "
                             "says. Put it back, or say by `source_model` where it is.",
                             "source_model", None, "PREFIX:EPOCH")
    if not began:
        notes.append("no run tells which network it began with (`source_model` does), so that nothing says whether "
                     "adaptation helped")
    return [Candidate(prefix, epoch, is_source=True) for prefix, epoch in began]


def _apart(images, told, began, notes):
    """The source's images that no run trained on, and those that all did; or all, and None.

    `told`: the settings of the runs. `began`: those of the source models' runs."""
    if images is None:
        notes.append("without source images, nothing guards against a network that has gone wrong")
        return None, None
    known, parts = images.labelled, [_held(images, one) for one in told]
    held = known & (np.logical_and.reduce(parts) if parts else False)
    if not held.any():
        notes.append(f"the images of {images.path} were trained on, as far as is known; accuracy on images that a run "
                     "holds out (source_validation) would say more")
        return images.part(known), None
    if not all((_held(images, one) >= held).all() for one in began):
        notes.append("the source model was trained on the images that the runs have held out")
    return images.part(held), images.part(known & ~np.logical_or.reduce(parts))


def _held(images, told):
    """Which images a run of these settings holds out: none, too, where its source was another list."""
    held = np.zeros(len(images), bool)
    part = float(told.get("source_validation") or 0)
    if part and images.digest in told.values():
        count = max(round(part * len(images)), 1)
        indices = hold_out(images, len(images), count, int(told.get("seed") or 0))[1].indices
        held = np.isin(images.indices, indices)
    return held


def labels_in(val, images):
    """The labels that `val` has of all these images, int64 array (n,); None where it does not know them all."""
    known = dict(zip(val.files, val.labels.tolist()))
    labels = np.array([known.get(file, val.null_label) for file in images.files])
    return None if val.null_label in labels else labels


def true_accuracies(gathered, seen, devices, seed=0, most=MOST_TARGET, **others):
    """How well the candidates really do on `val`: (float64 array (k,), number of labelled images); None where there is
    none.

    Where `val` knows all of the images that `seen` is of, nothing is computed again; else as `look_at_all`.
    """
    val = gathered.val and gathered.val.part(gathered.val.labelled)
    if not val:
        return None
    labels = labels_in(val, sample(gathered.target, most, seed))
    if labels is None:
        seen = look_at_all(gathered.candidates, val, devices, mixed=False, most_target=most, seed=seed, **others)
        labels = sample(val, most, seed).labels
    return np.array([one.accuracy(labels) for one in seen]), len(labels)
