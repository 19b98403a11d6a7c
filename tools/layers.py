#!/usr/bin/env python3
"""List the groups of layers of a network: ``tools/layers.py --model model/resnet-152``."""
import math

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import IMAGE_SHAPE, PATH, refuse_idle

import click

from transfer_gluon.base.errors import InputError


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("What --trainable and --num-lowlrs of fine_tune.py mean in a checkpoint", "--model model/resnet-152 --epoch 0"),
    ("What --layer-before-fullc and --transfer-layers may be", "--model model/resnet-152 --all-layers"),
    ("A new network", "--network resnet --num-layers 50"),
    ])
@click.option("--model", "prefix", type=PATH, default=None,
              help="Prefix of a checkpoint: PREFIX-symbol.json, PREFIX-0018.params.")
@click.option("--epoch", type=click.IntRange(min=0), default=None,
              help="Its epoch number.  [default: the last one that there is]")
@click.option("--network", default=None,
              help="A new network instead: resnet, inception_v4, efficientnet_lite0, or a name of gluoncv's model zoo.")
@click.option("--num-layers", type=click.IntRange(min=1), default=None, help="Depth of --network resnet.")
@click.option("--image-shape", type=IMAGE_SHAPE, default="3,320,320",
              help="Channels, height, width of the images for --network, in pixels.")
@click.option("--layer-before-fullc", "layer", default="flatten0", help="The layer that the classifier fc is put on.")
@click.option("--all-layers", is_flag=True, help="List all layers instead: the names that --layer-before-fullc takes.")
def main(prefix, epoch, network, num_layers, image_shape, layer, all_layers):
    """List the groups of layers below the classifier, from the input to the output, numbered from 0.

    Of each, how many numbers learn in it, and what the names of its parameters begin with, as --trainable takes them.
    """
    from transfer_gluon.symbols import below_bottleneck, cut
    from transfer_gluon.symbols.graph import layers
    from transfer_gluon.symbols.layer_groups import layer_groups

    if (prefix is None) == (network is None):
        raise InputError("expected either --model or --network.")
    refuse_idle({**({"num_layers": "with --model", "image_shape": "with --model"} if prefix else
                    {"epoch": "with --network"}), **({"layer": "with --all-layers"} if all_layers else {})})
    start = _checkpoint(prefix, epoch) if prefix else _new(network, num_layers, image_shape)
    if all_layers:
        print("\n".join(layers(start.symbol)))
        return
    features = cut(start.symbol, layer)
    sizes = _sizes(start, features, image_shape)
    groups = layer_groups(features)
    rows = [(str(number), f"{sum(map(sizes.get, group.parameters)):,}", " ".join(group.units))
            for number, group in enumerate(groups)]
    widths = [max(map(len, column)) for column in zip(*rows, ("", "numbers", ""))]
    for number, size, units in [("", "numbers", "names begin with"), *rows]:
        print(f"{number:>{widths[0]}}  {size:>{widths[1]}}  {units}")
    classes = f" of {start.num_classes} classes" if start.num_classes else ""
    narrow = "a bottleneck and " if below_bottleneck(start.symbol) == layer else ""
    print(f"{start.name}: {len(groups)} groups, {sum(sizes.values()):,} numbers that learn, and behind {layer} "
          f"{narrow}the classifier fc{classes}.\n--layer-before-fullc takes any of its {len(layers(start.symbol))} "
          "layers: see --all-layers.")


def _checkpoint(prefix, epoch):
    from transfer_gluon.checkpoints.checkpoint import load_checkpoint, saved_epochs

    return load_checkpoint(prefix, max(saved_epochs(prefix), default=0) if epoch is None else epoch)


def _new(network, num_layers, image_shape):
    from transfer_gluon.checkpoints.checkpoint import Checkpoint
    from transfer_gluon.symbols.networks import new_network

    if network != "resnet":
        refuse_idle({"num_layers": "without --network resnet"})
    return Checkpoint(f"the new network {network}", new_network(network, num_layers, image_shape))


def _sizes(start, features, image_shape):
    """How many numbers of each parameter learn; none of moving statistics."""
    from transfer_gluon.symbols.backbone import check_fit

    if start.arg_params:
        check_fit(features, start.arg_params, start.aux_params, start.name)
        shapes = [start.arg_params[name].shape if name != "data" else None for name in features.list_arguments()]
    else:
        check_fit(features, None, None, start.name, image_shape)
        shapes = features.infer_shape(data=(1, *image_shape))[0]
    sizes = {name: math.prod(shape) for name, shape in zip(features.list_arguments(), shapes) if name != "data"}
    return {**sizes, **dict.fromkeys(features.list_auxiliary_states(), 0)}


if __name__ == "__main__":
    exit_codes(main)()
