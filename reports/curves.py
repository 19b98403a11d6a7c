"""Figures of training by epoch, each with its unit."""
import math
from dataclasses import dataclass

import numpy as np

from transfer_gluon.reports.figures import figure, svg
from transfer_gluon.training.summary import SOURCE_ACCURACY, START_TRANSFER_LOSS

_WINDOW = 5     # epochs, over which the transfer loss is smoothed, and its noise told


@dataclass(frozen=True)
class Curve:
    """One figure: a column of summaries over epochs.

    Attributes
    ----------
    column : str
    title, axis : str
        Of the figure, and its vertical axis with the unit.
    meaning : str
        What to look at.
    scale : float
        What the column is multiplied by.
    stage1 : bool
        Whether runs without a transfer loss are left out.
    """

    column: str
    title: str
    axis: str
    meaning: str
    scale: float = 1
    stage1: bool = False


CURVES = [
    Curve("loss", "Softmax loss", "loss on labelled images [nat]", "Falls, and stands still at the end."),
    Curve("transfer_loss", "Transfer loss", "loss [each method's own unit]",
          f"Thick: mean over {_WINDOW} epochs; band: ± a standard deviation within them. A fall within the band is "
          "noise. Dashed: the network that training began with, where that is known.", stage1=True),
    Curve(SOURCE_ACCURACY, "Accuracy on the source, held out", "images right [%]",
          "Should not fall while the network adapts.", 100),
    Curve("accuracy", "Accuracy on training images", "images right [%]", "High, if the source was learnt.", 100),
    Curve("validation_accuracy", "Accuracy on labelled target images", "images right [%]",
          "What counts, where it is known.", 100),
    Curve("learning_rate", "Learning rate", "learning rate [no unit]", "As it was told."),
    Curve("target_confidence", "Confidence on the target", "mean probability of the predicted class [%]",
          "Rises as the network adapts; it says nothing of who is right.", 100),
    Curve("target_entropy", "Entropy on the target", "mean entropy of predictions [nat]",
          "Falls as the network adapts."),
    Curve("target_changed", "Changed predictions", "target images [%]",
          "Target images that the network classifies otherwise than the one it began with.", 100),
    Curve("target_shares", "Class shares, source to target", "total variation [%]",
          "0: classes are predicted as often as the source has them. A rise may be a collapse into few classes.", 100),
    Curve("target_classes", "Classes in use", "classes predicted at all [%]", "A fall is a collapse into few classes.",
          100),
]
_PREVIOUS = "accuracy", SOURCE_ACCURACY     # the first only where there is nothing of the second


def smoothed(values, window=_WINDOW):
    """Running means of values and their standard deviations, over a window of epochs that is cut at both ends.

    >>> [one.tolist() for one in smoothed([1.0, 2.0, 3.0], 3)]
    [[1.5, 2.0, 2.5], [0.5, 0.816496580927726, 0.5]]
    """
    values, half = np.asarray(values, np.float64), window // 2
    parts = [values[max(place - half, 0):place + half + 1] for place in range(len(values))]
    return np.array([part.mean() for part in parts]), np.array([part.std() for part in parts])


def draw_curves(material):
    """The figures for which there are numbers: a list of (`Curve`, SVG)."""
    runs = _runs(material)
    drawn = []
    for curve in CURVES:
        lines = [(title, colour, *_line(curve, offset, rows), rows) for title, colour, offset, rows, stage1 in runs
                 if stage1 or not curve.stage1]
        lines = [line for line in lines if len(line[2])]
        if not lines or curve.column == _PREVIOUS[0] and any(one.column == _PREVIOUS[1] for one, _ in drawn):
            continue
        drawn.append((curve, _draw(curve, lines)))
    return drawn


def _runs(material):
    """(title, colour, epochs before it, lines of the summary, whether it adapts), once a run."""
    found, colours = {}, iter(range(10**6))
    for one, title, told, rows in zip(material.candidates, material.titles, material.settings, material.summaries):
        if rows and one.prefix not in found:
            stage1 = bool(told.get("train_stage")) if told else not one.is_source
            goes_on = stage1 and told.get("pretrained_model") in {other.prefix for other in material.candidates
                                                                  if other.is_source}
            offset = int(told["pretrained_epoch"]) if goes_on else 0
            colour = "C7" if one.is_source else f"C{[0, 3, 1, 2, 4, 5, 6, 8, 9][next(colours) % 9]}"
            found[one.prefix] = title, colour, offset, rows, stage1
    return list(found.values())


def _line(curve, offset, rows):
    points = [(offset + int(row["epoch"]), curve.scale * float(row[curve.column])) for row in rows
              if math.isfinite(float(row.get(curve.column, "nan")))]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _plain_numbers():
    """For a logarithmic axis; matplotlib's own are formulas, which stand as they are typed in the page."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x, pos=None):
            return f"{x:g}" if super().__call__(x, pos) else ""     # of minor ticks, those that there is room for

    return Plain()


def _draw(curve, lines):
    with figure() as drawn:
        axis = drawn.subplots()
        for title, colour, epochs, values, rows in lines:
            marker = "o" if len(epochs) == 1 else None
            if curve.column == "transfer_loss":
                mean, noise = smoothed(values)
                axis.plot(epochs, values, color=colour, linewidth=0.7, alpha=0.5)
                axis.fill_between(epochs, mean - noise, mean + noise, color=colour, alpha=0.15, linewidth=0)
                axis.plot(epochs, mean, color=colour, linewidth=2, label=title, marker=marker)
                start = float(rows[0].get(START_TRANSFER_LOSS, "nan"))
                if math.isfinite(start):
                    axis.axhline(start, color=colour, linestyle="--", linewidth=1)
            else:
                axis.plot(epochs, values, color=colour, linewidth=1.6, label=title, marker=marker)
        if curve.column == "learning_rate" and min(min(values) for *_, values, _ in lines) > 0:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(_plain_numbers())
            axis.yaxis.set_minor_formatter(_plain_numbers())
        axis.set_title(curve.title)
        axis.set_xlabel("epoch [number]")
        axis.set_ylabel(curve.axis)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(lines) <= 12:
            drawn.legend(loc="outside lower left", ncols=2)
        return svg(drawn, f"curve-{curve.column.replace('_', '-')}", f"{curve.title} by epoch")
