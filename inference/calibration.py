"""Whether a network is right as often as it says: expected calibration error, negative log-likelihood, Brier score."""
import csv
from dataclasses import dataclass

import numpy as np

from transfer_gluon.base.files import replacing

NUM_BINS = 15       # as in the paper


@dataclass(frozen=True)
class Calibration:
    """Images in bins of equal width, by the probability of their predicted class.

    Attributes
    ----------
    counts : int64 array (m,)
        Images in bin k of m: those with a confidence above k/m, up to (k + 1)/m.
    confidence, accuracy : float64 arrays (m,)
        Their mean confidence; which part of them is classified correctly. NaN in empty bins.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self):
        r"""The expected calibration error, from 0 to 1 (Guo et al., *On Calibration of Modern Neural Networks*, 2017).

        .. math:: \text{ECE} = \sum_k \frac{n_k}{n} |\text{accuracy}_k - \text{confidence}_k|
        """
        some = self.counts > 0
        return float((self.counts[some] * abs(self.accuracy - self.confidence)[some]).sum() / self.counts.sum())


def calibration(confidence, right, num_bins=NUM_BINS):
    """The `Calibration` of predictions.

    Parameters
    ----------
    confidence : float array (n,)
        Probabilities of the predicted classes, from 0 to 1.
    right : bool array (n,)
        Whether these are the true ones.
    num_bins : int
        m.

    >>> found = calibration(np.array([0.9, 0.95, 0.6]), np.array([True, False, True]), num_bins=2)
    >>> found.counts.tolist(), round(found.error, 4)      # |2/3 - 2.45/3|
    ([0, 3], 0.15)
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    places = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    counts, *sums = (np.bincount(places, weights, num_bins) for weights in (None, confidence, right))
    means = (np.where(counts > 0, one / np.maximum(counts, 1), np.nan) for one in sums)
    return Calibration(counts, *means)


def log_softmax(logits):
    """Logarithms of probabilities of class scores (n, c), in float64.

    >>> np.exp(log_softmax(np.array([[1000.0, 1000.0]]))).tolist()
    [[0.5, 0.5]]
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def likelihood_losses(log_p, labels):
    r"""Negative log-likelihood of the true class, in nat, of each image: :math:`-\log p_i[y_i]`.

    `log_p`: (n, c), as of `log_softmax`; `labels`: (n,). Returns: (n,).

    >>> likelihood_losses(np.log([[0.5, 0.5]]), np.array([1])).round(4).tolist()
    [0.6931]
    """
    return -log_p[np.arange(len(labels)), labels]


def brier_scores(log_p, labels):
    r"""Brier's score of each image, from 0 to 2: :math:`\sum_c (p_i[c] - [y_i = c])^2` (Brier 1950).

    `log_p`: (n, c), as of `log_softmax`; `labels`: (n,). Returns: (n,).

    >>> brier_scores(np.log([[0.5, 0.5]]), np.array([1])).round(4).tolist()
    [0.5]
    """
    p = np.exp(log_p)
    return (p**2).sum(axis=1) - 2 * p[np.arange(len(labels)), labels] + 1


def write_calibration(path, found):
    """Write a `Calibration` as CSV, whole or not at all: a line a bin."""
    m = len(found.counts)
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["confidence_above", "confidence_up_to", "images", "mean_confidence", "accuracy"])
        for k, row in enumerate(zip(found.counts.tolist(), found.confidence.tolist(), found.accuracy.tolist())):
            writer.writerow([f"{k / m:.6g}", f"{(k + 1) / m:.6g}", row[0],
                             *("" if one != one else f"{one:.6g}" for one in row[1:])])
