#!/usr/bin/env python3
"""Make the emoji benchmark: one vendor's drawings as source, another's as target, as files and lists.

The drawings and ``emoji.json``, which says what each shows, are in the npm packages ``emoji-datasource-VENDOR``
(https://github.com/iamcal/emoji-data). A class is a subcategory of Unicode's emoji, such as ``food-fruit``.
"""
import io
import json
import re
import tarfile
import zlib
from collections import Counter
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER, PATH

import click
from PIL import Image, UnidentifiedImageError

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder
from transfer_gluon.base.regular import open_regular, read_regular
from transfer_gluon.iters.image_list import NULL_LABEL, check_names, write_list
from transfer_gluon.records.class_names import write_classes

_LEAST = 13         # drawings of a class, its skin tones not counted
_SIDE = 64          # pixels of the drawings in the packages
_MOST_BYTES = 50_000_000        # of a file in a package


class Package:
    """An npm package of drawings: an archive as ``npm pack`` fetches it, or the folder it unpacks to.

    Attributes
    ----------
    path : Path
    vendor : str
        ``twitter``, ``facebook``, ….
    drawings : list of (str, str, bool)
        Subcategory, name of the file, and whether it is a skin tone of another, of each drawing, sorted; flags are left
        out, and what is no name of a class folder or of a drawing.

    Raises: InputError when there is no such package.
    """

    def __init__(self, path):
        self.path = Path(path)
        try:
            self._archive = None if self.path.is_dir() else tarfile.open(fileobj=open_regular(self.path))
            told, emoji = (json.loads(self._read(name)) for name in ("package.json", "emoji.json"))
        except _UNREADABLE as error:
            raise self._refusal(_reason(error)) from None
        named = isinstance(told, dict) and re.fullmatch("emoji-datasource-([a-z]+)", str(told.get("name")))
        if not named:
            raise self._refusal("its package.json does not name it emoji-datasource-VENDOR")
        self.vendor = named[1]
        try:
            self.drawings = sorted(set(self._drawings(emoji)))
        except (AttributeError, KeyError, TypeError):
            raise self._refusal("its emoji.json is no list of emoji with category, subcategory and image") from None

    def picture(self, name):
        """A drawing on white, as a Pillow image."""
        try:
            with Image.open(io.BytesIO(self._read(f"img/{self.vendor}/{_SIDE}/{name}")), formats=["PNG"]) as image:
                drawing = image.convert("RGBA")
        except (*_UNREADABLE, *_NO_PNG) as error:
            raise InputError(f"{self.path}: the drawing {name} cannot be read: {_reason(error)}.") from None
        paper = Image.new("RGBA", drawing.size, "white")
        paper.alpha_composite(drawing)
        return paper.convert("RGB")

    def _drawings(self, emoji):
        for one in emoji:
            if one["category"] != "Flags" and "flag" not in one["subcategory"]:
                for tone, each in enumerate([one, *one.get("skin_variations", {}).values()]):
                    kind, name = one["subcategory"], each["image"]
                    usual = re.fullmatch(r"[\w& -]+", kind) and re.fullmatch(r"[\da-f-]+\.png", name)
                    if usual and each.get(f"has_img_{self.vendor}"):
                        yield kind, name, tone > 0

    def _read(self, name):
        if self._archive is None:
            return read_regular(self.path / name)
        member = self._archive.getmember(f"package/{name}")
        if not member.isfile() or member.size > _MOST_BYTES:
            raise ValueError(f"{name} is no regular file of at most {_MOST_BYTES} bytes")
        return self._archive.extractfile(member).read()

    def _refusal(self, why):
        return InputError(f"{self.path}: not a package of drawings: {why}; expected what npm pack "
                          "emoji-datasource-VENDOR fetches, or the folder package/ in it.")


# What reading a file of an archive or a folder, JSON in it, and Pillow's reading of a PNG file raise.
_UNREADABLE = (OSError, EOFError, KeyError, RecursionError, ValueError, tarfile.TarError, zlib.error)
_NO_PNG = (SyntaxError, IndexError, Image.DecompressionBombError)


def _reason(error):
    if isinstance(error, (tarfile.ReadError, UnidentifiedImageError)):      # which say it in many lines, or none
        return "it is no whole archive" if isinstance(error, tarfile.ReadError) else "it is no PNG file"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error.args[0] if isinstance(error, KeyError) else error).rstrip(".")


def make(source, target, folder, least=_LEAST):
    """Write a folder a vendor, with a folder a class in it, and ``source.lst``, ``target.lst`` (null labels only),
    ``val.lst`` (the same images with theirs) and ``classes.txt`` to `folder`.

    A class is a subcategory of which both vendors have drawn the same `least` emoji or more, skin tones not counted.

    Parameters
    ----------
    source, target : Package
    folder : str or Path
    least : int

    Returns: (number of classes, of source images, of target images). Raises: InputError.
    """
    folder = Path(folder)
    check_names(folder, [str(folder)])
    common = Counter(kind for kind, _, tone in set(source.drawings) & set(target.drawings) if not tone)
    classes = sorted(kind for kind in common if common[kind] >= least)
    if not classes:
        raise InputError(f"{source.path} and {target.path}: no subcategory of which both have {least} drawings.")
    for name in classes:
        for package in (source, target):
            writable_folder(folder / package.vendor / name / "x", "folder")
    lists = []
    for package in (source, target):
        drawn = [(classes.index(kind), str(folder / package.vendor / kind / name), name)
                 for kind, name, _ in package.drawings if kind in classes]
        for _, file, name in drawn:
            with replacing(file) as temporary:
                package.picture(name).save(temporary, "PNG")
        lists.append([list(column) for column in zip(*drawn)][:2])
    write_classes(folder / "classes.txt", classes)
    write_list(folder / "source.lst", *lists[0])
    labels, files = lists[1]
    write_list(folder / "target.lst", [NULL_LABEL] * len(files), files)
    write_list(folder / "val.lst", labels, files)       # the last one: with it, all is there
    return len(classes), len(lists[0][1]), len(files)


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Twitter's drawings to Facebook's, as npm pack has fetched them",
     "emoji-datasource-twitter-16.0.0.tgz emoji-datasource-facebook-16.0.0.tgz"),
    ])
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
@click.option("--data-dir", "folder", type=FOLDER, default="data/emoji", help="Folder to write to.")
@click.option("--least", type=click.IntRange(min=1), default=_LEAST,
              help="Drawings that a class has at least, in both packages, skin tones not counted.")
def main(source, target, folder, least):
    """Make the emoji benchmark of two packages of drawings, SOURCE with labels and TARGET without."""
    packages = [Package(path) for path in (source, target)]
    if packages[0].vendor == packages[1].vendor:
        raise InputError(f"{source} and {target} are both drawings of {packages[0].vendor}; expected two vendors.")
    classes, *counts = make(*packages, folder, least)
    said = " and ".join(f"{count} drawings of {package.vendor}" for count, package in zip(counts, packages))
    print(f"{folder}: {said}, {classes} classes")


if __name__ == "__main__":
    exit_codes(main)()
