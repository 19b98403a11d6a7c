#!/usr/bin/env python3
"""Adapt a trained network to the target domain by its batch normalisation statistics, without training."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FILE, IMAGE_SHAPE, NUM_THREADS, PATH

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL


@click.command(cls=Command, context_settings=CONTEXT)
@click.option("--model", type=PATH, required=True,
              help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0018.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--val", type=FILE, default="data/val.lst",
              help="List of target images. All of them give the statistics; those with a label give the accuracy.")
@click.option("--gpu", default=None, help="Number of the GPU to compute on.  [default: the CPU]")
@click.option("--layers", default=None,
              help="Batch normalisation layers to adapt, separated by commas, or all.  "
                   "[default: the last two; bn1,stage4_unit3_bn3 of a ResNet-152]")
@click.option("--statistics", type=click.Choice(["image", "pixel"]), default="image",
              help="image: as the original, mean and variance over images of each image's mean. "
                   "pixel: over images and pixels.")
@click.option("--save-prefix", type=PATH, default=None,
              help="Write the adapted checkpoint under this prefix, same epoch.")
@click.option("--image-shape", type=IMAGE_SHAPE, default=None,
              help="Channels, height, width of the network's input, in pixels.  "
                   "[default: what it was trained with, if the checkpoint says so; else 3,320,320]")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, help="Images computed at a time.")
@click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
              help="The label that means 'unknown'.")
@click.option("--data-nthreads", type=NUM_THREADS, default=15, help="Threads that decode images.")
def main(model, epoch, val, gpu, layers, statistics, save_prefix, image_shape, batch_size, null_label, data_nthreads):
    """Take batch normalisation statistics from target images and classify the images with them."""
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.base.log import log, log_to_stderr
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint, refuse_to_replace, write_checkpoint
    from transfer_gluon.inference import adabn
    from transfer_gluon.inference.evaluate import evaluate
    from transfer_gluon.iters import OrderedIter, read_list
    from transfer_gluon.iters.transforms import square_centre_crop

    log_to_stderr()
    device, = find_devices(gpu)
    if save_prefix:
        writable_folder(save_prefix, "save_prefix")
        if Path(save_prefix).resolve() == Path(model).resolve():
            raise InputError(f"--save-prefix is {save_prefix}, the checkpoint itself, which would be replaced; give "
                             "another prefix.")
    images = read_list(val, null_label=null_label)
    checkpoint = load_checkpoint(model, epoch)
    if save_prefix:
        refuse_to_replace(save_prefix, epoch, "save_prefix", checkpoint.symbol)
    names = adabn.batch_norm_layers(checkpoint.symbol) if layers == "all" else layers and layers.split(",")
    shape = image_shape or checkpoint.image_shape
    num_classes = adabn.num_classes(checkpoint.symbol, shape, checkpoint.name)
    beyond = set(images.labels[images.labelled & (images.labels >= num_classes)].tolist())
    if beyond:
        raise InputError(f"{val}: has the labels {', '.join(map(str, sorted(beyond)[:10]))}, and {checkpoint.name} has "
                         f"{num_classes} classes; say by --null-label which label means 'unknown'.")
    batches = OrderedIter(images, batch_size, square_centre_crop(*shape[1:]), data_nthreads)

    adapted, before = adabn.adapt(checkpoint, batches, device, names, statistics)
    known = images.labelled
    after, _ = evaluate(adabn.classifier(adapted, device), batches, [device], null_label=null_label,
                        source=checkpoint.name)
    if save_prefix:
        log.info("saved %s", write_checkpoint(save_prefix, epoch, adapted.symbol, adapted.arg_params,
                                              adapted.aux_params))
    if known.any():
        right_before = (before == images.labels)[known].mean()
        print(f"accuracy of {known.sum()} images: {right_before:.2%} before AdaBN, {after:.2%} after")
    else:
        print(f"{val}: no image has a label, so there is no accuracy to tell.")


if __name__ == "__main__":
    exit_codes(main)()
