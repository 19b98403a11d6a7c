#!/usr/bin/env python3
"""What the communication of distributed training costs here, against the model of docs/scaling.md.

Workers with the parameters of ResNet-50 (or of --num-layers) update them from gradients that are there already, once
in the parameter server and once alone; the difference is communication. Bytes are those that the loopback interface
counted. The model is calibrated with one worker, and then has to predict two and four.
"""
import json
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.distributed.stores import ALONE, open_store
from transfer_gluon.symbols import resnet
from transfer_gluon.tools.launch import members, run
from transfer_gluon.training.optimizers import create_optimizer
from transfer_gluon.training.schedule import StepSchedule

ROOT = Path(__file__).resolve().parent.parent


def parameters(num_layers):
    """Those of a ResNet for 224 × 224 pixels, with gradients of ones."""
    symbol = resnet(num_layers, (3, 224, 224))
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 224, 224))
    made = {}
    for name, shape in zip(symbol.list_arguments(), shapes):
        if name != "data":
            made[name] = mx.gluon.Parameter(name, shape=shape)
            made[name].initialize(init="zeros", ctx=mx.cpu())
    return made


def fastest_step(store, made, steps):
    """Seconds of the fastest update, and bytes an update that passed the loopback interface meanwhile."""
    trainer = store.trainer(made, create_optimizer("sgd", StepSchedule(1e-3)))
    times = []
    for step in range(steps + 1):
        for parameter in made.values():
            parameter.grad()[:] = 1
            parameter.data()._fresh_grad = True
        mx.nd.waitall()
        store.barrier()
        if step == 1:       # the first one also sends the parameters
            before = _loopback_bytes()
        started = time.perf_counter()
        trainer.step(1)
        mx.nd.waitall()
        times.append(time.perf_counter() - started)
    store.barrier()
    return min(times[1:]), (_loopback_bytes() - before) / steps


def _loopback_bytes():
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:"))


def work(num_layers, steps, path):
    with open_store("dist_sync") as store:
        made = parameters(num_layers)
        alone, _ = fastest_step(ALONE, made, steps)
        together, moved = fastest_step(store, made, steps)
        slowest = store.sum(np.eye(store.num_workers)[store.rank] * (together - alone)).max()
        if store.rank == 0:
            Path(path).write_text(json.dumps([alone, together, float(slowest), moved]))


@click.command(context_settings=dict(show_default=True))
@click.option("--num-layers", default=50, help="Of the ResNet.")
@click.option("--steps", default=8, help="Updates of which the fastest counts.")
@click.option("--rounds", default=2, help="Times that one, two and four workers take turns.")
@click.option("--work", "path", default=None, hidden=True)
def main(num_layers, steps, rounds, path):
    if path:
        return work(num_layers, steps, path)
    gradients = 4 * sum(int(np.prod(parameter.shape)) for parameter in parameters(num_layers).values())
    print(f"ResNet-{num_layers}: {gradients / 1e6:.1f} MB of gradients; as many servers as workers\n\n"
          "| workers | update alone [s] | in the parameter server [s] | communication [s] | model [s] | off | "
          "loopback [MB] | model [MB] | off |\n" + "| --- " * 9 + "|", flush=True)
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "result.json")
        command = [sys.executable, str(Path(__file__).resolve()), "--num-layers", str(num_layers), "--steps",
                   str(steps), "--work", str(file)]
        for _ in range(rounds):
            for workers in (1, 2, 4):
                if run(members(command, workers, workers)):
                    sys.exit(1)
                measured.setdefault(workers, []).append(json.loads(file.read_text()))
    fastest = {workers: min(results, key=lambda result: result[2]) for workers, results in measured.items()}
    rate = 2 * gradients / fastest[1][2]
    for workers, (alone, together, seconds, moved) in fastest.items():
        wanted = 2 * gradients * workers
        print(f"| {workers} | {alone:.3f} | {together:.3f} | {seconds:.3f} | {wanted / rate:.3f} | "
              f"{seconds * rate / wanted - 1:+.0%} | {moved / 1e6:.1f} | {wanted / 1e6:.1f} | "
              f"{moved / wanted - 1:+.1%} |")
    print(f"\nrate with one worker, both directions together: {rate / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
