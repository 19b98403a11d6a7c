"""What is computed: networks and losses. Nothing here knows where images come from."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "backbone": ["features_block"],
    "bottleneck": ["Bottleneck", "below_bottleneck"],
    "coral": ["CORALLoss"],
    "dann": ["DANNLoss", "reverse_gradient"],
    "graph": ["cut", "layers", "logits"],
    "image_input": ["ImageInput", "image_shape_of", "image_variable", "resize_of"],
    "kernels": ["GaussianKernel"],
    "inception_v4": ["inception_v4"],
    "l2sp": ["L2SP", "published_rates", "readme_rates"],
    "layer_groups": ["LayerGroup", "begins", "layer_groups", "new_names", "thirds"],
    "loss": ["TransferLoss", "halves"],
    "mixup": ["Mixup"],
    "mmd": ["JMMDLoss", "MMDLoss"],
    "networks": ["new_network"],
    "new_layers": ["classifier_initializers", "fresh_values", "num_features"],
    "normalize": ["normalization", "normalized"],
    "objective": ["TransferObjective"],
    "registry": ["TRANSFER_LOSSES", "transfer_loss"],
    "resnet": ["resnet"],
    "soft_labels": ["SoftLabels", "balanced_weights"],
    "transfer_net": ["TransferNet"],
    "zoo": ["zoo_symbol"],
})
