#!/usr/bin/env python3
"""The table of the original, CNN, AdaBN, DAN, JAN and other methods, on any data, by the project's own commands."""
import csv
import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, replacing, writable_folder
from transfer_gluon.iters.image_list import read_list
from transfer_gluon.symbols.registry import TRANSFER_LOSSES
from transfer_gluon.training.summary import read_summary

HERE = Path(__file__).resolve().parent
ORIGINAL_STAGE0 = "--lr 0.01 --lr-step-epochs 10,16 --num-epochs 18 --lr-factor 0.1 --batch-size 64"
ORIGINAL_STAGE1 = "--lr 0.0001 --lr-step-epochs 6,8,10,12 --num-epochs 14 --lr-factor 0.5 --batch-size 64"
METHODS = {     # name in files: name in the table, published accuracy on cars in percent
    "cnn": ("CNN (no transfer)", 68.7),
    "adabn": ("AdaBN", 71.6),
    "dan": ("DAN (MMD)", 73.7),
    "jan": ("JAN (JMMD)", 78.9),
}
TITLES = {"coral": "Deep CORAL", "dann": "DANN", "jmmd": "JAN", "mmd": "DAN"}      # of --also; others by their name


@dataclass(frozen=True)
class Trial:
    """One command of one seed: its row in the table, what is called, where it writes, which file says that it is
    done, and which lists it reads, by name and digest."""

    method: str
    title: str
    seed: int
    command: tuple
    prefix: Path
    done: Path
    lists: dict

    @property
    def log(self):
        """Path of the file that holds what the command said."""
        return Path(f"{self.prefix}.log")


@click.command(cls=Command, context_settings=CONTEXT)
@click.option("--data-dir", type=FOLDER, default="./data", help="Folder with source.lst, target.lst and val.lst.")
@click.option("--num-classes", type=click.IntRange(min=1), required=True, help="Number of classes.")
@click.option("--gpus", default=None, help="Numbers of the GPUs to train on, such as 0,1,2,3.  [default: the CPU]")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="How often everything is repeated.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Commands that run at the same time.")
@click.option("--output", type=FOLDER, default=None,
              help="Folder for checkpoints, logs, table, CSV and picture.  [default: runs/ and the name of --data-dir]")
@click.option("--stage0", default=ORIGINAL_STAGE0, help="Flags of fine_tune.py in stage 0.")
@click.option("--stage1", default=ORIGINAL_STAGE1, help="Flags of fine_tune.py in stage 1.")
@click.option("--common", default="", help="Flags of fine_tune.py in both stages.")
@click.option("--adabn", default="", help="Flags of adabn.py.")
@click.option("--also", type=(click.Choice(list(TRANSFER_LOSSES)), str), multiple=True, metavar="NAME FLAGS",
              help="One more row: the transfer loss NAME, and flags of its own behind those of --stage1, such as: dann "
                   "'--transfer-weight 8', or: coral ''. May be given several times, once for each loss.")
def main(data_dir, num_classes, gpus, seeds, jobs, output, stage0, stage1, common, adabn, also):
    """Run the four rows of the published table on --data-dir, and more if you like, over several seeds.

    The default flags are the original's. Finished commands are not run again: delete the output folder
    to start over. Accuracies are those of the last epoch; none is chosen by looking at target labels.
    """
    from tqdm import tqdm

    output = Path(output or Path("runs") / Path(data_dir).resolve().name)
    writable_folder(output / "table.md", "output")
    flags = {name: _words(name, text) for name, text in (("stage0", stage0), ("stage1", stage1), ("common", common),
                                                         ("adabn", adabn))}
    if len({name for name, _ in also}) < len(also):
        raise InputError("--also was given twice for one transfer loss; give each once.")
    also = {name: _words("also", text) for name, text in also}
    lists = {name: read_list(Path(data_dir) / name, num_classes) for name in ("source.lst", "target.lst", "val.lst")}
    if not lists["val.lst"].labelled.any():
        raise InputError(f"{lists['val.lst'].path}: no image has a label, so there are no accuracies for a table.")
    lists = {name: images.digest for name, images in lists.items()}
    first, second = plan(output, data_dir, lists, num_classes, gpus, seeds, also=also, **flags)
    with tqdm(total=len(first + second), unit=" runs", disable=None) as bar, ThreadPoolExecutor(jobs) as pool:
        for stage in (first, second):
            futures = [pool.submit(execute, run, bar) for run in stage]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    results, titles = {method: [] for method in [*METHODS, *also]}, {}
    for run in first + second:
        results[run.method].append(accuracy(run))
        titles[run.method] = run.title
    text = table(results, Path(data_dir).resolve().name, titles)
    with replacing(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_csv(output / "results.csv", first + second)
    draw(output / "curves.png", first + second, data_dir)
    print(f"{text}\n{output / 'table.md'}, {output / 'results.csv'}, {output / 'curves.png'}")


def _words(name, text):
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"--{name} is {text!r}, which cannot be cut into words: {error}.") from None


