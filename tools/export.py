#!/usr/bin/env python3
"""Write a trained network as an ONNX file: ``tools/export.py --model model/mmd1 --epoch 14 --output mmd1.onnx``."""
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from base import installed  # noqa: F401

import click  # noqa: E402

from base.errors import exit_codes  # noqa: E402
from base.files import writable_folder  # noqa: E402
from base.flags import numbers  # noqa: E402
from exchange.onnx_file import export  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402


@click.command(context_settings=dict(show_default=True, help_option_names=["-h", "--help"]))
@click.option("--model", required=True, help="Prefix of the checkpoint: PREFIX-symbol.json, PREFIX-0014.params.")
@click.option("--epoch", type=click.IntRange(min=0), required=True, help="Its epoch number.")
@click.option("--output", default=None, help="File to write.  [default: PREFIX-0014.onnx]")
@click.option("--image-shape", default=None,
              help="Channels, height, width of the network's input, in pixels.  "
                   "[default: what it was trained with, if the checkpoint says so; else 3,320,320]")
def main(model, epoch, output, image_shape):
    """Write a checkpoint as an ONNX file: raw RGB images 0–255 in, probabilities out, any number at a time.

    Where onnxruntime is installed, the file's probabilities are compared with MXNet's before it is written.
    """
    image_shape = image_shape and numbers("--image-shape", image_shape, 3, int)
    output = output or f"{model}-{epoch:04d}.onnx"
    writable_folder(output, "--output")
    checkpoint = load_checkpoint(model, epoch)
    difference = export(checkpoint, output, image_shape or checkpoint.image_shape)
    compared = "not compared with MXNet, since onnxruntime is not installed"
    if difference is not None:
        compared = f"its probabilities differ from MXNet's by {difference:.1g} at most"
    print(f"{output}: {compared}")


if __name__ == "__main__":
    exit_codes(main)()
