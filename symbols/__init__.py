"""What is computed: networks and losses. Nothing here knows where images come from."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "backbone": ["features_block", "image_shape_of", "image_variable"],
    "graph": ["cut", "layers", "logits"],
    "kernels": ["GaussianKernel"],
    "mmd": ["JMMDLoss", "MMDLoss"],
    "normalize": ["normalization", "normalized"],
    "objective": ["TransferObjective"],
    "resnet": ["resnet"],
    "transfer_net": ["TransferNet"],
    "zoo": ["zoo_symbol"],
})
