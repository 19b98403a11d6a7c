#!/usr/bin/env python3
"""Make the letters benchmark: upright serif letters as source, slanted and bold ones as target, as files and lists.

Both are rendered from the fonts that matplotlib ships, as dark ink on white paper, cut to the ink and enlarged to the
same box: a to z, so that j and l, for instance, are told apart by their shape alone.
"""
import string
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER

import click
import numpy as np

from transfer_gluon.base.files import writable_folder
from transfer_gluon.iters.image_list import check_names
from transfer_gluon.tools.digits import printed, write_domains, write_picture

UPRIGHT = "DejaVuSerif", "STIXGeneral", "cmr10"
SLANTED_OR_BOLD = ("DejaVuSans-BoldOblique", "DejaVuSansMono-BoldOblique", "DejaVuSerif-BoldItalic",
                   "STIXGeneralBolIta", "STIXGeneralItalic", "cmb10", "cmmi10", "cmti10")
_LOOK = dict(angle=5, shear=0.1, thinning=(0, 1))       # as of `printed`: the fonts differ, and little else


def make(folder, number=2600, seed=0):
    """Write ``source/``, ``target/`` and the lists ``source.lst``, ``target.lst`` (null labels only), ``val.lst`` (the
    same images with theirs) to `folder`: `number` letters of each domain, in turn from a to z, their fonts by chance.
    """
    import matplotlib

    folder = Path(folder)
    check_names(folder, [str(folder)])
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    rng, domains = np.random.default_rng(seed), []
    for name, faces in ("source", UPRIGHT), ("target", SLANTED_OR_BOLD):
        writable_folder(folder / name / "x", "folder")
        labels = [i % 26 for i in range(number)]
        files = [str(folder / name / f"{i:05d}.png") for i in range(number)]
        for label, file in zip(labels, files):
            face = fonts / f"{faces[rng.integers(len(faces))]}.ttf"
            write_picture(file, printed(string.ascii_lowercase[label], face, rng, **_LOOK))
        domains.append((labels, files))
    write_domains(folder, *domains)


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Write data/letters", ""),
    ("Fewer, drawn anew", "--data-dir data/few-letters --number 520 --seed 1"),
    ])
@click.option("--data-dir", "folder", type=FOLDER, default="data/letters", help="Folder to write to.")
@click.option("--number", type=click.IntRange(min=26), default=2600, help="Letters of each domain.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the letters.")
def main(folder, number, seed):
    """Make the letters benchmark: upright serif letters as source, slanted and bold ones as target."""
    make(folder, number, seed)
    print(f"{folder}: {number} upright and {number} slanted or bold letters")


if __name__ == "__main__":
    exit_codes(main)()
