"""What is read: lists of images, and batches of them. Nothing here knows what is computed."""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "augmentation": ["Augmentation"],
    "dual": ["DualIter"],
    "epochs": ["EpochIter"],
    "ordered": ["OrderedIter", "ViewIter"],
    "feature_file": ["Features", "FeatureSource", "read_features"],
    "feature_iter": ["OrderedFeatures", "ShuffledFeatures"],
    "image_list": ["ImageList", "read_list", "write_list"],
    "record_iter": ["RecordIter"],
    "rows": ["RowIter"],
    "shuffled": ["ShuffledIter"],
    "synthetic": ["SyntheticIter"],
    "transforms": ["centre_crop", "prepared", "square_centre_crop"],
})
