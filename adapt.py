#!/usr/bin/env python3
"""The whole way in one command: from labelled images and images of another kind to a table and predictions."""
import os
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.help import beside
from transfer_gluon.cli.types import FOLDER, GPUS, IMAGE_SHAPE, NAMES, PATH, refuse_idle, words

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.exchange.architectures import ARCHITECTURES
from transfer_gluon.symbols.registry import TRANSFER_LOSSES
from transfer_gluon.trials.advice import HOW

_METHODS = ["adabn", "dan", "jan", *(name for name in TRANSFER_LOSSES if name not in ("mmd", "jmmd"))]


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Two folders of photos, the first with a folder a class, and the network in model/",
     "--source photos/web --target photos/street"),
    ("With some target photos whose labels are known, to see how well it works",
     "--source photos/web --target photos/street --val photos/street-labelled --model model/resnet-152"),
    ("From PyTorch's weights, and only say what would be run",
     "--source photos/web --target photos/street --weights resnet50.pth --architecture resnet50 --dry-run"),
    ], sections={"Images": ("source", "target", "val"),
                 "Network": ("model", "epoch", "weights", "architecture", "network", "num_layers", "image_shape"),
                 "Training": ("methods", "how", "gpus", "seed", "common", "stage0", "stage1")})
@click.option("--source", type=PATH, required=True,
              help="Labelled images: a folder with a folder a class, or a list (.lst).")
@click.option("--target", type=PATH, required=True,
              help="Images of the other kind, whose labels are not looked at: a folder, or a list.")
@click.option("--val", type=PATH, default=None,
              help="Target images with labels, to be told how well it works: a folder with a folder a class, or a "
                   "list.")
@click.option("--model", type=PATH, default=None,
              help="Prefix of the pretrained checkpoint.  [default: the only one in model/]")
@click.option("--epoch", type=click.IntRange(min=0), default=None, help="Its epoch number.  [default: its last one]")
@click.option("--weights", type=PATH, default=None,
              help="PyTorch's weights instead (.pth, .pt, .safetensors): they are imported first.")
@click.option("--architecture", type=click.Choice(list(ARCHITECTURES)), default=None,
              help="The network that these weights belong to, such as resnet50.")
@click.option("--network", default=None, help="A new network with random weights instead, such as resnet.")
@click.option("--num-layers", type=click.IntRange(min=1), default=None, help="Depth of --network resnet, such as 18.")
@click.option("--image-shape", type=IMAGE_SHAPE, default=None,
              help="Channels, height, width of the network's input, such as 3,128,128.  [default: what it was trained "
                   "with]")
@click.option("--methods", type=NAMES, default="adabn,jan",
              help=f"Rows beside the source model, of {', '.join(_METHODS)}; the last one predicts.")
@click.option("--how", type=click.Choice(HOW), default=None,
              help="features: the network stays, and what it gives is computed once: minutes on a CPU. whole: all of "
                   "it trains. new: with --network.  [default: features on the CPU, whole on GPUs]")
@click.option("--gpus", type=GPUS, default=None,
              help="Numbers of the GPUs to train on, such as 0,1.  [default: the CPU]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of all that is drawn by chance.")
@click.option("--common", multiple=True,
              help="Further flags of fine_tune.py in both stages, such as '--num-epochs 5'; they win. Like the next "
                   "two, it may be given several times.")
@click.option("--stage0", multiple=True, help="Those of stage 0 alone, the source model.")
@click.option("--stage1", multiple=True, help="Those of stage 1 alone, the rows beside.")
@click.option("--output", type=FOLDER, default=None,
              help="Folder for all that comes out.  [default: runs/adapt- and the names of source and target]")
