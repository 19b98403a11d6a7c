#!/usr/bin/env python3
"""Make the emoji benchmark: one vendor's drawings as source, another's as target, as files and lists.

The drawings and ``emoji.json``, which says what each shows, are in the npm packages ``emoji-datasource-VENDOR``
(https://github.com/iamcal/emoji-data). A class is a subcategory of Unicode's emoji, such as ``food-fruit``.
"""
import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER, PATH

import click
from PIL import Image

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder
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
    emoji : list of dict
        What ``emoji.json`` tells.

    Raises: InputError when there is no such package.
    """

    def __init__(self, path):
        self.path = Path(path)
        try:
            self._archive = None if self.path.is_dir() else tarfile.open(self.path)
            told = json.loads(self.read("package.json"))["name"]
            self.emoji = json.loads(self.read("emoji.json"))
            self.vendor = re.fullmatch(r"emoji-datasource-([a-z]+)", told)[1]
            if not (isinstance(self.emoji, list) and all(isinstance(one["subcategory"], str) and
                                                         isinstance(one["image"], str) for one in self.emoji)):
                raise ValueError
        except (OSError, tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a package of drawings ({type(error).__name__}: {error}); expected what "
                             "npm pack emoji-datasource-VENDOR fetches, or the folder package/ in it.") from None

    def read(self, name):
        """The bytes of a file of the package."""
        if self._archive is None:
            return (self.path / name).read_bytes()
        member = self._archive.getmember(f"package/{name}")
        if not member.isfile() or member.size > _MOST_BYTES:
            raise ValueError(f"{name} is no file, or a very large one")
        return self._archive.extractfile(member).read()

    def drawings(self):
        """(subcategory, name of its file, whether it is a skin tone of another) of each drawing, flags left out."""
        for one in self.emoji:
            if one.get("category") != "Flags" and "flag" not in one["subcategory"]:
                for tone, each in enumerate([one, *one.get("skin_variations", {}).values()]):
                    if each.get(f"has_img_{self.vendor}"):
                        yield one["subcategory"], each["image"], tone > 0

    def picture(self, name):
        """A drawing on white, as a Pillow image."""
        try:
            with Image.open(io.BytesIO(self.read(f"img/{self.vendor}/{_SIDE}/{name}"))) as image:
                drawing = image.convert("RGBA")
        except (OSError, KeyError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{self.path}: the drawing {name} cannot be read: {error}.") from None
        paper = Image.new("RGBA", drawing.size, "white")
        paper.alpha_composite(drawing)
        return paper.convert("RGB")


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
    drawn = [list(package.drawings()) for package in (source, target)]
    common = Counter(kind for kind, name, tone in set(drawn[0]) & set(drawn[1]) if not tone)
    classes = sorted(kind for kind in common if common[kind] >= least and re.fullmatch(r"[\w& -]+", kind))
    if not classes:
        raise InputError(f"{source.path} and {target.path}: no subcategory of which both have {least} drawings.")
    counts, lists = [], []
    for package, drawings in zip((source, target), drawn):
        labels, files = [], []
        for kind, name, _ in sorted(drawings):
            if kind in classes and re.fullmatch(r"[0-9a-f-]+\.png", name):
                path = folder / package.vendor / kind / name
                if not labels or kind != classes[labels[-1]]:
                    writable_folder(path, "folder")
                with replacing(path) as temporary:
                    package.picture(name).save(temporary, "PNG")
                labels.append(classes.index(kind))
                files.append(str(path))
        counts.append(len(files))
        lists.append((labels, files))
    write_classes(folder / "classes.txt", classes)
    write_list(folder / "source.lst", *lists[0])
    write_list(folder / "val.lst", *lists[1])
    write_list(folder / "target.lst", [NULL_LABEL] * counts[1], lists[1][1])
    return len(classes), *counts


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
