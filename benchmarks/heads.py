#!/usr/bin/env python3
"""JMMD against a straightforward per-pair formulation, and the other losses: milliseconds of forward and backward.

All run interleaved in this process, on the CPU, features of 2048 numbers and 263 classes; medians.
"""
import time

import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TRANSFER_LOSSES, JMMDLoss, transfer_loss

FEATURES, CLASSES, REPETITIONS = 2048, 263, 7


def per_pair(x, z):
    """JMMD pair by pair, as a reader of the paper would first write it."""
    b, n, p = len(x), len(x) // 2, mx.nd.softmax(z)
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


def milliseconds(head, x, z):
    """Forward and backward of a head, once."""
    started = time.perf_counter()
    with mx.autograd.record():
        loss = head(x, z)
        loss = loss[0] if isinstance(loss, (list, tuple)) else loss
    loss.backward()
    x.grad.wait_to_read()
    return 1000 * (time.perf_counter() - started), loss.asscalar()


def main():
    heads = {name: transfer_loss(name) for name in TRANSFER_LOSSES}
    heads["quadratic jmmd"] = JMMDLoss(estimate="quadratic")
    for head in heads.values():
        head.initialize()
        head.hybridize(static_alloc=True, static_shape=True)
    print(f"| images on a device | {' | '.join(f'{name} [ms]' for name in heads)} | jmmd per pair [ms] | ratio |")
    print("| --- " * (len(heads) + 3) + "|")
    for b in (8, 16, 64, 256):
        x, z = mx.nd.random.normal(shape=(b, FEATURES)), mx.nd.random.normal(shape=(b, CLASSES))
        x.attach_grad()
        z.attach_grad()
        times = {name: [] for name in [*heads, "pairs"]}
        for repetition in range(REPETITIONS + 1):
            # Each twice in a row, and the second counts: the first pays for what ran before it.
            found = {name: [milliseconds(head, x, z) for _ in range(1 if name == "pairs" else 2)][-1]
                     for name, head in {**heads, "pairs": per_pair}.items()}
            assert abs(found["jmmd"][1] - found["pairs"][1]) < 1e-4
            if repetition:      # the first warms up
                for name, (taken, _) in found.items():
                    times[name].append(taken)
        medians = {name: np.median(values) for name, values in times.items()}
        ours = " | ".join(f"{medians[name]:.2f}" for name in heads)
        print(f"| {b} | {ours} | {medians['pairs']:.1f} | {medians['pairs'] / medians['jmmd']:.1f} |")


if __name__ == "__main__":
    main()
