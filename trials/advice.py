"""Settings for data and a network that nobody has tuned yet: rules by size, each with its reason. docs/adapt.md."""
import math
from dataclasses import dataclass

from transfer_gluon.base.errors import InputError
from transfer_gluon.symbols.registry import loss_class, options_of

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
        `common` are those of both stages; `stage1` has none that differ by the transfer loss: `for_loss`.
    batch : int
        Images of a domain in a batch.
    epochs : (int, int)
        Of the two stages.
    reasons : list of str
    """

    common: list
    stage0: list
    stage1: list
    adabn: list
    batch: int
    epochs: tuple
    reasons: list

    def for_loss(self, name):
        """All flags of stage 1 for the transfer loss `name`: with the weight that is usual for it, all pairs where it
        is an estimate, and half as many images in a batch where the target trains alone.

        >>> advise(2931, 2810, "features").for_loss("shot")[-4:]
        ['--batch-size', '64', '--relative-transfer-weight', '1']
        """
        loss = loss_class(name)
        domains = 1 if loss.target_alone else 2
        flags = [*self.stage1, "--batch-size", str(domains * self.batch)]
        if loss.usual_relative_weight is not None:
            flags += ["--relative-transfer-weight", f"{loss.usual_relative_weight:g}"]
        return flags + ["--estimate", "quadratic"] * ("estimate" in options_of(name))


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
    >>> advice.epochs, advice.batch, advice.stage1[:4]
    ((15, 15), 64, ['--num-epochs', '15', '--lr', '0.01'])
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
    stages = [["--num-epochs", str(number), "--lr", f"{rate:g}", "--lr-step-unit", "epoch", "--lr-step-epochs",
               str(drop_after(number))] for number, rate in zip(epochs, rates)]
    stages[0] += ["--batch-size", str(each)]
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
                "every transfer loss weighs what is usual for it against the mean softmax loss; those of DAN and JAN "
                "0.5, estimated from all pairs, which is steadier than the original's quadruples"]
    if how == "features":
        reasons.append("AdaBN puts the target's statistics where the classifier learnt with the pretrained network's: "
                       "expect it to harm here; it helps networks whose own layers have trained on the source")
    return Advice(common, stages[0], stages[1], ["--statistics", "pixel"], each, epochs, reasons)


def drop_after(epochs):
    """The epoch after which the rate falls: three quarters of `epochs`, rounded.

    >>> drop_after(15), drop_after(4), drop_after(2)
    (11, 3, 1)
    """
    return max(1, min(epochs - 1, round(0.75 * epochs)))
