#!/usr/bin/env python3
"""What adaptation costs beside the network: shares of a step's time and memory, and JMMD against JMMD by pairs.

A step is ResNet-50's on 16 images of 224 × 224, half of them source, with 263 classes. The step of `fit`, the bare
forward, backward and update, and the heads take turns, on the CPU; medians. Peaks of memory are those of processes of
their own. JMMD by pairs is ours, as a reader of the paper would write it, and dalib's in PyTorch, where it is there.
"""
import importlib.util
import os
import subprocess
import sys
import time

import click
import numpy as np
from peers import INSTALL, Peer, processor

from transfer_gluon.base.framework import mx
from transfer_gluon.iters import DualIter, SyntheticIter
from transfer_gluon.symbols import (
    TRANSFER_LOSSES,
    JMMDLoss,
    TransferNet,
    TransferObjective,
    features_block,
    resnet,
    transfer_loss,
)
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule

FEATURES, CLASSES, BATCH = 2048, 263, 16


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


def inputs(b, features=FEATURES):
    """Random features and logits of b images, which take gradients."""
    x, z = mx.nd.random.normal(shape=(b, features)), mx.nd.random.normal(shape=(b, CLASSES))
    x.attach_grad()
    z.attach_grad()
    return x, z


def milliseconds(head, x, *others):
    """Forward and backward of a head, once."""
    started = time.perf_counter()
    with mx.autograd.record():
        loss = head(x, *others)
        loss = loss[0] if isinstance(loss, (list, tuple)) else loss
    loss.backward()
    x.grad.wait_to_read()
    return 1000 * (time.perf_counter() - started), loss.asscalar()


class Turns(mx.io.DataIter):
    """An epoch for `fit`, between whose batches others take turns; what it took from a batch to the next is `times`.

    Whatever `fit` does in a step counts: it ends when all it has queued is done, so that nothing hides behind
    computing. Only reading, which is another matter, does not.
    """

    WARM_UP = 2

    def __init__(self, batches, steps, others):
        super().__init__(batches.batch_size)
        self.provide_data, self.provide_label = batches.provide_data, batches.provide_label
        self.batches_per_epoch = self._left = steps + self.WARM_UP
        self._batch, self._others = batches.next(), others
        self.times = {name: [] for name in ["fit", *others]}

    def set_epoch(self, epoch):
        pass

    def skip(self, count):
        pass

    def next(self):
        mx.nd.waitall()
        if self._left < self.batches_per_epoch:
            self.times["fit"].append(time.perf_counter() - self._given)
        if not self._left:
            raise StopIteration
        for name, other in self._others.items():
            started = time.perf_counter()
            other()
            mx.nd.waitall()
            self.times[name].append(time.perf_counter() - started)
        self._left -= 1
        self._given = time.perf_counter()
        return self._batch

    def median(self, name):
        return float(np.median(self.times[name][self.WARM_UP:]))

    def median_difference(self, name, other):
        """Of steps that followed each other, which is steadier than the difference of medians."""
        return float(np.median(np.subtract(self.times[name], self.times[other])[self.WARM_UP:]))


def made(layers, side, transfer="jmmd"):
    """A network, a stage 1's objective and batches."""
    shape = (3, side, side)
    net = TransferNet(features_block(resnet(layers, shape)), CLASSES)
    objective = TransferObjective(transfer_loss(transfer) if transfer else None)
    synthetic = [SyntheticIter(BATCH // 2, shape, CLASSES) for _ in range(2)]
    return net, objective, DualIter(*synthetic)


def train(net, objective, batches):
    """One epoch of `fit`, as stage 1 runs it, without checkpoints."""
    return fit(net, objective, batches, [mx.cpu()], StepSchedule(1e-4), 1, disp_batches=10)


def take_turns(layers, side, steps):
    """Seconds of a step of `fit`, of a bare one, and of the heads alone."""
    net, objective, batches = made(layers, side)
    batch = batches.next()
    trainer = []

    def bare():
        if not trainer:     # `fit` has initialised the network by now
            trainer.append(mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1e-4, "momentum": 0.9},
                                            kvstore=None))
        with mx.autograd.record():
            loss, _ = objective(*net(batch.data[0]), batch.label[0])
        loss.backward()
        trainer[0].step(BATCH)

    x, z = inputs(BATCH, 512 if layers < 50 else FEATURES)
    head = TransferObjective(transfer_loss("jmmd"))
    head.initialize()
    head.hybridize(static_alloc=True, static_shape=True)
    turns = Turns(batches, steps, {"bare": bare, "head": lambda: milliseconds(head, x, z, batch.label[0])})
    train(net, objective, turns)
    return turns


