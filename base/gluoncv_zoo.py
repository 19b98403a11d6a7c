"""gluoncv's networks, imported so that the import works beside any PyTorch.

    from transfer_gluon.base.gluoncv_zoo import get_model

gluoncv 0.10 refuses to be imported where PyTorch 2 is installed (``RuntimeError: Legacy torch==2.1.0
detected``), though nothing of its model zoo needs PyTorch: so it does not see it. It also tells Pillow to show what
there is of images that are cut off, for the whole process, where we refuse them: that is taken back.
"""
import sys

from PIL import ImageFile

from transfer_gluon.base.framework import mx

# MXNet must be there before PyTorch is hidden: it imports SciPy, which asks for PyTorch's types as it is imported
# (``'NoneType' object has no attribute 'Tensor'``).
mx.nd  # noqa: B018

_torch = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "torch"}
sys.modules["torch"] = None     # `import torch` raises ImportError
_shows_cut_images = ImageFile.LOAD_TRUNCATED_IMAGES
try:
    from gluoncv.model_zoo import get_model, get_model_list, model_store
finally:
    ImageFile.LOAD_TRUNCATED_IMAGES = _shows_cut_images
    del sys.modules["torch"]
    sys.modules.update(_torch)

__all__ = ["get_model", "get_model_list", "model_store"]
