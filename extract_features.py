#!/usr/bin/env python3
"""Compute what a layer of a network gives for the images of a list, once, and keep it in a file."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import RUNNING, computing_options, filled, flags_of, input_options, options
from transfer_gluon.cli.types import FILE, PATH, refuse_idle

import click

from transfer_gluon.iters.augmentation import Augmentation


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("What feeds the classifier of a ResNet, for the images of a list",
     "--model model/resnet-152 --epoch 0 --lst data/source.lst --out data/features/source.npz"),
    ("Four augmented views of each image beside the plain one", "--model model/resnet-152 --epoch 0 --views 4"),
    ], sections={"Views": ("views", "seed"), **RUNNING})
@click.option("--model", "prefix", type=PATH, required=True,
              help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0000.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--layer", default="flatten0", help="The layer; tools/layers.py --all-layers lists those of a network.")
@click.option("--lst", type=PATH, default="data/source.lst",
              help="List of images, or a folder: with a folder a class, labels follow the alphabet, or --classes.")
@click.option("--classes", type=FILE, default=None,
              help="Of a folder that may lack some: a classes.txt, the name of each label, in order.")
@click.option("--out", type=FILE, default=None,
              help="The .npz file to write.  [default: that beside the list or folder]")
@input_options("the longer side of the input")
@click.option("--views", type=click.IntRange(0, 10_000), default=0,
              help="How many augmented views of each image are computed, beside the plain one.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the views.")
@computing_options()
@click.option("--overwrite", is_flag=True, help="Replace a file that holds features of something else.")
@options(Augmentation)
def main(prefix, epoch, layer, lst, classes, out, image_shape, val_resize, views, seed, batch_size, dtype,
         force_dtype, gpus, threads, overwrite, **augmentation):
    """Compute what a layer of a network gives for every image of a list, and keep it in a feature file.

    Images are prepared as for validation, and the network computes as when it is used. An extraction that was stopped,
    however hard, goes on when the same command is given again. fine_tune.py --read features and train_classifier.py
    train on such files.
    """
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.base.log import log_to_stderr
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint
    from transfer_gluon.inference.features import extract
    from transfer_gluon.records.class_names import read_classes
    from transfer_gluon.records.folders import read_images
    from transfer_gluon.records.ready import as_packed
    from transfer_gluon.symbols.precision import usable_dtype

    log_to_stderr()
    if not views:
        refuse_idle(dict.fromkeys((*flags_of(Augmentation), "seed"), "without `views`"))
    devices = find_devices(gpus)
    dtype = usable_dtype(dtype, devices, force_dtype)
    if not Path(lst).is_dir():
        refuse_idle({"classes": "with a list, which has labels"})
    (images, packed), = as_packed([read_images(lst, classes=read_classes(classes) if classes else None)])
    out = Path(out or (f"{images.path.resolve()}.npz" if images.in_place else images.path.with_suffix(".npz")))
    writable_folder(out, "out")
    features = extract(load_checkpoint(prefix, epoch), layer, images, out, devices, image_shape=image_shape,
                       val_resize=val_resize, views=views, seed=seed, batch_size=batch_size, threads=threads,
                       augmentation=filled(Augmentation, augmentation) if views else None, packed=packed,
                       overwrite=overwrite, dtype=dtype)
    shape = " × ".join(map(str, features.values.shape[1:]))
    beside = f" and {views} augmented views" if views else ""
    size = features.path.stat().st_size
    print(f"{features.path}: {shape} numbers of each of {len(features)} images{beside}, {size:,} bytes: what {layer} "
          f"of {features.source.network} gives for {features.source.list}")


if __name__ == "__main__":
    exit_codes(main)()
