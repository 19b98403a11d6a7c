"""What is registered by name as ``"package.module:Class"``, and imported when it is first asked for."""
import importlib

from transfer_gluon.base.errors import InputError


def look_up(registered, name, parameter):
    """What `registered`, a dict, has under a name: the object itself, or what its text ``"module:Class"`` names.

    Raises: InputError of `parameter`, with all names, for one that is not there.

    >>> look_up({"path": "pathlib:Path", "int": int}, "path", "kind").__name__
    'Path'
    """
    if name not in registered:
        raise InputError.of(parameter, name, f"one of {', '.join(registered)}")
    found = registered[name]
    if isinstance(found, str):
        module, _, inside = found.partition(":")
        found = getattr(importlib.import_module(module), inside)
    return found
