#!/usr/bin/env python3
"""Train a classifier that carries over to another domain: stage 0 on the source, stage 1 on both."""
from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER, IMAGE_SHAPE, NUM_THREADS, PATH, RGB_MEAN, RGB_STD, Number, refuse_idle

import click

from transfer_gluon.iters.augmentation import MODES
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL
from transfer_gluon.training.choices import FROZEN_STATISTICS, READERS, STORES

ON_OFF = click.IntRange(0, 1)


@click.command(cls=Command, context_settings=CONTEXT)
@click.option("--train-stage", type=click.IntRange(0, 1), default=0,
              help="0: a new classifier on pretrained features, softmax on labelled images. "
                   "1: go on from stage 0 with a transfer loss between source and target.")
@click.option("--num-classes", type=click.IntRange(min=1), required=True,
              help="Number of classes; labels count from 0.")
@click.option("--pretrained-model", type=PATH, default="model/resnet-152",
              help="Prefix of the checkpoint to start from: PREFIX-symbol.json, PREFIX-0000.params.")
@click.option("--pretrained-epoch", type=click.IntRange(min=0), default=0, help="Its epoch number.")
@click.option("--layer-before-fullc", default="flatten0", help="The layer whose output feeds the classifier fc.")
@click.option("--network", default=None,
              help="A new network with random weights instead of a checkpoint (stage 0): resnet, or a name of "
                   "gluoncv's model zoo, such as resnet50_v1d, vgg16, mobilenetv2_1.0.")
@click.option("--num-layers", type=click.IntRange(1, 2000), default=None,
              help="Depth of --network resnet: 18, 34, 50, 101, 152, 200, 269; up to 32 pixels 8, 14, 20, ….")
@click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
              help="The label that means 'unknown'.")
@click.option("--keep-classifier", is_flag=True,
              help="Stage 0: go on with the checkpoint's own classifier fc, of as many classes, instead of a new one.")
@click.option("--use-dan", is_flag=True, help="Transfer loss MMD (DAN). Default: JMMD (JAN).")
@click.option("--transfer-weight", type=Number(0, 1e37), default=None,
              help="Weight of the transfer loss against the summed softmax loss.  [default: 1 for MMD, 2 for JMMD]")
@click.option("--freeze", is_flag=True,
              help="Train only a part of the network: the parameters that --trainable names.")
@click.option("--trainable", default=None,
              help="Prefixes of the names of the parameters that train with --freeze, such as stage4,fc.  "
                   "[default: bn1,fc,stage3,stage4, in networks that have these names]")
@click.option("--frozen-statistics", type=click.Choice(FROZEN_STATISTICS), default="move",
              help="What moving statistics of layers below all that --trainable names do. move: as on the GPUs of the "
                   "original's published table. still: as on its CPU.")
@click.option("--model-prefix", type=PATH, default=None,
              help="Prefix of the checkpoints to write, one an epoch.  [default: a new one in runs/]")
@click.option("--no-checkpoint", is_flag=True, help="Write no checkpoints; not over a run that has some.")
@click.option("--resume", is_flag=True,
              help="Go on where the run of --model-prefix was, as if it had never stopped; begin where there is none.")
@click.option("--load-epoch", type=click.IntRange(min=1), default=None,
              help="Go on from this epoch of --model-prefix (parameters and schedule; momentum starts at 0).")
@click.option("--overwrite", is_flag=True,
              help="Begin anew and replace the run of --model-prefix; its checkpoints are kept until the new run's "
                   "first epoch is saved.")
@click.option("--keep", type=click.IntRange(min=0), default=0,
              help="Keep the checkpoints of this many last epochs and of the best on val.lst; 0: of all.")
@click.option("--save-batches", type=click.IntRange(min=0), default=0,
              help="Write what --resume needs every so many batches, too; 0: after every epoch.")
@click.option("--gpus", default=None, help="Numbers of the GPUs to train on, such as 0,2,5.  [default: the CPU]")
@click.option("--cpus", type=click.IntRange(min=1), default=None,
              help="Number of CPU devices: a batch is divided among them as among GPUs.  [default: 1]")
