"""The networks whose weights can be imported: PyTorch's, and Caffe's in TensorFlow's layout."""
from collections import namedtuple
from functools import partial

from transfer_gluon.symbols.caffe_networks import caffe_alexnet, caffe_vgg16
from transfer_gluon.symbols.efficientnet_lite import efficientnet_lite0
from transfer_gluon.symbols.inception_v4 import inception_v4
from transfer_gluon.symbols.torch_networks import torch_alexnet, torch_resnet, torch_vgg

# A network up to flatten0, its last linear layer (which gives the number of classes), its input's mean and standard
# deviation in units of 0–255, and the size of the images that it was trained with. Where weights come in TensorFlow's
# layout, and for images of blue, green, red: height, width, channels of what enters a layer flattened, by its name.
# And a layer whose averages over the image are an output, too: features that people take, and no layer gives.
_Architecture = namedtuple("_Architecture", "features classifier mean std image_shape flattened averaged",
                           defaults=[(3, 224, 224), None, None])
_torchvision = partial(_Architecture, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))

ARCHITECTURES = {
    **{f"resnet{depth}": _torchvision(partial(torch_resnet, depth), "fc") for depth in (18, 34, 50, 101, 152)},
    "alexnet": _torchvision(torch_alexnet, "classifier_6"),
    **{f"vgg{depth}": _torchvision(partial(torch_vgg, depth), "classifier_6") for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _torchvision(partial(torch_vgg, depth, batch_norm=True), "classifier_6")
       for depth in (11, 13, 16, 19)},
    "efficientnet_lite0": _Architecture(efficientnet_lite0, "fc", (127.0,) * 3, (128.0,) * 3),
    "inception_v4": _Architecture(inception_v4, "last_linear", (127.5,) * 3, (127.5,) * 3, (3, 299, 299)),
    "bvlc_alexnet": _Architecture(caffe_alexnet, "fc8", (122.679, 116.669, 104.007), (1.0,) * 3, (3, 227, 227),
                                  {"fc6": (6, 6, 256)}),
    "vgg16_caffe": _Architecture(caffe_vgg16, "fc8", (123.68, 116.779, 103.939), (1.0,) * 3,
                                 flattened={"fc6": (7, 7, 512)}, averaged="pool5"),
}
