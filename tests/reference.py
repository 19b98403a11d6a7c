"""The losses and the training step in float64 NumPy, written from the formulas, pair by pair."""
import numpy as np


def bandwidth(x):
    b = len(x)
    return sum(np.sum((x[i] - x[j]) ** 2) for i in range(b) for j in range(b)) / (b * b - b)


def feature_kernel(u, v, g, num_kernels=4, kernel_mul=2.0):
    return sum(np.exp(-np.sum((u - v) ** 2) / (g * kernel_mul ** (i - num_kernels / 2))) for i in range(num_kernels))


def label_kernel(p, q):
    return np.exp(-np.sum((p - q) ** 2) / (1.3 * 2 ** -0.5))


def discrepancy(x, p=None):
    """MMD of features x (b, d), or JMMD of features and probabilities p (b, c)."""
    n, g = len(x) // 2, bandwidth(x)

    def k(i, j):
        return feature_kernel(x[i], x[j], g) * (1 if p is None else label_kernel(p[i], p[j]))

    total = 0.0
    for j in range(n // 2):
        s1, s2, t1, t2 = 2 * j, 2 * j + 1, n + 2 * j, n + 2 * j + 1
        total += k(s1, s2) + k(t1, t2) - k(s1, t2) - k(t1, s2)
    return total / (n // 2)


def discrepancy_gradients(x, p=None):
    """d/dx, and d/dp where p is given, of `discrepancy`, by the chain rule."""
    b, n = len(x), len(x) // 2
    m, g = n // 2, bandwidth(x)
    dx, dp, dg = np.zeros_like(x), None if p is None else np.zeros_like(p), 0.0
    for j in range(m):
        s1, s2, t1, t2 = 2 * j, 2 * j + 1, n + 2 * j, n + 2 * j + 1
        for i, k, sign in ((s1, s2, 1), (t1, t2, 1), (s1, t2, -1), (t1, s2, -1)):
            square = np.sum((x[i] - x[k]) ** 2)
            label = 1.0 if p is None else label_kernel(p[i], p[k])
            value = 0.0
            for e in range(4):
                width = g * 2.0 ** (e - 2)
                part = np.exp(-square / width)
                value += part
                slope = sign / m * label * part / width
                dx[i] -= slope * 2 * (x[i] - x[k])
                dx[k] += slope * 2 * (x[i] - x[k])
                dg += slope * square / g
            if p is not None:
                slope = sign / m * value * label * 2 / (1.3 * 2 ** -0.5)
                dp[i] -= slope * (p[i] - p[k])
                dp[k] += slope * (p[i] - p[k])
    for i in range(b):
        for k in range(b):
            dx[i] += dg * 4 * (x[i] - x[k]) / (b * b - b)
    return dx, dp


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def objective_gradients(x, z, labels, weight, joint, null_label=9999):
    """Value, d/dx and d/dz of summed cross-entropy of labelled rows + weight · (J)MMD."""
    p = softmax(z)
    known = labels != null_label
    value = -np.log(p[known, labels[known]]).sum() + weight * discrepancy(x, p if joint else None)
    dz = np.where(known[:, None], p, 0)
    dz[known, labels[known]] -= 1
    dx, dp = discrepancy_gradients(x, p if joint else None)
    if joint:
        dz += weight * p * (dp - (dp * p).sum(axis=1, keepdims=True))
    return value, weight * dx, dz
