#!/usr/bin/env python3
"""Make an MXNet checkpoint of others' weights: ``tools/import_weights.py resnet50.pth --architecture resnet50``."""

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import PATH

import click

from transfer_gluon.exchange.architectures import ARCHITECTURES


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("ResNet-50 of torchvision, to model/resnet50", "resnet50.pth --architecture resnet50"),
    ("Another name", "resnet50.safetensors --architecture resnet50 --output model/start"),
    ])
@click.argument("weights", type=PATH)
@click.option("--architecture", type=click.Choice(list(ARCHITECTURES)), required=True,
              help="The network that they belong to.")
@click.option("--output", type=PATH, default=None,
              help="Prefix of the checkpoint, epoch 0.  [default: model/ARCHITECTURE]")
def main(weights, architecture, output):
    """Make an MXNet checkpoint of PyTorch's WEIGHTS: a file (.pth, .pt, .safetensors) or an installed package.

    Of bvlc_alexnet and vgg16_caffe, WEIGHTS is a .npy file of layers in TensorFlow's layout. The checkpoint takes raw
    RGB images 0–255; the network's own normalisation is its first layer. PyTorch need not be installed. A file that
    holds more than weights is refused, and nothing in it is run.
    """
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.checkpoints.checkpoint import refuse_to_replace, write_checkpoint
    from transfer_gluon.exchange.state_dict import find_weights, read_state_dict
    from transfer_gluon.exchange.weights import import_weights

    output = output or f"model/{architecture}"
    writable_folder(output, "output")
    file = find_weights(weights)
    symbol, *values = import_weights(read_state_dict(file), architecture, str(file))
    refuse_to_replace(output, 0, "output", symbol)
    print(write_checkpoint(output, 0, symbol, *values))
    shape = ",".join(map(str, ARCHITECTURES[architecture].image_shape))
    print(f"start from it by --pretrained-model {output} --pretrained-epoch 0 --image-shape {shape}")


if __name__ == "__main__":
    exit_codes(main)()
