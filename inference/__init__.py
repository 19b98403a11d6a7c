"""What one does with a network without training it: run it over images, judge, adapt."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "adabn": ["adapt", "adapt_to_images"],
    "classifier": ["classifier"],
    "evaluate": ["evaluate"],
    "features": ["extract", "feature_source", "network_digest"],
    "outputs": ["outputs"],
    "report": ["Evaluation", "evaluate_images", "write_evaluation"],
    "predictions": ["predict", "predict_images", "write_predictions"],
})
