"""Maximum mean discrepancy of held-out images, of features and of features with predictions."""
import numpy as np

from transfer_gluon.scores.basis import Score, probabilities

_MOST = 1000        # images of a domain


def squared_distances(rows):
    """|xi - xj|² of all pairs of rows: (b, d) → (b, b), in float64."""
    rows = rows.astype(np.float64)
    rows = rows - rows.mean(axis=0)
    squares = (rows**2).sum(axis=1)
    return np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0)


def gaussian(distances):
    """The sum of four Gaussian kernels around the mean squared distance of pairs, as `symbols.GaussianKernel`."""
    b = len(distances)
    relative = distances / max(distances.sum() / (b * (b - 1)), 1e-18)
    return sum(np.exp(-relative / 2.0**power) for power in range(-2, 2))


def quadratic_estimate(values, n):
    """The unbiased estimate of a squared discrepancy, of a kernel's values (n + m, n + m) for n source images, then m
    target images."""
    source, target, crossed = values[:n, :n], values[n:, n:], values[:n, n:]

    def others(part):
        return (part.sum() - np.trace(part)) / (len(part) * (len(part) - 1))

    return others(source) + others(target) - 2 * crossed.mean()


def _joined(source, target):
    return np.concatenate([source[:_MOST], target[:_MOST]])


class MMD(Score):
    r"""Minus the squared maximum mean discrepancy of the domains' features, quadratic and unbiased:

    .. math:: -\frac{1}{n (n - 1)} \sum_{i \ne j} k(s_i, s_j) - \frac{1}{m (m - 1)} \sum_{i \ne j} k(t_i, t_j)
              + \frac{2}{n m} \sum_{i, j} k(s_i, t_j)

    with the kernel of the transfer loss `symbols.MMDLoss`, its bandwidth taken from all of these images. Gretton et al.
    2012, *A Kernel Two-Sample Test*, lemma 6; Long et al. 2015, *Learning Transferable Features with Deep Adaptation
    Networks*, section 3. Around 0 where the domains do not differ. NaN for fewer than two images of a domain.
    """

    name = "mmd"
    needs = frozenset({"source"})
    quick = False

    def __call__(self, seen):
        if min(len(seen.source_features), len(seen.target_features)) < 2:
            return np.nan
        return -quadratic_estimate(self.values(seen), len(seen.source_features[:_MOST]))

    def values(self, seen):
        """The kernel of all pairs."""
        return gaussian(squared_distances(_joined(seen.source_features, seen.target_features)))


class JMMD(MMD):
    r"""The same of features and predictions jointly: the product k·l of the kernel of features and

    .. math:: l(p, q) = \exp\left(-\frac{|p - q|^2}{1.3 \cdot 2^{-1/2}}\right)

    of class probabilities, as the transfer loss `symbols.JMMDLoss`. Long et al. 2017, *Deep Transfer Learning with
    Joint Adaptation Networks*, section 4.
    """

    name = "jmmd"

    def values(self, seen):
        p = probabilities(_joined(seen.source_logits, seen.target_logits))
        return super().values(seen) * np.exp(-squared_distances(p) / (1.3 * 2**-0.5))
