#!/usr/bin/env python3
"""Make an MXNet checkpoint of PyTorch's weights: ``tools/import_weights.py resnet50.pth --architecture resnet50``."""
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from base import installed  # noqa: F401

import click  # noqa: E402

from base.commands import CONTEXT, exit_codes  # noqa: E402
from base.flags import PATH  # noqa: E402
from exchange.architectures import ARCHITECTURES  # noqa: E402


@click.command(context_settings=CONTEXT)
@click.argument("weights", type=PATH)
@click.option("--architecture", type=click.Choice(list(ARCHITECTURES)), required=True,
              help="The network that they belong to.")
@click.option("--output", type=PATH, default=None,
              help="Prefix of the checkpoint, epoch 0.  [default: model/ARCHITECTURE]")
def main(weights, architecture, output):
    """Make an MXNet checkpoint of PyTorch's WEIGHTS: a file (.pth, .pt, .safetensors) or an installed package.

    The checkpoint takes raw RGB images 0–255; the network's own normalisation is its first layer. Reading .pth and .pt
    takes PyTorch; a file that holds more than weights is refused.
    """
    from base.files import writable_folder
    from exchange.state_dict import find_weights, read_state_dict
    from exchange.weights import import_weights
    from training.checkpoint import refuse_to_replace, write_checkpoint

    output = output or f"model/{architecture}"
    writable_folder(output, "--output")
    file = find_weights(weights)
    symbol, *values = import_weights(read_state_dict(file), architecture, str(file))
    refuse_to_replace(output, 0, "--output", symbol)
    print(write_checkpoint(output, 0, symbol, *values))
    print(f"start from it by --pretrained-model {output} --pretrained-epoch 0 --image-shape 3,224,224")


if __name__ == "__main__":
    exit_codes(main)()