@click.option("--kv-store", type=click.Choice(STORES), default="device",
              help="How gradients of several devices are summed.")
@click.option("--num-epochs", type=click.IntRange(min=1), default=100, help="Epoch to stop after.")
@click.option("--lr", type=Number(min=0), default=0.1, help="Learning rate of the first update.")
@click.option("--lr-factor", type=Number(min=0), default=0.1, help="Factor of the rate at every step.")
@click.option("--lr-step-epochs", default=None, help="Epochs after which the rate drops, such as 10,16.")
@click.option("--lr-step-unit", type=click.Choice(["flag", "epoch"]), default="flag",
              help="flag: as the original, which in stage 1 drops the rate at half the epochs named. "
                   "epoch: true epochs.")
@click.option("--optimizer", default="sgd", help="An optimizer of MXNet: sgd, nag, adam, ….")
@click.option("--mom", type=Number(0, 1), default=0.9, help="Momentum, for optimizers that have one.")
@click.option("--wd", type=Number(min=0), default=0.0, help="Weight decay, on *_weight and *_gamma only.")
@click.option("--batch-size", type=click.IntRange(min=1), default=128,
              help="Images a batch over all devices; in stage 1 half source, half target.")
@click.option("--disp-batches", type=click.IntRange(min=1), default=10, help="A log line every so many batches.")
@click.option("--monitor", type=click.IntRange(min=0), default=0,
              help="Log statistics of all parameters every so many batches; 0: never.")
@click.option("--top-k", type=click.IntRange(min=0), default=0, help="Validate top-k accuracy too; 0: top-1 only.")
@click.option("--test-io", type=ON_OFF, default=0, help="1: measure what reading and computing allow, train nothing.")
@click.option("--benchmark", type=ON_OFF, default=0, help="1: random images instead of --data-dir.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of weights, order and augmentation.")
@click.option("--dtype", type=click.Choice(["float32"]), default="float32", help="Type of parameters and images.")
@click.option("--data-dir", type=FOLDER, default="./data", help="Folder with source.lst, target.lst and val.lst.")
@click.option("--read", type=click.Choice(READERS), default="records",
              help="records: lists are packed to RecordIO beside them, once. files: the image files are read as they "
                   "are, and nothing is packed. mxnet: records, through MXNet's ImageRecordIter in training; the same "
                   "augmentation by other random numbers, slower.")
@click.option("--no-validation", is_flag=True, help="Train without val.lst: the target has no labels at all.")
@click.option("--image-shape", type=IMAGE_SHAPE, default=None,
              help="Channels, height, width of the network's input, in pixels.  "
                   "[default: what the checkpoint was trained with, if it says so; else 3,320,320]")
@click.option("--data-nthreads", type=NUM_THREADS, default=15, help="Threads that decode images.")
@click.option("--rgb-mean", type=RGB_MEAN, default=None,
              help="Mean to subtract from red, green, blue, in a layer put in front of the network, such as "
                   "123.68,116.779,103.939.  [default: none; the published networks normalise in bn_data]")
@click.option("--rgb-std", type=RGB_STD, default=None,
              help="Standard deviations to divide by, in the same layer.  [default: 1,1,1]")
@click.option("--pad-size", type=click.IntRange(0, 10_000), default=0,
              help="Border added around training images, in pixels.")
@click.option("--fill-value", type=click.IntRange(0, 255), default=255,
              help="Grey value of borders and of what rotation, shearing and scaling uncover.")
@click.option("--augmentation", type=click.Choice(MODES), default=None,
              help="original: colours change as floats that are not clipped, and the last batch of an epoch is filled "
                   "up with its first images. bytes: colours are rounded and kept within 0 to 255, and images that do "
                   "not fill a batch are left out.  [default: original; bytes with --read mxnet]")
@click.option("--random-crop", type=ON_OFF, default=1,
              help="1: random resized crops. 0: centre crops, as in validation.")
