"""Are the images good? MXNet's reader ends the whole process, without a message, on a record that is no image.

A record is good when it is of a kind that MXNet reads, whole, and OpenCV decodes it: of thousands of damaged files,
the OpenCV inside MXNet was seen to read all that ours accepts. Of TIFF it reads some (uncompressed, LZW), shows noise
for others (Zstandard) and fails at others (deflate, JPEG): records hold none.
"""
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.log import log
from transfer_gluon.base.parallel import in_order
from transfer_gluon.iters.augmentation import training_size
from transfer_gluon.iters.elsewhere import elsewhere
from transfer_gluon.iters.image_list import NULL_LABEL, ImageList, read_list
from transfer_gluon.iters.images import decode, read_header, try_decoding
from transfer_gluon.iters.transforms import short_side_size
from transfer_gluon.records.contents import contents, count
from transfer_gluon.records.folders import read_images
from transfer_gluon.records.manifest import checked_before, manifest_path, remember_checked, stamps, thinner

_READ_BY_MXNET = ("JPEG", "MPO", "PNG", "BMP")
_MEND = " Mend them, or leave them out:"
_LONGEST = 2**15 - 2        # pixels: OpenCV turns and shears no longer image


@dataclass(frozen=True)
class Finding:
    """What was seen of an image.

    Attributes
    ----------
    index : int or None
    where : str
        Byte in the ``.rec``, or image file.
    problem : str or None
        None: it is good.
    label : int or None
    width, height : int
        Pixels, 0 if unknown.
    kind : str
        Format and channels, such as ``JPEG RGB``.
    digest : bytes
        SHA-256 of the image's bytes.
    """

    index: Optional[int]
    where: str
    problem: Optional[str] = None
    label: Optional[int] = None
    width: int = 0
    height: int = 0
    kind: str = ""
    digest: bytes = b""

    def __str__(self):
        return f"index {self.index}, {self.where}: {self.problem}"


def examine(path, threads=4, num_classes=None, null_label=NULL_LABEL, crop=None):
    """A `Finding` an image of what `records.contents.contents` takes, in order, decoded `threads` at a time.

    With `num_classes`, labels must be below it or be the null label; with `crop`, images must be such as training on
    crops of so many pixels can use: see `check_shape`.

    Raises: InputError when the file cannot be read at all.
    """
    name = path.path if isinstance(path, ImageList) else Path(path)
    decodable = _record_decodable if name.suffix == ".rec" else decode
    findings = in_order(lambda content: _examined(content, decodable, num_classes, null_label, crop),
                        contents(path, null_label), threads)
    yield from tqdm(findings, f"checking {name}", count(path, null_label), unit=" images", disable=None)


def check_shape(width, height, crop):
    """Raise InputError for a strip that would be too large, or longer than `_LONGEST`, once its shorter side is resized
    for crops of `crop` pixels.

    >>> check_shape(640, 480, crop=320)
    """
    size = short_side_size(np.broadcast_to(np.uint8(0), (height, width, 3)), training_size(crop))
    if max(size) > _LONGEST:
        raise InputError(f"{width} × {height} pixels, which would be {size[0]} × {size[1]} when resized to the shorter "
                         f"side of {min(size)}; expected at most {_LONGEST} a side")


def _record_decodable(image):
    kind = read_header(image).format
    if kind not in _READ_BY_MXNET:
        raise InputError(f"a {kind} image; a record holds what MXNet reads: JPEG, PNG, BMP")
    try_decoding(image)


def _examined(content, decodable, num_classes, null_label, crop):
    if content.packed is None:
        return Finding(content.index, content.where, content.problem)
    image = content.packed.image
    seen = {"digest": hashlib.sha256(image).digest()}
    try:
        header = read_header(image)
        seen.update(width=header.width, height=header.height, kind=f"{header.format} {header.mode}")
        decodable(image)
        if crop:
            check_shape(header.width, header.height, crop)
        label = seen["label"] = content.packed.label()
        if num_classes is not None and label >= num_classes and label != null_label:
            raise InputError(f"its label is {label}; expected 0 to {num_classes - 1}, or the null label {null_label}")
    except InputError as error:
        return Finding(content.index, content.where, content.problem or str(error), **seen)
    return Finding(content.index, content.where, content.problem, **seen)


def image_paths(path, null_label=NULL_LABEL):
    """The path of every image of a ``.lst`` or a folder, or of a ``.rec`` that has its list beside it, by its index;
    those of a record alone are not known, and an empty dict."""
    if Path(path).is_dir():
        images = read_images(path, null_label=null_label)
    elif Path(path).with_suffix(".lst").is_file():
        images = read_list(Path(path).with_suffix(".lst"), null_label=null_label)
    else:
        return {}
    return dict(zip(images.indices.tolist(), images.files))


def check(path, threads=4, num_classes=None, null_label=NULL_LABEL, crop=None):
    """The findings of `examine` that are problems."""
    return (finding for finding in examine(path, threads, num_classes, null_label, crop) if finding.problem)


def ensure_checked(record, threads=4, crop=None):
    """Check every record of a ``.rec`` file, unless these very files have been checked before.

    What is found good is remembered in the manifest. With `crop`, its thinnest image must pass `check_shape`.

    Raises: InputError that counts the bad records and names ten of them, with index, byte and reason.
    """
    record = Path(record)
    thinnest = checked_before(record) or _checked(record, threads)
    if crop:
        index, width, height = thinnest
        try:
            check_shape(width, height, crop)
        except InputError as error:
            raise InputError(f"{record}: the image of index {index} has {error}. Cut it, or leave it out.") from None


def _checked(record, threads):
    before = _stamps(record)
    problems, thinnest = [], None
    for finding in examine(record, threads):
        if finding.problem:
            problems.append(finding)
        else:
            thinnest = thinner(thinnest, (finding.index, finding.width, finding.height))
    if problems:
        raise InputError(f"{record}: {len(problems)} of its records cannot be used, and reading them could end the "
                         f"program. Have the list packed again, or leave them out:{first_ten(problems)}")
    if not remember_checked(record, before, thinnest):
        log.info("%s cannot be written: %s will be checked again next time", manifest_path(record), record)
    return thinnest


def _stamps(record):
    try:
        return stamps(record)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror or error}.") from None


def check_files(lists, threads=4, crop=None):
    """Decode every image file of these `ImageList`, once also if several lists name it all alike.

    With `crop`, they must pass `check_shape`. Raises: InputError that counts the bad images of a list and names ten.
    """
    for place, images in enumerate(lists):
        if any(images.files == before.files for before in lists[:place]):
            continue
        problems = list(check(images, threads, null_label=images.null_label, crop=crop))
        if problems:
            hint = elsewhere(images.path, images.files)
            raise InputError(f"{images.path}: {len(problems)} of its images cannot be used.{hint or _MEND}"
                             f"{first_ten(problems)}")
