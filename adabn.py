#!/usr/bin/env python3
"""Adapt a trained network to the target domain by its batch normalisation statistics, without training."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import RUNNING, computing_options, input_options
from transfer_gluon.cli.types import PATH, Names

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Accuracy on data/val.lst before and after", "--model model/mmd --epoch 18"),
    ("Adapt to photos without labels, and keep the network for other commands",
     "--model model/mmd --epoch 18 --val data/target.lst --save-prefix model/adabn"),
    ("All layers, by the full variance: better in small networks",
     "--model model/mmd --epoch 18 --layers all --statistics pixel"),
    ], sections={"AdaBN": ("layers", "statistics", "save_prefix"), **RUNNING})
@click.option("--model", "prefix", type=PATH, required=True,
              help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0018.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--val", type=PATH, default="data/val.lst",
              help="List of target images, or a folder. All give the statistics; those with a label, by the list or by "
                   "a folder a class, give the accuracy.")
@click.option("--layers", type=Names(), default=None,
              help="Batch normalisation layers to adapt, separated by commas, or all.  "
                   "[default: the last two; bn1,stage4_unit3_bn3 of a ResNet-152]")
@click.option("--statistics", type=click.Choice(["image", "pixel"]), default="image",
              help="image: as the original, mean and variance over images of each image's mean. "
                   "pixel: over images and pixels.")
@click.option("--save-prefix", type=PATH, default=None,
              help="Write the adapted checkpoint under this prefix, same epoch.")
@input_options("height and width of the input, as the original")
@computing_options(trial=True)
@click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
              help="The label that means 'unknown'.")
def main(prefix, epoch, val, gpus, layers, statistics, save_prefix, image_shape, val_resize, batch_size, dtype,
         force_dtype, null_label, threads):
    """Take batch normalisation statistics from target images and classify the images with them."""
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.base.log import log, log_to_stderr
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint, refuse_to_replace, write_checkpoint
    from transfer_gluon.inference.adabn import adapt_to_images
    from transfer_gluon.records.folders import read_images
    from transfer_gluon.symbols.precision import usable_dtype

    log_to_stderr()
    devices = find_devices(gpus)
    dtype = usable_dtype(dtype, devices, force_dtype)
    if save_prefix:
        writable_folder(save_prefix, "save_prefix")
        if Path(save_prefix).resolve() == Path(prefix).resolve():
            raise InputError(f"`save_prefix` is {save_prefix}, the checkpoint itself, which would be replaced; give "
                             "another prefix.")
    checkpoint = load_checkpoint(prefix, epoch)
    images = read_images(val, null_label=null_label, classes=checkpoint.classes)
    if save_prefix:
        refuse_to_replace(save_prefix, epoch, "save_prefix", checkpoint.symbol)
    found = adapt_to_images(checkpoint, images, devices, "all" if layers == ("all",) else layers, statistics,
                            image_shape, batch_size, threads, val_resize, dtype)
    if save_prefix:
        adapted = found.checkpoint
        log.info("saved %s", write_checkpoint(save_prefix, epoch, adapted.symbol, adapted.arg_params,
                                              adapted.aux_params))
    if found.num_labelled:
        print(f"accuracy of {found.num_labelled} images: {found.before:.2%} before AdaBN, {found.after:.2%} after")
    else:
        print(f"{val}: no image has a label, so there is no accuracy to tell.")


if __name__ == "__main__":
    exit_codes(main)()
