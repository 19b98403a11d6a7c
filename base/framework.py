"""MXNet 1.9.1, imported so that it runs today. Everything here says ``from base.framework import mx``.

Before ``import mxnet``, NumPy must answer to names that it has dropped (`base.numpy_names`), and the CUDA
libraries of ``mxnet-cu112`` must be loaded: the wheels of NVIDIA on PyPI bring them in folders where the
loader does not look, and the import would end in ``OSError: libcudart.so.11.0: cannot open shared object
file``. From Python 3.12 on, setuptools brings the ``distutils`` that MXNet imports.
"""
import ctypes
import importlib.util
import warnings
from pathlib import Path

import setuptools  # noqa: F401

from base import numpy_names

# In the order of their dependencies.
_CUDA_LIBRARIES = (
    "cuda_runtime/lib/libcudart.so.11.0",
    "cuda_nvrtc/lib/libnvrtc.so.11.2",
    "nvtx/lib/libnvToolsExt.so.1",
    "cublas/lib/libcublasLt.so.11",
    "cublas/lib/libcublas.so.11",
    "cufft/lib/libcufft.so.10",
    "curand/lib/libcurand.so.10",
    "cusparse/lib/libcusparse.so.11",
    "cusolver/lib/libcusolver.so.11",
    "nccl/lib/libnccl.so.2",
    "cudnn/lib/libcudnn.so.8",
)


def _preload_cuda():
    wheels = importlib.util.find_spec("nvidia")
    if wheels is None:
        return
    for folder in map(Path, wheels.submodule_search_locations):
        for library in _CUDA_LIBRARIES:
            if (folder / library).exists():
                ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)


numpy_names.answer()
_preload_cuda()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)     # of distutils, in MXNet's own code
    import mxnet as mx

numpy_names.repair(mx)

__all__ = ["mx"]
