#!/usr/bin/env python3
"""What --freeze saves: seconds of a training step of ResNet-50, 16 images of 224 × 224, on the CPU; medians.

The three ways run interleaved in this process: everything trains; bn1, fc, stage3 and stage4 train, and the backward
pass goes to the images for the statistics of batch normalisation; the same, with frozen layers computed forward only.
"""
import time

import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferNet, TransferObjective, features_block, resnet
from transfer_gluon.symbols.frozen import frozen_below, trainable_prefixes
from transfer_gluon.training.learner import prepare

SHAPE, BATCH, REPETITIONS = (3, 224, 224), 16, 7


def network(freeze, split):
    """What to call with images under `record`, and a trainer."""
    net = TransferNet(features_block(resnet(50, SHAPE)), 263)
    learning = prepare(net, [mx.cpu()], trainable_prefixes(net) if freeze else None)
    net(mx.nd.zeros((1, *SHAPE)))
    trainer = mx.gluon.Trainer(learning, "sgd", {"learning_rate": 1e-3, "momentum": 0.9})
    if freeze and not split:
        for name, parameter in net.collect_params().items():
            if name.endswith("_beta"):
                parameter.grad_req = "write"
    return frozen_below(net, learning) if split else net, trainer


def main():
    objective = TransferObjective()
    objective.hybridize(static_alloc=True, static_shape=True)
    images, labels = mx.nd.random.uniform(0, 255, (BATCH, *SHAPE)), mx.nd.array(np.arange(BATCH))
    ways = {"everything trains": (False, False), "frozen, backward to the images": (True, False),
            "frozen, forward only": (True, True)}
    ways = {name: (*network(*way), []) for name, way in ways.items()}
    for repetition in range(REPETITIONS + 1):
        for forward, trainer, seconds in ways.values():
            started = time.perf_counter()
            with mx.autograd.record():
                loss, _ = objective(*forward(images), labels)
            loss.backward()
            trainer.step(BATCH)
            mx.nd.waitall()
            if repetition:      # the first warms up
                seconds.append(time.perf_counter() - started)
    first = np.median(next(iter(ways.values()))[2])
    print("| step | seconds | ratio |\n| --- | --- | --- |")
    for name, (_, _, seconds) in ways.items():
        print(f"| {name} | {np.median(seconds):.2f} | {first / np.median(seconds):.2f} |")


if __name__ == "__main__":
    main()
