"""What a person is told first: which network to use, how sure that is, and what to do next."""
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from transfer_gluon.checkpoints.checkpoint import saved_epochs

_CLEAR, _FAIR = (0.9, 0.75), (0.7, 0.5)     # part of the halves, part of the scores


@dataclass(frozen=True)
class Verdict:
    """What to do, in words.

    Attributes
    ----------
    headline : str
    checkpoint : str
        Of the network to use, in words; empty where that cannot be told.
    certainty : str
        One of clear, fair, thin, labels, unknown.
    reasons : list of str
        Sentences: how sure that is, and by what.
    steps : list of (str, str)
        What to do next, each with a command, or an empty one.
    place : int or None
        Of the network to use; None where that cannot be told.
    """

    headline: str
    checkpoint: str
    certainty: str
    reasons: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    place: int = None


def verdict(material, again, called=lambda script: f"python {script}"):
    """The `Verdict` on the networks of a `Material`.

    Parameters
    ----------
    material : Material
    again : sequence of str
        The words of the command that makes this report, but for the script.
    called : callable
        From a script to how one calls it.
    """
    def command(script, *words):
        return f"{called(script)} {shlex.join(map(str, words))}"

    use, certainty, reasons = _decide(material)
    steps = []
    if use is None:
        if material.target is None:
            steps.append(("Make this report again with photos of the target; they need no labels. PHOTOS is a folder "
                          "of them, or a list:", f"{command('report.py', *again)} --target PHOTOS"))
        return Verdict(_nothing(material), "", "unknown", reasons, steps)
    one = material.candidates[use]
    images = ["--images" if Path(material.target.path).is_dir() else "--lst", material.target.path] if material.target \
        else ["--images", "PHOTOS"]
    steps.append(("Classify your photos with it:", command("predict.py", "--model", one.prefix, "--epoch", one.epoch,
                                                           *images, "--out", "predictions.csv")))
    if material.seen_val is None:
        steps.append(("Nobody has told whether these predictions are right. Sort some ten target photos a class into a "
                      "folder a class, LABELLED, and make this report again:",
                      f"{command('report.py', *again)} --val LABELLED"))
    runs = list(dict.fromkeys(other.prefix for other in material.candidates if not other.is_source
                              and len(saved_epochs(other.prefix)) > 1))
    if runs and material.target is not None:
        steps.append(("An earlier epoch may be better than the last. Let all be compared:",
                      command("choose.py", *runs, *_data(again))))
    word = "Keep the source model" if one.is_source else f"Use {material.titles[use]}"
    return Verdict(f"{word}.", f"{one.prefix}, epoch {one.epoch}", certainty, reasons, steps, use)


def _data(again):
    """Those words that say where images are."""
    flags = "--data-dir", "--source", "--target", "--val", "--source-model"
    return [word for flag in flags if flag in again for word in (flag, again[again.index(flag) + 1])]


def _nothing(material):
    if material.target is None:
        return "Which network to use cannot be told without target images."
    return "Which network to use cannot be told."


def _decide(material):
    """(the place of the network to use, how sure that is, why)."""
    accuracies, choice = material.accuracies, material.choice
    if choice is None:
        if accuracies is not None and not np.isnan(accuracies).all():
            best = int(np.nanargmax(accuracies))
            return best, "labels", [f"By the labels of {_images(material.val)}: right on {accuracies[best]:.1%}."]
        return None, "unknown", [material.undecided[:1].upper() + material.undecided[1:] if material.undecided else
                                 "Figures of training alone do not say how a network does on the target."]
    place = choice.chosen
    certainty, reasons = _label_free(material, place)
    if choice.labels:
        reasons.append(f"{choice.labels.number} target images with labels were looked at, too.")
    if accuracies is not None:
        best = int(np.nanargmax(accuracies))
        if best != place and _clearly_better(material, best, place):
            reasons = [f"By the labels of {_images(material.val)} it is right on {accuracies[best]:.1%}; "
                       f"{_called(material, place)}, which the scores without labels prefer, on "
                       f"{accuracies[place]:.1%}. Labels count more."]
            return best, "labels", reasons
        told = f"By the labels of {_images(material.val)}, which the choice did not see, it is right on " \
               f"{accuracies[place]:.1%}"
        if material.before not in (None, place):
            told += f"; the source model on {accuracies[material.before]:.1%}"
            if not (_clearly_better(material, place, material.before) or
                    _clearly_better(material, material.before, place)):
                told += ", which so few labels do not tell from chance"
        reasons.insert(0, f"{told}.")
    return place, certainty, reasons


def _label_free(material, place):
    """How sure the choice is, where no label is looked at."""
    choice = material.choice
    if choice.source is None:
        return "unknown", ["Whether it is better than a model that was not adapted is not known: there is no source "
                           "model to compare it with."]
    if choice.adapted is None:
        return "unknown" if len(material.candidates) == 1 else "clear", [
            "There is no other network to compare it with." if len(material.candidates) == 1 else
            "All others are ruled out: see the table."]
    loser = _called(material, choice.source if place == choice.adapted else choice.adapted)
    if choice.no_difference:
        return "thin", [f"Without labels, it cannot be told from {loser}: both are equal by each of "
                        f"{len(choice.agreeing)} scores."]
    agreeing = sum(map(bool, choice.agreeing.values()))
    equal = sum(agrees is None for agrees in choice.agreeing.values())
    share = agreeing / max(len(choice.agreeing), 1)
    sure = choice.sure
    certainty = next((word for word, (halves, scores) in (("clear", _CLEAR), ("fair", _FAIR))
                      if not math.isnan(sure) and sure >= halves and share >= scores), "thin")
    reasons = [{"clear": "Without labels, the evidence is clear.", "fair": "Without labels, the evidence is fair.",
                "thin": "Without labels, the evidence is thin: look at the pictures below before you rely on it."}
               [certainty]]
    if not math.isnan(sure):
        reasons[0] += f" On {sure:.0%} of halves of the images, drawn by chance, it comes out better than {loser}."
    reasons.append(f"{agreeing} of {len(choice.agreeing)} scores, each another way to judge a network without labels, "
                   "agree" + (f"; by {equal} both are equal." if equal else "."))
    if material.accuracies is None:
        reasons.append("No target label was looked at, so that no accuracy is known, and every such rule is wrong at "
                       "times.")
    return certainty, reasons


def _clearly_better(material, one, other):
    """Whether a network is right more often than another by more than two standard errors (McNemar 1947)."""
    right = [material.seen_val[place].target_logits.argmax(axis=1) == material.val.labels for place in (one, other)]
    gained, lost = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    return gained - lost > 2 * math.sqrt(gained + lost)


def _called(material, place):
    title = material.titles[place]
    return f"the {title}" if title.startswith("source model") else title


def _images(images):
    return f"{len(images)} target image{'s' * (len(images) != 1)}"
