#!/usr/bin/env python3
"""What freezing saves: seconds of a training step of ResNet-50, 16 images of 224 × 224, on the CPU; medians.

The ways run interleaved in this process: everything trains; bn1, fc, stage3 and stage4 train, and the backward pass
goes to the images for the statistics of batch normalisation; the same, with frozen layers computed forward only;
bottleneck and classifier train, everything below computes as in inference; the same on features computed before.
"""
import time

import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferNet, TransferObjective, features_block, resnet
from transfer_gluon.symbols.frozen import above_layer, frozen_below, trainable_prefixes
from transfer_gluon.training.learner import prepare

SHAPE, BATCH, REPETITIONS = (3, 224, 224), 16, 7


HEAD = ["bottleneck", "fc"]


def network(trainable=None, split=None):
    """What to call with images under `record`, and a trainer.

    `trainable`: prefixes, or None; `split`: what frozen layers compute as ("move", "inference"), "features" where they
    are not computed, None where the network is one.
    """
    net = TransferNet(features_block(resnet(50, SHAPE)), 263, bottleneck=256 if trainable == HEAD else None)
    learning = prepare(net, [mx.cpu()], trainable_prefixes(net) if trainable == "original" else trainable)
    net(mx.nd.zeros((1, *SHAPE)))
    trainer = mx.gluon.Trainer(learning, "sgd", {"learning_rate": 1e-3, "momentum": 0.9})
    if trainable and not split:
        for name, parameter in net.collect_params().items():
            if name.endswith("_beta"):
                parameter.grad_req = "write"
    if split == "features":
        return above_layer(net, "flatten0")[0], trainer
    return frozen_below(net, learning, split) if split else net, trainer


def main():
    objective = TransferObjective()
    objective.hybridize(static_alloc=True, static_shape=True)
    images, labels = mx.nd.random.uniform(0, 255, (BATCH, *SHAPE)), mx.nd.array(np.arange(BATCH))
    features = mx.nd.random.uniform(0, 1, (BATCH, 2048))
    ways = {"everything trains": (None, None), "frozen as the original, backward to the images": ("original", None),
            "frozen as the original, forward only": ("original", "move"),
            "bottleneck and classifier train": (HEAD, "inference"),
            "the same, on features computed before": (HEAD, "features")}
    ways = {name: (*network(*way), features if way[1] == "features" else images, []) for name, way in ways.items()}
    for repetition in range(REPETITIONS + 1):
        for forward, trainer, batch, seconds in ways.values():
            started = time.perf_counter()
            with mx.autograd.record():
                loss, _ = objective(*forward(batch), labels)
            loss.backward()
            trainer.step(BATCH)
            mx.nd.waitall()
            if repetition:      # the first warms up
                seconds.append(time.perf_counter() - started)
    first = np.median(next(iter(ways.values()))[-1])
    print("| step | seconds | ratio |\n| --- | --- | --- |")
    for name, (*_, seconds) in ways.items():
        print(f"| {name} | {np.median(seconds):.4f} | {first / np.median(seconds):.2f} |")


if __name__ == "__main__":
    main()
