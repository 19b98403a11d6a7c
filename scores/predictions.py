"""Scores of the predictions alone: sure of each image, and of all classes."""
import numpy as np

from transfer_gluon.scores.basis import Score, entropies, probabilities


class Entropy(Score):
    r"""How sure the predictions of the target are: the negative mean entropy of p = softmax(logits), in nat.

    .. math:: -\frac1n \sum_i H(p_i), \qquad H(p) = -\sum_c p_c \log p_c

    Grandvalet & Bengio 2004, *Semi-supervised Learning by Entropy Minimization*; as a validator Morerio et al. 2018.
    From -log c to 0. A network that calls everything one class has the best one of all.
    """

    name = "entropy"

    def __call__(self, seen):
        return -entropies(seen.target_logits).mean()


class Infomax(Score):
    r"""Information maximisation: sure of each image, and all classes in use, in nat.

    .. math:: H\Bigl(\frac1n \sum_i p_i\Bigr) - \frac1n \sum_i H(p_i)

    Krause et al. 2010, *Discriminative Clustering by Regularized Information Maximization*; as a validator
    Musgrave et al. 2022, *Three New Validators and a Large-Scale Benchmark Ranking for Unsupervised Domain Adaptation*.
    From 0 to log c; it takes classes for equally frequent.
    """

    name = "infomax"

    def __call__(self, seen):
        mean = probabilities(seen.target_logits).mean(axis=0)
        return -(mean * np.log(np.maximum(mean, 1e-300))).sum() - entropies(seen.target_logits).mean()


class NuclearNorm(Score):
    r"""Batch nuclear norm of the predictions: sure and diverse at once.

    .. math:: \frac1n \lVert P \rVert_*, \qquad P_{ic} = p_{ic}

    Cui et al. 2020, *Towards Discriminability and Diversity: Batch Nuclear-norm Maximization under Label Insufficient
    Situations*; as a validator Musgrave et al. 2022. At most :math:`\sqrt{\min(n, c) / n}`.
    """

    name = "nuclear_norm"

    def __call__(self, seen):
        return np.linalg.norm(probabilities(seen.target_logits), "nuc") / len(seen.target_logits)


class ClassAMI(Score):
    r"""Whether the predicted classes are the clusters of the features: adjusted mutual information of the two.

    .. math:: \operatorname{AMI}(\text{predicted classes}, \text{k-means}(F))

    F are the target's features, reduced to 64 principal components as Musgrave's library pytorch-adapt does; as many
    clusters as classes. Robbiano et al. 2021, *Adversarial Branch Architecture Search for Unsupervised Domain
    Adaptation*; Musgrave et al. 2022, *Three New Validators …*. At most 1; 0 is chance. NaN for fewer images than
    classes.
    """

    name = "class_ami"
    quick = False

    def fewest(self, num_classes):
        return num_classes

    def __call__(self, seen):
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.metrics import adjusted_mutual_info_score

        features, classes = seen.target_features.astype(np.float64), seen.target_logits.shape[1]
        if len(features) < self.fewest(classes):
            return np.nan
        most = min(64, *features.shape)
        reduced = PCA(most, random_state=0).fit_transform(features) if most < features.shape[1] else features
        clusters = KMeans(classes, n_init=3, random_state=0).fit_predict(reduced)
        return adjusted_mutual_info_score(seen.target_logits.argmax(axis=1), clusters)
