"""Figures and tables of the classes: how often each is predicted, and what adaptation changed for each."""
import numpy as np

from transfer_gluon.inference.confusion import confusion_matrix, most_confused, recalls
from transfer_gluon.inference.pictures import shortened
from transfer_gluon.reports.figures import figure, svg

_MOST = 24          # classes of a figure
_LONGEST = 24       # characters of a name on an axis


def shares_of(labels, classes):
    """How often each class is among `labels`, (classes,), sum 1; NaN where there are none."""
    with np.errstate(invalid="ignore"):
        return np.bincount(labels, minlength=classes) / np.float64(len(labels))


def draw_shares(names, shares):
    """Bars of class shares in percent, a colour each of `shares`, a dict from titles to arrays (c,): a figure, and how
    many classes are left out.

    Of many classes those are shown that the arrays differ in most.
    """
    values = list(shares.values())
    spread = np.max(values, axis=0) - np.min(values, axis=0)
    shown = np.sort(np.argsort(-spread, kind="stable")[:_MOST])
    with figure(5.2, 0.9 + 0.28 * len(shown) * max(len(shares) / 3, 0.7)) as drawn:
        axis = drawn.subplots()
        high = 0.84 / len(shares)
        for number, (title, one) in enumerate(shares.items()):
            axis.barh(np.arange(len(shown)) + number * high, 100 * one[shown], high, label=title,
                      color=("C7", "C9", "C0")[number % 3])
        axis.set_yticks(np.arange(len(shown)) + 0.42 - high / 2, [shortened(names[label], _LONGEST) for label in shown])
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("share of images [%]")
        axis.set_ylabel("class")
        drawn.legend(loc="outside lower left", ncols=1)
        return svg(drawn, "shares", "Class shares"), len(names) - len(shown)


def matrix_of(seen, labels, classes):
    """The confusion matrix of what a network says of labelled images."""
    return confusion_matrix(labels, seen.target_logits.argmax(axis=1), classes)


def confused(matrix, names, most=8):
    """The pairs that are confused most often: list of (true name, predicted name, images)."""
    return [(names[true], names[taken], number) for true, taken, number in most_confused(matrix, most)]


def draw_changes(before, after, names):
    """What became of each class: from the accuracy of one confusion matrix to that of another, in percent, the largest
    gain above; and how many classes are left out, those that have not changed among them."""
    first, second = 100 * recalls(before), 100 * recalls(after)
    there = np.flatnonzero(~np.isnan(first))
    change = np.nan_to_num(second - first)
    order = there[np.argsort(-change[there], kind="stable")]
    order = order[change[order] != 0] if change.any() else order
    shown = order if len(order) <= _MOST else np.concatenate([order[:_MOST // 2], order[-_MOST // 2:]])
    with figure(5.2, 1.1 + 0.24 * len(shown)) as drawn:
        axis = drawn.subplots()
        places = np.arange(len(shown))
        better = second[shown] >= first[shown]
        axis.hlines(places, first[shown], second[shown], linewidth=3, alpha=0.5,
                    colors=["C2" if one else "C3" for one in better])
        axis.scatter(first[shown], places, color="C7", s=22, label="before (source model)", zorder=3)
        axis.scatter(second[shown], places, c=["C2" if one else "C3" for one in better], s=30, zorder=3,
                     label="after (green: better, red: worse)")
        axis.set_yticks(places, [shortened(names[label], _LONGEST) for label in shown])
        axis.invert_yaxis()
        axis.set_xlim(-4, 104)
        axis.set_xlabel("images of the class that are right [%]")
        axis.set_ylabel("class")
        drawn.legend(loc="outside lower left", ncols=1)
        return svg(drawn, "changes", "Change by class"), len(there) - len(shown)
