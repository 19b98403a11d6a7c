"""How many classes a stage tells apart, and what they are called: told, or known from folders, ``classes.txt``, or the
network that it goes on with."""
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.log import log
from transfer_gluon.checkpoints.checkpoint import symbol_file
from transfer_gluon.checkpoints.files import read_symbol
from transfer_gluon.inference.classifier import num_classes
from transfer_gluon.symbols import ImageInput
from transfer_gluon.training.run import recorded_settings


@dataclass(frozen=True)
class KnownClasses:
    """What a run, or the network that a stage goes on with, says of its classes.

    Attributes
    ----------
    number : int or None
    names : tuple of str or None
    source : str
        What says so, for messages.
    """

    number: Optional[int] = None
    names: Optional[tuple] = None
    source: str = ""


def known_classes(stage, image_shape):
    """The `KnownClasses` of the run that goes on, or else of the classifier that the stage keeps.

    Names count only where there are as many as classes; where another number is told, the stage is refused later, by
    the settings of the run or the classifier.
    """
    run, told = stage.run, stage.network
    goes_on = (run.resume or run.load_epoch) and run.prefix
    recorded = recorded_settings(run.prefix).get("num_classes") if goes_on else None
    prefix = run.prefix if recorded else told.pretrained_model if stage.train_stage or told.keep_classifier else None
    if prefix is None or not symbol_file(prefix).exists():
        return KnownClasses(recorded, source=str(run.prefix))
    symbol = read_symbol(symbol_file(prefix))
    number, names = recorded, ImageInput.of(symbol).classes
    if number is None:
        number = num_classes(symbol, image_shape, str(symbol_file(prefix)))
    fits = names and len(names) == number == (stage.num_classes or number)
    return KnownClasses(number, names if fits else None, prefix)


def need_number(stage, known, source):
    """How many classes a stage has, whose `source` is an `ImageList`, or None where there is none.

    Raises: InputError where nothing tells.
    """
    names = source.classes if source else known.names
    number = stage.num_classes or known.number or (len(names) if names else None)
    if source and number and not stage.num_classes:
        has = len(names) if names else int(source.labels[source.labelled].max(initial=0)) + 1
        if has > number or names and has < number:
            raise InputError(f"{source.path}: has {'' if names else 'labels of '}{has} classes, and the network to go "
                             f"on with, {known.source}, tells {number} apart. Give images of these, or another "
                             "network.")
    if number is None:
        has = ""
        if source and source.labelled.any():
            most = source.labels[source.labelled].max()
            has = f" The labels in {source.path} go to {most}, which takes {most + 1}."
            if source.labels.min() == 1:
                has += " None is 0: if they count from 1, subtract 1 from each, and give one fewer."
        beside = f", and there is no {Path(source.path).with_name('classes.txt')} with their names" if source else ""
        raise InputError(f"`num_classes` was not given{beside}; give it.{has}", "num_classes", None,
                         "a number of classes")
    return number


def check_source(source, number):
    """Raise InputError where the source has images of one class only; say which classes have none."""
    found = np.unique(source.labels[source.labelled])
    names = source.classes or tuple(map(str, range(number)))
    if number > 1 and len(found) < 2:
        what = f"one class only, {names[found[0]]}" if len(found) else "no labels"
        raise InputError(f"{source.path}: has {what}; expected labelled images of {number} classes.")
    lacking = sorted(set(range(number)) - set(found.tolist()))
    if lacking:
        log.warning("%s: %d of %d classes have no image, and cannot be learned:%s", source.path, len(lacking), number,
                    first_ten([names[label] for label in lacking]))
        if lacking == [0]:
            log.warning("labels count from 0. If those of %s begin with 1, subtract 1 from each, and give one class "
                        "fewer by `num_classes`", source.path)
