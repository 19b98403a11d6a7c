#!/usr/bin/env python3
"""Write a trained network as an ONNX file: ``tools/export.py --model model/mmd1 --epoch 14 --output mmd1.onnx``."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FILE, IMAGE_SHAPE, PATH

import click

from transfer_gluon.base.errors import InputError


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Write model/mmd1-0014.onnx", "--model model/mmd1 --epoch 14"),
    ("Under another name, for images of another size",
     "--model model/mmd1 --epoch 14 --output cars.onnx --image-shape 3,224,224"),
    ])
@click.option("--model", "prefix", type=PATH, required=True,
              help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0014.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--output", type=FILE, default=None, help="File to write.  [default: PREFIX-0014.onnx]")
@click.option("--image-shape", type=IMAGE_SHAPE, default=None,
              help="Channels, height, width of the network's input, in pixels.  "
                   "[default: what it was trained with, if the checkpoint says so; else 3,320,320]")
def main(prefix, epoch, output, image_shape):
    """Write a checkpoint as an ONNX file: raw RGB images 0–255 in, probabilities out, any number at a time.

    Where onnxruntime is installed, the file's probabilities are compared with MXNet's before it is written.
    """
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint, parameter_file, symbol_file
    from transfer_gluon.exchange.onnx_file import export

    output = output or f"{prefix}-{epoch:04d}.onnx"
    writable_folder(output, "output")
    if Path(output).resolve() in {parameter_file(prefix, epoch).resolve(), symbol_file(prefix).resolve()}:
        raise InputError(f"--output is {output}, which is read from, and would be replaced; give another name.")
    checkpoint = load_checkpoint(prefix, epoch)
    difference = export(checkpoint, output, image_shape or checkpoint.image_shape)
    compared = "not compared with MXNet, since onnxruntime is not installed"
    if difference is not None:
        compared = f"its probabilities differ from MXNet's by {difference:.1g} at most"
    print(f"{output}: {compared}")


if __name__ == "__main__":
    exit_codes(main)()
