"""The page itself: sections in the order in which a person reads them, put into ``page.html.j2``."""
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from transfer_gluon import __version__
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import reading, replacing
from transfer_gluon.inference.calibration import calibration, log_softmax
from transfer_gluon.inference.confusion import recalls
from transfer_gluon.inference.pictures import confusion_figure, reliability_figure
from transfer_gluon.reports import classes as by_class
from transfer_gluon.reports.curves import draw_curves
from transfer_gluon.reports.embedding import IMAGES, draw_embeddings
from transfer_gluon.reports.figures import figure, svg
from transfer_gluon.reports.samples import Picture, augmentation_of, augmented, data_uri, pixels_of, spread
from transfer_gluon.reports.verdict import verdict

_MADE = b'<footer><p class="made">Made by transfer-gluon '      # at the end of every page
_MATRIX = 40        # classes up to which a confusion matrix is shown
_EXTREMES = 12      # most and least confident images


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    name : str
        Its anchor.
    title : str
    text : list of str
        Sentences before the figures: what there is to see, or why there is nothing.
    figures : list of (Markup, str)
        SVG, and what to look at.
    rows : list of (str, list of Picture)
        Images, with what they are.
    pairs : list of (str, str, int)
        True class, predicted class, images.
    """

    name: str
    title: str
    text: list = field(default_factory=list)
    figures: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    pairs: list = field(default_factory=list)


def write_report(path, material, again, title=None, called=lambda script: f"python {script}", seed=0):
    """Write the report on a `Material` as one HTML file, whole or not at all. Nothing in it is fetched from anywhere.

    Parameters
    ----------
    path : str or Path
    material : Material
    again : sequence of str
        The words of the command that makes this report, but for the script.
    title : str or None
        None: the names of the networks.
    called : callable
        From a script to how one calls it.
    seed : int
        Of the plane that shows both domains.

    Returns: `Verdict`.

    Raises: InputError when the file cannot be written, or is there and no report.
    """
    refuse_others(path)
    found = verdict(material, again, called)
    text = _environment().get_template("page.html.j2").render(
        title=title or _title(material), about=_about(material), verdict=found, table=_table(material, found),
        order=_in_which_order(material), notes=material.notes, sections=list(_sections(material, found, seed)),
        version=__version__, made=time.strftime("%Y-%m-%d %H:%M"))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return found


def refuse_others(path):
    """Raise InputError where a file is there that is no report; a report is made anew."""
    with reading(path):
        if Path(path).exists() and _MADE not in Path(path).read_bytes():
            raise InputError(f"{path}: is there already, and no report. Give `out` another name, or move it away.",
                             "out", str(path), "a new file, or a report")


def _environment():
    return Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)


def _title(material):
    others = [title for one, title in zip(material.candidates, material.titles) if not one.is_source]
    return f"Report on {', '.join(others or material.titles)}"


def _about(material):
    """What this is all about, for who comes by."""
    source = f" ({material.source.path})" if material.source is not None else ""
    images = material.target if material.target is not None else material.val
    target = f" ({images.path})" if images is not None else ""
    return f"Image classifiers of {len(material.classes)} classes, learnt from labelled source images{source} and to " \
           f"be used on target images of another kind{target}. Which one is best there, and can it be relied on?"


def _sections(material, found, seed):
    """Those of the page, one after the other."""
    use = found.place if found.place is not None else len(material.candidates) - 1
    yield _training(material)
    if material.target is None and material.val is None:
        yield Section("images", "Images", ["No target images were at hand, so that nothing is shown of them."])
        return
    if material.target is not None:
        yield _samples(material, use, seed)
        yield _embedding(material, use, seed)
        yield _shares(material, use)
        yield _extremes(material, use)
    yield _labelled(material, use)
    if material.seen_val is not None and material.seen_val[use].finite:
        yield _calibration(material, use)


def _table(material, found):
    """Heads, with their units, and whether words stand under them; a row a network: (cells, whether it is the one to
    use)."""
    accuracies, choice = material.accuracies, material.choice
    heads, columns = ["network"], [material.titles]
    if accuracies is not None:
        heads.append("right on labelled target images [%]")
        columns.append([_percent(value) for value in accuracies])
    if choice is not None:
        heads += ["score without labels [0 to 1]", "right on the source [%]", "off the source's class shares [%]"]
        columns += [[_number(value) for value in choice.values],
                    [_percent(value) for value in choice.scores["source_accuracy"]],
                    [_percent(-value) for value in choice.scores["class_shares"]]]
        if material.source is None:
            del heads[-2:], columns[-2:]
    if material.seen is not None:
        heads.append("mean confidence on the target [%]")
        columns.append([_percent(_confidence(one).mean() if one.finite else np.nan) for one in material.seen])
    numbers = len(heads)
    out = {} if choice is None else {
        **{place: "gives no numbers" for place in np.flatnonzero(np.isnan(choice.values))}, **choice.refused}
    if out:
        heads.append("ruled out, since")
        columns.append([out.get(place, "") for place in range(len(material.candidates))])
    heads.append("checkpoint")
    columns.append([f"{one.prefix}:{one.epoch}" for one in material.candidates])
    order = choice.ranking if choice is not None else range(len(material.candidates)) if accuracies is None else \
        np.argsort(-accuracies, kind="stable")
    return [(head, not 0 < place < numbers) for place, head in enumerate(heads)], [
        ([column[place] for column in columns], place == found.place) for place in order]


def _in_which_order(material):
    """A sentence on the rows of the table."""
    if material.choice is None and material.accuracies is None:
        return "In the order in which they were named."
    how = "what can be told without labels" if material.choice is not None else "the labels"
    return f"The best first, by {how}; the one to use is green."


def _percent(value):
    return "–" if value != value else f"{100 * value:.1f}"


def _number(value):
    return "–" if value != value else f"{value:.2f}"


def _confidence(seen):
    return np.exp(log_softmax(seen.target_logits).max(axis=1))


def _training(material):
    drawn = draw_curves(material)
    text = ["Adapted runs go on where the source model ended."] if drawn else [
        "No run has a summary.csv beside its checkpoints, so that there are no curves."]
    return Section("training", "Training", text, [(svg_, curve.meaning) for curve, svg_ in drawn])


def _samples(material, use, seed):
    augmentation = next(filter(None, map(augmentation_of, [material.settings[use], *material.settings])), None)
    shape, resize = material.inputs[use]
    rows = []
    for word, images in ("Source", material.source), ("Target", material.target):
        if images is None:
            continue
        places = spread(len(images), 12)
        labels = [material.classes[images.labels[place]] if images.labelled[place] else "" for place in places]
        pixels = pixels_of(images, places, shape, resize)
        rows.append((f"{word}, in use", _pictures(pixels, labels, f"{word.lower()} image")))
        if augmentation is not None:
            rows.append((f"{word}, in training (augmented)", _pictures(
                augmented(images, places, shape, augmentation, seed), labels,
                f"augmented {word.lower()} image")))
    height, width = shape[1:]
    how = "Resized" if resize == "squeeze" else "Resized and cut"
    text = [f"{how} to its input of {width} × {height} pixels. Both domains should look complete and upright, and what "
            "tells the classes apart should be seen."]
    return Section("samples", "Images as the network sees them", text, rows=rows)


def _pictures(pixels, captions, alt):
    return [Picture(data_uri(one), caption, f"{alt}{': ' * bool(caption)}{caption}")
            for one, caption in zip(pixels, captions)]


def _embedding(material, use, seed):
    networks = {}
    if material.before not in (None, use):
        networks["Before: source model"] = material.seen[material.before]
    networks[f"After: {material.titles[use]}" if networks else material.titles[use]] = material.seen[use]
    drawn = draw_embeddings(networks, material.classes, seed, material.seen[use].target_labels)
    if not drawn:
        return Section("embedding", "Both domains in one plane", [
            "There are too few images, or none of the source, to place both domains in one plane."])
    labels = material.seen[use].target_labels
    by = "by what is predicted" if labels is None or (labels < 0).all() else \
        "by their labels where these are known, else by what is predicted"
    figures = [(one, meaning) for _, domain, classes in drawn for one, meaning in (
        (domain, "By domain. Adapted well, both mix within each cluster."),
        (classes, f"By class: circles are source images by their labels, triangles target images {by}. "
                  "Clusters should have one colour each."))]
    return Section("embedding", "Both domains in one plane", [
        f"What feeds the classifier, for at most {IMAGES} images of each domain, brought to two dimensions by t-SNE: "
        "near points are images that the network finds alike. Distances between clusters, and their sizes, mean "
        "nothing."],
        figures)


def _shares(material, use):
    count, shares = len(material.classes), {}
    if material.source is not None and material.source.labelled.any():
        shares["source images, by their labels"] = by_class.shares_of(
            material.source.labels[material.source.labelled], count)
    for place in dict.fromkeys([material.before, use]):
        if place is not None and material.seen[place].finite:
            shares[f"target images, as predicted by {material.titles[place]}"] = by_class.shares_of(
                material.seen[place].target_logits.argmax(axis=1), count)
    if not shares:
        return Section("shares", "How often each class is predicted", ["The networks give no numbers."])
    drawn, left_out = by_class.draw_shares(material.classes, shares)
    text = ["A class that is hardly ever predicted, or far too often, shows that something went wrong, unless the "
            "domains really differ so."]
    if left_out:
        text.append(f"Shown are the classes that differ most; {left_out} are left out.")
    return Section("shares", "How often each class is predicted", text, [(drawn, "")])


def _extremes(material, use):
    seen = material.seen[use]
    title = "Of what the network is most and least sure"
    if not seen.finite:
        return Section("extremes", title, ["The network gives no numbers."])
    confidence, predicted = _confidence(seen), seen.target_logits.argmax(axis=1)
    order = np.argsort(-confidence, kind="stable")
    most, least = order[:_EXTREMES], order[:-_EXTREMES - 1:-1]
    known = _known_labels(material)
    rows = []
    for word, places in ("Most sure", most), ("Least sure", least):
        pixels = pixels_of(material.target, places, *material.inputs[use])
        pictures = []
        for place, one in zip(places, pixels):
            name = material.classes[predicted[place]]
            pictures.append(Picture(data_uri(one), f"{name}, {confidence[place]:.0%}",
                                    f"target image, predicted {name}", None if known[place] < 0 else
                                    bool(known[place] != predicted[place])))
        rows.append((word, pictures))
    text = ["Target images with the predicted class and its probability. Wrong ones among the most sure are the ones "
            "to worry about; the least sure are those that labels would teach most."]
    if any(picture.wrong is not None for _, pictures in rows for picture in pictures):
        text.append("✓ and ✗ tell whether the prediction is right, where a label is known.")
    return Section("extremes", title, text, rows=rows)


def _known_labels(material):
    """Labels of the target's images as far as any list tells them, else -1."""
    told = {}
    for images in filter(None, (material.val, material.target)):
        told.update({file: label for file, label, known in zip(images.files, images.labels.tolist(),
                                                               images.labelled.tolist()) if known})
    return [told.get(file, -1) for file in material.target.files]


