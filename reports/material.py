"""What a report is made of: the networks, what they say of the images, the choice among them, their figures by
epoch."""
import collections
import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError, does_nothing
from transfer_gluon.inference.classifier import num_classes
from transfer_gluon.iters import ImageList
from transfer_gluon.iters.image_list import NULL_LABEL
from transfer_gluon.records.folders import read_images
from transfer_gluon.scores.candidates import check_classes, find_candidates, look_at_all
from transfer_gluon.scores.choice import Choice, choose
from transfer_gluon.scores.seen import sample
from transfer_gluon.symbols import resize_of
from transfer_gluon.training.run import recorded_settings
from transfer_gluon.training.summary import read_summary
from transfer_gluon.trials.adaptation import METHODS
from transfer_gluon.trials.choosing import gather, labels_in, with_sources

_TITLES = {loss: title for title, loss in METHODS.values() if loss}


@dataclass(frozen=True)
class Material:
    """What a report is made of. Lists run over the candidates, the source models first.

    Attributes
    ----------
    candidates : list of Candidate
    titles : list of str
        For people; each another.
    settings : list of dict
        Of their runs; empty where none is known.
    summaries : list of list of dict, or None
        Their runs' epochs, as `read_summary` gives them; None where there is no such file.
    classes : list of str
        Names, that of class 0 first.
    inputs : list of ((int, int, int), int, "squeeze" or None)
        Of each network: channels, height, width of its input, in pixels; what images are resized to before, as
        `iters.transforms.prepared` takes it.
    target, source, val : ImageList or None
        The images that were looked at. `target` is None where none are at hand.
    source_held : bool
        Whether no run trained on those of `source`.
    seen, seen_val : lists of Seen, or None
        What the candidates say of `target` and `source`, and of `val`.
    choice : Choice or None
        None where the candidates cannot be judged; `undecided` says why.
    undecided : str
    notes : list of str
        What a person must know of these.
    """

    candidates: list
    titles: list
    settings: list
    summaries: list
    classes: list
    inputs: list
    target: Optional[ImageList] = None
    source: Optional[ImageList] = None
    val: Optional[ImageList] = None
    source_held: bool = False
    seen: Optional[list] = None
    seen_val: Optional[list] = None
    choice: Optional[Choice] = None
    undecided: str = ""
    notes: list = field(default_factory=list)

    @property
    def accuracies(self):
        """Of the candidates on `val`, float64 array (k,) from 0 to 1; None without it."""
        if self.seen_val is None:
            return None
        return np.array([one.accuracy(self.val.labels) for one in self.seen_val])

    @property
    def before(self):
        """The place of the network that adaptation began with, the best of several; None where it is not known."""
        if self.choice is not None and self.choice.source is not None:
            return self.choice.source
        return next((place for place, one in enumerate(self.candidates) if one.is_source), None)


