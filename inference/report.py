"""How well a network does on images whose labels are known, and the folder that tells it."""
import csv
import json
import sys
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import making_folder, replacing
from transfer_gluon.base.log import log
from transfer_gluon.inference.batch_size import good_batch_size
from transfer_gluon.inference.calibration import (
    brier_scores,
    calibration,
    likelihood_losses,
    log_softmax,
    write_calibration,
)
from transfer_gluon.inference.classifier import check_labels, num_classes, ready_classifier
from transfer_gluon.inference.confusion import (
    confusion_matrix,
    most_confused,
    recalls,
    write_classes_table,
    write_matrix,
)
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.inference.pictures import draw_confusion, draw_reliability
from transfer_gluon.iters import OrderedIter
from transfer_gluon.iters.transforms import prepared
from transfer_gluon.symbols import resize_of

_FIVE = 5       # of more classes than these, top-5 accuracy is told


@dataclass(frozen=True)
class Evaluation:
    """What a network says about the images of a list, beside what is known of them.

    Attributes
    ----------
    source : str
        The network, for people.
    images : ImageList
    names : list of str
        Of all classes.
    predicted : int64 array (n,)
        The most probable class; -1 for an image that could not be read.
    confidence : float64 array (n,)
        Its probability.
    ranks, losses, brier : arrays (n,)
        Of the true class: how many are more probable, and `likelihood_losses`; `brier_scores`. NaN, or -1, where it is
        not known.
    """

    source: str
    images: object
    names: list
    predicted: np.ndarray
    confidence: np.ndarray
    ranks: np.ndarray
    losses: np.ndarray
    brier: np.ndarray

    @property
    def counted(self):
        """Boolean array (n,): images with a label, that could be read."""
        return self.images.labelled & (self.predicted >= 0)

    @property
    def right(self):
        """Boolean array, of the counted images: whether they are classified correctly."""
        return (self.predicted == self.images.labels)[self.counted]

    @property
    def matrix(self):
        """Their confusion matrix; see `confusion_matrix`."""
        return confusion_matrix(self.images.labels[self.counted], self.predicted[self.counted], len(self.names))

    @property
    def calibration(self):
        """Their `Calibration`."""
        return calibration(self.confidence[self.counted], self.right)

    def figures(self):
        """Numbers by name, means over the counted images: accuracy and mean accuracy of the classes that have images,
        from 0 to 1; top-5 accuracy where there are more than five classes; `Calibration.error`; negative log-likelihood
        in nat; Brier score."""
        counted, by_class = self.counted, recalls(self.matrix)
        top = {"top_5_accuracy": float((self.ranks[counted] < _FIVE).mean())} if len(self.names) > _FIVE else {}
        return {"accuracy": float(self.right.mean()), "mean_class_accuracy": float(np.nanmean(by_class)), **top,
                "expected_calibration_error": self.calibration.error,
                "negative_log_likelihood": float(self.losses[counted].mean()),
                "brier_score": float(self.brier[counted].mean())}

    def __str__(self):
        figures, matrix = self.figures(), self.matrix
        by_class, counts = recalls(matrix), matrix.sum(axis=1)
        lines = [f"{self.source} on {self.images.path}: {_images(self.counted.sum())} with a label"]
        without, unread = (~self.images.labelled).sum(), (self.predicted < 0).sum()
        lines += [f"{_images(number)} {why}, and do not count" for number, why in (
            (without, "have no label"), (unread, "cannot be read")) if number]
        lines += [f"  {name.replace('_', ' '):27} " + (f"{value:.4f}" if name in _NO_PARTS else f"{value:.2%}")
                  for name, value in figures.items()]
        there = [label for label in np.argsort(by_class, kind="stable") if counts[label]]
        shown = there if len(there) <= 12 else there[:10]
        few = "classes, the worst first" if shown == there else f"the worst {len(shown)} of {len(there)} classes"
        lines.append(f"{few}:")
        width = max(len(self.names[label]) for label in shown)
        lines += [f"  {self.names[label]:{width}}  {by_class[label]:7.2%} of {_images(counts[label])}"
                  for label in shown]
        confused = most_confused(matrix, 5)
        if confused:
            lines += ["most often taken for another:", *(
                f"  {self.names[true]} for {self.names[taken]}, {_images(number)}" for true, taken, number in confused)]
        return "\n".join(lines)


_NO_PARTS = "negative_log_likelihood", "brier_score"


def _images(number):
    return f"{number} image{'s' * int(number != 1)}"


