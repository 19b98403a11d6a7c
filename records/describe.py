"""What is in a ``.rec`` or ``.lst`` file, in words, from what `records.check.examine` found."""
import collections

import numpy as np

from transfer_gluon.records.class_names import class_name


def describe(findings, null_label, names=None):
    """Lines of text: images a class, sizes in pixels, kinds.

    >>> from transfer_gluon.records.check import Finding
    >>> print(describe([Finding(0, "a.jpg", None, 3, 640, 480, "JPEG RGB")], 9999))
    1 images, 1 classes, 0 of unknown label, 0 bad
    <BLANKLINE>
    | class | images |
    | --- | --- |
    | 3 | 1 |
    <BLANKLINE>
    sizes: smallest 640 × 480, median 640 × 480, largest 640 × 480
    kinds: 1 JPEG RGB
    """
    labels = collections.Counter(finding.label for finding in findings if finding.label is not None)
    unknown = labels.pop(null_label, 0)
    bad = sum(finding.problem is not None for finding in findings)
    rows = [f"| {class_name(label, null_label, names)} | {number} |" for label, number in sorted(labels.items())]
    lines = [f"{len(findings)} images, {len(labels)} classes, {unknown} of unknown label, {bad} bad", "",
             "| class | images |", "| --- | --- |", *rows, ""]
    sizes = np.array([(finding.width, finding.height) for finding in findings if finding.width])
    if len(sizes):
        order = sizes.prod(axis=1).argsort(kind="stable")
        smallest, median, largest = (f"{w} × {h}" for w, h in sizes[order[[0, len(order) // 2, -1]]])
        lines.append(f"sizes: smallest {smallest}, median {median}, largest {largest}")
    kinds = collections.Counter(finding.kind for finding in findings if finding.kind)
    lines.append(f"kinds: {', '.join(f'{number} {kind}' for kind, number in kinds.most_common())}")
    return "\n".join(lines)


def repeated(findings):
    """Images that are there more than once, by their bytes.

    `findings` maps files to their findings. Returns: a dict from pairs of files, which may be one file twice, to a list
    of pairs of indices: the first place of the image, and another.
    """
    first, pairs = {}, collections.defaultdict(list)
    for path, found in findings.items():
        for finding in found:
            if finding.digest in first:
                earlier, index = first[finding.digest]
                pairs[earlier, path].append((index, finding.index))
            elif finding.digest:
                first[finding.digest] = (path, finding.index)
    return dict(pairs)