@click.option("--random-mirror", type=ON_OFF, default=1, help="1: mirror every other image, by chance.")
@click.option("--min-random-area", type=Number(0, 1, min_open=True), default=0.08,
              help="Smallest part of the image's area in a random crop.")
@click.option("--color-jitter", type=Number(0, 100), default=0.4,
              help="Largest relative change of brightness, contrast and saturation.")
@click.option("--pca-noise", type=Number(0, 1000), default=0.1,
              help="Standard deviation of the noise along the principal colour axes.")
@click.option("--max-random-h", type=click.IntRange(0, 180), default=0, help="Largest change of hue, of 180.")
@click.option("--max-random-s", type=click.IntRange(0, 255), default=0, help="Largest change of saturation, of 255.")
@click.option("--max-random-l", type=click.IntRange(0, 255), default=0, help="Largest change of lightness, of 255.")
@click.option("--max-random-aspect-ratio", type=Number(0, 1, max_open=True), default=0.0,
              help="Largest relative change of the aspect ratio, beyond that of random crops.")
@click.option("--max-random-rotate-angle", type=click.IntRange(0, 180), default=0, help="Largest rotation, in degrees.")
@click.option("--max-random-shear-ratio", type=Number(0, 1), default=0.0, help="Largest shear.")
@click.option("--max-random-scale", type=Number(0, 100, min_open=True), default=1.0, help="Largest scale.")
@click.option("--min-random-scale", type=Number(0, 100, min_open=True), default=1.0, help="Smallest scale.")
def main(**flags):
    """Train a classifier that carries over from a labelled source domain to an unlabelled target domain.

    --data-dir holds source.lst, target.lst and val.lst: a line an image with index, label and path,
    separated by tabs. Target images whose label is unknown have the null label. Lists are packed to
    RecordIO when that has not been done yet.
    """
    refuse_idle(_idle(**flags))
    from transfer_gluon.training import loop, stages  # which import MXNet, OpenCV, …

    if not loop.takes_momentum(flags["optimizer"]):
        refuse_idle({"mom": f"with --optimizer {flags['optimizer']}, which has no momentum"})
    if flags["optimizer"].lower() == "adadelta":
        refuse_idle(dict.fromkeys(["lr", "lr_step_epochs"], "with --optimizer adadelta, which knows no learning rate"))
    stages.run(flags, defaults=main.make_context("defaults", ["--num-classes", "1"]).params)


def _idle(*, train_stage, network, freeze, lr_step_epochs, no_checkpoint, no_validation, random_crop, pad_size,
          max_random_rotate_angle, max_random_shear_ratio, max_random_aspect_ratio, max_random_scale, min_random_scale,
          **_):
    """The flags that do nothing beside others, and why."""
    warps = pad_size or max_random_rotate_angle or max_random_shear_ratio or (min_random_scale, max_random_scale) != (
        1, 1) or max_random_aspect_ratio and not random_crop
    return {name: why for applies, why, names in [
        (train_stage == 0, "in stage 0, which has no transfer loss", ["use_dan", "transfer_weight"]),
        (train_stage == 1, "in stage 1, which goes on from the checkpoint of --pretrained-model",
         ["network", "num_layers", "keep_classifier"]),
        (network, "with --network, which begins with random weights",
         ["pretrained_model", "pretrained_epoch", "keep_classifier"]),
        (train_stage == 0 and not network, "without --network resnet", ["num_layers"]),
        (not freeze, "without --freeze", ["trainable", "frozen_statistics"]),
        (not lr_step_epochs, "without --lr-step-epochs", ["lr_factor", "lr_step_unit"]),
        (no_checkpoint, "with --no-checkpoint", ["keep", "save_batches"]),
        (no_validation, "with --no-validation", ["top_k"]),
        (not random_crop, "with --random-crop 0", ["min_random_area"]),
        (not warps, "without padding, rotation, shearing or scaling", ["fill_value"]),
    ] if applies for name in names}


if __name__ == "__main__":
    exit_codes(main)()