def evaluate_images(checkpoint, images, devices, names=None, image_shape=None, batch_size=None, threads=4, bad=None,
                    val_resize=None, dtype="float32"):
    """How well a network does on the images of a list, prepared as for validation, straight from their files.

    Parameters
    ----------
    checkpoint : Checkpoint
    images : ImageList
        Those with a label count.
    devices : list of Context
    names : list of str or None
        Of all classes, class 0 first; None: their numbers.
    image_shape, batch_size, threads, bad, val_resize, dtype
        As `predict_images` takes them.

    Returns: `Evaluation`.

    Raises: InputError where no image has a label, or labels or names do not fit the network, for images that cannot be
    read unless `bad` takes them in, and as `predict_images`; DivergedError when a class score is NaN or infinite.
    """
    if not images.labelled.any():
        raise InputError(f"{images.path}: none of its {len(images)} images has a label (all are the null label "
                         f"{images.null_label}), so there is nothing to compare with. Give a list with labels, such as "
                         "val.lst; predict.py needs none.")
    shape = image_shape or checkpoint.image_shape
    classes = num_classes(checkpoint.symbol, shape, checkpoint.name)
    check_labels(images, classes, checkpoint.name)
    names = names or list(map(str, range(classes)))
    if len(names) != classes:
        raise InputError(f"{len(names)} names of classes were given, or stand in classes.txt beside {images.path}, and "
                         f"{checkpoint.name} has {classes} classes; expected a name each, that of class 0 first.",
                         "classes", names, f"{classes} names")
    prepare = prepared(*shape[1:], val_resize or resize_of(checkpoint.symbol, shape))
    net = ready_classifier(checkpoint, images, devices, shape, prepare, threads, dtype)
    batch_size = batch_size or good_batch_size(net, shape, devices, len(images))
    batches = OrderedIter(images, batch_size, prepare, threads, bad=bad)
    found = Evaluation(checkpoint.name, images, names, np.full(len(images), -1), *(
        np.full(len(images), empty) for empty in (np.nan, -1, np.nan, np.nan)))
    log.info("%d images of %d × %d pixels, %d classes", len(images), *shape[1:], classes)
    with tqdm(total=len(images), unit=" images", disable=None, file=sys.stderr) as bar:
        for batch in outputs(net, batches, devices, checkpoint.name):
            _take_in(found, batch)
            bar.update(len(batch))
    if not found.counted.any():
        raise InputError(f"{images.path}: none of its images with a label can be read:{first_ten(bad or [])}")
    return found


def _take_in(found, batch):
    places = np.array(batch.index)
    log_p = log_softmax(batch.logits)
    found.predicted[places] = log_p.argmax(axis=1)
    found.confidence[places] = np.exp(log_p.max(axis=1))
    known = found.images.labelled[places]
    places, log_p = places[known], log_p[known]
    labels = found.images.labels[places]
    of_label = log_p[np.arange(len(labels)), labels][:, None]
    before = np.arange(log_p.shape[1]) < labels[:, None]        # of equal ones, the first counts as more probable
    found.ranks[places] = (log_p > of_label).sum(axis=1) + ((log_p == of_label) & before).sum(axis=1)
    found.losses[places], found.brier[places] = likelihood_losses(log_p, labels), brier_scores(log_p, labels)


# What `write_evaluation` writes.
EVALUATION = ("evaluation.json", "classes.csv", "confusion.csv", "confusion.png", "calibration.csv", "reliability.png",
              "predictions.csv")


def write_evaluation(folder, found, overwrite=False):
    """Write an `Evaluation` to a new folder, whole or not at all.

    ``evaluation.json``: the figures; ``classes.csv``, ``confusion.csv``, ``confusion.png``; ``calibration.csv``,
    ``reliability.png``; ``predictions.csv``, a line an image, with its true and its predicted class. Classes stand
    under their names.

    `overwrite`: an older evaluation gives way.

    Raises: InputError when the folder is there already, or holds anything else, or cannot be written.
    """
    with making_folder(folder, EVALUATION if overwrite else ()) as folder:
        matrix, reliability = found.matrix, found.calibration
        with replacing(folder / "evaluation.json") as temporary:
            told = {"network": found.source, "list": str(found.images.path), "images": len(found.images),
                    "counted": int(found.counted.sum()), **found.figures()}
            temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        write_classes_table(folder / "classes.csv", matrix, found.names)
        write_matrix(folder / "confusion.csv", matrix, found.names)
        draw_confusion(folder / "confusion.png", matrix, found.names)
        write_calibration(folder / "calibration.csv", reliability)
        draw_reliability(folder / "reliability.png", reliability)
        _write_images(folder / "predictions.csv", found)


def _write_images(path, found):
    def name(label):
        return found.names[label] if 0 <= label < len(found.names) else ""

    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "true", "predicted", "probability", "right"])
        for image, known, label, taken, p in zip(found.images.files, found.images.labelled.tolist(),
                                                 found.images.labels.tolist(), found.predicted.tolist(),
                                                 found.confidence.tolist()):
            writer.writerow([image, name(label) if known else "", name(taken), f"{p:.6g}" if taken >= 0 else "",
                             int(label == taken) if known and taken >= 0 else ""])
