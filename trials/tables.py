"""What trials came to, as Markdown tables and CSV files."""
import csv
import math
import shlex
import statistics

from transfer_gluon.base.files import replacing
from transfer_gluon.training.summary import SOURCE_ACCURACY, first_best, read_summary
from transfer_gluon.trials.methods import METHODS
from transfer_gluon.trials.trial import accuracy


def table(results, name, titles, published=False):
    """The results as a Markdown table: mean ± standard deviation over the seeds, and, where they are `published`, what
    the original's were on cars.

    >>> print(table({"cnn": [50.0, 54.0], "dan": [70.0, 70.0], "coral": [75.0, 75.0]}, "mine",
    ...             {"cnn": "CNN", "dan": "DAN", "coral": "Deep CORAL, --transfer-weight 9"}, published=True))
    | method | mine, 2 seeds | gain over CNN | published (cars) |
    | --- | --- | --- | --- |
    | CNN | 52.0 ± 2.8 % | | 68.7 % |
    | DAN | 70.0 ± 0.0 % | +18.0 ± 2.8 | 73.7 % |
    | Deep CORAL, --transfer-weight 9 | 75.0 ± 0.0 % | +23.0 ± 2.8 | |
    <BLANKLINE>
    """
    lines = [f"| method | {name}, {_seeds(results['cnn'])} | gain over CNN |{' published (cars) |' * published}",
             f"| --- | --- | --- |{' --- |' * published}"]
    for method, values in results.items():
        gains = [value - base for value, base in zip(values, results["cnn"])]
        gain = "" if method == "cnn" else f"{mean_sd(gains, '+.1f')} "
        beside = f" {METHODS[method][1]} % |" if method in METHODS else " |"
        lines.append(f"| {titles[method]} | {mean_sd(values, '.1f')} % | {gain}|{beside * published}")
    return "\n".join(lines) + "\n"


def pair_table(results, name):
    """Accuracies on the target by pairs of domains, and their mean, as a Markdown table: mean ± standard deviation
    over the seeds.

    Parameters
    ----------
    results : dict
        From (source, target) to a list, a pair of numbers a seed: accuracy of the last epoch, and of the best by
        source validation, in percent; the second NaN where no part of the source was held out.
    name : str

    >>> print(pair_table({("a", "b"): [(50.0, 54.0), (52.0, 54.0)], ("b", "a"): [(70.0, 70.0), (68.0, 72.0)]}, "mine"))
    | mine, 2 seeds | last epoch | best by source validation |
    | --- | --- | --- |
    | a → b | 51.0 ± 1.4 % | 54.0 ± 0.0 % |
    | b → a | 69.0 ± 1.4 % | 71.0 ± 1.4 % |
    | mean of 2 pairs | 60.0 ± 0.0 % | 62.5 ± 0.7 % |
    <BLANKLINE>
    """
    lines = [f"| {name}, {_seeds(next(iter(results.values())))} | last epoch | best by source validation |",
             "| --- | --- | --- |"]
    rows = {f"{source} → {target}": seeds for (source, target), seeds in results.items()}
    rows[f"mean of {len(results)} pairs"] = [tuple(map(statistics.mean, zip(*pairs))) for pairs in zip(*rows.values())]
    for title, seeds in rows.items():
        cells = ["" if any(map(math.isnan, values)) else f"{mean_sd(values, '.1f')} % " for values in zip(*seeds)]
        lines.append(f"| {title} | {'| '.join(cells)}|")
    return "\n".join(lines) + "\n"


def _seeds(values):
    return f"{len(values)} seed{'s' * (len(values) > 1)}"


def mean_sd(values, form):
    """Mean ± standard deviation, the mean in a format such as ``.1f``; of one value that alone."""
    mean = format(statistics.mean(values), form)
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def last_and_best(rows):
    """The last line of a summary, and that with the highest accuracy on the part of the source that was held out, the
    first of equals; None where there was no such part. No target label has a say in either.

    >>> last_and_best([{"epoch": "1", "source_accuracy": "0.5"}, {"epoch": "2", "source_accuracy": "0.5"}])
    ({'epoch': '2', 'source_accuracy': '0.5'}, {'epoch': '1', 'source_accuracy': '0.5'})
    """
    return rows[-1], first_best(rows, lambda row: float(row.get(SOURCE_ACCURACY, math.nan)))


def pair_accuracies(run):
    """What a trial of a pair came to, in percent: see `pair_table`."""
    return tuple(100 * float(row["validation_accuracy"]) if row else math.nan
                 for row in last_and_best(read_summary(run.summary)))


def write_csv(path, runs):
    """A line a run: method, seed, accuracy in percent, the command that gave it."""
    _write(path, ["method", "seed", "accuracy_percent", "command"],
           ([run.method, run.seed, f"{accuracy(run):.4f}", shlex.join(run.command)] for run in runs))


def write_pair_csv(path, runs):
    """A line a run: method, pair, seed, the last epoch and the best by source validation, each with its accuracy on the
    target in percent, and the command that gave it. What there is not is empty."""
    def line(run):
        figures = []
        for row, value in zip(last_and_best(read_summary(run.summary)), pair_accuracies(run)):
            figures += [row["epoch"], f"{value:.4f}"] if row else ["", ""]
        return [run.method, *run.pair, run.seed, *figures, shlex.join(run.command)]

    _write(path, ["method", "source", "target", "seed", "last_epoch", "last_accuracy_percent", "best_epoch",
                  "best_accuracy_percent", "command"], map(line, runs))


def _write(path, header, lines):
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
