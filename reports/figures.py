"""Figures of matplotlib as SVG that stands in a page."""
import contextlib
import io
import re

from markupsafe import Markup

from transfer_gluon.inference.pictures import quiet

# Text stays text: it can be read aloud, searched and copied; markup in a name is escaped, and "$" begins no formula.
_STYLE = {"svg.fonttype": "none", "text.parse_math": False, "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
          "axes.spines.top": False, "axes.spines.right": False, "font.sans-serif": ["DejaVu Sans"],
          "axes.titlesize": 10, "axes.titlelocation": "left", "legend.fontsize": 8, "legend.frameon": False}


@contextlib.contextmanager
def figure(width=4.6, height=3.1, grid=True):
    """A Figure of inches to draw in, in the style of reports; figures are drawn within the block."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "axes.grid": grid}), quiet():
        yield Figure((width, height), layout="constrained")


def svg(drawn, name, title):
    """A Figure as an ``<svg>`` element.

    Parameters
    ----------
    drawn : Figure
    name : str
        Of letters, begins all ids in it, so that figures of one page do not meddle with each other.
    title : str
        What is read aloud in its place.

    Returns: Markup.

    >>> with figure() as drawn:
    ...     _ = drawn.subplots().set_xlabel("<b> [s]")
    ...     text = str(svg(drawn, "speed", "speed"))
    >>> text[:5], "&lt;b&gt; [s]" in text, 'id="speed-axes_1"' in text
    ('<svg ', True, True)
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), quiet():
        drawn.savefig(file, format="svg", transparent=True,
                      metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg "):]       # no declaration and no document type, which name addresses
    text = re.sub(r'(\sid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    return Markup(text.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(title), 1))
