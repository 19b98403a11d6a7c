#!/usr/bin/env python3
"""Loading a ResNet-152 checkpoint against `mx.nd.load` of its parameter file: seconds and peak memory, ratios.

Each load is a process of its own; the two take turns; medians. Loading ends with a network on the CPU that is ready
to compute; gradients, which only training needs, are not allocated.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

REPETITIONS = 7
CHILD = """
import re, sys, time
from transfer_gluon.base.framework import mx
from transfer_gluon.inference import classifier
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
mx.nd.zeros((1,)).wait_to_read()
before, started = peak(), time.perf_counter()
if sys.argv[2] == "ours":
    kept = classifier(load_checkpoint(sys.argv[1], 0), mx.cpu())
else:
    kept = mx.nd.load(sys.argv[1] + "-0000.params")
mx.nd.waitall()
print(time.perf_counter() - started, peak() - before)
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "resnet-152"
        size = _write(prefix) / 1e6
        measured = {"ours": [], "mx.nd.load": []}
        for _ in range(REPETITIONS):
            for way, results in measured.items():
                done = subprocess.run([sys.executable, "-c", CHILD, prefix, way], check=True, text=True,
                                      stdout=subprocess.PIPE)
                results.append([float(number) for number in done.stdout.split()])
    ours, plain = (np.median(results, axis=0) for results in measured.values())
    print(f"a file of {size:.0f} MB | ours | mx.nd.load | ratio\n--- | --- | --- | ---")
    for i, what in enumerate(("seconds", "MB of memory")):
        print(f"{what} | {ours[i]:.3g} | {plain[i]:.3g} | {ours[i] / plain[i]:.2f}")


def _write(prefix):
    from transfer_gluon.base.framework import mx
    from transfer_gluon.checkpoints.checkpoint import save_checkpoint
    from transfer_gluon.symbols import TransferNet, features_block, resnet
    from transfer_gluon.training.learner import prepare
    net = TransferNet(features_block(resnet(152, (3, 224, 224))), 263)
    prepare(net, [mx.cpu()])
    net(mx.nd.zeros((1, 3, 224, 224)))
    return save_checkpoint(prefix, 0, net).stat().st_size


if __name__ == "__main__":
    main()
