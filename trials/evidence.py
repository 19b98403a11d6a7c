"""Runs on several pairs of domains, and what every score says of each of their epochs: the evidence for a choice."""
import csv
import dataclasses
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer_gluon.base.devices import find_devices
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing
from transfer_gluon.checkpoints.checkpoint import parameter_file, saved_epochs
from transfer_gluon.iters.image_list import read_list
from transfer_gluon.scores.basis import Score
from transfer_gluon.scores.candidates import Candidate, look_at_all
from transfer_gluon.scores.registry import SCORES, score
from transfer_gluon.scores.seen import Seen
from transfer_gluon.symbols.registry import TRANSFER_LOSSES
from transfer_gluon.training.domains import hold_out
from transfer_gluon.trials.decisions import DECISIONS, groups, source_column
from transfer_gluon.trials.methods import last_epoch
from transfer_gluon.trials.trial import Trial, execute_all, training_command

# Of `Seen`, what scores that compare networks look at.
_COMPARED = "target_logits", "mixed_logits", "mixed_pairs", "mixed_shares"
HELD_OUT = 0.1              # of the source
MOST_SOURCE = 500           # source images that are looked at, of those held out and of those trained on


@dataclass(frozen=True)
class Pair:
    """Two domains, and the flags of what is run on them, in words.

    Attributes
    ----------
    title : str
    num_classes : int
    common, stage0, stage1 : str
        Flags of fine_tune.py.
    adabn : str or None
        Flags of adabn.py; None: it is left out.
    reported : bool
        Whether it is one of those that rules are reported on, and not one of those that they are chosen by.
    pretrained : bool
        Whether stage 0 begins with a pretrained network. Its checkpoints are large: those that were looked at go, but
        for the source model.
    every : int
        Of stage 1, every so many epochs one is a candidate; looking at it takes longer than training it.
    """

    title: str
    num_classes: int
    common: str
    stage0: str
    stage1: str
    adabn: str = None
    reported: bool = False
    pretrained: bool = False
    every: int = 1

    @property
    def epochs(self):
        """Of stage 0 and of stage 1."""
        return last_epoch(self.stage0.split()), last_epoch(self.stage1.split())


# AdaBN is left out where the network is pretrained and frozen: docs/emoji.md shows that it ruins such a network.
_SMALL = Pair("", 10, "--image-shape 3,20,20 --random-crop 0 --random-mirror 0 --lr-step-unit epoch",
              "--network resnet --num-layers 8 --lr 0.05 --lr-step-epochs 6,7 --num-epochs 8 --batch-size 64",
              "--lr 0.1 --lr-step-epochs 4,5 --num-epochs 6 --batch-size 128",
              "--image-shape 3,20,20 --statistics pixel", every=2)
_CACHED = Pair("", 50, "--image-shape 3,96,96 --read features",
               "--bottleneck 256 --lr 0.01 --num-epochs 10 --batch-size 64 --keep 1",
               "--lr 0.01 --num-epochs 4 --batch-size 128", pretrained=True)
PAIRS = {
    "printed-handwritten": dataclasses.replace(_SMALL, title="printed → handwritten digits"),
    "clean-degraded": dataclasses.replace(_CACHED, title="clean → degraded emoji"),
    "twitter-facebook": dataclasses.replace(_CACHED, title="Twitter → Facebook emoji"),
    "handwritten-printed": dataclasses.replace(_SMALL, title="handwritten → printed digits", reported=True),
    "upright-slanted": dataclasses.replace(_SMALL, title="upright → slanted or bold letters", num_classes=26,
                                           reported=True),
    "facebook-twitter": dataclasses.replace(_CACHED, title="Facebook → Twitter emoji", reported=True),
}
# By their names: the transfer loss, its usual relative weight (None: without a flag), further flags.
_ROWS = {"jan": ("jmmd", 0.5, []), "dan": ("mmd", 0.5, []), "coral": ("coral", 100, []), "dann": ("dann", 1, []),
         "jan-quadratic": ("jmmd", 0.5, ["--estimate", "quadratic"]),
         "dan-quadratic": ("mmd", 0.5, ["--estimate", "quadratic"])}
METHODS = ("adabn", "dan", "jan", "jan:0.1", "jan:0.25", "jan:2", "dan-quadratic", "jan-quadratic", "coral", "dann",
           "cdan", "mcc", "bnm", "shot_im", "shot")


