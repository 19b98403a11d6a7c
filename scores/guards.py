"""Guards: they tell a network that has gone wrong, and not which of two good ones is better."""
import numpy as np

from transfer_gluon.scores.basis import Score


class SourceAccuracy(Score):
    """Accuracy of the source images, best of held-out ones, from 0 to 1."""

    name = "source_accuracy"
    needs = frozenset({"source"})

    def __call__(self, seen):
        return (seen.source_logits.argmax(axis=1) == seen.source_labels).mean()


class ClassShares(Score):
    r"""Minus the total variation between the predicted classes' shares of the target and the labels' of the source.

    .. math:: -\frac12 \sum_c \bigl| q_c - r_c \bigr|

    From -1 to 0. Where everything is called one of c equally frequent classes, it is -(1 - 1/c). Of a target whose
    classes are not as frequent as the source's, the right predictions do not reach 0 either.
    """

    name = "class_shares"
    needs = frozenset({"source"})

    def __call__(self, seen):
        classes = seen.target_logits.shape[1]
        predicted, there = (np.bincount(labels, minlength=classes) / len(labels)
                            for labels in (seen.target_logits.argmax(axis=1), seen.source_labels))
        return -np.abs(predicted - there).sum() / 2
