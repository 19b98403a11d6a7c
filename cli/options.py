"""Flags of a command, made of the fields of dataclasses (`base.parameters`): names, types, ranges, defaults, help."""
import dataclasses

from transfer_gluon.cli.types import (
    EPOCHS,
    FOLDER,
    GPUS,
    IMAGE_SHAPE,
    KEEP,
    NAMES,
    NUM_THREADS,
    PAIRS,
    PATH,
    RATES,
    RESIZE,
    RGB_MEAN,
    RGB_STD,
    Number,
)

import click

from transfer_gluon.base.errors import with_flags
from transfer_gluon.base.processor import DTYPES

_TYPES = {"path": PATH, "folder": FOLDER, "image_shape": IMAGE_SHAPE, "rgb_mean": RGB_MEAN, "rgb_std": RGB_STD,
          "epochs": EPOCHS, "gpus": GPUS, "names": NAMES, "pairs": PAIRS, "rates": RATES, "keep": KEEP,
          "resize": RESIZE}


# Sections of the help of commands that run a checkpoint over images, by the names of their parameters.
RUNNING = {"Images": ("image_shape", "val_resize", "null_label"),
           "Computing": ("gpus", "batch_size", "threads", "dtype", "force_dtype")}


def flags_of(*groups):
    """The flags of the fields of these `Parameters`, by their names."""
    return {field.name: "--" + name.replace("_", "-") for group in groups for name, field in group.flags().items()}


def options(*groups):
    """Decorate a click command, so that it has a flag for every field of these `Parameters`.

    The value of a flag comes under the name of its field; `filled` makes the dataclasses of them.
    """
    flags = flags_of(*groups)

    def decorate(function):
        for group in reversed(groups):
            for field in reversed(group.flags().values()):
                function = _option(group, field, flags)(function)
        return function
    return decorate


def input_options(side):
    """Decorate a command that runs a checkpoint over images: ``--image-shape`` and ``--val-resize``, whose default is
    1.125 × `side`, in words."""
    def decorate(function):
        function = click.option(
            "--val-resize", type=RESIZE, default=None,
            help="Shorter side, in pixels, that images are resized to before their centre is cut out; or squeeze: to "
                 "the network's input, without keeping the aspect.  [default: what the checkpoint says; else "
                 f"1.125 × {side}]")(function)
        return click.option(
            "--image-shape", type=IMAGE_SHAPE, default=None,
            help="Channels, height, width of the network's input, in pixels.  "
                 "[default: what it was trained with, if the checkpoint says so; else 3,320,320]")(function)
    return decorate


def computing_options(int8=False, trial=False):
    """Decorate a command that runs a checkpoint over images: ``--batch-size``, ``--gpu``, ``--data-nthreads``,
    ``--dtype`` and ``--force-dtype``; `usable_dtype` says what comes of the last two.

    `int8`: whether it computes in that, too; `trial`: whether a trial chooses its batch size (`good_batch_size`)."""
    def decorate(function):
        function = click.option(
            "--force-dtype", is_flag=True,
            help="Compute in bfloat16 on a processor without units for it, too, where that is slower.")(function)
        function = click.option(
            "--dtype", type=click.Choice([*DTYPES, *(["int8"] if int8 else [])]), default="float32",
            help="What is computed in. bfloat16: quicker on processors that have units for it (AVX-512 BF16, AMX); "
                 "elsewhere it is float32. float16: on GPUs." + (
                     " int8: several times quicker on the CPU; it is calibrated with some of the images, and the log "
                     "tells what it changes." if int8 else ""))(function)
        function = click.option("--data-nthreads", "threads", type=NUM_THREADS, default=15,
                                help="Threads that decode images.")(function)
        function = click.option(
            "--gpu", "gpus", type=GPUS, default=None,
            help="Number of the GPU to compute on; several share each batch.  [default: the CPU]")(function)
        return click.option("--batch-size", type=click.IntRange(min=1), default=None,
                            help="Images computed at a time.  [default: 32" + (
                                "; of 4000 images and more, the quickest of 8, 32 and 64]" if trial else "]"))(function)
    return decorate


def compared_options(target, val, seed):
    """Decorate a command that compares networks: ``RUNS``, ``--source-model``, the lists, ``--max-images``, ``--seed``.

    `target`, `val`, `seed`: what their help says, behind what is common.
    """
    def decorate(function):
        for option in reversed((
                click.argument("runs", nargs=-1, required=True),
                click.option("--source-model", metavar="PREFIX:EPOCH", default=None,
                             help="The network that adaptation began with.  [default: what the runs' settings say]"),
                click.option("--data-dir", type=FOLDER, default="data",
                             help="Folder of source.lst, target.lst and val.lst."),
                click.option("--source", type=PATH, default=None,
                             help="List of source images, or a folder with a folder a class.  [default: source.lst, if "
                                  "it is there]"),
                click.option("--target", type=PATH, default=None, help=f"List of target images, or a folder{target}"),
                click.option("--val", type=PATH, default=None, help=f"Target images with labels: they tell {val}  "
                                                                    "[default: val.lst, if it is there]"),
                click.option("--max-images", type=click.IntRange(min=2), default=2000,
                             help="Target images that are looked at, at most, and of the source half as many."),
                click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0,
                             help=f"Of the images that are looked at, and of {seed}"))):
            function = option(function)
        return function
    return decorate


def filled(group, values):
    """A dataclass of the `values` of flags, a dict by the names of fields."""
    return group(**{field.name: values[field.name] for field in dataclasses.fields(group) if field.name in values})


def _option(group, field, flags):
    words, default = field.metadata, field.default
    text = with_flags(words["meaning"], flags)
    if words["default_words"]:
        text += f"  [default: {words['default_words']}]"
    more = dict(is_flag=True) if isinstance(default, bool) and words["kind"] != "on_off" else \
        dict(type=_type(default, words))
    if isinstance(default, bool) and words["kind"] == "on_off":
        default = int(default)
    # What is on by itself is turned off by a flag of its own.
    names = flags[field.name] + (flags[field.name].replace("--", "/--no-", 1) if default is True else "")
    decorated = click.option(names, field.name, default=default, help=text, **more)

    def decorate(function):
        function = decorated(function)
        function.__click_params__[-1].section = group.__doc__.splitlines()[0].rstrip(".")
        return function
    return decorate


def _type(default, words):
    """The click type of a field."""
    kind = words["kind"]
    if kind in _TYPES:
        return _TYPES[kind]
    if words["choices"]:
        return click.Choice(list(words["choices"]))
    if isinstance(default, bool):
        return click.IntRange(0, 1)
    if isinstance(default, int) or kind == "whole":
        return click.IntRange(words["least"], words["most"])
    if isinstance(default, float) or kind == "number":
        least, most = (words[one] if words[one] is not None else words[other]
                       for one, other in (("least", "above"), ("most", "below")))
        return Number(least, most, min_open=words["above"] is not None, max_open=words["below"] is not None)
    return str
