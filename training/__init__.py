"""How networks are trained: stages, the loop and its seams, runs that go on."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "after_epoch": ["EarlyStop", "Epoch", "Validation"],
    "classifier": ["stratified", "train_classifier"],
    "epoch_score": ["EpochScore"],
    "labelled_features": ["LabelledFeatures", "read_labelled"],
    "loop": ["fit"],
    "options": ["ClassifierOptions", "DataOptions", "ImageOptions", "NetworkOptions", "ObjectiveOptions",
                "OptimizerOptions", "RegularizationOptions", "RunOptions"],
    "pseudo_labels": ["PseudoLabels"],
    "run": ["Run"],
    "schedule": ["InverseDecay", "StepSchedule", "Warmup"],
    "stages": ["Stage"],
    "summary": ["EpochResult"],
    "watch": ["Watch"],
})
