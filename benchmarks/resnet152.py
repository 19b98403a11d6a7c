#!/usr/bin/env python3
"""ResNet-152 with 11221 classes at 320 × 320 on the CPU: made, cut, fine-tuned by both stages; memory and time a batch.

The checkpoint is the published one's in names and shapes, with random weights. Every training run is
`fine_tune.py` itself, in a process of its own: two updates of stage 0 and of stage 1 for each batch size given
(default 8 and 16). Takes some 10 minutes and 10 GB.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def write_checkpoint(prefix):
    """The published network with random weights, in a process of its own: this one stays small."""
    code = f"""
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import features_block, resnet
from transfer_gluon.checkpoints.checkpoint import write_checkpoint
symbol = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(resnet(152, (3, 320, 320)), num_hidden=11221, name="fc1"),
                              name="softmax")
net = features_block(symbol.get_internals()["fc1_output"])
net.initialize(mx.init.Xavier("gaussian", "in", 2))
net(mx.nd.zeros((1, 3, 320, 320)))
values = {{name: parameter.data() for name, parameter in net.collect_params().items()}}
auxiliary = symbol.list_auxiliary_states()
write_checkpoint({str(prefix)!r}, 0, symbol, {{n: v for n, v in values.items() if n not in auxiliary}},
                 {{n: values[n] for n in auxiliary}})
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def write_data(folder, images):
    """Lists of so many random images of both domains."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for i in range(images):
        file = folder / f"{i}.jpg"
        cv2.imwrite(str(file), rng.integers(0, 256, (360, 360, 3), dtype=np.uint8))
        lines.append((i, file))
    for name, label in (("source", 0), ("target", 9999)):
        (folder / f"{name}.lst").write_text("".join(f"{i}\t{label}\t{file}\n" for i, file in lines))


def train(folder, stage, prefix, batch_size, updates):
    """Run an epoch of so many updates; return seconds and the peak of memory in GB."""
    data = folder / f"data{stage}{batch_size}{updates}"
    write_data(data, batch_size * updates // (1 + stage))
    flags = ["--train-stage", stage, "--num-classes", 263, "--batch-size", batch_size, "--num-epochs", 1, "--lr", 1e-3,
             "--data-dir", data, "--no-validation", "--data-nthreads", 2, "--pretrained-model", prefix,
             "--pretrained-epoch", stage, "--model-prefix", folder / f"stage{stage}", "--overwrite"]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / "fine_tune.py", *map(str, flags)], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return time.perf_counter() - started, usage.ru_maxrss / 1e6


def main():
    batch_sizes = [int(size) for size in sys.argv[1:]] or [8, 16]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_checkpoint(folder / "resnet-152")
        size = (folder / "resnet-152-0000.params").stat().st_size / 1e6
        print(f"a checkpoint of {size:.0f} MB\n| stage | batch | seconds a batch | GB |\n| --- | --- | --- | --- |")
        for batch_size in batch_sizes:
            for stage, prefix in enumerate((folder / "resnet-152", folder / "stage0")):
                # The difference between two epochs is that of their updates: the rest is start-up.
                short, _ = train(folder, stage, prefix, batch_size, 1)
                long, memory = train(folder, stage, prefix, batch_size, 3)
                print(f"| {stage} | {batch_size} | {(long - short) / 2:.1f} | {memory:.1f} |", flush=True)


if __name__ == "__main__":
    main()