@click.option("--dry-run", is_flag=True, help="Say which commands would be run and why, and run none.")
def main(source, target, val, model, epoch, weights, architecture, network, num_layers, image_shape, methods, how, gpus,
         seed, common, stage0, stage1, output, dry_run):
    """Carry a classifier over from labelled images to images of another kind, whose labels nobody knows.

    Trains a source model, adapts it, and predicts the target: by commands that are printed, and that you can give
    yourself. Calling it again goes on where it was; what other images or flags change is done anew, in the place of
    what was there.
    """
    from transfer_gluon.base.files import replacing, writable_folder
    from transfer_gluon.records.folders import read_images
    from transfer_gluon.trials.adaptation import plan, script, table
    from transfer_gluon.trials.advice import advise
    from transfer_gluon.trials.trial import execute_all

    _check(model, weights, architecture, network, how, methods)
    further = {name: words(name, texts) for name, texts in (("common", common), ("stage0", stage0), ("stage1", stage1))}
    lists = _read(read_images, source, target, val)
    stem = "-".join(Path(path).resolve().stem for path in (source, target))
    output = Path(output or f"runs/adapt-{stem}")
    how = how or ("new" if network else "whole" if gpus else "features")
    first, start, made_of = _start(output, model, epoch, weights, architecture, network, num_layers)
    advice = advise(int(lists["source"].labelled.sum()), len(lists["target"]), how, len(gpus or "1"))
    advice = replace(advice, common=[*advice.common, *(["--seed", str(seed)] if seed else []),
                                     *(["--image-shape", _joined(image_shape)] if image_shape else [])])
    images = {"source": source, "target": target, **({"val": val} if val else {})}
    digests = {**{name: found.digest for name, found in lists.items()}, **made_of}
    stages = plan(output, images, digests, start, advice, methods, _joined(gpus) if gpus else None,
                  labelled=val is not None, first=first, **further)
    commands = script(stages, beside())
    wide = min(shutil.get_terminal_size().columns, 100)
    reasons = [click.wrap_text(f"- {reason}", wide, subsequent_indent="  ") for reason in advice.reasons]
    print("\n".join([*reasons, "", commands]), flush=True)
    if dry_run:
        return
    print(f"what each says goes to a file of its own: {output / '*.log'}\n", flush=True)
    writable_folder(output / "table.md", "output")
    with replacing(output / "commands.sh") as temporary:
        temporary.write_text(f"set -e\ncd {shlex.quote(os.getcwd())}\n{commands}", encoding="utf-8")
    execute_all(stages, 1)
    text = table(stages)
    with replacing(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)
    if val:
        print(f"how well, class by class: {output / 'evaluation'}")
    else:
        print("target: nothing tells how well it works without labels; --val takes some target images that have them.")
    print(f"which model to use, and pictures of why: {output / 'report.html'}\n"
          f"predictions: {output / 'predictions.csv'}\nthis table: {output / 'table.md'}\nlogs, curves by epoch, "
          f"checkpoints: {output}{os.sep}\nthe commands: {output / 'commands.sh'}")


def _joined(numbers):
    return ",".join(map(str, numbers))


def _check(model, weights, architecture, network, how, methods):
    given = [name for name, value in (("model", model), ("weights", weights), ("network", network)) if value]
    if len(given) > 1:
        raise InputError(f"`{given[0]}` and `{given[1]}` were both given, and each names the network to start from; "
                         "expected one of them.", given[1], None, f"none beside `{given[0]}`")
    if not weights:
        refuse_idle({"architecture": "without `weights`"})
    elif not architecture:
        raise InputError("`weights` was given without `architecture`, which says what network they belong to.",
                         "architecture", None, "a name such as resnet50")
    if not network:
        refuse_idle({"num_layers": "without `network`"})
    if not model:
        refuse_idle({"epoch": "without `model`"})
    if how and (how == "new") != bool(network):
        raise InputError(f"`how` is {how}, " + ("and a new network, which `network` names, begins with random weights; "
                         "expected new, or a pretrained one." if network else
                         "and no `network` says which new one; give it."), "how", how, "new with `network` only")
    unknown = [name for name in methods if name not in _METHODS]
    if unknown or len(set(methods)) < len(methods):
        raise InputError.of("methods", ",".join(methods), f"different ones of {', '.join(_METHODS)}")


def _read(read_images, source, target, val):
    """The lists of the images, checked before anything takes long."""
    found = {"source": read_images(source, labels=True)}
    classes = found["source"].classes
    found["target"] = read_images(target, labels=False) if Path(target).is_dir() else read_images(target)
    if val:
        found["val"] = read_images(val, classes=classes, labels=True)
        if not found["val"].labelled.any():
            raise InputError(f"{val}: no image has a label, by which to tell how well it works; leave `val` out.",
                             "val", val, "images with labels")
    return found


def _start(output, model, epoch, weights, architecture, network, num_layers):
    """Commands that come first, the flags of stage 0 that name the network, and what it is made of."""
    from transfer_gluon.checkpoints.checkpoint import parameter_file, saved_epochs
    from transfer_gluon.trials.adaptation import file_digest, find_network, import_command

    if network:
        return [], ["--network", network, *(["--num-layers", num_layers] if num_layers else [])], {}
    if weights:
        run = import_command(output, weights, architecture)
        return [run], ["--pretrained-model", run.prefix, "--pretrained-epoch", 0], {}
    if not model:
        model, epoch = find_network()
    there = saved_epochs(model)
    if not there or epoch is not None and epoch not in there:
        known = f"there are the epochs {_joined(there)} of it" if there else "expected a prefix, of which there are " \
            "files such as PREFIX-symbol.json and PREFIX-0000.params"
        raise InputError(f"`model` {model}: no such checkpoint; {known}.", "model", model, known)
    epoch = there[-1] if epoch is None else epoch
    return [], ["--pretrained-model", model, "--pretrained-epoch", epoch], {
        "network": file_digest(parameter_file(model, epoch))}


if __name__ == "__main__":
    exit_codes(main)()