def _labelled(material, use):
    title = "Right and wrong, by class"
    if material.seen_val is None:
        return Section("labelled", title, [
            "No target image with a label was at hand, so that nobody knows which predictions are right, and how the "
            "classes do. --val takes some."])
    if not material.seen_val[use].finite:
        return Section("labelled", title, ["The network gives no numbers."])
    count = len(material.classes)
    matrix = by_class.matrix_of(material.seen_val[use], material.val.labels, count)
    figures, text = [], [f"{material.titles[use]} on {len(material.val)} labelled target images of "
                         f"{material.val.path}: right on {np.diag(matrix).sum() / matrix.sum():.1%}; the mean of the "
                         f"classes is {np.nanmean(recalls(matrix)):.1%}."]
    if count <= _MATRIX:
        with figure(grid=False):
            figures.append((svg(confusion_figure(matrix, material.classes), "confusion", "Confusion matrix"),
                            "A row a true class: what its images were taken for."))
    before = material.before
    if before not in (None, use) and material.seen_val[before].finite:
        drawn, left_out = by_class.draw_changes(
            by_class.matrix_of(material.seen_val[before], material.val.labels, count), matrix, material.classes)
        figures.append((drawn, "What adaptation changed for each class" + (
            f"; {left_out} that changed less, or not at all, are left out." if left_out else ".")))
    return Section("labelled", title, text, figures, pairs=by_class.confused(matrix, material.classes))


def _calibration(material, use):
    seen, labels = material.seen_val[use], material.val.labels
    found = calibration(_confidence(seen), seen.target_logits.argmax(axis=1) == labels)
    with figure(grid=False):
        drawn = svg(reliability_figure(found), "calibration", "Reliability diagram")
    way = "more" if (found.counts * np.nan_to_num(found.confidence - found.accuracy)).sum() > 0 else "less"
    return Section("calibration", "Whether it is right as often as it says", [
        f"Its probabilities are off by {100 * found.error:.1f} points on average (expected calibration error of "
        f"{len(found.counts)} bins): on the whole it is {way} sure than right."],
        [(drawn, "Bars that end on the dashed line are as sure as they are right.")])
