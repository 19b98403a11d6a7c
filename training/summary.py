"""``PREFIX-summary.csv``: a line an epoch, from which curves and tables are made."""
import csv
import dataclasses
from pathlib import Path

from base.files import replacing
from training.loop import EpochResult

_COLUMNS = [field.name for field in dataclasses.fields(EpochResult)]


class Summary:
    """Collects `EpochResult`s in a CSV file that is whole after every epoch.

    Parameters
    ----------
    prefix : str
        Of the checkpoints; the file is ``PREFIX-summary.csv``.
    first_epoch : int
        Epochs already done: their lines are kept, later ones are replaced.
    """

    def __init__(self, prefix, first_epoch=0):
        self.path = Path(f"{prefix}-summary.csv")
        self._rows = []
        if first_epoch and self.path.exists():
            self._rows = [row for row in read_summary(self.path) if int(row["epoch"]) <= first_epoch]

    def add(self, result):
        """Write one more line."""
        self._rows.append(dataclasses.asdict(result))
        with replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)


def read_summary(path):
    """The lines of a summary, as dicts of str to str."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
