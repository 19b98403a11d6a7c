#!/usr/bin/env python3
"""Train a classifier on features that are computed already: softmax, or one hidden layer and softmax."""
import math
import os
import time
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import filled, options
from transfer_gluon.cli.types import FILE, PATH, SPLIT, refuse_idle

import click

from transfer_gluon.training.options import ClassifierOptions

# Published commands spell --training_file.
_CONTEXT = {**CONTEXT, "token_normalize_func": lambda name: name.replace("_", "-")}


@click.command(cls=Command, context_settings=_CONTEXT, examples=[
    ("Softmax on features, a tenth of each class validated, a tenth tested", "--training-file data/source.npz"),
    ("On published packs", "--training-file vgg_cifar10_100_bottleneck_features_train.p "
                           "--validation-file vgg_cifar10_bottleneck_features_validation.p"),
    ], sections={"Run": ("prefix", "resume", "overwrite")})
@click.option("--training-file", type=FILE, required=True,
              help="A feature file (.npz), as extract_features.py writes it, or a pack (.p): a pickle of a dict with "
                   "'features' and 'labels'.")
@click.option("--validation-file", type=FILE, default=None, help="Another, which is validated after every epoch.")
@click.option("--test-file", type=FILE, default=None, help="Another, which is tested at the end.")
@click.option("--split", type=SPLIT, default="80,10,10",
              help="Without these two, per cent of each class of --training-file that train, validate and test.")
@click.option("--model-prefix", "prefix", type=PATH, default=None,
              help="Prefix of the checkpoints to write: the last, and the best by validation.  "
                   "[default: a new one in runs/]")
@click.option("--resume", is_flag=True,
              help="Go on where the run of --model-prefix was, as if it had never stopped; begin where there is none.")
@click.option("--overwrite", is_flag=True, help="Begin anew and replace the run of --model-prefix.")
@options(ClassifierOptions)
def main(training_file, validation_file, test_file, split, prefix, resume, overwrite, **flags):
    """Train a classifier on features that are computed already: softmax, or one hidden layer and softmax.

    Says at its end what the last epoch came to, and writes a network from features to probabilities.
    """
    from transfer_gluon.base.errors import InputError
    from transfer_gluon.base.log import log, log_to_stderr
    from transfer_gluon.training.classifier import idle, stratified, train_classifier
    from transfer_gluon.training.labelled_features import read_labelled
    from transfer_gluon.training.signals import StopSignals

    log_to_stderr()
    told = filled(ClassifierOptions, flags)
    refuse_idle(idle(told))
    if not prefix and (resume or overwrite):
        raise InputError(f"`{'resume' if resume else 'overwrite'}` was given without `prefix`, which says which run is "
                         "meant.")
    if resume and overwrite:
        raise InputError("`resume` and `overwrite` were both given; expected one of them.")
    training = read_labelled(training_file)
    if validation_file or test_file:
        refuse_idle({"split": "with `validation_file` or `test_file`"})
        validation, test = (file and read_labelled(file) for file in (validation_file, test_file))
    else:
        training, validation, test = (training.part(places) if len(places) else None
                                      for places in stratified(training.labels, split, told.seed))
    if not prefix:
        # Many at once are usual: the number of the process keeps them apart.
        prefix = Path("runs", f"{time.strftime('classifier-%Y%m%d-%H%M%S')}-{os.getpid()}")
        log.info("no `prefix` was given; this run is kept as %s", prefix)
    with StopSignals() as stop:
        done = train_classifier(training, told, validation=validation, test=test, prefix=prefix, resume=resume,
                                overwrite=overwrite, stop=stop)
    last = done.results[-1]
    parts = [("training", training, last.accuracy), ("validation", validation, last.validation_accuracy),
             ("test", test, done.test_accuracy)]
    said = "; ".join(f"{name} accuracy {accuracy:.2%} of {len(part)}" for name, part, accuracy in parts
                     if part is not None and not math.isnan(accuracy))
    print(f"epoch {last.epoch}, the last: training loss {last.loss:.4f}; {said}")


if __name__ == "__main__":
    exit_codes(main)()
