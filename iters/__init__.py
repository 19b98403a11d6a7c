"""What is read: lists of images, and batches of them. Nothing here knows what is computed."""
from iters.augmentation import Augmentation
from iters.dual import DualIter
from iters.listed import ListedIter
from iters.lists import ImageList, read_list, write_list
from iters.records import RecordIter
from iters.shuffled import ShuffledIter
from iters.synthetic import SyntheticIter

__all__ = [
    "Augmentation", "DualIter", "ImageList", "ListedIter", "RecordIter", "ShuffledIter", "SyntheticIter",
    "read_list", "write_list",
]
