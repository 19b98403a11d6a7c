#!/usr/bin/env python3
"""JMMD of dalib in PyTorch, forward and backward, to compare with: `run jmmd-256 SECONDS` is answered in milliseconds.

Features of 2048 numbers and 263 classes; the linear estimate, whose paper's cost is b·d, here by a matrix of all pairs.
"""
import time
import warnings

import click
from peers import INSTALL, jmmd_of_dalib, processor, refuse, say, serve, torch_or_refuse


@click.command(context_settings=dict(show_default=True), help=__doc__.split("\n\n")[0])
@click.option("--features", default=2048)
@click.option("--classes", default=263)
@click.option("--threads", default=2)
def main(features, classes, threads):
    torch = torch_or_refuse(threads=threads)
    warnings.filterwarnings("ignore")
    transfer = jmmd_of_dalib()
    if transfer is None:
        refuse(f"dalib is not installed: {INSTALL}.")
    inputs = {}

    def run(name, seconds):
        b = int(name.removeprefix("jmmd-"))
        if b not in inputs:
            inputs[b] = [torch.randn(b, n, requires_grad=True) for n in (features, classes)]
            return run(name, 0) and run(name, seconds)      # the first warms up
        x, z = inputs[b]

        def once():
            started = time.perf_counter()
            p = torch.softmax(z, 1)
            x.grad = z.grad = None
            transfer((x[:b // 2], p[:b // 2]), (x[b // 2:], p[b // 2:])).backward()
            return 1000 * (time.perf_counter() - started)
        times, started = [], time.perf_counter()
        while not times or time.perf_counter() - started < seconds:
            times.append(once())
        return dict(milliseconds=sorted(times)[len(times) // 2], times=len(times))

    say(ready=True, torch=torch.__version__, processor=processor(), threads=threads)
    serve(run)


if __name__ == "__main__":
    main()
