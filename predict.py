#!/usr/bin/env python3
"""Classify images with a trained network and write what it says to a CSV file."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import RUNNING, computing_options, input_options
from transfer_gluon.cli.types import FILE, PATH, refuse_idle

import click

from transfer_gluon.base.errors import InputError, first_ten


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Classify the images of data/target.lst", "--model model/mmd1 --epoch 14 --out predictions.csv"),
    ("The most probable class alone, of all photos in a folder",
     "--model model/mmd1 --epoch 14 --images photos/street --top-k 1"),
    ], sections={"Answers": ("out", "top_k", "classes"), **RUNNING})
@click.option("--model", "prefix", type=PATH, required=True,
              help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0018.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--lst", type=PATH, default="data/target.lst",
              help="List of images. Labels, where it has some, give an accuracy and nothing else.")
@click.option("--images", "folder", type=PATH, default=None,
              help="A folder of images, or one image, instead of --lst.")
@click.option("--out", type=FILE, default="predictions.csv",
              help="CSV file to write: path, label_1, probability_1, label_2, …, the most probable first.")
@click.option("--top-k", type=click.IntRange(min=1), default=None,
              help="How many classes to name for an image.  [default: 5, or all where there are fewer]")
@click.option("--classes", type=FILE, default=None,
              help="File with the name of a class a line, class 0 first, to write instead of numbers.  "
                   "[default: what the checkpoint says; else classes.txt beside the list; else numbers]")
@input_options("the longer side of the input")
@computing_options(int8=True, trial=True)
def main(prefix, epoch, lst, folder, out, top_k, classes, image_shape, val_resize, batch_size, dtype, force_dtype,
         gpus, threads):
    """Classify the images of a list or a folder, prepared as for validation, straight from their files.

    Images that cannot be decoded get a line with empty fields; the command names them at its end, and ends with
    exit code 2.
    """
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.base.log import log, log_to_stderr
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint, parameter_file, symbol_file
    from transfer_gluon.inference.classifier import num_classes
    from transfer_gluon.inference.predictions import predict_images, write_predictions
    from transfer_gluon.iters import read_list
    from transfer_gluon.records.class_names import classes_beside, read_classes
    from transfer_gluon.records.folders import read_images
    from transfer_gluon.symbols.precision import usable_dtype

    log_to_stderr()
    devices = find_devices(gpus)
    dtype = usable_dtype(dtype, devices, force_dtype)
    writable_folder(out, "out")
    if folder:
        refuse_idle({"lst": "with --images"})
    elif Path(lst).is_dir():
        raise InputError(f"{lst}: a folder, which is given by --images; evaluate.py compares predictions with class "
                         "folders.")
    read_from = folder or lst, classes, parameter_file(prefix, epoch), symbol_file(prefix)
    if Path(out).resolve() in {Path(path).resolve() for path in read_from if path}:
        raise InputError(f"`out` is {out}, which is read from, and would be replaced; give another name.")
    images = read_images(folder, labels=False) if folder else read_list(lst)
    checkpoint = load_checkpoint(prefix, epoch)
    names = checkpoint.classes if not classes else None
    classes = classes or not (names or folder) and classes_beside(lst)
    there = num_classes(checkpoint.symbol, image_shape or checkpoint.image_shape, checkpoint.name)
    if classes:
        names = read_classes(classes)
        if len(names) != there:
            raise InputError(f"{classes}: {len(names)} classes, and {checkpoint.name} has {there}; expected a name a "
                             "line, that of class 0 first.")
    bad = []
    found = predict_images(checkpoint, images, devices, top_k, image_shape, batch_size, threads, bad, val_resize,
                           dtype)
    write_predictions(out, images.files, *found, names)
    log.info("wrote %s", out)
    known = images.labelled & (found[0][:, 0] >= 0)
    if known.any() and images.labels[known].max() >= there:
        log.info("labels in %s go to %d, and %s has %d classes: they are those of other classes, so that there is no "
                 "accuracy to tell", images.path, images.labels[known].max(), checkpoint.name, there)
    elif known.any():
        accuracy = (found[0][:, 0] == images.labels)[known].mean()
        print(f"accuracy of the {known.sum()} images with a label: {accuracy:.2%} (evaluate.py tells more)")
    if bad:
        raise InputError(f"{images.path}: {len(bad)} of its {len(images)} images are missing or cannot be decoded; "
                         f"their lines in {out} are empty:{first_ten(bad)}")


if __name__ == "__main__":
    exit_codes(main)()
