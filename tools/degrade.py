#!/usr/bin/env python3
"""Make a benchmark of a folder of pictures: half of them as they are as source, the others degraded as target.

Each picture of the target is darkened, blurred, made noisy and compressed, as one taken by a poor camera in poor
light; how much is drawn for each, and the same from the same seed. So one sees on pictures of one's own, whose labels
are known, what adaptation does for such a change.
"""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER

import click
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder
from transfer_gluon.iters.image_list import check_names
from transfer_gluon.records.class_names import write_classes
from transfer_gluon.records.folders import read_images
from transfer_gluon.tools.digits import write_domains

# What is drawn evenly from a range, for pictures whose shorter side is 64 pixels; blur grows with the picture.
_LIGHT = 0.3, 0.7       # factor of the brightness
_BLUR = 0.5, 1.5        # standard deviation, in pixels
_NOISE = 5, 20          # standard deviation, of 255
_QUALITY = 15, 50       # of the JPEG file, of 100


def degraded(image, rng):
    """An 8-bit image (height, width, 3), darkened, blurred and with noise, and the quality of its JPEG file."""
    import cv2  # here and below, since --help does without

    light, blur, noise = (rng.uniform(*drawn) for drawn in (_LIGHT, _BLUR, _NOISE))
    dark = cv2.GaussianBlur(image, (0, 0), blur * min(image.shape[:2]) / 64) * light
    noisy = dark + rng.normal(scale=noise, size=image.shape)
    return np.clip(noisy.round(), 0, 255).astype(np.uint8), int(rng.integers(*_QUALITY))


def make(pictures, folder, seed=0):
    """Write ``degraded/``, ``classes.txt`` and the lists ``source.lst``, ``target.lst`` (null labels only), ``val.lst``
    (the same images with theirs) to `folder`. Source and target take turns within a class.

    Parameters
    ----------
    pictures : str or Path
        A folder with a folder a class; the source stays where it is.
    folder : str or Path
    seed : int

    Returns: (source images, target images). Raises: InputError.
    """
    import cv2

    folder, images = Path(folder), read_images(pictures, labels=True)
    check_names(folder, [str(folder)])
    writable_folder(folder / "degraded" / "x", "folder")
    order = np.argsort(images.labels, kind="stable")
    rng, files = np.random.default_rng(seed), []
    for place in order[1::2]:
        image = cv2.imread(images.files[place])
        if image is None:
            raise InputError(f"{images.files[place]}: is missing, or no picture.")
        image, quality = degraded(image, rng)
        files.append(str(folder / "degraded" / f"{place:05d}.jpg"))
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        with replacing(files[-1]) as temporary:
            temporary.write_bytes(content.tobytes())
    write_classes(folder / "classes.txt", images.classes)
    source = [images.files[place] for place in order[::2]]
    write_domains(folder, (images.labels[order[::2]].tolist(), source), (images.labels[order[1::2]].tolist(), files))
    return len(source), len(files)


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Twitter's emoji, as tools/emoji.py has written them", "data/emoji/twitter --data-dir data/degraded"),
    ("Photos in a folder a class, in other light", "photos/web --data-dir data/dark --seed 1"),
    ])
@click.argument("pictures", type=FOLDER)
@click.option("--data-dir", "folder", type=FOLDER, default="data/degraded", help="Folder to write to.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the light, the blur and the noise.")
def main(pictures, folder, seed):
    """Make a benchmark of PICTURES, a folder with a folder a class: half of them as source, the others degraded."""
    numbers = make(pictures, folder, seed)
    print(f"{folder}: {numbers[0]} pictures as they are, {numbers[1]} degraded")


if __name__ == "__main__":
    exit_codes(main)()
