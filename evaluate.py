#!/usr/bin/env python3
"""Tell how well a trained network does on images with labels: accuracy, confusion matrix, calibration."""
import time
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import RUNNING, computing_options, input_options
from transfer_gluon.cli.types import FILE, FOLDER, PATH, refuse_idle

import click

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("How well a network does on data/val.lst", "--model model/mmd1 --epoch 14"),
    ("On another list, under the names of its classes",
     "--model model/mmd1 --epoch 14 --lst data/source.lst --classes data/classes.txt --output runs/on-source"),
    ], sections={"Answers": ("output", "overwrite", "classes"), **RUNNING})
@click.option("--model", "prefix", type=PATH, required=True,
              help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0018.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--lst", type=PATH, default="data/val.lst",
              help="List of images with labels, or a folder with a folder a class.")
@click.option("--output", type=FOLDER, default=None,
              help="New folder for figures, tables and pictures.  [default: one in runs/, named after the time]")
@click.option("--overwrite", is_flag=True, help="Replace the evaluation that is in --output.")
@click.option("--classes", type=FILE, default=None,
              help="File with the name of a class a line, class 0 first.  [default: what the checkpoint says; else "
                   "classes.txt beside the list, or the folders; else numbers]")
@input_options("the longer side of the input")
@click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
              help="The label that means 'unknown'; such images do not count.")
@computing_options(int8=True, trial=True)
def main(prefix, epoch, lst, output, overwrite, classes, image_shape, val_resize, null_label, batch_size, dtype,
         force_dtype, gpus, threads):
    """Compare what a network says with the labels of a list: accuracy, of every class too, confusion matrix,
    calibration.

    Images are prepared as for validation, straight from their files. --output gets evaluation.json, classes.csv,
    confusion.csv and .png, calibration.csv, reliability.png, predictions.csv. Images that cannot be decoded do not
    count; the command names them at its end, and ends with exit code 2.
    """
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import refuse_taken, writable_folder
    from transfer_gluon.base.log import log_to_stderr
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint
    from transfer_gluon.inference.report import EVALUATION, evaluate_images, write_evaluation
    from transfer_gluon.records.class_names import read_classes
    from transfer_gluon.records.folders import read_images
    from transfer_gluon.symbols.precision import usable_dtype

    log_to_stderr()
    devices = find_devices(gpus)
    dtype = usable_dtype(dtype, devices, force_dtype)
    if not output:
        refuse_idle({"overwrite": "without `output`"})
    output = output or _new_folder()
    writable_folder(output, "output")
    refuse_taken(output, EVALUATION if overwrite else ())
    checkpoint = load_checkpoint(prefix, epoch)
    names = read_classes(classes) if classes else checkpoint.classes
    known = names if Path(lst).is_dir() or not classes else None
    images = read_images(lst, null_label=null_label, classes=known, labels=True)
    names = names or images.classes
    bad = []
    found = evaluate_images(checkpoint, images, devices, names, image_shape, batch_size, threads, bad, val_resize,
                            dtype)
    write_evaluation(output, found, overwrite)
    print(f"{found}\nfigures, tables and pictures: {output}")
    if bad:
        raise InputError(f"{lst}: {len(bad)} of its {len(images)} images are missing or cannot be decoded, and do not "
                         f"count:{first_ten(bad)}")


def _new_folder():
    folder = Path("runs", time.strftime("evaluate-%Y%m%d-%H%M%S"))
    while folder.exists():
        folder = folder.with_name(f"{folder.name}x")
    return str(folder)


if __name__ == "__main__":
    exit_codes(main)()
