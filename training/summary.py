"""``summary.csv``: a line an epoch, from which curves and tables are made."""
import csv
import dataclasses
import io
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, replacing


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


_COLUMNS = [field.name for field in dataclasses.fields(EpochResult)]


class Summary:
    """`EpochResult`s as the text of a CSV file.

    Parameters
    ----------
    rows : list of dict
        The epochs already done, as `read_summary` gives them.
    """

    def __init__(self, rows=()):
        self.rows = list(rows)

    def add(self, result):
        """Take in one more epoch."""
        self.rows.append(dataclasses.asdict(result))

    @property
    def text(self):
        """What the file holds; that of fewer epochs is its beginning."""
        file = io.StringIO()
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(self.rows)
        return file.getvalue()

    def write(self, path):
        """Write the file, whole or not at all. Raises: InputError when that cannot be done."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.text.encode())


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
    """The lines of a summary, as dicts of str to str. Raises: InputError when it is none, or cannot be read."""
    return summary_from_text(read_text(path), path)


def summary_from_text(text, path):
    """The lines of a summary whose text is known; `path` tells messages where it stands."""
    try:
        header, *lines = csv.reader(io.StringIO(text), strict=True)
        rows = [dict(zip(header, line)) for line in lines]
        epochs = [int(row["epoch"]) for row in rows]
        for row in rows:
            int(row["updates"])
            [float(row[name]) for name in _COLUMNS]
        whole = header == _COLUMNS and all(len(line) == len(header) for line in lines)
        if not (whole and epochs == sorted(set(epochs)) and all(epoch > 0 for epoch in epochs)):
            raise ValueError
    except (csv.Error, ValueError, KeyError):
        raise InputError(f"{path}: not the summary of a run, or damaged.") from None
    return rows