def collect(runs, devices, source_model=None, *, data_dir="data", source=None, target=None, val=None,
            null_label=NULL_LABEL, most=2000, seed=0, image_shape=None, val_resize=None, batch_size=None, threads=4,
            dtype="float32"):
    """Look at everything that a report tells.

    Parameters
    ----------
    runs : sequence of str
        ``PREFIX``, the last epoch of a run, or ``PREFIX:EPOCH``.
    devices : list of Context
    source_model, data_dir, source, target, val, null_label
        As `trials.choosing.gather` takes them. Without a list of the target, nothing is looked at but
        `val`.
    most : int
        Images of the target that are looked at; of the source half as many. All of `val` are.
    seed : int
        Of the images that are looked at.
    image_shape, val_resize, batch_size, threads, dtype
        As `look_at_all` takes them.

    Returns: `Material`.

    Raises: InputError for a run without checkpoints, for networks of different numbers of classes, for images that
    cannot be used, for a `source` without a target.
    """
    named = [str(find_candidates([text])[-1]) for text in runs]
    at_hand = target is not None or os.path.exists(Path(data_dir, "target.lst"))
    if at_hand:
        found = gather(named, source_model, data_dir=data_dir, source=source, target=target, val=val,
                       null_label=null_label)
        candidates, notes = found.candidates, list(found.notes)
    elif source is not None:
        raise does_nothing("source", "without images of the target to look at", source)
    else:
        candidates, _, notes = with_sources(named, source_model)
    first = candidates[0].load()
    number, inputs = _classes_and_inputs(candidates, image_shape, val_resize)
    computing = dict(seed=seed, image_shape=image_shape, val_resize=val_resize, batch_size=batch_size, threads=threads,
                     dtype=dtype)
    looked = {}
    if at_hand:
        held = found.source is not None and found.trained is not None
        looked = _look(found, devices, most, computing)
        looked["source_held"] = held
        lists = [found.target, found.source, found.val]
    else:
        lists = []
        if val is not None:
            labelled = read_images(val, null_label=null_label, classes=first.classes)
            looked = _look_at_val(candidates, labelled, devices, computing)
            lists = [labelled]
    names = first.classes or next((images.classes for images in lists if images is not None and images.classes), None)
    classes = list(names) if names and len(names) == number else [str(label) for label in range(number)]
    settings = [recorded_settings(one.prefix) for one in candidates]
    summaries = [_summary(one.prefix) for one in candidates]
    return Material(candidates, _titles(candidates, settings), settings, summaries, classes, inputs,
                    notes=notes, **looked)


def _classes_and_inputs(candidates, image_shape, val_resize):
    """How many classes the candidates tell apart, and what `look_at_all` makes images for each of.

    Raises: InputError for different classes, whether there are images or not.
    """
    told, inputs = [], []
    for one in candidates:
        checkpoint = one.load()
        shape = tuple(image_shape or checkpoint.image_shape)
        told.append((one, num_classes(checkpoint.symbol, shape, checkpoint.name), checkpoint.classes))
        inputs.append((shape, val_resize or resize_of(checkpoint.symbol, shape)))
    return check_classes(told), inputs


def _look(found, devices, most, computing):
    """What the candidates say, and what a choice makes of that."""
    seen = look_at_all(found.candidates, found.target, devices, found.source, found.trained, most_target=most,
                       most_source=max(most // 2, 1), **computing)
    looked = {"seen": seen, "target": sample(found.target, most, computing["seed"]),
              "source": found.source and sample(found.source, max(most // 2, 1), computing["seed"])}
    try:
        looked["choice"] = choose(found.candidates, seen, seed=computing["seed"])
    except InputError as error:     # such as NaN everywhere: what else there is to see can be told all the same
        looked["undecided"] = str(error)
    if found.val is not None:
        labels = labels_in(found.val, looked["target"])
        if labels is None:
            looked.update(_look_at_val(found.candidates, found.val, devices, computing))
        else:       # the same images, with their labels: nothing is computed again
            looked["val"] = dataclasses.replace(looked["target"], path=found.val.path, labels=labels,
                                                null_label=found.val.null_label)
            looked["seen_val"] = seen
    return looked


def _look_at_val(candidates, val, devices, computing):
    labelled = val.part(val.labelled)
    if not len(labelled):
        return {}
    seen = look_at_all(candidates, labelled, devices, mixed=False, most_target=len(labelled), **computing)
    return {"val": sample(labelled, len(labelled), computing["seed"]), "seen_val": seen}


def _summary(prefix):
    path = Path(f"{prefix}-run", "summary.csv")
    return read_summary(path) if path.exists() else None


def _titles(candidates, settings):
    """What people call the candidates: the method where it is known, and as much more as tells them apart."""
    titles = []
    for one, told in zip(candidates, settings):
        method = _TITLES.get(told.get("transfer"), told.get("transfer")) if told.get("train_stage") else None
        name = Path(one.prefix).name
        titles.append("source model" if one.is_source else method or METHODS.get(name, (name,))[0])
    number = collections.Counter(titles)
    return [title if number[title] == 1 else f"{title}, {one.prefix}:{one.epoch}"
            for title, one in zip(titles, candidates)]