@dataclass(frozen=True)
class Run:
    """A run of a pair and a seed: all its epochs are candidates.

    Attributes
    ----------
    pair : str
    seed : int
    method : str
    weight : float or None
        Relative, of the transfer loss; None where it has none, or is the usual one.
    trial : Trial
    epochs : tuple of int
    prunes : bool
    """

    pair: str
    seed: int
    method: str
    weight: float
    trial: Trial
    epochs: tuple
    prunes: bool = False

    @property
    def is_source(self):
        """Whether its last epoch is the source model."""
        return self.method == "source"

    @property
    def kept(self):
        """Path of what the scores say of it."""
        return Path(f"{self.trial.prefix}-scores.npz")

    def read(self):
        """What is kept of it, a dict of arrays; empty where nothing is, or of other commands or images."""
        try:
            with np.load(self.kept, allow_pickle=False) as arrays:
                found = dict(arrays)
            return found if json.loads(str(found.pop("made_of"))) == self.trial.made_of else {}
        except Exception:       # whatever NumPy, zipfile and json say of damaged files
            return {}

    def missing(self, names):
        """The names of scores that were not computed yet."""
        found = self.read()
        return [name for name in names if name not in found]


def own_scores():
    """The names of the scores that judge a network by itself; the others compare it with those beside it."""
    return [name for name in SCORES if type(score(name)).of_all is Score.of_all]


def plan(name, pair, data_dir, output, seed, methods, network):
    """The `Run` objects of a seed, that of the source model first.

    Parameters
    ----------
    name : str
    pair : Pair
    data_dir, output : Path
        Of all pairs.
    seed : int
    methods : sequence of str
        ``adabn``, those of `METHODS`, or any transfer loss; ``NAME:WEIGHT`` with another relative weight.
    network : str
        Prefix of the pretrained network, epoch 0.

    Raises: InputError for a method that there is not, and as `read_list`.
    """
    data, folder = data_dir / name, output / name / f"seed{seed}"
    lists = {one: read_list(data / one, pair.num_classes).digest for one in ("source.lst", "target.lst", "val.lst")}
    epochs, more = pair.epochs
    always = [*pair.common.split(), "--no-validation", "--source-validation", HELD_OUT, "--data-nthreads", 1]

    def trial(method, title, command, done, stage=None, after=()):
        return Trial(method, title, seed, tuple(map(str, command)), folder / method, Path(done), lists, stage,
                     (name,), judged=False, after=after, anew=True)

    def train(method, title, stage, flags, last, after=()):
        prefix = folder / method
        flags = [*always, "--train-stage", stage, *flags]
        command = training_command(data, pair.num_classes, seed, prefix, None, flags)
        return trial(method, title, command, f"{prefix}-{last:04d}.params", stage, after)

    start = ["--pretrained-model", network, "--pretrained-epoch", 0] if pair.pretrained else []
    source = train("source", "source model", 0, [*start, *pair.stage0.split()], epochs)
    runs = [Run(name, seed, "source", None, source, (epochs,))]
    for text in methods:
        method, _, weight = text.partition(":")
        if method == "adabn":
            if pair.adabn is not None:
                prefix = folder / "adabn"
                command = ["adabn.py", "--model", source.prefix, "--epoch", epochs, "--val", data / "target.lst",
                           "--data-nthreads", 1, "--save-prefix", prefix, *pair.adabn.split()]
                adapted = trial("adabn", "AdaBN", command, f"{prefix}-{epochs:04d}.params", after=(source,))
                runs.append(Run(name, seed, "adabn", None, adapted, (epochs,)))
            continue
        loss, usual, further = _row(method)
        relative = _weight(text, weight) if weight else usual
        weighs = [] if relative is None else ["--relative-transfer-weight", f"{relative:g}"]
        flags = ["--pretrained-model", source.prefix, "--pretrained-epoch", epochs, "--transfer", loss, *weighs,
                 *pair.stage1.split(), *further]
        adapted = train(text.replace(":", "-"), text, 1, flags, more, (source,))
        runs.append(Run(name, seed, method, relative, adapted, tuple(range(more, 0, -pair.every))[::-1],
                        pair.pretrained))
    return runs


def _row(method):
    if method not in _ROWS and method not in TRANSFER_LOSSES:
        raise InputError.of("methods", method, f"adabn, {', '.join(dict.fromkeys([*_ROWS, *TRANSFER_LOSSES]))}, or one "
                            "of these with a relative weight, such as jan:0.25")
    return _ROWS.get(method, (method, None, []))


def _weight(text, weight):
    try:
        if 0 < float(weight) < 1e6:
            return float(weight)
    except ValueError:
        pass
    raise InputError.of("methods", text, "a number above 0 behind the colon")


