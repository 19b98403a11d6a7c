"""EnsV: agreement with the ensemble of all candidates."""
import numpy as np

from transfer_gluon.scores.basis import Score, probabilities


class Ensemble(Score):
    r"""How often a network agrees with the ensemble of all that are compared.

    .. math:: \frac1n \Bigl|\{i : \arg\max_c p_{ic} = \arg\max_c \sum_k p^{(k)}_{ic}\}\Bigr|

    k counts the networks, p are their class probabilities. Hu et al. 2024, *Towards Reliable Model Selection for
    Unsupervised Domain Adaptation: An Empirical Study and A Certified Baseline*. From 0 to 1, and 1 for a
    network that is alone. Networks that were trained alike, epochs of one run, make up most of the ensemble.
    """

    name = "ensemble"
    alone = False

    def of_all(self, seen):
        judged = [self.can_judge(one) for one in seen]
        there = [probabilities(one.target_logits) for one, able in zip(seen, judged) if able]
        if not there:
            return np.full(len(seen), np.nan)
        together = sum(there).argmax(axis=1)
        agreements = iter([(p.argmax(axis=1) == together).mean() for p in there])
        return np.array([next(agreements) if able else np.nan for able in judged], np.float64)

    def __call__(self, seen):
        return float(self.of_all([seen])[0])
