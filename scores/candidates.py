"""Which networks are compared, and what each says of the same images."""
import re
import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.log import log
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, parameter_file, saved_epochs
from transfer_gluon.inference.batch_size import USUAL
from transfer_gluon.inference.classifier import check_labels, num_classes
from transfer_gluon.iters import OrderedIter, prepared
from transfer_gluon.scores.common_part import Together, Values, features_and_logits, groups
from transfer_gluon.scores.seen import Seen, sample, seen_by
from transfer_gluon.symbols import resize_of

MOST_TARGET, MOST_SOURCE = 2000, 1000       # images that are looked at


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may be chosen.

    Attributes
    ----------
    prefix : str
    epoch : int
    title : str
        For people.
    is_source : bool
        Whether it is the network that adaptation began with.
    """

    prefix: str
    epoch: int
    title: str = ""
    is_source: bool = False

    def load(self):
        """Its `Checkpoint`."""
        return load_checkpoint(self.prefix, self.epoch)

    @property
    def file(self):
        """Its parameter file, however the prefix is spelt."""
        return parameter_file(self.prefix, self.epoch).resolve()

    def __str__(self):
        return self.title or f"{self.prefix}:{self.epoch}"


def find_candidates(texts):
    """The candidates that texts name: ``PREFIX``, all epochs that are saved of it, or ``PREFIX:EPOCH``.

    Returns: list of `Candidate`, each file once, in this order.

    Raises: InputError for a prefix without checkpoints, and for an epoch that there is not.
    """
    found = []
    for text in texts:
        prefix, epoch = split_epoch(text)
        there = saved_epochs(prefix)
        if not there:
            raise InputError(f"{prefix}: no checkpoint of this prefix is there; expected files such as "
                             f"{parameter_file(prefix, 1)}.", "runs", text, "the prefix of checkpoints")
        if epoch is not None and epoch not in there:
            raise InputError(f"{parameter_file(prefix, epoch)}: no such checkpoint; of the prefix {prefix} there are "
                             f"the epochs {', '.join(map(str, there))}.", "runs", text, "an epoch that is there")
        found += [Candidate(prefix, one) for one in ([epoch] if epoch is not None else there)]
    return each_once(found)


def each_once(candidates):
    """The first candidate of each file, in this order: a network that is named twice has one vote."""
    found = {}
    for one in candidates:
        found.setdefault(one.file, one)
    return list(found.values())


def split_epoch(text):
    """A prefix and an epoch, None where none is named.

    >>> split_epoch("model/jan:14"), split_epoch("model/jan")
    (('model/jan', 14), ('model/jan', None))
    """
    named = re.fullmatch(r"(.+):([0-9]{1,9})", str(text))
    return (named[1], int(named[2])) if named else (str(text), None)


def look_at_all(candidates, target, devices, source=None, trained=None, *, mixed=True, most_target=MOST_TARGET,
                most_source=MOST_SOURCE, seed=0, image_shape=None, val_resize=None, batch_size=None, threads=4,
                dtype="float32"):
    """What several candidates say of the same images, prepared as for validation.

    What networks have in common below a layer, such as layers that were frozen, is computed once for all of them.

    Parameters
    ----------
    candidates : list of Candidate
        They may be different networks, of the same classes in the same order, as far as they know their names.
    target, source, trained : ImageList, or None
        Images of the target; of the source, best held out of training; of the source that were trained on.
    devices : list of Context
    mixed : bool
        Look at mixtures of target images too, which takes as long as the target does.
    most_target, most_source : int
        More images than these are not looked at, but a sample of them: those of the target, and those of either list of
        the source.
    seed : int
        Of the samples.
    image_shape : (int, int, int) or None
        Channels, height, width of the networks' input, in pixels; None: what each checkpoint says.
    val_resize : int, "squeeze" or None
        As `iters.transforms.prepared` takes it; None: what each checkpoint says.
    batch_size : int or None
        Images computed at a time; None: 32.
    threads : int
        That decode images.
    dtype : "float32", "bfloat16" or "float16"
        What the networks compute in.

    Returns: list of `Seen`, one a candidate. One whose network gives NaN or infinite numbers holds such.

    Raises: InputError for networks of different numbers of classes, each named, or of other names; for labels that do
    not fit them; for images that cannot be read.
    """
    networks = _networks(candidates)
    classes = _same_classes(candidates, networks, image_shape)
    lists = [images and sample(images, most, seed) for images, most in (
        (target, most_target), (source, most_source), (trained, most_source))]
    for images in filter(None, lists):
        check_labels(images, classes, str(candidates[0]))
    seen = [None] * len(candidates)
    with tqdm(total=len(candidates), unit=" networks", disable=None, file=sys.stderr) as bar:
        for graph, symbol, places in networks:
            values = {place: Values.of(candidates[place].load()) for place in places}
            for place in [place for place in places if not values[place].finite]:
                log.info("%s: holds NaN or infinite values, and is not looked at", candidates[place])
                seen[place] = Seen(*[np.full((len(lists[0]), width), np.nan, np.float32) for width in (classes, 1)])
                places.remove(place)
            for group in groups(graph, [values[place] for place in places]):
                members = [places[number] for number in group]
                checkpoints = [candidates[place].load() for place in members]
                differing = values[members[0]].differing(*(values[place] for place in members))
                shape = image_shape or checkpoints[0].image_shape
                prepare = prepared(*shape[1:], val_resize or resize_of(symbol, shape))
                batches = [images and OrderedIter(images, batch_size or USUAL, prepare, threads) for images in lists]
                together = Together(graph, checkpoints, differing, devices, shape, dtype)
                told = seen_by(together, len(members), batches[0], devices, *batches[1:], mixed=mixed,
                               null_label=target.null_label)
                for place, one in zip(members, told):
                    seen[place] = one
                bar.update(len(members))
    return seen


def _networks(candidates):
    """Candidates by their network: its graph, its symbol, and the places of the candidates."""
    by_prefix, found = {}, {}
    for place, candidate in enumerate(candidates):
        if candidate.prefix not in by_prefix:
            symbol = candidate.load().symbol
            by_prefix[candidate.prefix] = symbol.tojson(), symbol
        text, symbol = by_prefix[candidate.prefix]
        found.setdefault(text, [features_and_logits(symbol), symbol, []])[2].append(place)
    return list(found.values())


def _same_classes(candidates, networks, image_shape):
    told = []
    for _, _, places in networks:
        checkpoint = candidates[places[0]].load()
        number = num_classes(checkpoint.symbol, image_shape or checkpoint.image_shape, checkpoint.name)
        told.append((candidates[places[0]], number, checkpoint.classes))
    return check_classes(told)


def check_classes(told):
    """How many classes networks tell apart.

    `told`: of each, its `Candidate`, the number of its classes, and their names or None.

    Raises: InputError where they mean different classes by a number.
    """
    counts = {}
    for one, number, _ in told:
        counts.setdefault(number, []).append(one)
    if len(counts) > 1:
        some = "; ".join(f"{number} classes: {one}" for number, those in counts.items() for one in those[:3])
        raise InputError("the candidates tell different numbers of classes apart, and cannot be compared: "
                         f"{some}. Give those of one number.", "runs", None, "networks of the same classes")
    names = [(one, known) for one, _, known in told if known]
    for one, known in names:
        first, expected = names[0]
        for number, (name, other) in enumerate(zip(expected, known)):
            if name != other:
                raise InputError(f"class {number} is {name} to {first}, and {other} to {one}: the candidates cannot be "
                                 "compared, which is done by the numbers of classes. Give those of the same classes in "
                                 "the same order.", "runs", None, "networks of the same classes")
    return next(iter(counts))
