"""Scores that ask a classifier of the domains: proxy A-distance and deep embedded validation."""
import numpy as np

from transfer_gluon.inference.calibration import log_softmax
from transfer_gluon.scores.basis import Score

_MOST = 1000        # images of a domain that the classifier learns from


def _domain_classifier():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def _both(source, target):
    rows = np.concatenate([source[:_MOST], target[:_MOST]]).astype(np.float64)
    return rows, np.repeat([0, 1], [min(len(source), _MOST), min(len(target), _MOST)])


class ProxyADistance(Score):
    r"""How badly a linear classifier tells the domains apart by their features: minus the proxy A-distance.

    .. math:: -2 (1 - 2 \varepsilon)

    ε is the classifier's error in five-fold cross-validation, mean of both domains' errors. Ben-David et al. 2007,
    *Analysis of Representations for Domain Adaptation*, section 5. From -2, domains are apart, to 0, the classifier
    guesses. NaN for fewer than two images of a domain.
    """

    name = "a_distance"
    needs = frozenset({"source"})
    quick = False

    def __call__(self, seen):
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        rows, domains = _both(seen.source_features, seen.target_features)
        fewest = min(np.bincount(domains, minlength=2))
        if fewest < 2:
            return np.nan
        folds = StratifiedKFold(min(5, fewest), shuffle=True, random_state=0)
        wrong = cross_val_predict(_domain_classifier(), rows, domains, cv=folds) != domains
        error = min((wrong[domains == 0].mean() + wrong[domains == 1].mean()) / 2, 0.5)
        return -2 * (1 - 2 * error)


class DeepEmbeddedValidation(Score):
    r"""Minus the risk of the target, estimated by held-out source images that weigh the more, the more they look like
    the target's.

    .. math:: -\Bigl(\bar L + \eta \bar W - \eta\Bigr), \qquad
              \eta = -\frac{\operatorname{Cov}(L, W)}{\operatorname{Var}(W)}, \quad L_i = w_i \ell_i, \quad
              w_i = \frac{n_s}{n_t} \frac{J(t \mid f_i)}{J(s \mid f_i)}

    J is a logistic regression of the domain on the features of `n_s` trained source images (of the held-out ones, where
    these are not at hand) and n_t target images; ℓ is the cross-entropy of a held-out image. You et al. 2019, *Towards
    Accurate Model Selection in Deep Unsupervised Domain Adaptation*, with its control variate η. NaN for
    fewer than two images of a domain.
    """

    name = "dev"
    needs = frozenset({"source"})
    quick = False

    def __call__(self, seen):
        source = seen.source_features if seen.trained_features is None else seen.trained_features
        if min(len(source), len(seen.target_features), len(seen.source_labels)) < 2:
            return np.nan
        rows, domains = _both(source, seen.target_features)
        classifier = _domain_classifier().fit(rows, domains)
        ratios = np.exp(np.clip(classifier.decision_function(seen.source_features.astype(np.float64)), -50, 50))
        weights = ratios * (domains == 0).sum() / (domains == 1).sum()
        log_p = log_softmax(seen.source_logits)
        return -controlled_risk(weights, -log_p[np.arange(len(log_p)), seen.source_labels])


def controlled_risk(weights, losses):
    """The weighted mean loss of images with the control variate of deep embedded validation.

    Where losses are all alike, weights do not matter:

    >>> round(controlled_risk(np.array([0.1, 0.2, 5.0]), np.array([0.7, 0.7, 0.7])), 12)
    0.7
    """
    weighted = weights * losses
    variance = weights.var(ddof=1)
    eta = -np.cov(weighted, weights)[0, 1] / variance if variance > 0 else 0.0
    return float(weighted.mean() + eta * weights.mean() - eta)