def make(runs, data_dir, jobs=1):
    """Run what is needed for scores that are not there yet, and compute those, `jobs` commands or seeds at a time.

    Parameters
    ----------
    runs : list of list of Run
        Of each pair and seed.
    data_dir : Path
    jobs : int

    Raises: InputError, as `execute_all` and `look_at_all`.
    """
    names = own_scores()
    for pair in dict.fromkeys(one[0].pair for one in runs):
        wanted = [[run for run in one if run.missing(names)] for one in runs if one[0].pair == pair]
        wanted = [one for one in wanted if one]
        if not wanted:
            continue
        sources = {one.prefix: one for seed in wanted for run in seed for one in (run.trial.after or (run.trial,))}
        execute_all([list(sources.values()),
                     [run.trial for one in wanted for run in one if run.trial.after]], jobs)
        # Processes: the scores are NumPy's, and hold each other up as threads.
        with ProcessPoolExecutor(min(jobs, len(wanted)), multiprocessing.get_context("spawn")) as pool:
            for done in [pool.submit(judge, one, names, data_dir / pair) for one in wanted]:
                done.result()


def judge(runs, names, data):
    """Look at all epochs of the runs of a seed, and keep what the scores `names` say of each beside its checkpoints.

    `data`: the folder of the pair. Raises: as `look_at_all`.
    """
    source, target = read_list(data / "source.lst"), read_list(data / "val.lst")
    trained, held = hold_out(source, len(source), max(round(HELD_OUT * len(source)), 1), runs[0].seed)
    candidates = [Candidate(str(run.trial.prefix), epoch, is_source=run.is_source)
                  for run in runs for epoch in run.epochs]
    mixed = any("mixed" in score(name).needs for name in SCORES)
    seen = iter(look_at_all(candidates, target, find_devices(), held, trained, mixed=mixed,
                            most_source=MOST_SOURCE, threads=1))
    for run in runs:
        own = [next(seen) for _ in run.epochs]
        found = run.read()
        found.update({name: score(name).of_all(own) for name in names if name not in found})
        found.update({f"seen_{part}": np.array([getattr(one, part) for one in own]) for part in _COMPARED
                      if getattr(own[0], part) is not None})
        found.update(accuracy=np.array(
            [100 * (one.target_logits.argmax(axis=1) == one.target_labels).mean() for one in own]))
        with replacing(run.kept) as temporary, open(temporary, "wb") as file:
            np.savez(file, made_of=np.array(json.dumps(run.trial.made_of)), **found)
        if run.prunes:
            for epoch in saved_epochs(run.trial.prefix):
                parameter_file(run.trial.prefix, epoch).unlink()
            shutil.rmtree(f"{run.trial.prefix}-run", ignore_errors=True)


def rows(runs):
    """A dict an epoch: pair, seed, method, weight, epoch, is_source, accuracy in percent, each score by its name, and
    those that compare networks once a decision, as ``ensemble_epochs``, with that of the source model beside it.

    `runs` of a pair and a seed, all of which were judged.
    """
    names, told, parts = own_scores(), [], []
    for run in runs:
        found = run.read()
        for place, epoch in enumerate(run.epochs):
            told.append({"pair": run.pair, "seed": run.seed, "method": run.method, "weight": run.weight, "epoch": epoch,
                         "is_source": int(run.is_source), "accuracy": float(found["accuracy"][place]),
                         **{name: float(found[name][place]) for name in names}})
            parts.append({part: found[f"seen_{part}"][place] for part in _COMPARED if f"seen_{part}" in found})
    place_of = {id(row): place for place, row in enumerate(told)}
    comparing = [name for name in SCORES if name not in names]
    for row in told:        # what is in no group stays unknown
        row.update({column: float("nan") for name in comparing for decision, (_, takes_part) in DECISIONS.items()
                    for column in (f"{name}_{decision}", *[source_column(name, decision)] * takes_part)})
    for decision in DECISIONS:
        for group in groups(told, decision):
            features = np.zeros((1, 1), np.float32)      # at which none of them looks
            seen = [Seen(target_features=features, **parts[place_of[id(row)]]) for row in group.candidates]
            for name in comparing:
                values = score(name).of_all(seen).tolist()
                for row, value in zip(group.adapted, values):
                    row[f"{name}_{decision}"] = value
                    if DECISIONS[decision][1]:
                        row[source_column(name, decision)] = values[-1]
    return told


def write(path, told):
    """A CSV file of `rows`, whole or not at all; numbers that are not known are empty."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(told[0]))
        writer.writeheader()
        writer.writerows({name: "" if value is None or value != value else value for name, value in row.items()}
                         for row in told)