def plan(output, data_dir, lists, num_classes, gpus, seeds, stage0, stage1, common, adabn, also=None):
    """The commands of all seeds: those of stage 0, and those that go on from their checkpoints. Flags are words;
    `also` gives those of further transfer losses by their names."""
    first, second = [], []
    gpu = gpus.split(",")[0] if gpus else None
    for seed in range(seeds):
        def train(name, flags, seed=seed):
            prefix = output / f"seed{seed}" / name
            command = ["fine_tune.py", "--data-dir", data_dir, "--num-classes", num_classes, "--seed", seed,
                       "--model-prefix", prefix, "--resume", *(["--gpus", gpus] if gpus else []),
                       *common, *flags]
            epochs = last_epoch(command)
            own = " ".join((also or {}).get(name, ()))
            said = METHODS[name][0] if name in METHODS else TITLES.get(name, name) + (own and f", {own}")
            return Trial(name, said, seed, tuple(map(str, command)), prefix, Path(f"{prefix}-{epochs:04d}.params"),
                         lists), epochs

        cnn, epochs = train("cnn", ["--train-stage", 0, *stage0])
        first.append(cnn)
        start = ["--train-stage", 1, "--pretrained-model", cnn.prefix, "--pretrained-epoch", epochs, *stage1]
        prefix = output / f"seed{seed}" / "adabn"
        command = ["adabn.py", "--model", cnn.prefix, "--epoch", epochs, "--val", Path(data_dir) / "val.lst",
                   *(["--gpu", gpu] if gpu else []), *adabn]
        second += [Trial("adabn", METHODS["adabn"][0], seed, tuple(map(str, command)), prefix, Path(f"{prefix}.log"),
                         lists),
                   train("dan", ["--use-dan", *start])[0], train("jan", start)[0],
                   *(train(name, ["--transfer", name, *start, *own])[0] for name, own in (also or {}).items())]
    return first, second


def last_epoch(command):
    """The value of --num-epochs in a command of fine_tune.py."""
    if "--num-epochs" not in command[:-1]:
        raise InputError("--stage0 and --stage1 need --num-epochs, written with a space before the number.")
    value = command[len(command) - 1 - command[::-1].index("--num-epochs") + 1]
    if not str(value).isdigit():
        raise InputError(f"--num-epochs is {value!r}; expected a number.")
    return int(value)


def execute(run, bar):
    """Run a command unless it was finished before with these lists; what it says goes to its log."""
    made_of = {"command": shlex.join(run.command), "lists": run.lists}
    record = Path(f"{run.prefix}.made-of.json")
    said = f"seed {run.seed}, {run.title}"
    if run.done.exists() and _read(record) == made_of:
        bar.write(f"{said}: done before, {accuracy(run):.2f} %", file=sys.stderr)
        bar.update()
        return
    started = time.monotonic()
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    script, *flags = run.command
    with open(run.log, "w") as log:
        code = subprocess.run([sys.executable, HERE / script, *flags], stdout=log, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL).returncode
    if code:
        raise InputError(f"{said}: ended with exit code {code}. Its last words, from {run.log}:\n"
                         + "\n".join(read_text(run.log).splitlines()[-5:]))
    with replacing(record) as temporary:
        temporary.write_text(json.dumps(made_of))
    bar.write(f"{said}: {accuracy(run):.2f} % in {time.monotonic() - started:.0f} s", file=sys.stderr)
    bar.update()


def _read(record):
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError):
        return None


def accuracy(run):
    """Accuracy on val.lst after the last epoch, in percent."""
    if run.method == "adabn":
        said = re.search(r"([\d.]+)% after", read_text(run.log))
        if not said:
            raise InputError(f"{run.log}: tells no accuracy; see what it says, and delete it to run the command again.")
        return float(said[1])
    return 100 * float(read_summary(f"{run.prefix}-run/summary.csv")[-1]["validation_accuracy"])


