"""MixVal: mixtures of target images as probes."""
import numpy as np

from transfer_gluon.scores.basis import Score, ranks


class MixVal(Score):
    r"""Whether a network takes a mixture of two target images for what it takes the larger part of it for.

    Accuracy of the predictions of mixtures :math:`\lambda x_i + (1 - \lambda) x_j`, λ = 0.55, against the class that is
    predicted of :math:`x_i`: of pairs of one predicted class (how dense classes are), and of pairs of two (where their
    boundaries are). Hu et al. 2023, *Mixed Samples as Probes for Unsupervised Model Selection in Domain Adaptation*,
    whose code gives these two. Among several networks, the mean of the ranks by either, from 0 to 1; of one alone, the
    mean of the two. A network of which there are no pairs of a kind is judged by the other kind.
    """

    name = "mixval"
    needs = frozenset({"mixed"})

    def __call__(self, seen):
        found = self.probes(seen)
        return np.nanmean(found) if not np.isnan(found).all() else np.nan

    def of_all(self, seen):
        found = np.array([self.probes(one) if self.can_judge(one) else (np.nan, np.nan) for one in seen])
        by_kind = np.stack([ranks(found[:, kind]) for kind in range(2)])
        known = (~np.isnan(by_kind)).sum(axis=0)
        return np.where(known, np.nansum(by_kind, axis=0) / np.maximum(known, 1), np.nan)

    @staticmethod
    def probes(seen):
        """Accuracy of mixtures of one predicted class, and of two; NaN where there are none."""
        first, second = seen.target_logits.argmax(axis=1)[seen.mixed_pairs].reshape(-1, 2).T
        larger = np.where(seen.mixed_shares >= 0.5, first, second)
        right = seen.mixed_logits.argmax(axis=1) == larger
        mixed = seen.mixed_pairs[:, 0] != seen.mixed_pairs[:, 1]        # an odd batch has one mixed with itself
        kinds = mixed & (first == second), mixed & (first != second)
        return [right[kind].mean() if kind.any() else np.nan for kind in kinds]
