#!/usr/bin/env python3
"""Train a classifier that carries over to another domain: stage 0 on the source, stage 1 on both."""
from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import filled, options
from transfer_gluon.cli.types import given, refuse_idle

import click

from transfer_gluon.base.errors import InputError, does_nothing
from transfer_gluon.base.log import log_to_stderr
from transfer_gluon.training.options import GROUPS


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("From folders: one with a folder a class, and one of photos as they come",
     "--train-stage 1 --source photos/web --target photos/street --no-validation --pretrained-model model/web "
     "--pretrained-epoch 10 --lr 0.001 --num-epochs 20"),
    ("Stage 0: learn data/source.lst from a pretrained network",
     "--train-stage 0 --pretrained-model model/resnet-152 --pretrained-epoch 0 --model-prefix model/mmd "
     "--num-classes 263 --lr 0.01 --lr-step-epochs 10,16 --num-epochs 18 --batch-size 64 --gpus 0,1,2,3"),
    ("Stage 1: go on from it, with data/target.lst beside",
     "--train-stage 1 --pretrained-model model/mmd --pretrained-epoch 18 --model-prefix model/mmd1 --num-classes 263 "
     "--lr 0.0001 --lr-step-epochs 6,8,10,12 --num-epochs 14 --lr-factor 0.5 --batch-size 64 --gpus 0,1,2,3"),
    ("Without a target label; a tenth of the source is what tells how well it goes",
     "--train-stage 0 --num-classes 31 --lr 0.01 --num-epochs 20 --no-validation --source-validation 0.1 --keep best"),
    ])
@click.option("--train-stage", type=click.IntRange(0, 1), default=0,
              help="0: a new classifier on pretrained features, softmax on labelled images. "
                   "1: go on from stage 0 with a transfer loss between source and target.")
@click.option("--num-classes", type=click.IntRange(min=1), default=None,
              help="Number of classes; labels count from 0.  [default: the folders of the source; the lines of "
                   "classes.txt beside its list; in stage 1, what the checkpoint says]")
@click.option("--use-dan", is_flag=True, help="The same as --transfer mmd.")
@options(*GROUPS.values())
def main(train_stage, num_classes, use_dan, **flags):
    """Train a classifier that carries over from a labelled source domain to an unlabelled target domain.

    --data-dir holds source.lst, target.lst and val.lst: a line an image with index, label and path,
    separated by tabs. Target images whose label is unknown have the null label. Lists are packed to
    RecordIO when that has not been done yet. --source, --target and --val name others, or folders of
    images, which are read as they are.
    """
    from transfer_gluon.training.signals import StopSignals  # which import MXNet, OpenCV, …
    from transfer_gluon.training.stages import Stage

    log_to_stderr()
    if use_dan:
        flags["transfer"] = _dan(train_stage, flags["transfer"])
    stage = Stage(train_stage, num_classes, **{name: filled(group, flags) for name, group in GROUPS.items()})
    refuse_idle(stage.idle())
    stage.train(StopSignals())


def _dan(train_stage, transfer):
    """What the original's flag means."""
    if not train_stage:
        raise does_nothing("use_dan", "in stage 0, which has no transfer loss", True)
    if given("transfer") and transfer != "mmd":
        raise InputError(f"--use-dan means --transfer mmd, and --transfer {transfer} was given; leave one of them out.")
    return "mmd"


if __name__ == "__main__":
    exit_codes(main)()
