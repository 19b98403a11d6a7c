"""The losses and the training step in float64 NumPy, written from the formulas, pair by pair."""
import numpy as np


def bandwidth(x):
    b = len(x)
    return sum(np.sum((x[i] - x[j]) ** 2) for i in range(b) for j in range(b)) / (b * b - b)


def feature_kernel(u, v, g, num_kernels=4, kernel_mul=2.0):
    return sum(np.exp(-np.sum((u - v) ** 2) / (g * kernel_mul ** (i - num_kernels / 2))) for i in range(num_kernels))


def label_kernel(p, q):
    return np.exp(-np.sum((p - q) ** 2) / (1.3 * 2 ** -0.5))


def weighted_pairs(n, estimate):
    """Pairs of rows that an estimate takes the kernel of, and their weights."""
    if estimate == "linear":
        for s1, s2 in zip(range(0, n, 2), range(1, n, 2)):
            t1, t2 = n + s1, n + s2
            yield from ((s1, s2, 2 / n), (t1, t2, 2 / n), (s1, t2, -2 / n), (t1, s2, -2 / n))
        return
    for i in range(n):
        for k in range(n):
            yield i, n + k, -2 / n**2
            if i != k:
                yield from ((i, k, 1 / (n * (n - 1))), (n + i, n + k, 1 / (n * (n - 1))))


