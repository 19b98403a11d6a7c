"""Unsupervised transfer learning for image classification on MXNet Gluon.

    import transfer_gluon as tg

Everything a library user needs is here by its own name, and is imported when it is first used.
"""
import importlib
from pathlib import Path

__version__ = "0.2.0"

# Installed, the packages lie in this folder; in a checkout, beside it.
_beside = Path(__file__).resolve().parent.parent
if (_beside / "pyproject.toml").is_file():
    __path__.append(str(_beside))

_PARTS = {
    "base.devices": ["find_devices"],
    "base.errors": ["DivergedError", "InputError", "Stopped"],
    "base.framework": ["mx"],
    "checkpoints": ["Checkpoint", "load_checkpoint", "save_checkpoint"],
    "inference": ["adapt", "adapt_to_images", "evaluate", "evaluate_images", "extract", "outputs", "predict",
                  "predict_images", "write_evaluation"],
    "iters": ["Augmentation", "DualIter", "EpochIter", "ImageList", "OrderedFeatures", "OrderedIter", "RecordIter",
              "RowIter", "ShuffledFeatures", "ShuffledIter", "SyntheticIter", "centre_crop", "prepared",
              "read_features", "read_list", "square_centre_crop", "write_list"],
    "records": ["ensure_packed", "ensure_ready", "pack", "read_images"],
    "reports": ["Material", "collect", "write_report"],
    "scores": ["Candidate", "Choice", "Rule", "SCORES", "Score", "Seen", "choose", "find_candidates", "look",
               "look_at_all", "score"],
    "symbols": ["BNMLoss", "CDANLoss", "CORALLoss", "DANNLoss", "GaussianKernel", "JMMDLoss", "L2SP", "MCCLoss",
                "MMDLoss", "Mixup", "SHOTIMLoss", "SHOTLoss", "SoftLabels", "TRANSFER_LOSSES", "TransferLoss",
                "TransferNet", "TransferObjective", "balanced_weights", "features_block", "halves", "layer_groups",
                "new_network", "published_rates", "readme_rates", "resnet", "thirds", "transfer_loss", "zoo_symbol"],
    "training": ["ClassifierOptions", "DataOptions", "EarlyStop", "EpochResult", "ImageOptions", "InverseDecay",
                 "LabelledFeatures", "NetworkOptions", "ObjectiveOptions", "OptimizerOptions", "PseudoLabels",
                 "RegularizationOptions", "Run", "RunOptions", "Stage", "StepSchedule", "Validation", "Warmup", "fit",
                 "read_labelled", "stratified", "train_classifier"],
}
_PLACES = {name: part for part, names in _PARTS.items() for name in names}
__all__ = sorted(_PLACES)


# By hand, because commands come by here before they can tell a Python without our packages what it lacks.
def __getattr__(name):
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__():
    return [*globals(), *__all__]
