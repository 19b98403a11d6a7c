#!/usr/bin/env python3
"""How fast a network is used: images a second of ResNet-50, here and in PyTorch, in turns; medians.

Batches of random images of 224 × 224 on the CPU, by the ResNet-50 of torchvision and of gluoncv (v1b), in every type
that the processor computes. "not fused" is what MXNet does by itself. PyTorch's is the fastest of the ways that are
named; benchmarks/torch_resnet.py tells how each computes.
"""
import time

import click
import numpy as np
from peers import Peer, processor
from table import table

from transfer_gluon.base.framework import mx
from transfer_gluon.base.processor import has_bfloat16
from transfer_gluon.checkpoints.checkpoint import Checkpoint
from transfer_gluon.inference.classifier import inference_block
from transfer_gluon.symbols import TransferNet, features_block, new_network

PEERS = ("evaluate-float32", "evaluate-float32-fused", "evaluate-float32-channels_last-fused",
         "evaluate-float32-frozen", "evaluate-float32-compiled", "evaluate-bfloat16-channels_last-fused",
         "evaluate-bfloat16-fused")


def checkpoint(name, side):
    """A network of random weights whose statistics have seen a batch, and the block that it is."""
    net = TransferNet(features_block(new_network(name)), 263)
    net.initialize()
    for _ in range(5):
        with mx.autograd.record():
            net(mx.nd.random.uniform(0, 255, (8, 3, side, side)))[1].backward()
    symbol = net(mx.sym.var("data"))[1]
    values = {name: parameter.data() for name, parameter in net.collect_params().items()}
    auxiliary = symbol.list_auxiliary_states()
    net.collect_params().setattr("grad_req", "null")
    net.hybridize(static_alloc=True)
    return Checkpoint(name, symbol, {name: value for name, value in values.items() if name not in auxiliary},
                      {name: values[name] for name in auxiliary}), net


@click.command()
@click.option("--network", default="resnet50_v1b", help="A name of --network of fine_tune.py.")
@click.option("--batch", default=16, help="Images at a time.")
@click.option("--side", default=224, help="Of the images, in pixels.")
@click.option("--repetitions", default=5, help="Turns, besides one that warms up.")
@click.option("--seconds", default=4.0, help="Of a turn of each.")
@click.option("--peer-python", default=None, help="A Python with PyTorch, for resnet50_v1b; none: ours alone.")
def main(network, batch, side, repetitions, seconds, peer_python):
    mx.random.seed(0)
    known, plain = checkpoint(network, side)
    images = mx.nd.random.uniform(0, 255, (batch, 3, side, side))
    ours = {f"here, {dtype}": inference_block(known.symbol, known, [mx.cpu()], dtype=dtype,
                                              calibration=images.asnumpy() if dtype == "int8" else None)
            for dtype in ("float32", *(["bfloat16"] if has_bfloat16() else []), "int8")}
    ours["here, float32, not fused"] = lambda images: plain(images)[1]
    wanted = plain(images)[1].asnumpy()
    for name, net in ours.items():
        found = net(images).asnumpy()
        print(f"{name}: differs by {np.abs(found - wanted).max() / np.abs(wanted).max():.1e} of the largest score, "
              f"{(found.argmax(axis=1) == wanted.argmax(axis=1)).mean():.0%} of classes are the same")
    speeds = {}
    peer = Peer("torch_resnet.py", "--batch", batch, "--side", side, python=peer_python) if peer_python else None
    for turn in range(repetitions + 1):
        told = {}
        for name, net in ours.items():
            steps, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                net(images).wait_to_read()
                steps += 1
            told[name] = steps * batch / (time.perf_counter() - started)
        for name in PEERS if peer else ():
            told[f"PyTorch, {name[9:]}"] = peer.ask(f"run {name} {seconds}")["images_per_second"]
        for name, speed in told.items() if turn else ():
            speeds.setdefault(name, []).append(speed)
    print(f"\n{network}, batches of {batch}, {side} × {side}; {processor()}\n")
    print(table(speeds, "images/s", {"here, float32": "PyTorch, float32", "here, bfloat16": "PyTorch, bfloat16",
                                     "here, int8": "PyTorch, bfloat16"}))


if __name__ == "__main__":
    main()