def peak_of_memory(*flags):
    """The largest resident size, in MB, of a process of its own that trains."""
    process = subprocess.Popen([sys.executable, __file__, *map(str, flags)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss / 1024


def compare_heads(sizes, repetitions):
    """Print milliseconds of every loss and of JMMD by pairs, for batches of each of `sizes`; the last ratio."""
    heads = {name: transfer_loss(name) for name in TRANSFER_LOSSES}
    heads["quadratic jmmd"] = JMMDLoss(estimate="quadratic")
    for head in heads.values():
        head.initialize()
        head.hybridize(static_alloc=True, static_shape=True)
    print(f"| images on a device | {' | '.join(f'{name} [ms]' for name in heads)} | jmmd per pair [ms] | ratio |")
    print("| --- " * (len(heads) + 3) + "|")
    for b in sizes:
        x, z = inputs(b)
        times = {name: [] for name in [*heads, "pairs"]}
        for repetition in range(repetitions + 1):
            # Each twice in a row, and the second counts: the first pays for what ran before it.
            found = {name: [milliseconds(head, x, z) for _ in range(1 if name == "pairs" else 2)][-1]
                     for name, head in {**heads, "pairs": per_pair}.items()}
            assert abs(found["jmmd"][1] - found["pairs"][1]) < 1e-4
            if repetition:      # the first warms up
                for name, (taken, _) in found.items():
                    times[name].append(taken)
        medians = {name: np.median(values) for name, values in times.items()}
        ours = " | ".join(f"{medians[name]:.2f}" for name in heads)
        print(f"| {b} | {ours} | {medians['pairs']:.1f} | {medians['pairs'] / medians['jmmd']:.1f} |", flush=True)
    return medians["jmmd"], medians["pairs"]


def against_dalib(b, repetitions, python):
    """Milliseconds of our JMMD and of dalib's, in turns."""
    head, (x, z) = transfer_loss("jmmd"), inputs(b)
    head.hybridize(static_alloc=True, static_shape=True)
    ours, theirs = [], []
    with Peer("torch_heads.py", python=python) as peer:
        for _ in range(repetitions + 1):
            ours.append([milliseconds(head, x, z)[0] for _ in range(2)][-1])
            theirs.append(peer.ask(f"run jmmd-{b} 0.1")["milliseconds"])
    return float(np.median(ours[1:])), float(np.median(theirs[1:]))


@click.command(context_settings=dict(show_default=True), help=__doc__.split("\n\n")[0])
@click.option("--steps", default=12, help="Training steps that are timed.")
@click.option("--repetitions", default=7, help="Of the losses alone.")
@click.option("--peer-python", help="A Python that has torch and dalib. [default: this one]")
@click.option("--quick", is_flag=True, help="Small networks and batches: whether it runs, not what it takes.")
@click.option("--memory", type=click.Choice(["jmmd", "softmax"]), hidden=True)
def main(steps, repetitions, peer_python, quick, memory):
    layers, side, sizes = (18, 64, (8, 16)) if quick else (50, 224, (8, 16, 64, 256))
    if quick:
        steps, repetitions = 2, 1
    if memory:
        net, objective, batches = made(layers, side, transfer="jmmd" if memory == "jmmd" else None)
        return train(net, objective, Turns(batches, 1, {}))
    print(f"{processor()}; ResNet-{layers} at {side} × {side}, {BATCH} images a step\n")
    least, many = ["--quick"] * quick, sizes[-1]
    jmmd, pairs = compare_heads(sizes, repetitions)
    rows = [("jmmd per pair, in MXNet", pairs, f"jmmd, {many} images", jmmd, "≥ 10")]
    if peer_python or importlib.util.find_spec("dalib"):
        jmmd, peers = against_dalib(many, repetitions, peer_python)
        rows.append(("jmmd of dalib, in PyTorch", peers, f"jmmd, {many} images", jmmd, "≥ 10"))
    else:
        print(f"\nJMMD of dalib is left out, which is not installed: {INSTALL}.")
    turns = take_turns(layers, side, steps)
    bare = 1000 * turns.median("bare")
    rows += [("softmax and jmmd", 1000 * turns.median("head"), "a bare step", bare, "≤ 0.01"),
             ("the loop: `fit` less a bare step", 1000 * turns.median_difference("fit", "bare"), "a bare step", bare,
              "≤ 0.03")]
    print("\n| what | ms | against | ms | ratio | bar |\n| --- | --- | --- | --- | --- | --- |")
    for what, its, other, others, bar in rows:
        print(f"| {what} | {its:.2f} | {other} | {others:.2f} | {its / others:.3g} | {bar} |")
    peaks = {name: min(peak_of_memory("--memory", name, *least) for _ in range(1 if quick else 3))
             for name in ("jmmd", "softmax")}
    print("\n| peak of memory of | MB | against | MB | ratio | bar |\n| --- | --- | --- | --- | --- | --- |")
    print(f"| a step of stage 1 | {peaks['jmmd']:.0f} | softmax alone | {peaks['softmax']:.0f} | "
          f"{peaks['jmmd'] / peaks['softmax']:.3f} | ≤ 1.05 |")


if __name__ == "__main__":
    main()
