#!/usr/bin/env python3
"""How fast a network trains: images a second of ResNet-50 with the JMMD head, here and in PyTorch, in turns; medians.

A step is forward, softmax loss of the source half, transfer loss, backward and SGD with momentum, on 16 random images
of 224 × 224, on the CPU. The network is the ResNet-50 of torchvision and of gluoncv (v1b). PyTorch's is the fastest of
the ways that are named; benchmarks/torch_resnet.py tells how each computes.
"""
import time

import click
import numpy as np
from peers import Peer, processor
from table import table

from transfer_gluon.base.framework import mx
from transfer_gluon.base.processor import has_bfloat16
from transfer_gluon.symbols import TransferNet, TransferObjective, features_block, new_network, transfer_loss
from transfer_gluon.training.learner import Learner

PEERS = ("train-float32", "train-float32-channels_last", "train-bfloat16-channels_last")


def step(dtype, side, batch, profile=None):
    """A function that takes a training step and waits for it."""
    mx.random.seed(0)
    net = TransferNet(features_block(new_network("resnet50_v1b")), 263)
    net.initialize()
    learner = Learner(net, TransferObjective(transfer_loss("jmmd")), [mx.cpu()], dtype=dtype)
    trainer = mx.gluon.Trainer(learner.learning, "sgd", {"learning_rate": 1e-4, "momentum": 0.9})
    labels = mx.nd.array([*np.arange(batch // 2), *[9999] * (batch // 2)])
    data = mx.io.DataBatch([mx.nd.random.uniform(0, 255, (batch, 3, side, side))], [labels])

    def take():
        learner.gradients(data)
        learner.update(trainer, batch)
        mx.nd.waitall()

    return take


def parts(take):
    """Milliseconds of the ten operators that take most of a step, by MXNet's profiler."""
    mx.profiler.set_config(profile_imperative=True, profile_symbolic=True, aggregate_stats=True)
    mx.profiler.set_state("run")
    take()
    mx.profiler.set_state("stop")
    rows = []
    for line in mx.profiler.dumps(reset=True).splitlines():
        words = line.split()
        if len(words) == 6 and words[1].isdigit():
            rows.append((words[0], int(words[1]), float(words[2])))
    return sorted(rows, key=lambda row: -row[2])[:10]


@click.command()
@click.option("--batch", default=16, help="Images a step.")
@click.option("--side", default=224, help="Of the images, in pixels.")
@click.option("--repetitions", default=5, help="Turns, besides one that warms up.")
@click.option("--seconds", default=6.0, help="That PyTorch gets in a turn.")
@click.option("--peer-python", default=None, help="A Python with PyTorch; none: ours alone.")
@click.option("--profile", is_flag=True, help="What takes the time of a step: set MXNET_EXEC_BULK_EXEC_TRAIN=0.")
def main(batch, side, repetitions, seconds, peer_python, profile):
    dtypes = ["float32", *(["bfloat16"] if has_bfloat16() else [])]
    ours = {f"here, {dtype}": step(dtype, side, batch) for dtype in dtypes}
    if profile:
        for name, take in ours.items():
            take()
            print(f"\n{name}\n\n| operator | calls | ms |\n| --- | --- | --- |")
            print("\n".join(f"| {operator} | {calls} | {ms:.0f} |" for operator, calls, ms in parts(take)))
        return
    speeds = {}
    peer = Peer("torch_resnet.py", "--batch", batch, "--side", side, python=peer_python) if peer_python else None
    for turn in range(repetitions + 1):
        told = {}
        for name, take in ours.items():
            started = time.perf_counter()
            take()
            told[name] = batch / (time.perf_counter() - started)
        for name in PEERS if peer else ():
            told[f"PyTorch, {name[6:]}"] = peer.ask(f"run {name} {seconds}")["images_per_second"]
        for name, speed in told.items() if turn else ():
            speeds.setdefault(name, []).append(speed)
    print(f"ResNet-50, batches of {batch}, {side} × {side}, training with JMMD; {processor()}\n")
    print(table(speeds, "images/s", {"here, float32": "PyTorch, float32", "here, bfloat16": "PyTorch, bfloat16"}))


if __name__ == "__main__":
    main()
