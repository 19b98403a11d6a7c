#!/usr/bin/env python3
"""Make the digits benchmark: printed digits as source, real handwritten ones as target, as files and lists.

Source: digits rendered from the regular and italic fonts that matplotlib ships, turned, sheared, scaled, thinned and
slightly blurred by chance. Target: the 1797 handwritten digits of scikit-learn, 8 × 8 pixels (UCI *Optical
Recognition of Handwritten Digits*). Both are dark ink on white paper, cut to the ink and enlarged to the same box.
"""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER

import click
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import writable_folder
from transfer_gluon.iters.image_list import NULL_LABEL, check_names, write_list

_BOX = 64           # pixels of the canvas that a digit is drawn on
_SIDE = 32          # pixels of the files
_MARGIN = 2         # pixels of paper around a digit
# Of printed digits, each drawn evenly from ± the number, or from the range: degrees; shear; scale of width and height;
# pixels taken from a stroke on the canvas; standard deviation of the blur, in pixels of the file.
_ANGLE, _SHEAR, _SCALE, _THINNING, _BLUR = 15, 0.3, (0.8, 1.2), (0, 2), (0.3, 0.8)
_FONTS = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr", "cmss", "cmti", "cmtt")
_NOT = ("Bol", "Display")


def fonts():
    """The twelve TrueType fonts of matplotlib that have the ten digits in regular weight."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return [font for font in sorted(folder.glob("*.ttf"))
            if font.name.startswith(_FONTS) and not any(part in font.name for part in _NOT)]


def printed(text, font, rng, angle=_ANGLE, shear=_SHEAR, thinning=_THINNING):
    """A digit, or a letter, as an 8-bit image of `_SIDE` pixels: a random view of a glyph of `font`."""
    import cv2  # here and below, since --help does without
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (2 * _BOX, 2 * _BOX), 0)
    glyphs = ImageFont.truetype(str(font), _BOX)
    ImageDraw.Draw(image).text((_BOX, _BOX), str(text), fill=255, anchor="mm", font=glyphs)
    ink = np.asarray(image)
    angle, shear = np.deg2rad(rng.uniform(-angle, angle)), rng.uniform(-shear, shear)
    scale = rng.uniform(*_SCALE, size=2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(scale)
    offset = _BOX - matrix @ (_BOX, _BOX)
    ink = cv2.warpAffine(ink, np.column_stack([matrix, offset]), ink.shape, flags=cv2.INTER_LINEAR)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(thinning[0], thinning[1] + 1)) + 1,) * 2)
    thinned = cv2.erode(ink, brush)
    ink = thinned if thinned.max() > 128 else ink       # a hairline may vanish
    return _paper(cv2.GaussianBlur(_boxed(ink), (0, 0), rng.uniform(*_BLUR)))


def handwritten_digit(pixels):
    """One of scikit-learn's digits, 8 × 8 of 0 to 16, as an 8-bit image of `_SIDE` pixels."""
    return _paper(_boxed(np.clip(pixels * 16, 0, 255).astype(np.uint8)))


def _boxed(ink):
    """Cut to the digit and enlarge to the box: height for height, as the handwriting was when it was scanned."""
    import cv2

    rows, columns = np.where(ink > 16)
    ink = ink[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    side = _SIDE - 2 * _MARGIN
    factor = side / max(ink.shape)
    size = [max(round(edge * factor), 1) for edge in ink.shape[::-1]]
    shrinking = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    ink = cv2.resize(ink, size, interpolation=shrinking)
    boxed = np.zeros((_SIDE, _SIDE), np.uint8)
    top, left = ((_SIDE - edge) // 2 for edge in ink.shape)
    boxed[top:top + ink.shape[0], left:left + ink.shape[1]] = ink
    return boxed


def _paper(ink):
    import cv2

    return cv2.merge([255 - ink] * 3)


def write_picture(file, image):
    """Raises: InputError when it cannot be written."""
    import cv2

    if not cv2.imwrite(file, image):        # which says no more than that
        raise InputError(f"{file}: cannot be written. Is the disk full, or is there a folder of this name?")


def make(folder, num_source=4000, seed=0, unequal=False, back=False):
    """Write ``source/``, ``target/`` and the lists ``source.lst``, ``target.lst``, ``val.lst`` to `folder`.

    With `unequal`, all printed zeros are there, of each digit fewer than of the one before, by the same factor, and 13
    nines at most. The source are the printed digits; `back`: the handwritten ones. The target list has null labels
    only; the validation list is the same images with theirs.

    Returns: how many printed digits there are.
    """
    from sklearn.datasets import load_digits

    folder = Path(folder)
    check_names(folder, [str(folder)])
    writable_folder(folder / "source" / "x", "folder")
    writable_folder(folder / "target" / "x", "folder")
    rng = np.random.default_rng(seed)
    typefaces = fonts()
    places = [folder / ("target" if back else "source"), folder / ("source" if back else "target")]
    labels, files = [], []
    # Of each digit, in the proportions of a real set of photos, whose smallest class had 13.
    most = np.geomspace(num_source // 10, min(13, num_source // 10), 10).round() if unequal else [num_source] * 10
    for i in range(num_source):
        if i // 10 >= most[i % 10]:
            continue
        labels.append(i % 10)
        files.append(str(places[0] / f"{i:05d}.png"))
        write_picture(files[-1], printed(labels[-1], typefaces[rng.integers(len(typefaces))], rng))
    digits = load_digits()
    written = [str(places[1] / f"{i:05d}.png") for i in range(len(digits.images))]
    for file, pixels in zip(written, digits.images):
        write_picture(file, handwritten_digit(pixels))
    domains = [(labels, files), (digits.target.tolist(), written)]
    write_domains(folder, *(domains[::-1] if back else domains))
    return len(labels)


def write_domains(folder, source, target):
    """Write ``source.lst``, ``target.lst``, whose labels are null labels only, and ``val.lst``, the same images with
    theirs, to a Path. `source`, `target`: labels and files."""
    write_list(folder / "source.lst", *source)
    labels, files = target
    write_list(folder / "target.lst", [NULL_LABEL] * len(files), files)
    write_list(folder / "val.lst", labels, files)       # the last one: with it, all is there


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Write data/digits", ""),
    ("Classes of unequal size, drawn anew", "--data-dir data/unequal --unequal --seed 1"),
    ("The way back", "--data-dir data/digits-back --back"),
    ])
@click.option("--data-dir", "folder", type=FOLDER, default="data/digits", help="Folder to write to.")
@click.option("--num-source", type=click.IntRange(min=10), default=4000, help="Printed digits.")
@click.option("--unequal", is_flag=True, help="Fewer of the higher digits: of 4000, 400 zeros and 13 nines.")
@click.option("--back", is_flag=True, help="From handwritten digits to printed ones: those are the source.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the printed digits.")
def main(folder, num_source, unequal, back, seed):
    """Make the digits benchmark: printed digits as source, handwritten ones as target."""
    number = make(folder, num_source, seed, unequal, back)
    print(f"{folder}: {number} printed and 1797 handwritten digits")


if __name__ == "__main__":
    exit_codes(main)()
