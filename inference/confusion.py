"""Which classes a network takes for which."""
import csv

import numpy as np

from transfer_gluon.base.files import replacing


def confusion_matrix(labels, predicted, num_classes):
    r"""How many images of each class were taken for each class.

    .. math:: M_{jk} = |\{i : y_i = j,\ \hat y_i = k\}|

    Parameters
    ----------
    labels, predicted : int arrays (n,)
        From 0 to below `num_classes`.
    num_classes : int
        c.

    Returns: int64 array (c, c), a row a true class, a column a predicted one.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    places = np.asarray(labels, np.int64) * num_classes + np.asarray(predicted, np.int64)
    return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


def recalls(matrix):
    """Accuracy by class: which part of the images of each was recognised, (c,) from 0 to 1; NaN where there are none.

    >>> recalls(np.array([[1, 1], [0, 0]])).tolist()
    [0.5, nan]
    """
    return _parts(np.diag(matrix), matrix.sum(axis=1))


def precisions(matrix):
    """Which part of the images that were taken for each class are of it, (c,) from 0 to 1; NaN where none were.

    >>> precisions(np.array([[1, 3], [0, 0]])).tolist()
    [1.0, 0.0]
    """
    return _parts(np.diag(matrix), matrix.sum(axis=0))


def _parts(some, all_):
    return np.where(all_ > 0, some / np.maximum(all_, 1), np.nan)


def most_confused(matrix, most=10):
    """The pairs of different classes that were taken for each other most often: up to `most` of (true class, predicted
    class, images), the largest first.

    >>> most_confused(np.array([[5, 1, 0], [0, 5, 0], [3, 0, 5]]))
    [(2, 0, 3), (0, 1, 1)]
    """
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    return [(int(true), int(taken), int(wrong[true, taken]))
            for true, taken in zip(*np.unravel_index(order, wrong.shape)) if wrong[true, taken]]


def write_matrix(path, matrix, names):
    """Write a confusion matrix as CSV, whole or not at all: a line a true class, a column a predicted one."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, matrix.tolist()))


def write_classes_table(path, matrix, names):
    """Write a line a class as CSV: its images, how many were recognised, and how many of those taken for it are."""
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "class", "images", "right", "accuracy", "predicted", "precision"])
        for label, (name, row) in enumerate(zip(names, zip(
                matrix.sum(axis=1).tolist(), np.diag(matrix).tolist(), recalls(matrix).tolist(),
                matrix.sum(axis=0).tolist(), precisions(matrix).tolist()))):
            writer.writerow([label, name, *(("" if one != one else f"{one:.6g}") if isinstance(one, float) else one
                                            for one in row)])
