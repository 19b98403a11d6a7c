"""What is computed: networks and losses. Nothing here knows where images come from."""
from symbols.backbone import cut, features_block, image_shape_of, image_variable
from symbols.kernels import GaussianKernel
from symbols.mmd import JMMDLoss, MMDLoss
from symbols.normalize import normalization, normalized
from symbols.objective import TransferObjective
from symbols.resnet import resnet
from symbols.transfer_net import TransferNet
from symbols.zoo import zoo_symbol

__all__ = [
    "GaussianKernel", "JMMDLoss", "MMDLoss", "TransferNet", "TransferObjective", "cut", "features_block",
    "image_shape_of", "image_variable", "normalization", "normalized", "resnet", "zoo_symbol",
]
