"""What a run is told, in groups: `Stage` takes them, and commands make their flags of them.

Nothing here needs MXNet.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.parameters import Parameters, parameter
from transfer_gluon.base.processor import DTYPES
from transfer_gluon.distributed import STORES
from transfer_gluon.iters.augmentation import Augmentation
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL
from transfer_gluon.scores.registry import SCORES
from transfer_gluon.symbols.frozen import FROZEN_STATISTICS
from transfer_gluon.symbols.new_layers import KINDS
from transfer_gluon.symbols.registry import TRANSFER_LOSSES

READERS = ("records", "files", "mxnet", "features")
WD_ON = ("weights", "all")


@dataclass(frozen=True)
class DataOptions(Parameters):
    """Data."""

    data_dir: str = parameter(
        "./data", "Folder with source.lst, target.lst and val.lst; `target` and `val` name others, and with `source` "
        "none in it is read.", kind="folder")
    source: Optional[str] = parameter(
        None, "Labelled images: a list, or a folder with a folder a class, whose images are read as they are.",
        kind="path", default_words="DATA_DIR/source.lst")
    target: Optional[str] = parameter(
        None, "Images of the target: a list; or a folder, whose images have no labels, wherever in it they lie.",
        kind="path", default_words="DATA_DIR/target.lst, unless a source is given")
    val: Optional[str] = parameter(
        None, "Images to validate on: a list, or a folder with a folder a class.", kind="path",
        default_words="DATA_DIR/val.lst, unless a source is given")
    null_label: int = parameter(NULL_LABEL, "The label that means 'unknown'.", least=0, most=MOST_LABEL)
    no_validation: bool = parameter(False, "Train without `val`: the target has no labels at all.")
    source_validation: float = parameter(
        0.0, "Part of the source that is held out by chance and validated after every epoch; 0: none. `keep` and "
        "`early_stop` then go by it, and not by `val`.", least=0, below=1)
    watch: int = parameter(
        500, "How many target images are looked at after every epoch, and no label of them: how sure the network is, "
        "for how many it predicts another class than at the start, how many classes it finds. Changes nothing of the "
        "training; 0: none.", least=0)
    read: str = parameter(
        "records", "records: lists are packed to RecordIO beside them, once. files: the image files are read as they "
        "are, and nothing is packed. mxnet: records, through MXNet's ImageRecordIter in training; the same "
        "augmentation by other random numbers, slower. features: what `layer` gives for each image is computed once "
        "and kept, and only what lies above it trains, in seconds.", choices=READERS)
    features_dir: Optional[str] = parameter(
        None, "With `read` features, the folder of their files source.npz, target.npz, val.npz, as extract_features.py "
        "writes them; what is missing is computed and kept there.", kind="path",
        default_words="one in the folder of the lists, named after network, layer and images")
    feature_views: int = parameter(
        0, "With `read` features, how many times training images are augmented and their features computed; epochs "
        "take them in turn. 0: once, as for validation.", least=0, most=10_000)
    threads: int = parameter(15, "Threads that decode images.", least=1, most=1000, flag="data-nthreads")
    benchmark: bool = parameter(False, "1: random images instead of `data_dir`.", kind="on_off")


@dataclass(frozen=True)
class ImageOptions(Parameters):
    """Images."""

    image_shape: Optional[tuple[int, int, int]] = parameter(
        None, "Channels, height, width of the network's input, in pixels.", least=1, most=10_000, kind="image_shape",
        default_words="what the checkpoint was trained with, if it says so; else 3,320,320")
    val_resize: Union[int, str, None] = parameter(
        None, "Shorter side, in pixels, that images are resized to for validation before their centre is cut out; or "
        "squeeze: to the network's input, without keeping the aspect. Checkpoints keep it.", least=1, most=10_000,
        kind="resize", default_words="what the checkpoint says; else 1.125 × the longer side of the input")
    rgb_mean: Optional[tuple[float, float, float]] = parameter(
        None, "Mean to subtract from red, green, blue, in a layer put in front of the network, such as "
        "123.68,116.779,103.939.", least=0, most=1e6, kind="rgb_mean",
        default_words="none; the published networks normalise in bn_data")
    rgb_std: Optional[tuple[float, float, float]] = parameter(
        None, "Standard deviations to divide by, in the same layer.", least=1e-3, most=1e6, kind="rgb_std",
        default_words="1,1,1")


    def __post_init__(self):
        super().__post_init__()
        if self.image_shape and self.image_shape[0] != 3:
            raise InputError.of("image_shape", self.image_shape, "(3, height, width): images are read in colour")


@dataclass(frozen=True)
class NetworkOptions(Parameters):
    """Network."""

    pretrained_model: str = parameter(
        "model/resnet-152", "Prefix of the checkpoint to start from: PREFIX-symbol.json, PREFIX-0000.params.",
        kind="path")
    pretrained_epoch: int = parameter(0, "Its epoch number.", least=0)
    layer: str = parameter("flatten0", "The layer whose output feeds the classifier fc.", flag="layer-before-fullc")
    network: Optional[str] = parameter(
        None, "A new network with random weights instead of a checkpoint (stage 0): resnet, inception_v4, "
        "efficientnet_lite0, or a name of gluoncv's model zoo, such as resnet50_v1d, vgg16, mobilenetv2_1.0.")
    num_layers: Optional[int] = parameter(
        None, "Depth of `network` resnet: 18, 34, 50, 101, 152, 200, 269; up to 32 pixels 8, 14, 20, ….", least=1,
        most=2000, kind="whole")
    new_layers: int = parameter(
        1, "Stage 0: how much of the network begins anew, counted from its end: 1 is the classifier alone, 2 the "
        "classifier and the last of the layer groups that tools/layers.py lists, ….", least=1)
    new_init: str = parameter(
        "xavier", "How new layers are drawn. xavier: Gaussian by fan-in, as the original's classifier. torch: as "
        "PyTorch does. normal: as xavier, but the classifier's weights with deviation 0.005 and its biases 0.1. "
        "truncated: as xavier, but the classifier's weights with deviation 0.1, none beyond twice that.", choices=KINDS)
    keep_classifier: bool = parameter(
        False, "Stage 0: go on with the checkpoint's own classifier fc, of as many classes, instead of a new one.")
    freeze: bool = parameter(False, "Train only a part of the network: the parameters that `trainable` names.")
    trainable: Optional[Sequence[str]] = parameter(
        None, "Prefixes of the names of the parameters that train with `freeze`, such as stage4,fc.", kind="names",
        default_words="bn1,bottleneck,fc,stage3,stage4, in networks that have these names")
    frozen_statistics: str = parameter(
        "move", "What moving statistics of layers below all that `trainable` names do. move: as on the GPUs of the "
        "original's published table. still: as on its CPU. inference: these layers compute as when the network is "
        "used: normalise by their statistics, drop nothing out.", choices=FROZEN_STATISTICS)
    bottleneck: Optional[int] = parameter(
        None, "Stage 0: units of a new layer between `layer` and the classifier, a ReLU behind it, such as 256, whose "
        "output is then what the transfer loss of stage 1 compares. Stage 1 goes on with the one that it finds.",
        least=1, most=1_000_000, kind="whole")


@dataclass(frozen=True)
class ObjectiveOptions(Parameters):
    """Objective of stage 1."""

    transfer: str = parameter(
        "jmmd", "The transfer loss between source and target; jmmd is JAN, mmd is DAN. "
        "docs/methods.md tells of all.", choices=TRANSFER_LOSSES)
    transfer_weight: Optional[float] = parameter(
        None, "Weight of the transfer loss against the softmax loss summed over a device's images, as the original; it "
        "means less the larger the batch.", least=0, most=1e37, kind="number",
        default_words="for 16 images a device, as in the original's commands, 1 for mmd, 2 for jmmd, 800 for coral, 16 "
        "for shot and shot_im, 8 for all others; for n images n/16 times that")
    relative_transfer_weight: Optional[float] = parameter(
        None, "The same against the mean softmax loss of the source images, whatever batch size and devices, such as "
        "0.5; 0.25 to 1 are good for mmd and jmmd, 100 for coral, 1 for all others.", least=0, most=1e30, kind="number",
        default_words="what the other one comes to")
    transfer_options: Sequence[tuple[str, float]] = parameter(
        (), "Numbers that the transfer loss itself takes, such as hidden=512,reversal=0.2 for dann.", kind="pairs")
    transfer_layers: Sequence[str] = parameter(
        (), "Further layers, below that which feeds fc, whose outputs the transfer loss compares too, such as "
        "relu1,pool1.", kind="names")
    estimate: str = parameter(
        "linear", "How mmd and jmmd estimate: linear, from quadruples, as the original; quadratic, from all pairs of a "
        "device's images.", choices=("linear", "quadratic"))


@dataclass(frozen=True)
class RegularizationOptions(Parameters):
    """Regularisation, in both stages."""

    mixup: float = parameter(
        0.0, "Images are mixed in pairs, in shares drawn from Beta(a, a) with this a; 0: they are not. In stage 1 each "
        "domain by itself; an unknown label asks for nothing.", least=0, most=1e3)
    label_smoothing: float = parameter(0.0, "Part of a label that is spread over all classes.", least=0, below=1)
    class_weights: str = parameter(
        "none", "balanced: labelled images weigh as if every class had as many. none: all the same.",
        choices=("none", "balanced"))
    l2sp: Optional[object] = parameter(
        None, "L2-SP: half this times the squared distance from the weights that the stage starts from is added; new "
        "layers are pulled to 0, batch normalisation is free. One number, or three: of the classifier, of the layer "
        "groups from `num_lowlrs` on, and of those below.", least=0, most=1e37, kind="rates", default_words="none")
    l2sp_published: bool = parameter(
        False, "L2-SP by the numbers of the published code of non-binary transfer, which reads no rate: "
        "docs/fine-tuning.md.")


@dataclass(frozen=True)
class OptimizerOptions(Parameters):
    """Optimizer."""

    optimizer: str = parameter("sgd", "An optimizer of MXNet: sgd, nag (Nesterov), adam, ….")
    lr: object = parameter(
        0.1, "Learning rate at first; or three: of the classifier, of the layer groups from `num_lowlrs` on, and of "
        "those below.", least=0, kind="rates")
    num_lowlrs: Optional[int] = parameter(
        None, "How many layer groups, from the images on, have the third rate; tools/layers.py lists them.", least=1,
        kind="whole")
    head_lr_mult: float = parameter(1.0, "Factor of the classifier's rate, and a bottleneck's, such as 10.",
                                    least=0, most=1e6)
    lr_schedule: str = parameter(
        "step", "step: the rate drops by `lr_factor`. inv: after a part p of `num_epochs` it is divided by "
        "(1 + `lr_gamma` p) to the power of `lr_power`, epoch by epoch.", choices=("step", "inv"))
    lr_gamma: float = parameter(10.0, "Of the schedule inv.", least=0, most=1e6)
    lr_power: float = parameter(0.75, "Of the schedule inv.", least=0, most=100)
    lr_factor: float = parameter(0.1, "Factor of the rate at every step.", least=0)
    lr_step_every: Optional[int] = parameter(None, "The rate drops every so many epochs.", least=1, kind="whole")
    lr_step_epochs: Sequence[int] = parameter((), "Epochs after which the rate drops, such as 10,16.", least=1,
                                              kind="epochs")
    lr_step_unit: str = parameter(
        "flag", "flag: as the original, which in stage 1 drops the rate at half the epochs named. epoch: true epochs.",
        choices=("flag", "epoch"))
    warmup_epochs: int = parameter(
        0, "Epochs in which the rate rises, epoch by epoch, from `warmup_lr`; the schedule counts them.", least=0)
    warmup_lr: float = parameter(1e-4, "Rate of the first epoch of the warm-up.", least=0)
    momentum: float = parameter(0.9, "Momentum, for optimizers that have one.", least=0, most=1, flag="mom")
    wd: float = parameter(0.0, "Weight decay.", least=0)
    wd_on: str = parameter(
        "weights", "What decays. weights: *_weight and *_gamma only. all: biases and *_beta too, as in PyTorch.",
        choices=WD_ON)
    ema: float = parameter(
        0.0, "Decay of an exponential moving average of the weights, such as 0.999, over the updates; it is what is "
        "validated and saved. 0: none.", least=0, below=1)
    batch_size: int = parameter(128, "Images a batch over all devices; in stage 1 half source, half target.", least=1)
    num_epochs: int = parameter(100, "Epoch to stop after.", least=1)

    def __post_init__(self):
        super().__post_init__()
        check_rising(self.lr_step_epochs)


def check_rising(epochs):
    """Raise InputError where epochs after which the rate drops do not rise from 1 up."""
    if any(epoch < 1 for epoch in epochs) or list(epochs) != sorted(set(epochs)):
        raise InputError.of("lr_step_epochs", tuple(epochs), "rising epochs from 1 up, such as 10, 16")


@dataclass(frozen=True)
class RunOptions(Parameters):
    """Run."""

    prefix: Optional[str] = parameter(None, "Prefix of the checkpoints to write, one an epoch.", kind="path",
                                      flag="model-prefix", default_words="a new one in runs/")
    no_checkpoint: bool = parameter(False, "Write no checkpoints; not over a run that has some.")
    resume: bool = parameter(
        False, "Go on where the run of `prefix` was, as if it had never stopped; begin where there is none.")
    load_epoch: Optional[int] = parameter(
        None, "Go on from this epoch of `prefix` (parameters and schedule; momentum, and parameters of the "
        "transfer loss, begin anew).", least=1, kind="whole")
    overwrite: bool = parameter(
        False, "Begin anew and replace the run of `prefix`; its checkpoints are kept until the new run's first "
        "epoch is saved.")
    keep: Union[int, str] = parameter(
        0, "Keep the checkpoints of this many last epochs and of the best, by the source's held-out part or else on "
        "val.lst; best: the last and the best; 0: all.", least=0, kind="keep")
    by: Optional[str] = parameter(
        None, "With `keep`, the best epoch is the best by this score of the network without target labels, over the "
        "target images of `watch` and the source's held-out part: docs/choose.md.", choices=SCORES,
        default_words="the accuracy")
    early_stop: int = parameter(
        0, "End when the accuracy on the source's held-out part, or else on val.lst, has not risen for so many epochs; "
        "0: never.", least=0)
    save_batches: int = parameter(
        0, "Write what `resume` needs every so many batches, too; 0: after every epoch.", least=0)
    gpus: Optional[Sequence[int]] = parameter(None, "Numbers of the GPUs to train on, such as 0,2,5.", kind="gpus",
                                              least=0, default_words="the CPU")
    cpus: Optional[int] = parameter(
        None, "Number of CPU devices: a batch is divided among them as among GPUs.", least=1, kind="whole",
        default_words="1")
    kv_store: str = parameter("device", "How gradients of several devices are summed.", choices=STORES)
    disp_batches: int = parameter(10, "A log line every so many batches.", least=1)
    monitor: int = parameter(0, "Log statistics of all parameters every so many batches; 0: never.", least=0)
    top_k: int = parameter(0, "Validate top-k accuracy too; 0: top-1 only.", least=0)
    tensorboard: bool = parameter(
        False, "Write the figures of every epoch, some images and in the end an embedding for TensorBoard, into "
        "PREFIX-run/tensorboard.")
    test_io: bool = parameter(False, "1: measure what reading and computing allow, train nothing.", kind="on_off")
    plan: bool = parameter(
        False, "Measure, in half a minute, and tell what the run would take on this machine, end to end, with frozen "
        "layers and on features computed once: images a second, time, memory. Train nothing.")
    seed: int = parameter(0, "Seed of weights, order and augmentation.", least=0)
    dtype: str = parameter(
        "float32", "What the network computes in; parameters and losses stay float32. bfloat16: quicker on processors "
        "that have units for it (AVX-512 BF16, AMX), elsewhere it is float32. float16: on GPUs.", choices=DTYPES)
    force_dtype: bool = parameter(
        False, "Compute in bfloat16 on a processor without units for it, too, where that is slower.")


@dataclass(frozen=True)
class ClassifierOptions(Parameters):
    """Classifier on features."""

    hidden: int = parameter(0, "Units of a hidden layer, a ReLU behind it, such as 256; 0: none.", least=0,
                            most=1_000_000)
    init: str = parameter(
        "xavier", "How layers are drawn. xavier: Gaussian by fan-in, biases 0. torch: as PyTorch does. normal: with "
        "deviation 0.005, biases 0.1. truncated: with deviation 0.1, none beyond twice that, biases 0.", choices=KINDS)
    optimizer: str = parameter("adam", "An optimizer of MXNet: adam, sgd (momentum 0.9), ….")
    lr: float = parameter(0.001, "Learning rate.", above=0)
    wd: float = parameter(
        0.0, "Weight decay, which adds half of it times the squares of all weights to the mean loss: 1 / (C n) is the "
        "C of scikit-learn with n rows.", least=0)
    epochs: int = parameter(50, "Epoch to stop after.", least=1)
    batch_size: int = parameter(256, "Rows a batch; the last of an epoch has what is left.", least=1)
    batches: Optional[int] = parameter(
        None, "How many batches an epoch is divided in, instead of `batch_size`; 1: all rows at once.", least=1,
        kind="whole", default_words="as many as that makes")
    shuffle: bool = parameter(True, "Whether rows come in another order every epoch, or as in the file.")
    seed: int = parameter(0, "Seed of weights, order and split.", least=0)


# By the names that `Stage` has them under.
GROUPS = dict(data=DataOptions, images=ImageOptions, augmentation=Augmentation, network=NetworkOptions,
              objective=ObjectiveOptions, regularization=RegularizationOptions, optimizer=OptimizerOptions,
              run=RunOptions)
