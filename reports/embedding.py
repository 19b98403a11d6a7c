"""The images of both domains as points of a plane: those that a network finds alike lie together."""
import numpy as np

from transfer_gluon.inference.pictures import shortened
from transfer_gluon.reports.figures import figure, svg

IMAGES = 250        # of each domain
_FEWEST = 8         # images of both, below which a plane says nothing
_DIMENSIONS = 50
_COLOURED = 10      # classes that get a colour of their own


def embed(features, seed=0):
    """t-SNE (van der Maaten & Hinton 2008) of features (n, d) behind their first 50 principal components: (n, 2).

    The perplexity is 30, or a third of the images where these are few.

    >>> embed(np.random.default_rng(0).normal(size=(20, 5))).shape
    (20, 2)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = np.asarray(features, np.float64)
    if min(features.shape) > _DIMENSIONS:
        features = PCA(_DIMENSIONS, random_state=seed).fit_transform(features)
    return TSNE(perplexity=min(30, (len(features) - 1) / 3), init="random", random_state=seed,
                learning_rate="auto").fit_transform(features)


def draw_embeddings(seen, classes, seed=0, target_labels=None):
    """Both domains in one plane, coloured by domain and by class.

    Parameters
    ----------
    seen : dict of str to Seen
        Networks by what they are called, such as before and after; their images are the same.
    classes : list of str
        Names.
    seed : int
    target_labels : int64 array (n,) or None
        Of the target's images, -1 where not known. None: their predictions stand in.

    Returns: list of (title, SVG by domain, SVG by class); empty where there are too few images.
    """
    drawn = []
    for number, (title, one) in enumerate(seen.items()):
        if one.source_features is None or not one.finite:
            continue
        # Samples are in an order by chance: the first ones are as good as any.
        source, target = one.source_features[:IMAGES], one.target_features[:IMAGES]
        if len(source) + len(target) < _FEWEST or not len(source) or not len(target):
            continue
        points = embed(np.concatenate([source, target]), seed)
        domain = np.repeat([0, 1], [len(source), len(target)])
        predicted = one.target_logits[:IMAGES].argmax(axis=1)
        if target_labels is not None:
            predicted = np.where(target_labels[:IMAGES] >= 0, target_labels[:IMAGES], predicted)
        labels = np.concatenate([one.source_labels[:IMAGES], predicted])
        drawn.append((title, _by_domain(points, domain, f"embedding-domain-{number}", title),
                      _by_class(points, domain, labels, classes, f"embedding-class-{number}", title)))
    return drawn


_MARKERS = "o", "^"


def _by_domain(points, domain, name, title):
    with figure(4.6, 4.4) as drawn:
        axis = _axis(drawn, title)
        for which, word in enumerate(("source", "target")):
            axis.scatter(*points[domain == which].T, s=12, alpha=0.7, marker=_MARKERS[which], linewidth=0,
                         color=("C1", "C0")[which], label=f"{word} image")
        drawn.legend(loc="outside lower left", ncols=2)
        return svg(drawn, name, f"{title}: images of both domains, by domain")


def _by_class(points, domain, labels, classes, name, title):
    common = np.argsort(-np.bincount(labels, minlength=len(classes)), kind="stable")[:_COLOURED]
    with figure(4.6, 4.4) as drawn:
        axis = _axis(drawn, title)
        others = ~np.isin(labels, common)
        for which, marker in enumerate(_MARKERS):
            if others.any():
                axis.scatter(*points[others & (domain == which)].T, s=8, color="lightgrey", marker=marker, linewidth=0,
                             label="other classes" if not which else None)
            for number, label in enumerate(np.sort(common)):
                there = (labels == label) & (domain == which)
                axis.scatter(*points[there].T, s=12, alpha=0.8, marker=marker, linewidth=0, color=f"C{number}",
                             label=_label(classes[label]) if not which else None)
        drawn.legend(loc="outside lower left", ncols=4 if max(len(classes[label]) for label in common) < 8 else 2)
        return svg(drawn, name, f"{title}: images of both domains, by class")


def _label(name):
    """matplotlib leaves a label out that begins with an underscore."""
    short = shortened(name, 22)
    return f"\u200b{short}" if short.startswith("_") else short


def _axis(drawn, title):
    axis = drawn.subplots()
    axis.set_title(title)
    axis.set_xlabel("first axis of the plane [no unit]")
    axis.set_ylabel("second axis [no unit]")
    axis.set_xticks([])
    axis.set_yticks([])
    return axis
