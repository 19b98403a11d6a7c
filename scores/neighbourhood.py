"""Soft neighbourhood density."""
import numpy as np

from transfer_gluon.scores.basis import Score, probabilities

_TEMPERATURE = 0.05     # the authors'
_ROWS = 512             # of the matrix of similarities at a time


class Neighbourhood(Score):
    r"""Soft neighbourhood density: how many near neighbours the predictions of a target image have.

    .. math:: -\frac1n \sum_i \sum_{j \ne i} P_{ij} \log P_{ij}, \qquad
              P_{ij} = \frac{\exp(f_i \cdot f_j / \tau)}{\sum_{k \ne i} \exp(f_i \cdot f_k / \tau)}

    f are the class probabilities, each row of length 1, and τ = 0.05. Saito et al. 2021, *Tune it the Right Way:
    Unsupervised Validation of Domain Adaptation via Soft Neighborhood Density*, eqs. 1 to 3. From 0 to log(n - 1), in
    nat. A network that calls everything one class has the best one of all. NaN for fewer than three images.
    """

    name = "neighbourhood"
    quick = False

    def fewest(self, num_classes):
        return 3

    def __call__(self, seen):
        p = probabilities(seen.target_logits)
        f = p / np.linalg.norm(p, axis=1, keepdims=True)
        n = len(f)
        if n < self.fewest(p.shape[1]):
            return np.nan
        total = 0.0
        for start in range(0, n, _ROWS):
            scaled = f[start:start + _ROWS] @ f.T / _TEMPERATURE
            rows = np.arange(len(scaled))
            scaled[rows, start + rows] = -np.inf
            scaled -= scaled.max(axis=1, keepdims=True)
            weights = np.exp(scaled)
            sums = weights.sum(axis=1)
            scaled[rows, start + rows] = 0      # whose weight is 0
            total += (np.log(sums) - (weights * scaled).sum(axis=1) / sums).sum()
        return total / n