def table(results, name, titles):
    """The results as a Markdown table: mean ± standard deviation over the seeds, the published figures beside them.

    >>> print(table({"cnn": [50.0, 54.0], "dan": [70.0, 70.0], "coral": [75.0, 75.0]}, "mine",
    ...             {"cnn": "CNN", "dan": "DAN", "coral": "Deep CORAL, --transfer-weight 9"}))
    | method | mine, 2 seeds | gain over CNN | published (cars) |
    | --- | --- | --- | --- |
    | CNN | 52.0 ± 2.8 % | | 68.7 % |
    | DAN | 70.0 ± 0.0 % | +18.0 ± 2.8 | 73.7 % |
    | Deep CORAL, --transfer-weight 9 | 75.0 ± 0.0 % | +23.0 ± 2.8 | |
    <BLANKLINE>
    """
    seeds = len(results["cnn"])
    lines = [f"| method | {name}, {seeds} seed{'s' * (seeds > 1)} | gain over CNN | published (cars) |",
             "| --- | --- | --- | --- |"]
    for method, values in results.items():
        gains = [value - base for value, base in zip(values, results["cnn"])]
        gain = "" if method == "cnn" else f"{_mean_sd(gains, '+.1f')} "
        published = f" {METHODS[method][1]} %" if method in METHODS else ""
        lines.append(f"| {titles[method]} | {_mean_sd(values, '.1f')} % | {gain}|{published} |")
    return "\n".join(lines) + "\n"


def _mean_sd(values, form):
    mean = format(statistics.mean(values), form)
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def write_csv(path, runs):
    """A line a run: method, seed, accuracy in percent, the command that gave it."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "seed", "accuracy_percent", "command"])
        writer.writerows([run.method, run.seed, f"{accuracy(run):.4f}", shlex.join(run.command)] for run in runs)


def draw(path, runs, data_dir):
    """Sample images of both domains, and accuracy and losses by epoch; thin lines are seeds, thick ones their mean."""
    import cv2
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(13, 8), layout="constrained")
    samples, curves = figure.subfigures(2, 1, height_ratios=(1, 2.6))
    for row, (axes, name) in enumerate(zip(samples.subplots(2, 12), ("source.lst", "target.lst"))):
        images = read_list(Path(data_dir) / name)
        step = max(len(images) // 12, 1)
        for axis, file in zip(axes, images.files[::step]):
            image = cv2.imread(file)
            if image is not None:
                axis.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        for axis in axes:
            axis.set_axis_off()
        axes[0].set_title(f"{('source', 'target')[row]} images", loc="left", fontsize=10)
    plots = dict(zip(("validation_accuracy", "loss", "transfer_loss"), curves.subplots(1, 3)))
    titles = {"validation_accuracy": "accuracy on val.lst [%]", "loss": "softmax loss on labelled images [nat]",
              "transfer_loss": "transfer loss, each in its own units"}
    further = dict.fromkeys(run.method for run in runs if run.method not in METHODS)
    colours = {"cnn": "C7", "dan": "C0", "jan": "C3", **dict(zip(further, ["C1", "C4", "C5", "C6", "C8", "C9"] * 9))}
    for method, colour in colours.items():
        epochs = [read_summary(f"{run.prefix}-run/summary.csv") for run in runs if run.method == method]
        offset = 0 if method == "cnn" else last_epoch(next(run for run in runs if run.method == "cnn").command)
        for column, axis in plots.items():
            if column == "transfer_loss" and method == "cnn":
                continue
            scale = 100 if column == "validation_accuracy" else 1
            lines = [[scale * float(row[column]) for row in rows] for rows in epochs]
            x = [offset + int(row["epoch"]) for row in epochs[0]]
            for line in lines:
                axis.plot(x, line, color=colour, linewidth=0.7, alpha=0.6)
            axis.plot(x, [statistics.mean(values) for values in zip(*lines)], color=colour, linewidth=2,
                      label=next(run.title for run in runs if run.method == method))
    adabn = [accuracy(run) for run in runs if run.method == "adabn"]
    plots["validation_accuracy"].axhline(statistics.mean(adabn), color="C2", linestyle="--", label=METHODS["adabn"][0])
    plots["transfer_loss"].axhline(0, color="black", linewidth=0.7)
    for column, axis in plots.items():
        axis.set_xlabel("epoch (stage 1 follows stage 0)")
        axis.set_title(titles[column], fontsize=10)
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    exit_codes(main)()
