"""The NumPy of 2022, for MXNet 1.9.1 and gluoncv alone: what later releases removed, put back.

Nothing stays behind on the numpy module, and no other library is answered differently.
"""
import builtins
import inspect
import sys
import types

import numpy as np

# Removed in NumPy 1.24 (aliases of Python's types) and 2.0.
_REMOVED = {name: getattr(builtins, name) for name in ("bool", "int", "float", "complex", "object", "str")}
_REMOVED.update(NAN=np.nan, NaN=np.nan, Inf=np.inf, PINF=np.inf, NINF=-np.inf, PZERO=0.0, NZERO=-0.0,
                compat=types.SimpleNamespace(basestring=str))
# These tabulate functions of NumPy by name while they are imported, many of them gone; nothing here calls those.
_TABLES = ("mxnet.numpy.fallback", "mxnet.numpy_dispatch_protocol")


def answer():
    """Let numpy answer MXNet and gluoncv when they ask for a name that it no longer has.

    Without it ``import mxnet`` ends in ``AttributeError: module 'numpy' has no attribute 'bool'`` (NumPy
    1.24 and later) or ``'PZERO'`` (2.0 and later).
    """
    ask_numpy = np.__getattr__

    def getattr_for(name):
        asking = sys._getframe(1).f_globals.get("__name__") or ""
        if name in _REMOVED and asking.partition(".")[0] in ("mxnet", "gluoncv"):
            return _REMOVED[name]
        try:
            return ask_numpy(name)
        except AttributeError:
            if asking in _TABLES:
                return _gone(name)
            raise

    np.__getattr__ = getattr_for


def _gone(name):
    def function(*args, **kwargs):
        raise NotImplementedError(f"NumPy {np.__version__} has no {name}.")

    return function


def repair(mx):
    """Make an imported MXNet work with NumPy 2, which is the only NumPy of Python 3.13; nothing on NumPy 1.

    * MXNet hands parameters to C++ as ``str(value)``, and a NumPy integer in a tuple now prints as
      ``np.int64(3)``: ``Invalid Parameter format for shape``.
    * ``mxnet.recordio`` calls ``ndarray.tostring``, which is gone.
    """
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        return
    for name in ("_ctypes.ndarray", "_ctypes.symbol", "symbol.symbol", "io.io"):
        sys.modules[f"mxnet.{name}"].str = _PlainStr
    for function in (mx.recordio.pack, mx.recordio.pack_img):
        exec(inspect.getsource(function).replace(".tostring()", ".tobytes()"), vars(mx.recordio))


class _LikeStr(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str)


class _PlainStr(metaclass=_LikeStr):
    """``str``, but for NumPy scalars, also inside tuples and lists, as if they were Python numbers."""

    def __new__(cls, value=""):
        return str(_plain(value))


def _plain(value):
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value
