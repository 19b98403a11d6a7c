#!/usr/bin/env python3
"""Write a page on finished runs that a person reads: which network to use, how sure that is, and pictures of why."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.help import beside
from transfer_gluon.cli.options import RUNNING, compared_options, computing_options, input_options
from transfer_gluon.cli.types import FILE

import click

from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("On two runs and the network they began with, by the lists in data/", "model/dan model/jan"),
    ("On one epoch, with folders of photos, some of the target's sorted by class",
     "model/jan:14 --source photos/web --target photos/street --val photos/street-labelled --out jan.html"),
    ], sections={"What is looked at": ("source_model", "data_dir", "source", "target", "val", "max_images", "seed"),
                 "The page": ("out", "title"), **RUNNING})
@compared_options(
    "; they need no labels.  [default: target.lst, if it is there]",
    "what is right, and do not change what is said without them.", "all that is drawn by chance.")
@click.option("--out", type=FILE, default="report.html",
              help="HTML file to write, with all in it; a report that is there is replaced.")
@click.option("--title", default=None, help="Its title.  [default: the names of the networks]")
@input_options("the longer side of the input")
@computing_options()
@click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
              help="The label that means 'unknown'.")
def main(runs, source_model, data_dir, source, target, val, max_images, seed, out, title, image_shape, val_resize,
         batch_size, dtype, force_dtype, null_label, gpus, threads):
    """Report on finished runs, each by its last epoch, or PREFIX:EPOCH for another, in one HTML file.

    It opens in any browser, without a network, and begins with which of RUNS to use: perhaps the source model. Then:
    curves of training, images as the network sees them, both domains in one plane, predicted classes, and, where some
    target labels are known, which classes are right and whether probabilities can be believed.
    """
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.base.log import log, log_to_stderr
    from transfer_gluon.reports.material import collect
    from transfer_gluon.reports.page import refuse_others, write_report
    from transfer_gluon.symbols.precision import usable_dtype

    log_to_stderr()
    devices = find_devices(gpus)
    dtype = usable_dtype(dtype, devices, force_dtype)
    writable_folder(out, "out")
    refuse_others(out)
    material = collect(runs, devices, source_model, data_dir=data_dir, source=source, target=target, val=val,
                       null_label=null_label, most=max_images, seed=seed, image_shape=image_shape,
                       val_resize=val_resize, batch_size=batch_size, threads=threads,
                       dtype=dtype)
    for note in material.notes:
        log.info("%s", note)
    again = _again(click.get_current_context())
    found = write_report(out, material, again, title, beside(), seed)
    print("\n".join([f"{found.headline}{found.checkpoint and f' Its checkpoint: {found.checkpoint}.'}", *found.reasons,
                     f"report: {Path(out)}"]))


def _again(context):
    """The words of this command, in an order that can be read."""
    words = list(context.params["runs"])
    for parameter in context.command.params:
        value = context.params[parameter.name]
        if isinstance(parameter, click.Option) and context.get_parameter_source(parameter.name) is \
                click.core.ParameterSource.COMMANDLINE:
            words.append(parameter.opts[-1])
            if not parameter.is_flag:
                words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return words


if __name__ == "__main__":
    exit_codes(main)()
