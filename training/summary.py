"""``summary.csv``: a line an epoch, from which curves and tables are made."""
import csv
import dataclasses
import math
from pathlib import Path

from base.files import replacing


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """What an epoch came to: means over its labelled images or its batches; accuracies from 0 to 1.

    Equal runs have equal results: time is not among them.
    """

    epoch: int
    updates: int
    learning_rate: float
    loss: float
    transfer_loss: float
    accuracy: float
    validation_accuracy: float
    validation_top_k: float


class Summary:
    """Collects `EpochResult`s in a CSV file that is whole after every epoch.

    Parameters
    ----------
    path : Path
    first_epoch : int
        Epochs already done: their lines are kept, later ones are replaced.
    """

    def __init__(self, path, first_epoch=0):
        self.path = Path(path)
        self.rows = []
        if first_epoch and self.path.exists():
            self.rows = [row for row in read_summary(self.path) if int(row["epoch"]) <= first_epoch]

    def add(self, result):
        """Write one more line."""
        self.rows.append(dataclasses.asdict(result))
        with replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(EpochResult)])
            writer.writeheader()
            writer.writerows(self.rows)


def best_epoch(rows):
    """The epoch with the highest validation accuracy, the first of equals, or None where none was validated.

    On a target domain it is chosen by looking at target labels: say so where you report it.

    >>> best_epoch([{"epoch": "1", "validation_accuracy": "0.5"}, {"epoch": "2", "validation_accuracy": "nan"}])
    1
    """
    judged = [(float(row["validation_accuracy"]), -int(row["epoch"])) for row in rows]
    judged = [pair for pair in judged if not math.isnan(pair[0])]
    return -max(judged)[1] if judged else None


def read_summary(path):
    """The lines of a summary, as dicts of str to str."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
