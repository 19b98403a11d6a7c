"""What all scores share."""
import numpy as np
from scipy.stats import rankdata

from transfer_gluon.inference.calibration import log_softmax


class Score:
    """How good a network seems, without a label of the target: the higher the better.

    One of your own needs `name` and ``__call__(seen)``, which gives a float, NaN where it cannot be told; or `of_all`,
    where networks are judged by each other.

    Attributes
    ----------
    name : str
    needs : set of str
        What of {"source", "trained", "mixed"} it needs beside the target.
    quick : bool
        Whether it is done in milliseconds, so that `choose` can do it a hundred times.
    alone : bool
        Whether it tells anything of a network that is compared with no other.

    >>> class Confidence(Score):
    ...     name = "confidence"
    ...     def __call__(self, seen):
    ...         return probabilities(seen.target_logits).max(axis=1).mean()
    >>> from transfer_gluon.scores import Seen
    >>> Confidence().of_all([Seen(np.zeros((4, 2)), np.zeros((4, 3))), Seen(np.full((4, 2), np.nan), np.zeros((4, 3)))])
    array([0.5, nan])
    """

    name = ""
    needs = frozenset()
    quick = True
    alone = True

    def __call__(self, seen):
        raise NotImplementedError

    def fewest(self, num_classes):
        """How many images of the target it needs for so many classes."""
        return 1

    def can_judge(self, seen):
        """Whether all that it needs is there, and finite."""
        return self.needs <= seen.parts and seen.finite

    def of_all(self, seen):
        """The scores of several networks, each a `Seen` of the same images: float64 array (k,)."""
        return np.array([self(one) if self.can_judge(one) else np.nan for one in seen], np.float64)


def probabilities(logits):
    """softmax(logits) of class scores (n, c), in float64."""
    return np.exp(log_softmax(logits))


def entropies(logits):
    """The entropy of each row of softmax(logits), in nat: (n, c) → (n,)."""
    log_p = log_softmax(logits)
    return -(np.exp(log_p) * log_p).sum(axis=1)

def ranks(values):
    """From 0, the lowest, to 1, the highest; NaN stays NaN; equal ones share their mean.

    >>> ranks(np.array([0.2, np.nan, 0.9, 0.2])).tolist()
    [0.25, nan, 1.0, 0.25]
    """
    known = ~np.isnan(values)
    ranks = np.full(len(values), np.nan)
    ranks[known] = (rankdata(values[known]) - 1) / max(known.sum() - 1, 1)
    return ranks
