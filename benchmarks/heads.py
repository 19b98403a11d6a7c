#!/usr/bin/env python3
"""The transfer heads against a straightforward per-pair formulation: milliseconds of forward and backward, ratios.

Both run interleaved in this process, on the CPU, features of 2048 numbers and 263 classes; medians.
"""
import time

import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import JMMDLoss

FEATURES, CLASSES, REPETITIONS = 2048, 263, 7


def per_pair(x, p):
    """JMMD pair by pair, as a reader of the paper would first write it."""
    b, n = len(x), len(x) // 2
    bandwidth = mx.nd.sum((x.expand_dims(0) - x.expand_dims(1)) ** 2) / (b * b - b)

    def kernel(i, j):
        square = mx.nd.sum((x[i] - x[j]) ** 2)
        features = sum(mx.nd.exp(-square / (bandwidth * 2.0 ** (e - 2))) for e in range(4))
        return features * mx.nd.exp(-mx.nd.sum((p[i] - p[j]) ** 2) / (1.3 * 2 ** -0.5))

    total = 0
    for s in range(0, n, 2):
        t = n + s
        total = total + kernel(s, s + 1) + kernel(t, t + 1) - kernel(s, t + 1) - kernel(t, s + 1)
    return total / (n // 2)


def milliseconds(head, x, p):
    """Forward and backward of a head, once."""
    started = time.perf_counter()
    with mx.autograd.record():
        loss = head(x, p)
    loss.backward()
    x.grad.wait_to_read()
    return 1000 * (time.perf_counter() - started), loss.asscalar()


def main():
    head = JMMDLoss()
    head.hybridize(static_alloc=True, static_shape=True)
    print("| images on a device | JMMDLoss [ms] | per pair [ms] | ratio |\n| --- | --- | --- | --- |")
    for b in (8, 16, 64, 256):
        x, p = mx.nd.random.normal(shape=(b, FEATURES)), mx.nd.softmax(mx.nd.random.normal(shape=(b, CLASSES)))
        x.attach_grad()
        p.attach_grad()
        times = {"ours": [], "pairs": []}
        for repetition in range(REPETITIONS + 1):
            (ours, value), (pairs, wanted) = milliseconds(head, x, p), milliseconds(per_pair, x, p)
            assert abs(value - wanted) < 1e-4
            if repetition:      # the first warms up
                times["ours"].append(ours)
                times["pairs"].append(pairs)
        ours, pairs = np.median(times["ours"]), np.median(times["pairs"])
        print(f"| {b} | {ours:.2f} | {pairs:.1f} | {pairs / ours:.1f} |")


if __name__ == "__main__":
    main()
