"""Settings for data and a network that nobody has tuned yet: rules by size, each with its reason. docs/adapt.md."""
import math
from dataclasses import dataclass

from transfer_gluon.base.errors import InputError

HOW = ("features", "whole", "new")
_BATCH = 64             # images of a domain in a batch
_LEAST_HELD = 100       # labelled images from which on a tenth is held out
# Of each way to train: updates that are aimed at in stage 0 and in stage 1, and bounds of the epochs.
_UPDATES = {"features": (600, 600), "whole": (1500, 1500), "new": (3000, 3000)}
_EPOCHS = {"features": (6, 60), "whole": (4, 40), "new": (6, 100)}
_RATES = {"features": (0.01, 0.01), "whole": (0.01, 0.0001), "new": (0.05, 0.05)}
_VIEWS = 3


@dataclass(frozen=True)
class Advice:
    """Flags of fine_tune.py and adabn.py, in words, and why.

    Attributes
    ----------
    common, stage0, stage1, adabn : list of str
        `common` are those of both stages.
    epochs : (int, int)
        Of the two stages.
    reasons : list of str
    """

    common: list
    stage0: list
    stage1: list
    adabn: list
    epochs: tuple
    reasons: list


def advise(num_source, num_target, how, devices=1):
    """What to train with.

    Parameters
    ----------
    num_source, num_target : int
        Labelled images of the source, images of the target.
    how : "features", "whole" or "new"
        features: the pretrained network is frozen, what it gives is computed once, and a bottleneck and the classifier
        train on that. whole: all of the pretrained network trains. new: a network that begins with random weights.
    devices : int

    Returns: `Advice`.

    Raises: InputError for too few images to make a batch of stage 1.

    >>> advice = advise(2931, 2810, "features")
    >>> advice.epochs, advice.stage1[:4]
    ((15, 15), ['--num-epochs', '15', '--batch-size', '128'])
    """
    if how not in HOW:
        raise InputError.of("how", how, f"one of {', '.join(HOW)}")
    held = 0.1 if num_source >= _LEAST_HELD else 0
    trained = num_source - max(round(held * num_source), 1) * bool(held)
    unit = 2 * devices
    each = min(_BATCH, trained, num_target) // unit * unit
    if not each:
        raise InputError(f"{trained} source and {num_target} target images: expected at least {unit} of each, a pair "
                         "for every device.", "num_source", num_source, f"at least {unit}")
    least, most = _EPOCHS[how]
    sizes = trained, min(trained, num_target)
    epochs = tuple(min(max(math.ceil(updates / math.ceil(size / each)), least), most)
                   for updates, size in zip(_UPDATES[how], sizes))
    rates = _RATES[how]
    stages = [["--num-epochs", str(number), "--batch-size", str(batch), "--lr", f"{rate:g}", "--lr-step-unit", "epoch",
               "--lr-step-epochs", str(drop_after(number))]
              for number, batch, rate in zip(epochs, (each, 2 * each), rates)]
    stages[1] += ["--relative-transfer-weight", "0.5"]
    common, reasons = [], []
    if how == "features":
        common += ["--read", "features", "--feature-views", str(_VIEWS)]
        stages[0] += ["--bottleneck", "256"]
        reasons.append(f"the network stays as it is; what it gives is computed once, for every image and {_VIEWS} "
                       "augmented views, and a bottleneck of 256 units and the classifier train on that, in minutes "
                       "on a CPU (--how whole trains all of the network)")
    else:
        reasons.append("all of the pretrained network trains" if how == "whole" else
                       "a new network begins with random weights, which needs many labelled images")
    if held:
        common += ["--source-validation", f"{held:g}"]
        reasons.append("a tenth of the source is held out: its accuracy tells, without target labels, whether training "
                       "is long enough, and whether stage 1 harms what stage 0 has learnt")
    reasons += [f"{epochs[0]} and {epochs[1]} epochs, of {least} to {most}, come near {_UPDATES[how][0]} updates a "
                "stage; the rate falls to a tenth for the last quarter",
                "the transfer loss weighs 0.5 against the mean softmax loss, in the middle of what is advised; that of "
                "DAN and JAN is estimated from all pairs, which is steadier than the original's quadruples"]
    if how == "features":
        reasons.append("AdaBN puts the target's statistics where the classifier learnt with the pretrained network's: "
                       "expect it to harm here; it helps networks whose own layers have trained on the source")
    return Advice(common, stages[0], stages[1], ["--statistics", "pixel"], epochs, reasons)


def drop_after(epochs):
    """The epoch after which the rate falls: three quarters of `epochs`, rounded.

    >>> drop_after(15), drop_after(4), drop_after(2)
    (11, 3, 1)
    """
    return max(1, min(epochs - 1, round(0.75 * epochs)))
