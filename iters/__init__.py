"""What is read: lists of images, and batches of them. Nothing here knows what is computed."""
from iters.augmentation import Augmentation
from iters.dual import DualIter
from iters.listed import ListedIter
from iters.lists import ImageList, read_list, write_list
from iters.records import RecordIter
from iters.synthetic import SyntheticIter

__all__ = [
    "Augmentation", "DualIter", "ImageList", "ListedIter", "RecordIter", "SyntheticIter", "read_list", "write_list",
]
