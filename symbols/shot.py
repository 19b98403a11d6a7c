"""Source hypothesis transfer: the target alone adapts what feeds a classifier that stays as the source made it."""
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.symbols.loss import TransferLoss, entropy


class SHOTIMLoss(TransferLoss):
    r"""SHOT-IM: information maximisation, the mean entropy of predictions minus the entropy of the mean prediction.

    .. math:: \frac{1}{b} \sum_i H(p_i) - H\!\left(\frac{1}{b} \sum_i p_i\right), \qquad
              H(p) = -\sum_k p_k \log p_k, \qquad p = \operatorname{softmax}(z)

    over the b images of a batch, all of the target: sure predictions, of all classes alike. It is minus the mutual
    information of images and predictions. Liang et al. 2020, *Do We Really Need to Access the Source Data? Source
    Hypothesis Transfer for Unsupervised Domain Adaptation*, ICML, equations 2 and 3.

    No image of the source is trained on, labels of the target do not matter, and the classifier ``fc`` stays as it is:
    `target_alone`. The paper's network has a bottleneck below it, 0.1 times whose rate the layers below have.

    `usual_relative_weight` is the paper's 1.

    Inputs:
        - **features**: (b, d) or a list of such layers. What they hold is not looked at.
        - **logits**: (b, c).

    Outputs:
        - **loss**: (1,), from -log c to log c.

    >>> print(f"{SHOTIMLoss()(mx.nd.zeros((2, 3)), mx.nd.array([[40, 0], [0, 40]])).asscalar():.4f}")
    -0.6931
    """

    batch_multiple = 1
    usual_weight = 16.0
    usual_relative_weight = 1.0
    needs_features = False
    target_alone = True

    def hybrid_forward(self, F, logits):
        p = F.softmax(logits, axis=-1)
        return (F.mean(entropy(F, p)) - F.sum(entropy(F, F.mean(p, axis=0, keepdims=True)))).reshape((1,))


class SHOTLoss(SHOTIMLoss):
    r"""SHOT: as `SHOTIMLoss`, with cross-entropy of pseudo-labels beside it.

    .. math:: L = L_{\text{IM}} + \beta \cdot \frac{1}{b} \sum_i -\log p_i[\hat y_i]

    with pseudo-labels of `centroid_labels`, made anew before every epoch. They come as the labels of the batch: the
    second part is the softmax loss of a `TransferObjective`, which `softmax_weight` multiplies by β. Liang et al. 2020,
    as above, equations 4 to 7.

    Parameters
    ----------
    pseudo_weight : float, default 0.3
        β.

    Inputs, outputs:
        As `SHOTIMLoss` has them.
    """

    def __init__(self, pseudo_weight=0.3, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= pseudo_weight < 1e30:
            raise InputError.of("pseudo_weight", pseudo_weight, "a number from 0 up, below 1e30")
        self.softmax_weight = pseudo_weight

    @staticmethod
    def makes_labels(features, logits):
        """`centroid_labels`."""
        return centroid_labels(features, logits)


def centroid_labels(features, logits):
    r"""Pseudo-labels: each image is of the class whose centroid, among all images, is nearest to it.

    .. math:: c_k = \frac{\sum_i p_i[k] \, g_i}{\sum_i p_i[k]}, \qquad
              \hat y_i = \arg\min_k D(g_i, c_k)

    then once more with :math:`[\hat y_i = k]` in the place of p, D being the cosine distance. Liang et al. 2020,
    equations 4 to 6. As in the authors' code, a 1 is put behind the features of an image, which then are scaled to
    length 1, and classes that no image is of are left out, by the predictions in the first round, by the labels of the
    first in the second.

    Parameters
    ----------
    features : array (n, d)
        What feeds the classifier.
    logits : array (n, c)

    Returns: int64 array (n,). It is computed in float64.

    >>> centroid_labels(np.array([[3.0, 0], [2, 0], [0, 1], [0.1, 2]]), np.array([[5.0, 0], [0, 1], [0, 9], [0, 9]]))
    array([0, 0, 1, 1])
    """
    features, logits = (np.asarray(array, np.float64) for array in (features, logits))
    g = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    classes = np.unique(logits.argmax(axis=1))
    labels = _nearest(g, p, classes)
    return _nearest(g, np.eye(logits.shape[1])[labels], np.unique(labels))


def _nearest(g, shares, classes):
    """For each row of g (n, d), of length 1, the class among `classes` whose centroid by `shares` (n, c) is nearest."""
    centroids = shares[:, classes].T @ g        # only their directions matter
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-300)
    return classes[(g @ centroids.T).argmax(axis=1)]
