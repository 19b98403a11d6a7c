"""``summary.csv``: a line an epoch, from which curves and tables are made."""
import csv
import dataclasses
import io
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, replacing


@dataclasses.dataclass(frozen=True)
class EpochResult:
    """What an epoch came to: means over its labelled images or its batches; accuracies from 0 to 1, or NaN.

    Equal runs have equal results: time is not among them. `others` are further figures by their names: statistics of
    the transfer loss, and what items after an epoch tell; each is a column of the summary.
    """

    epoch: int
    updates: int
    learning_rate: float
    loss: float
    transfer_loss: float
    accuracy: float
    validation_accuracy: float = math.nan
    validation_top_k: float = math.nan
    others: dict = dataclasses.field(default_factory=dict)


COLUMNS = [field.name for field in dataclasses.fields(EpochResult) if field.name != "others"]


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
        """Take in one more epoch. Further figures that it has and others have not, or the other way, are NaN there."""
        row = dataclasses.asdict(result)
        row.update(row.pop("others"))
        names = list(dict.fromkeys([*(self.rows[0] if self.rows else ()), *row]))
        self.rows = [{name: one.get(name, math.nan) for name in names} for one in [*self.rows, row]]

    def results(self):
        """The epochs as `EpochResult`s."""
        return [EpochResult(int(row["epoch"]), int(row["updates"]), *(float(row[name]) for name in COLUMNS[2:]),
                            others={name: float(row[name]) for name in row if name not in COLUMNS})
                for row in self.rows]

    @property
    def text(self):
        """What the file holds; that of fewer epochs is its beginning, unless further figures have come since."""
        file = io.StringIO()
        writer = csv.DictWriter(file, list(self.rows[0]) if self.rows else COLUMNS)
        writer.writeheader()
        writer.writerows(self.rows)
        return file.getvalue()

    def write(self, path):
        """Write the file, whole or not at all. Raises: InputError when that cannot be done."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.text.encode())


# The accuracy on the part of the source that was held out, among the further figures of an epoch.
SOURCE_ACCURACY = "source_accuracy"
# The transfer loss of the network that the training began with, likewise.
START_TRANSFER_LOSS = "start_transfer_loss"


def score_column(name):
    """What the summary calls a score."""
    return f"score_{name}"


def judged_by(result, by=None):
    """What an epoch is chosen by: the score of a name; without one, the accuracy on the source's held-out part where
    there is one, else the validation's. NaN where there is none of it."""
    if by:
        return result.others.get(score_column(by), math.nan)
    return result.others.get(SOURCE_ACCURACY, result.validation_accuracy)


def first_best(items, figure):
    """The item whose `figure` (a function of it) is highest, the first of equals; None where all figures are NaN."""
    return max((item for item in items if not math.isnan(figure(item))), key=figure, default=None)


def best_result(results, by=None):
    """The `EpochResult` with the highest accuracy, or score of the name `by`, the first of equals, or None where none
    was judged.

    It is the source's held-out part that judges, or else the validation: on a target domain that is to choose by
    looking at target labels; say so where you report it.

    >>> one, two = (EpochResult(epoch, 9, 0.1, 1.0, 0.0, 0.5, validation_accuracy=0.5 * epoch) for epoch in (1, 2))
    >>> best_result([one, two]).epoch
    2
    >>> one.others["source_accuracy"] = two.others["source_accuracy"] = 0.9
    >>> best_result([one, two]).epoch
    1
    """
    return first_best(results, lambda result: judged_by(result, by))


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
            [float(row[name]) for name in header]
        whole = header[:len(COLUMNS)] == COLUMNS and len(set(header)) == len(header) \
            and all(len(line) == len(header) for line in lines)
        if not (whole and epochs == sorted(set(epochs)) and all(epoch > 0 for epoch in epochs)):
            raise ValueError
    except (csv.Error, ValueError, KeyError):
        raise InputError(f"{path}: not the summary of a run, or damaged.") from None
    return rows
