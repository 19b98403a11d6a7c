"""A network of 147 numbers and images made of random numbers: training that takes milliseconds."""
import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import (
    L2SP,
    DANNLoss,
    JMMDLoss,
    Mixup,
    SoftLabels,
    TransferNet,
    TransferObjective,
    features_block,
    image_variable,
)
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule

SHAPE = (3, 4, 4)
LABELS = np.array([0, 1, 2, 9999] * 2, np.float32)


def tiny_symbol():
    """Features of a network with batch normalisation, and dropout, which draws by chance in every batch."""
    x = mx.sym.BatchNorm(image_variable(SHAPE), fix_gamma=True, eps=2e-5, name="bn_data")
    x = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=4, no_bias=True, name="conv0")
    x = mx.sym.relu(mx.sym.BatchNorm(x, fix_gamma=False, eps=2e-5, name="bn1"), name="relu1")
    x = mx.sym.Pooling(x, global_pool=True, kernel=(1, 1), pool_type="avg", name="pool1")
    return mx.sym.Dropout(mx.sym.Flatten(x, name="flat0"), p=0.3, name="flatten0")


def tiny_net(seed=3):
    """A new network."""
    mx.random.seed(seed)
    return TransferNet(features_block(tiny_symbol()), 3, image_shape=SHAPE)


class TinyIter(mx.io.DataIter):
    """Other images in every batch of every epoch, whatever was read before."""

    def __init__(self, batches_per_epoch=4):
        super().__init__(len(LABELS))
        self.batches_per_epoch, self.num_images = batches_per_epoch, len(LABELS) * batches_per_epoch
        self.provide_data = [mx.io.DataDesc("data", (len(LABELS), *SHAPE))]
        self.provide_label = [mx.io.DataDesc("softmax_label", LABELS.shape)]
        self.set_epoch(0)

    def set_epoch(self, epoch):
        self._epoch, self._done = epoch, 0

    def skip(self, count):
        self._done += count

    def reset(self):
        self.set_epoch(self._epoch + 1)

    def next(self):
        if self._done >= self.batches_per_epoch:
            raise StopIteration
        self._done += 1
        images = np.random.default_rng((self._epoch, self._done)).uniform(0, 255, (len(LABELS), *SHAPE))
        return mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(LABELS)], pad=0)


class Validation(TinyIter):
    """The same after every epoch."""

    def reset(self):
        self.set_epoch(100)


def everything(domains=2):
    """Arguments of `fit` that regularise in every way: an average, mixed soft labels with weights, L2-SP, rates by
    parts."""
    start = {"conv0_weight": mx.nd.full((4, 3, 3, 3), 0.1)}
    return dict(
        ema=0.9, wd_on="all", lr_mult={"conv0": 0.5, "fc_": 2}, penalties=[L2SP({"conv0_weight": 0.3, "fc_weight": 0.1},
                                                                               start)],
        before_forward=[SoftLabels(3, smoothing=0.1, class_weights=[1, 2, 0.5]), Mixup(0.4, domains)])


def train(run=None, num_epochs=3, *, devices=1, stage=1, optimizer="sgd", batches=4, loss="jmmd", regular=False,
          **others):
    """A run of either stage, from its beginning or from where it was, `regular` with `everything`; returns `fit`'s
    results."""
    net = run.checkpoint.classifier("flatten0", 3, SHAPE) if run and run.checkpoint else tiny_net()
    losses = {"jmmd": JMMDLoss, "dann": lambda: DANNLoss(hidden=6)}
    objective = TransferObjective(losses[loss]() if stage else None, sparse_label=not regular)
    others = {**(everything(1 + stage) if regular else {}), **others}
    return fit(net, objective, TinyIter(batches), [mx.cpu(i) for i in range(devices)], StepSchedule(0.05, 0.5, [5]),
               num_epochs, optimizer=optimizer, wd=0.01, run=run, **others)


class StopAfter:
    """Asks for the end after so many batches."""

    def __init__(self, batches):
        self._left = batches

    @property
    def name(self):
        self._left -= 1
        return "SIGTERM" if self._left < 0 else None
