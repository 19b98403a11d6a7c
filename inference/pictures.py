"""Pictures of how well a network does: its confusion matrix, its reliability diagram."""
import contextlib
import warnings

import numpy as np

from transfer_gluon.base.files import replacing

_LONGEST = 28       # characters of a class's name on an axis
_NUMBERS = 24       # classes up to which counts stand in the matrix
_NAMES = 400        # classes up to which every one is named
_DPI = 110


def draw_confusion(path, matrix, names):
    """Draw a confusion matrix as PNG, whole or not at all: see `confusion_figure`."""
    _save(path, confusion_figure(matrix, names))


def confusion_figure(matrix, names):
    """A confusion matrix as matplotlib's Figure: a row a true class, darker the larger the part of it.

    The picture grows with the classes, so that every name on its axes can be read, up to 400; beyond, every second, or
    third, … is named.

    Parameters
    ----------
    matrix : int array (c, c)
        As of `confusion_matrix`.
    names : sequence of str
        Of the classes.
    """
    from matplotlib.colors import PowerNorm

    classes = len(matrix)
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    numbers, step = classes <= _NUMBERS, -(-classes // _NAMES)
    cell = 0.6 if classes <= 10 else 0.42 if numbers else 0.16 / step     # inches
    short = [shortened(name, _LONGEST) for name in names]
    text = 9 if numbers else 7
    both = classes > 60     # names on both sides: rows are long
    # In inches. Places are reckoned here: matplotlib's layouts take a quarter of a minute for so many names.
    size, names_, bar = max(cell * classes, 2.4), _width(short, text), 0.15 if numbers else 0.4
    left, bottom, above = names_ + 0.5, names_ + 0.5, (names_ if both else 0) + 0.4
    behind = (names_ + 0.2 if both else 0) + 0.2
    width, height = left + size + behind + bar + 0.7, bottom + size + above
    figure = _figure((width, height))
    axis = figure.add_axes((left / width, bottom / height, size / width, size / height))
    # Of many classes, each is taken for several others, a few images each: these shall be seen, too.
    shown = axis.imshow(parts, cmap="Blues", norm=PowerNorm(1 if numbers else 0.5, 0, 1), interpolation="nearest")
    ticks = range(0, classes, step)
    axis.set_xticks(ticks, short[::step], rotation=0 if max(map(len, short)) < 3 else 90, fontsize=text,
                    parse_math=False)       # of "$" matplotlib makes formulas
    axis.set_yticks(ticks, short[::step], fontsize=text, parse_math=False)
    if not numbers:
        axis.tick_params(top=True, right=True, length=2, labeltop=both, labelright=both)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    right, images = int(np.diag(matrix).sum()), int(matrix.sum())
    axis.set_title(f"{right} of {images} right, {right / images:.1%}", fontsize=10)
    if numbers:
        for true, taken in zip(*np.nonzero(matrix)):
            axis.text(taken, true, matrix[true, taken], ha="center", va="center", fontsize=text - 1,
                      color="white" if parts[true, taken] > 0.5 else "black")
    else:
        axis.set_xticks(np.arange(-0.5, classes, 10), minor=True)
        axis.set_yticks(np.arange(-0.5, classes, 10), minor=True)
        axis.grid(which="minor", color="lightgrey", linewidth=0.4)
        axis.tick_params(which="minor", length=0)
    place = (left + size + behind) / width, bottom / height, bar / width, min(size, 4) / height
    figure.colorbar(shown, cax=figure.add_axes(place), label="part of the true class, from 0 to 1")
    return figure


def draw_reliability(path, found):
    """Draw a reliability diagram as PNG, whole or not at all: see `reliability_figure`."""
    _save(path, reliability_figure(found))


def reliability_figure(found):
    """A reliability diagram of a `Calibration` as matplotlib's Figure: accuracy by confidence, and below it how many
    images.

    A network that is right as often as it says has its bars end on the diagonal.
    """
    m = len(found.counts)
    middles = (np.arange(m) + 0.5) / m
    figure = _figure((5, 5.6), "constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.bar(middles, np.nan_to_num(found.accuracy), 1 / m, color="C0", edgecolor="black", linewidth=0.6,
              label="accuracy")
    gaps = np.nan_to_num(found.confidence - found.accuracy)
    upper.bar(middles, gaps, 1 / m, bottom=np.nan_to_num(found.accuracy), color="C3", alpha=0.35, edgecolor="C3",
              linewidth=0.6, label="to the mean confidence")
    upper.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.set_ylabel("accuracy, from 0 to 1")
    upper.set_title(f"expected calibration error {found.error:.1%}, {found.counts.sum()} images", fontsize=10)
    upper.legend(loc="upper left", fontsize=8)
    lower.bar(middles, found.counts, 1 / m, color="C7", edgecolor="black", linewidth=0.6)
    lower.set_xlabel("probability of the predicted class, from 0 to 1")
    lower.set_ylabel("number of images")
    return figure


def _width(texts, size):
    """Of the widest of some texts in a font size, in inches."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    renderer, font = RendererAgg(1, 1, 72), FontProperties(size=size)
    with quiet():
        return max(renderer.get_text_width_height_descent(text, font, False)[0] for text in texts) / 72


def shortened(name, longest):
    """A name of at most so many characters, an ellipsis in the place of what is too much.

    >>> shortened("a long name", 7), shortened("short", 7)
    ('a long…', 'short')
    """
    return name if len(name) <= longest else f"{name[:longest - 1]}…"


@contextlib.contextmanager
def quiet():
    """Say nothing of names in a script that the font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


def _figure(size, layout=None):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(size, dpi=_DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _save(path, figure):
    with replacing(path) as temporary, quiet():
        figure.savefig(temporary, format="png")
