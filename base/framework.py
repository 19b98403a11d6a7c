"""MXNet 1.9.1, imported so that it runs today. Everything here says ``from transfer_gluon.base.framework import mx``.

The import takes seconds, and is done when `mx` is first used: what only answers a question does without.

Before ``import mxnet``, NumPy must answer to names that it has dropped (`base.numpy_names`), AMX be asked for and all
cores be used (`base.processor`), and the CUDA libraries of ``mxnet-cu112`` be loaded: the wheels of NVIDIA on PyPI
bring them in folders where the loader does not look, and the import would end in ``OSError: libcudart.so.11.0: cannot
open shared object file``. From Python 3.12 on, setuptools brings the ``distutils`` that MXNet imports.
"""
import contextlib
import ctypes
import importlib.abc
import importlib.util
import os
import sys
import warnings
from pathlib import Path

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


@contextlib.contextmanager
def _no_server():
    """MXNet would be a scheduler or server inside its import, and never come back, where DMLC_ROLE says so."""
    role = os.environ.pop("DMLC_ROLE", None)
    try:
        yield
    finally:
        if role is not None:
            os.environ["DMLC_ROLE"] = role


class _Loader(importlib.abc.Loader):
    """Runs MXNet's own loader, with what it needs before and after."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        import setuptools  # noqa: F401

        from transfer_gluon.base import nesterov, numpy_names, processor
        numpy_names.answer()
        processor.use_all_cores()
        processor.ask_for_amx()
        _preload_cuda()
        with warnings.catch_warnings(), _no_server():
            warnings.simplefilter("ignore", DeprecationWarning)     # of distutils, in MXNet's own code
            self._loader.exec_module(module)
        numpy_names.repair(module)
        nesterov.repair(module)


def _when_first_used(name):
    """The module `name`, which is imported when an attribute of it is asked for, by whoever imports it."""
    if name in sys.modules:     # by somebody whose NumPy is old enough
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    spec.loader = importlib.util.LazyLoader(_Loader(spec.loader))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mx = _when_first_used("mxnet")

__all__ = ["mx"]
