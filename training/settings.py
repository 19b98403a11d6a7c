"""``settings.json``: what a run's numbers depend on, and when, how and with what versions it was started."""
import hashlib
import json
import re
import shlex
import sys
import time
from dataclasses import dataclass, field

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, replacing
from transfer_gluon.training.versions import versions


@dataclass
class RunSettings:
    """What the file holds.

    Attributes
    ----------
    settings : dict
        Of JSON types.
    starts : list of dict
        Time, place in the run, command and versions of every start.
    """

    settings: dict
    starts: list = field(default_factory=list)

    def add_start(self, position):
        """Note that the run starts now at a `Position`."""
        self.starts.append({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "after_epoch": position.epoch,
                            "after_batch": position.batch, "command": shlex.join(sys.argv), "versions": versions()})

    def write(self, path):
        """Write the file, whole or not at all. Raises: InputError when that cannot be done."""
        content = {"settings": self.settings, "starts": self.starts}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n")


def read_settings(path):
    """Read what `RunSettings.write` wrote; earlier versions did so without ``sha256``.

    Raises: InputError when the file cannot be read or was changed since.
    """
    try:
        content = json.loads(read_text(path))
        digest = content.pop("sha256", None)
        told = RunSettings(**content)
        if digest not in (None, _digest(content)) or not isinstance(told.settings, dict) \
                or not all(isinstance(start, dict) for start in told.starts):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: damaged, or changed since it was written. Move it away: the state of the run holds "
                         "the settings too, and another file is written.") from None
    return told


def differences(then, now, defaults):
    """Lines that say which settings differ.

    A setting that one of the two does not know has the value that `defaults` gives, or None.

    >>> differences({"lr": 0.1, "wd": 0.0}, {"lr": 0.2, "jitter": 0.4}, {"wd": 0.0, "jitter": 0.4})
    ['lr: 0.1 then, 0.2 now']
    >>> differences({"lr_step_epochs": "10, 16"}, {"lr_step_epochs": "10,16"}, {})
    []
    >>> differences({"use_dan": True}, {"transfer": "mmd"}, {})     # as earlier versions said it
    []
    """
    if "use_dan" in then and "transfer" in now:
        then = {"transfer": "mmd" if then["use_dan"] else "jmmd",
                **{name: value for name, value in then.items() if name != "use_dan"}}
    if "transfer_weighs" in now:    # which says it all
        if then.get("transfer_weight") is not None:
            then = {"transfer_weighs": then["transfer_weight"], **then}
        then, now = ({name: value for name, value in which.items() if name not in _WEIGHTS} for which in (then, now))
    pairs = [(name, *(_as_written(which.get(name, defaults.get(name))) for which in (then, now)))
             for name in sorted(then.keys() | now.keys())]
    return [f"{name}: {one} then, {other} now{_meaning(name)}" for name, one, other in pairs if one != other]


_WEIGHTS = "transfer_weight", "relative_transfer_weight"
# Of settings that are no flags.
_MEANINGS = {"transfer_weighs": " (`transfer_weight`, as it was)",
             "l2sp_start": " (digests of the weights that L2-SP holds to, in the checkpoint of `pretrained_model`)",
             **dict.fromkeys(("training", "validation"), " (digests of the features)")}


def _meaning(name):
    """What to say of a setting that is no flag; those of lists and folders end in their names, after a blank."""
    return " (digests of its images and labels)" if name.endswith(".lst") or " " in name else _MEANINGS.get(name, "")


def _as_written(value):
    """Earlier versions kept lists as they were typed: ``10, 16``."""
    return re.sub(",\\s+", ",", value) if isinstance(value, str) else value


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
