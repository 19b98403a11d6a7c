"""A run on disk: its checkpoints, and the folder that tells how they came about and lets it go on."""
import fcntl
import json
import logging
import shlex
import sys
import time
from pathlib import Path

from base.errors import InputError
from base.files import replacing
from training.checkpoint import load_checkpoint, parameter_file, save_checkpoint, saved_epochs
from training.progress import log
from training.state import Position, load_state, save_state
from training.summary import Summary, best_epoch
from training.versions import versions


def recorded_settings(prefix):
    """The settings that the run of a prefix began with; empty where there is none."""
    try:
        return json.loads(Path(f"{prefix}-run", "settings.json").read_text())["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


class Run:
    """What a run keeps, under a prefix such as ``model/mmd1``::

        PREFIX-symbol.json, PREFIX-0001.params, …   checkpoints, as stock MXNet reads them
        PREFIX-run/settings.json                    flags, versions, git revision, starting times
        PREFIX-run/log.txt                          what was said
        PREFIX-run/summary.csv                      a line an epoch
        PREFIX-run/state.params                     what is needed to go on; replaced after every epoch

    Parameters
    ----------
    prefix : str, Path or None
        None: nothing is kept.
    settings : dict, default {}
        What the numbers depend on, of JSON types. A run goes on with equal settings only.
    resume : bool
        Go on where the run was; begin where there is nothing yet.
    load_epoch : int
        Go on from the checkpoint of this epoch, with the optimizer's state at 0; 0: do not.
    overwrite : bool
        Begin anew and replace a run that is there.
    keep : int
        Keep the checkpoints of this many last epochs and of the best by validation; 0: of all.
    save_batches : int
        Write the state every so many batches too; 0: after epochs only.
    checkpoints : bool
        False: write no checkpoints and no state.
    writes : bool
        False: only read; the workers of a distributed run but the first.

    Attributes
    ----------
    position : Position
        Where training goes on.
    checkpoint : Checkpoint or None
        The network to go on with. None: a run that begins.
    last : str
        What there is to go back to, in words.

    Raises: InputError when a run is there and neither `resume`, `load_epoch` nor `overwrite` says what to
    do with it; when `settings` contradict those it began with; when its state is damaged.
    """

    def __init__(self, prefix=None, settings=None, *, resume=False, load_epoch=0, overwrite=False, keep=0,
                 save_batches=0, checkpoints=True, writes=True):
        self.prefix, self.settings = prefix, settings or {}
        self.keep, self.save_batches = keep, save_batches
        self.position, self.checkpoint = Position(), None
        self._state, self._lock, self._log_file = None, None, None
        self._writes = writes and prefix is not None
        self._saves = self._writes and checkpoints
        self.last = "no checkpoint was written in this run"
        if prefix is None:
            return
        self.folder = Path(f"{prefix}-run")
        self._summary = self.folder / "summary.csv"
        self._state_file = self.folder / "state.params"
        self._settings_file = self.folder / "settings.json"
        if resume and self._settings_file.exists():
            self._compare(self._began()["settings"])
            # Without a state, the run died in its first epoch: what it wrote will be written again alike.
            if self._state_file.exists():
                self._state = load_state(self._state_file)
                self.position, self.checkpoint = self._state.position, self._state.checkpoint
            return
        if load_epoch:
            self.position, self.checkpoint = Position(load_epoch), load_checkpoint(prefix, load_epoch)
        if not overwrite:
            self._refuse_to_replace()

    def _began(self):
        try:
            return json.loads(self._settings_file.read_text())
        except ValueError:
            raise InputError(f"{self._settings_file}: damaged. --load-epoch goes on from an epoch.") from None

    def _compare(self, then):
        changed = [f"{name}: {then.get(name)} then, {self.settings.get(name)} now"
                   for name in sorted(then.keys() | self.settings.keys()) if then.get(name) != self.settings.get(name)]
        if changed:
            raise InputError(
                f"{self.folder}: --resume, but the run began with other settings:" + "\n  ".join(["", *changed])
                + "\nGive those of then, or --overwrite to begin anew, or another --model-prefix.")

    def _refuse_to_replace(self):
        later = [epoch for epoch in saved_epochs(self.prefix) if epoch > self.position.epoch or not self.checkpoint]
        if later or not self.checkpoint and self._settings_file.exists():
            there = f"the epochs {', '.join(map(str, later))}" if later else self.folder
            raise InputError(f"--model-prefix {self.prefix}: {there} of a run are there already. --resume goes on with "
                             "it; --load-epoch N goes on from an epoch and needs the later ones away; --overwrite "
                             "replaces them; another prefix leaves them alone.")

    def __enter__(self):
        """Begin to write: nothing of an older run is touched before."""
        if not self._writes:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        for epoch in saved_epochs(self.prefix):
            if epoch > self.position.epoch:
                parameter_file(self.prefix, epoch).unlink()
        if self._state is None:
            self._state_file.unlink(missing_ok=True)
        self._summary = Summary(self._summary, self.position.epoch)
        self._log_file = logging.FileHandler(self.folder / "log.txt", encoding="utf-8",
                                             mode="a" if self.checkpoint else "w")
        self._log_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(self._log_file)
        self._write_settings()
        return self

    def __exit__(self, kind, error, trace):
        if self._writes:
            if error is not None:
                self._log_file.handle(log.makeRecord(log.name, logging.ERROR, "", 0, f"{kind.__name__}: {error}", (),
                                                     None))
            log.removeHandler(self._log_file)
            self._log_file.close()
            self._lock.close()

    def _take_lock(self):
        self._lock = open(self.folder / "lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{self.folder}: another process is writing this run at the moment.") from None

    def _write_settings(self):
        starts = self._began()["starts"] if self.checkpoint and self._settings_file.exists() else []
        starts.append({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "after_epoch": self.position.epoch,
                       "after_batch": self.position.batch, "command": shlex.join(sys.argv), "versions": versions()})
        with replacing(self._settings_file) as temporary:
            temporary.write_text(json.dumps({"settings": self.settings, "starts": starts}, indent=1) + "\n")

    def restore(self, net, trainer):
        """Give a network on its devices and its trainer what they had when the run stopped."""
        if self.checkpoint:
            log.info("going on after epoch %d%s", self.position.epoch,
                     f", batch {self.position.batch} of the next" if self.position.batch else "")
        if self._state:
            self._state.restore(net, trainer)
            self.last = f"the last state is that of epoch {self.position.epoch}, batch {self.position.batch}"
            self._state = self.checkpoint = None        # their memory

    def save_batch(self, net, trainer, position):
        """Write the state in the middle of an epoch; return what was done, in words."""
        if not self._saves:
            return "nothing was saved"
        save_state(self._state_file, net, trainer, position, self.settings)
        self.last = f"the state after epoch {position.epoch}, batch {position.batch} was saved"
        return self.last

    def save_epoch(self, net, trainer, position, result):
        """Write what an epoch ends with: checkpoint, line of the summary, state."""
        if self._saves:
            file = save_checkpoint(self.prefix, position.epoch, net)
            self.last = f"the last good checkpoint is {file}"
            log.info("saved %s", file)
        if self._writes:
            self._summary.add(result)
        if self._saves:
            # The state comes last: a run that dies before does the epoch again and writes the same files.
            save_state(self._state_file, net, trainer, position, self.settings)
            self._drop_old()

    def _drop_old(self):
        if self.keep:
            best = best_epoch(self._summary.rows)
            for epoch in saved_epochs(self.prefix)[:-self.keep]:
                if epoch != best:
                    parameter_file(self.prefix, epoch).unlink()
