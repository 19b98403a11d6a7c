"""Any network's features with a classifier ``fc`` on top."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.bottleneck import Bottleneck
from transfer_gluon.symbols.image_input import ImageInput


class TransferNet(mx.gluon.HybridBlock):
    r"""Features and class scores of a batch of images.

    .. math:: x = \text{features}(\text{images}), \qquad \text{logits} = x W^\top + b

    Parameters
    ----------
    features : HybridBlock
        From images to features (b, d), or to a list of layers, the last of which feeds ``fc``.
    num_classes : int
        Rows of ``fc_weight`` (num_classes, d) and ``fc_bias`` (num_classes,).
    params : ParameterDict or None
        Holds these two where they are there already; `loaded_parameters`.
    image_shape : (int, int, int) or None
        Channels, height, width of the images, in pixels: what checkpoints tell `predict.py`, no more.
    resize : int, "squeeze" or None
        How images are made that size for validation, likewise; None: by the usual rule.
    classes : sequence of str or None
        Names of the classes, that of class 0 first, likewise.
    bottleneck : int or None
        Units of a `Bottleneck` between the features and ``fc``, whose output then is what is given as features.

    Inputs:
        - **images**: (b, channels, height, width), raw RGB 0–255 unless the network wants otherwise.

    Outputs:
        - **features**: (b, d), or a list of such layers, flattened; **logits**: (b, num_classes).

    >>> net = TransferNet(mx.gluon.nn.Flatten(), num_classes=5)
    >>> net.initialize()
    >>> [output.shape for output in net(mx.nd.zeros((4, 3, 2, 2)))]
    [(4, 12), (4, 5)]
    """

    def __init__(self, features, num_classes, params=None, image_shape=None, resize=None, bottleneck=None,
                 classes=None):
        super().__init__(prefix="", params=params)
        if classes and len(classes) != num_classes:
            raise InputError(f"`classes` are {len(classes)} names, and `num_classes` is {num_classes}.", "classes",
                             classes, f"{num_classes} names")
        self.image_input = ImageInput(image_shape and tuple(image_shape), resize, classes and tuple(classes))
        self.num_classes = num_classes
        self.features = features
        self.bottleneck = Bottleneck(bottleneck) if bottleneck else None
        # No name scope: a checkpoint calls these parameters fc_weight and fc_bias, whatever is below.
        self.fc_weight = self.params.get("fc_weight", shape=(num_classes, 0), allow_deferred_init=True,
                                         init=mx.init.Xavier("gaussian", "in", 2))
        self.fc_bias = self.params.get("fc_bias", shape=(num_classes,), init="zeros")

    def hybrid_forward(self, F, images, fc_weight, fc_bias):
        features = self.features(images)
        *below, last = features if isinstance(features, (list, tuple)) else [features]
        if self.bottleneck:
            last = self.bottleneck(last)
        # Names of their own: MXNet would call the first one flatten0, as networks call their last layer.
        features = [F.flatten(layer, name=f"compared{place}") for place, layer in enumerate((*below, last))]
        logits = F.FullyConnected(last, fc_weight, fc_bias, num_hidden=self.num_classes, name="fc")
        return features if below else features[0], logits