def discrepancy(x, p=None, estimate="linear"):
    """MMD of features x (b, d), or JMMD of features, a layer or a list of them, and probabilities p (b, c)."""
    layers = x if isinstance(x, list) else [x]
    widths = [bandwidth(layer) for layer in layers]

    def kernel(i, k):
        features = np.prod([feature_kernel(layer[i], layer[k], g) for layer, g in zip(layers, widths)])
        return features * (1 if p is None else label_kernel(p[i], p[k]))

    return sum(weight * kernel(i, k) for i, k, weight in weighted_pairs(len(layers[0]) // 2, estimate))


def discrepancy_gradients(x, p=None, estimate="linear"):
    """d/dx, and d/dp where p is given, of `discrepancy`, by the chain rule."""
    layers = x if isinstance(x, list) else [x]
    b, widths = len(layers[0]), [bandwidth(layer) for layer in layers]
    dx, dg = [np.zeros_like(layer) for layer in layers], [0.0 for _ in layers]
    dp = None if p is None else np.zeros_like(p)
    for i, k, weight in weighted_pairs(b // 2, estimate):
        label = 1.0 if p is None else label_kernel(p[i], p[k])
        values = [feature_kernel(layer[i], layer[k], g) for layer, g in zip(layers, widths)]
        for place, (layer, g) in enumerate(zip(layers, widths)):
            others = np.prod(values[:place] + values[place + 1:])
            square = np.sum((layer[i] - layer[k]) ** 2)
            for e in range(4):
                width = g * 2.0 ** (e - 2)
                slope = weight * label * others * np.exp(-square / width) / width
                dx[place][i] -= slope * 2 * (layer[i] - layer[k])
                dx[place][k] += slope * 2 * (layer[i] - layer[k])
                dg[place] += slope * square / g
        if p is not None:
            slope = weight * np.prod(values) * label * 2 / (1.3 * 2 ** -0.5)
            dp[i] -= slope * (p[i] - p[k])
            dp[k] += slope * (p[i] - p[k])
    for layer, gradient, slope in zip(layers, dx, dg):
        for i in range(b):
            for k in range(b):
                gradient[i] += slope * 4 * (layer[i] - layer[k]) / (b * b - b)
    return (dx if isinstance(x, list) else dx[0]), dp


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_gradient(p, dp):
    """d/dz of what has the gradient dp with respect to p = softmax(z)."""
    return p * (dp - (dp * p).sum(axis=1, keepdims=True))


def one_hot(labels, classes, null_label=9999):
    """Rows of probabilities of class numbers; zeros for the null label."""
    rows = np.zeros((len(labels), classes))
    known = labels != null_label
    rows[known, labels[known]] = 1
    return rows


def objective_gradients(x, z, labels, weight, joint, null_label=9999):
    """Value, d/dx and d/dz of summed cross-entropy of labelled rows + weight · (J)MMD; labels are class numbers or rows
    of probabilities."""
    p = softmax(z)
    q = labels if labels.ndim == 2 else one_hot(labels, z.shape[1], null_label)
    value = -(q * np.log(p)).sum() + weight * discrepancy(x, p if joint else None)
    dz = q.sum(axis=1, keepdims=True) * p - q
    dx, dp = discrepancy_gradients(x, p if joint else None)
    if joint:
        dz += weight * softmax_gradient(p, dp)
    return value, weight * dx, dz


def coral(x):
    """Value and d/dx of Deep CORAL (Sun & Saenko 2016, equations 1 to 4), from covariances (d, d)."""
    n, d = len(x) // 2, x.shape[1]
    centred = [half - half.mean(axis=0) for half in (x[:n], x[n:])]
    difference = centred[0].T @ centred[0] / (n - 1) - centred[1].T @ centred[1] / (n - 1)
    gradient = [sign * half @ difference / (d**2 * (n - 1)) for sign, half in zip((1, -1), centred)]
    return np.sum(difference**2) / (4 * d**2), np.concatenate(gradient)


def dann(x, u_weight, u_bias, v_weight, v_bias, weights=None):
    """Value, accuracy, d/dx before any reversal and d/dparameters of a domain classifier's binary cross-entropy, whose
    images have equal weights, or these."""
    b = len(x)
    weights = np.full(b, 1 / b) if weights is None else weights
    sign = np.repeat([1.0, -1.0], b // 2)       # of the logit that speaks for the other domain
    before = x @ u_weight.T + u_bias
    hidden = np.maximum(before, 0)
    a = (hidden @ v_weight.T + v_bias)[:, 0]
    value = weights @ np.logaddexp(0, sign * a)
    da = (weights * sign / (1 + np.exp(-sign * a)))[:, None]
    dbefore = (da @ v_weight) * (before > 0)
    return (value, np.mean(sign * a < 0), dbefore @ u_weight,
            [dbefore.T @ x, dbefore.sum(axis=0), da.T @ hidden, da.sum(axis=0)])


def slope(function, x, step=1e-5):
    """d/dx of a number by central differences."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        gradient[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return gradient


def entropy(p):
    return -(p * np.log(p)).sum(axis=1)


def mcc(z, temperature=2.5):
    """Value and d/dz of minimum class confusion (Jin et al. 2020), from matrices of classes; z (b, c)."""
    n = len(z) // 2
    h = entropy(softmax(z[n:] / temperature))
    weights = n * (1 + np.exp(-h)) / (1 + np.exp(-h)).sum()

    def value(z):
        y = softmax(z[n:] / temperature)
        confusion = (y.T * weights) @ y
        confusion /= confusion.sum(axis=1, keepdims=True)
        return (confusion.sum() - np.trace(confusion)) / z.shape[1]

    return value(z), slope(value, z)


def bnm(z):
    """Value and d/dz of minus the nuclear norm of a batch's target half (Cui et al. 2020)."""
    n = len(z) // 2
    p = softmax(z[n:])
    u, singular, v = np.linalg.svd(p, full_matrices=False)
    return -singular.sum() / n, np.concatenate([np.zeros_like(p), softmax_gradient(p, -u @ v / n)])


def cdan(x, z, parameters, by_entropy, maps=None):
    """Value, accuracy, d/dx before any reversal and d/dparameters of conditional adversarial training (Long et al.
    2018) with all products, or with those of random `maps` of features and classes."""
    b, p = len(x), softmax(z)
    weights = 1 + np.exp(-entropy(p)) if by_entropy else np.ones(b)
    weights = np.concatenate([half / half.sum() / 2 for half in np.split(weights, 2)])
    if maps:
        products = (x @ maps[0].T) * (p @ maps[1].T)
    else:
        products = np.einsum("bi,bj->bij", x, p).reshape(b, -1)
    value, accuracy, dproducts, gradients = dann(products, *parameters, weights=weights)
    if maps:
        dx = (dproducts * (p @ maps[1].T)) @ maps[0]
    else:
        dx = np.einsum("bij,bj->bi", dproducts.reshape(b, x.shape[1], -1), p)
    return value, accuracy, dx, gradients


def shot_im(z):
    """Value and d/dz of mean entropy minus the entropy of the mean (Liang et al. 2020), of all rows."""
    def value(z):
        p = softmax(z)
        return entropy(p).mean() - entropy(p.mean(axis=0, keepdims=True))[0]

    return value(z), slope(value, z)


def centroid_labels(features, z):
    """Pseudo-labels of Liang et al. 2020, image by image and class by class, as their code computes them."""
    g = [np.append(x, 1) / np.sqrt(x @ x + 1) for x in features]
    shares, labels = softmax(z), z.argmax(axis=1)
    for _ in range(2):
        centroids = {k: sum(share * x for share, x in zip(shares[:, k], g)) / (1e-8 + shares[:, k].sum())
                     for k in sorted(set(labels.tolist()))}
        labels = np.array([min(centroids, key=lambda k, x=x: 1 - x @ centroids[k] / np.sqrt(
            (x @ x) * (centroids[k] @ centroids[k]))) for x in g])
        shares = np.eye(z.shape[1])[labels]
    return labels
