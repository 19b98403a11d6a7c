"""A run on disk: its checkpoints, and the folder that tells how they came about and lets it go on."""
import contextlib
import json
import logging
import math
import os
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, reading, sync_folder, writing
from transfer_gluon.base.log import log
from transfer_gluon.checkpoints.checkpoint import (
    inference_symbol,
    load_checkpoint,
    parameter_file,
    save_checkpoint,
    saved_epochs,
    symbol_file,
    write_symbol,
)
from transfer_gluon.symbols import image_shape_of, normalization, resize_of
from transfer_gluon.training.settings import RunSettings, differences, read_settings
from transfer_gluon.training.state import Position, load_state, save_state
from transfer_gluon.training.summary import (
    SOURCE_ACCURACY,
    Summary,
    best_result,
    judged_by,
    read_summary,
    summary_from_text,
)
from transfer_gluon.training.tensorboard import remove_board


def recorded_settings(prefix):
    """The settings that the run of a prefix was started with last; empty where there is none, or its file is gone.

    Raises: InputError as `read_settings`.
    """
    path = Path(f"{prefix}-run", "settings.json")
    return read_settings(path).settings if path.exists() else {}


def _begins_with(text, known, path):
    """Whether a summary tells the epochs of another that is known, in the same figures."""
    rows, before = summary_from_text(text, path), summary_from_text(known, path)
    return len(rows) >= len(before) and all(one.items() >= other.items() for one, other in zip(rows, before))


def _close(log_file):
    with contextlib.suppress(OSError):
        log_file.close()


class Run:
    """What a run keeps, under a prefix such as ``model/mmd1``::

        PREFIX-symbol.json, PREFIX-0001.params, …   checkpoints, as stock MXNet reads them
        PREFIX-run/state.params                     what is needed to go on; replaced after every epoch
        PREFIX-run/settings.json                    flags, versions, git revision, starting times
        PREFIX-run/log.txt                          what was said
        PREFIX-run/summary.csv                      a line an epoch
        PREFIX-run/tensorboard/                     with `tensorboard`, the same for TensorBoard, and images
        PREFIX-run/replaced/                        with `overwrite`, the older run's checkpoints for an epoch more

    The state is what a run *is*. It is written before anything else of an older run is touched, and after every
    epoch when all that it tells of is on disk; so a process may die between any two writes.

    A Run serves one call of `fit`.

    Parameters
    ----------
    prefix : str, Path or None
        None: nothing is kept.
    settings : dict, default {}
        What the numbers depend on, of JSON types. A run goes on with equal settings only.
    defaults : dict, default {}
        Values of settings that a run of an earlier version did not know.
    resume : bool
        Go on where the run was; begin where there is nothing yet.
    load_epoch : int
        Go on from the checkpoint of this epoch, with the optimizer's state at 0; 0: do not.
    overwrite : bool
        Begin anew and replace a run that is there.
    keep : int or "best"
        Keep the checkpoints of this many last epochs and of the best by validation; 0: of all; best: as 1.
    by : str or None
        The score whose column says which epoch is the best (`EpochScore`), and epochs that it could not judge, or that
        another one has judged, are kept too; None: the accuracy does.
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
    saves : bool
        Whether this process writes checkpoints.

    Raises: InputError when a run is there and neither `resume`, `load_epoch` nor `overwrite` says what to
    do with it; when `settings` contradict those it began with; when what it needs is lost, damaged or no file.
    """

    def __init__(self, prefix=None, settings=None, *, defaults=None, resume=False, load_epoch=0, overwrite=False,
                 keep=0, by=None, save_batches=0, checkpoints=True, writes=True):
        self.prefix, self.settings = prefix, json.loads(json.dumps(settings or {}))
        self.keep, self.by, self.save_batches = 1 if keep == "best" else keep, by, save_batches
        self.position, self.checkpoint = Position(), None
        self.last = "no checkpoint was written in this run"
        self._writes = writes and prefix is not None
        self.saves = self._writes and checkpoints
        self._state, self._text, self._starts = None, None, []
        self._summary, self._replaces = Summary(), []
        self._entered, self._log_file = False, None
        if prefix is None:
            if resume or load_epoch or overwrite:
                raise InputError("`resume`, `load_epoch` or `overwrite` was given without `prefix`, which says which "
                                 "run is meant.", "prefix", None, "the prefix of a run")
            return
        self.folder = Path(f"{prefix}-run")
        self._state_file, self._settings_file, self._summary_file, self._log, self._lock_file = (
            self.folder / name for name in ("state.params", "settings.json", "summary.csv", "log.txt", "lock"))
        self._replaced = self.folder / "replaced"
        self._seen = self._look()
        if not (checkpoints or resume) and (self._state_file.exists() or overwrite and saved_epochs(prefix)):
            raise InputError(f"{prefix}: has a run with checkpoints, and this one would write none in their "
                             "place. Give another `prefix`.")
        if resume:
            self._go_on(defaults or {}, checkpoints)
        elif load_epoch:
            self._go_on_from(load_epoch)
        elif overwrite:
            self._replaces = saved_epochs(prefix)
        else:
            self._refuse_to_replace()

    def _look(self):
        """What is there, to see whether another process has changed it since. Raises: InputError where something
        else stands in the place of a file or folder."""
        epochs = saved_epochs(self.prefix)
        files = [self._state_file, self._settings_file]
        for path in [*files, self._summary_file, self._log, self._lock_file, symbol_file(self.prefix),
                     *(parameter_file(self.prefix, epoch) for epoch in epochs)]:
            with reading(path):
                pass
        for folder in (self.folder, self._replaced):
            if folder.exists() and not folder.is_dir():
                raise InputError(f"{folder}: is not a folder. Move away what is there.")
        told = [file.stat() for file in files if file.exists()]
        return epochs, [(stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in told]

    def _go_on(self, defaults, checkpoints):
        told = read_settings(self._settings_file) if self._settings_file.exists() else RunSettings(self.settings)
        self._starts = told.starts
        epochs = saved_epochs(self.prefix)
        if not self._state_file.exists():
            self._compare(told.settings, defaults)
            if epochs:
                raise InputError(
                    f"{self._state_file}: no such file, and the epochs {', '.join(map(str, epochs))} of {self.prefix} "
                    f"are there; `resume` goes on from the state. `load_epoch` {epochs[-1]} goes on from the last "
                    "epoch, `overwrite` begins anew.")
            if checkpoints and self._summary_file.exists() and read_summary(self._summary_file):
                raise InputError(f"{self._summary_file}: tells of epochs, and neither a state nor a checkpoint of them "
                                 "is there: a run without checkpoints cannot be gone on with. `overwrite` begins anew, "
                                 "another `prefix` leaves it alone.")
            return
        state = load_state(self._state_file)
        # What a killed run with `overwrite` or `load_epoch` left is a new state beside older settings.
        self._compare(state.settings, defaults)
        self._state, self._replaces = state, state.replaces
        self.position, self.checkpoint = state.position, state.checkpoint
        if checkpoints and self.position.epoch and self.position.epoch not in epochs:
            there = f"there are the epochs {', '.join(map(str, epochs))}" if epochs else "there is no other"
            raise InputError(f"{parameter_file(self.prefix, self.position.epoch)}: no such file, and the run wrote it; "
                             f"{there}. Put it back, or `load_epoch` N goes on from an epoch, `overwrite` begins anew.")
        self._summary = Summary(self._rows_so_far(state))

    def _go_on_from(self, epoch):
        if self._replaced.exists():
            raise InputError(f"{self._replaced}: holds epochs that a killed `overwrite` has moved away, and that go as "
                             "soon as an epoch is saved. Move them back, or remove the folder; or go on with the new "
                             "run by `resume`.")
        self.position, self.checkpoint = Position(epoch), load_checkpoint(self.prefix, epoch)
        self._refuse_to_replace()
        if self._settings_file.exists():
            self._starts = read_settings(self._settings_file).starts
        state = None
        if self._state_file.exists():
            with contextlib.suppress(InputError):       # to go on without it is what the flag is for
                state = load_state(self._state_file)
        self.position.began = state.position.began if state else {}
        symbol = symbol_file(self.prefix)
        if state and state.summary is not None and read_text(symbol) != state.symbol:
            raise InputError(f"{symbol}: not the network of {self._state_file}: damaged, or of another run. Put it "
                             "back; or move the state away, if the epochs are of this network.")
        self._summary = Summary(self._rows_so_far(state))

    def _rows_so_far(self, state):
        """The lines of the summary up to the position: a State knows what they must be."""
        known = state.summary if state else None
        text = read_text(self._summary_file) if self._summary_file.exists() else known
        if text is None:
            return []
        if known is not None and not _begins_with(text, known, self._summary_file):
            raise InputError(f"{self._summary_file}: damaged, or changed since it was written. Move it away: the state "
                             "of the run knows its lines, and another file is written.")
        rows = summary_from_text(known if self._state and known is not None else text, self._summary_file)
        return [row for row in rows if int(row["epoch"]) <= self.position.epoch]

    def _compare(self, then, defaults):
        changed = differences(then, self.settings, defaults)
        if changed:
            raise InputError(
                f"{self.folder}: `resume`, but the run began with other settings:" + "\n  ".join(["", *changed])
                + "\nGive those of then, or `overwrite` to begin anew, or another `prefix`.")

    def _refuse_to_replace(self):
        later = [epoch for epoch in saved_epochs(self.prefix) if epoch > self.position.epoch or not self.checkpoint]
        begun = self._settings_file.exists() or self._state_file.exists()
        if later or not self.checkpoint and begun:
            there = f"the epochs {', '.join(map(str, later))}" if later else self.folder
            raise InputError(f"`prefix` {self.prefix}: {there} of a run are there already. `resume` goes on with "
                             "it; `load_epoch` N goes on from an epoch and needs the later ones away; `overwrite` "
                             "replaces them; another prefix leaves them alone.")

    def __enter__(self):
        """Keep others from this run. Nothing of an older one is touched before `restore`."""
        if self._entered:
            raise InputError("this Run has served one call of fit already. Make another one: "
                             "Run(prefix, settings, resume=True) goes on where it ended.")
        self._entered = True
        with contextlib.ExitStack() as closing:
            if self._writes:
                with writing(self.folder):
                    self.folder.mkdir(parents=True, exist_ok=True)
                closing.callback(self._take_lock().release)
                if self._look() != self._seen:
                    raise InputError(f"{self.folder}: another process has written this run since it was read. Give "
                                     "the command again.")
            self._closing = closing.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        if self._log_file and error is not None:
            record = log.makeRecord(log.name, logging.ERROR, "", 0, f"{kind.__name__}: {error}", (), None)
            log.filter(record)      # into the words of a command
            self._log_file.handle(record)
        self._closing.close()

    def _take_lock(self):
        lock = FileLock(self._lock_file, timeout=0)
        with writing(self._lock_file):
            try:
                lock.acquire()
            except Timeout:
                raise InputError(f"{self.folder}: another process is writing this run at the moment.") from None
        return lock

    def restore(self, learner, trainer):
        """Give a network and its objective on their devices, and their trainer, what they had when the run stopped;
        begin to write."""
        if self._state:
            self._state.restore(learner, trainer)
            self.last = f"the last state is that of epoch {self.position.epoch}, batch {self.position.batch}"
        if self.saves:
            self._text = self._network_text(learner.net)
            if not self._state:
                self._save_state(learner, trainer)
        if self._writes:
            self._note_start()
            if not self.position.updates:
                remove_board(self.folder / "tensorboard")       # of an older run, or with epochs that are given up
            self._align()
        if self.checkpoint:
            log.info("going on after epoch %d%s", self.position.epoch,
                     f", batch {self.position.batch} of the next" if self.position.batch else "")
        self._state = self.checkpoint = None        # their memory

    def _network_text(self, net):
        """The network as text, once for all files of the run: MXNet writes what it has read in other words, and
        keeps some memory each time it writes."""
        symbol = inference_symbol(net)
        if self.checkpoint and not self._state:
            self._refuse_another_network(symbol)
        if self._state and set(self._state.checkpoint.symbol.list_inputs()) == set(symbol.list_inputs()):
            return self._state.symbol
        return symbol.tojson()

    def _refuse_another_network(self, symbol):
        """All epochs of a prefix share one file: who changes what comes before the layers changes those before, too."""
        before = self.checkpoint.symbol
        told = image_shape_of(before)
        if told not in (None, image_shape_of(symbol)) or resize_of(before) != resize_of(symbol) or (
                normalization(before) != normalization(symbol)):
            raise InputError(f"{self.prefix}: its epochs were trained with images of {told or 'an unknown size'} and "
                             f"{'a' if normalization(before) else 'no'} normalisation, and validated by "
                             f"{resize_of(before) or 'the usual'} `val_resize`: others than are asked for, and "
                             f"{symbol_file(self.prefix)} is that of all of them. Leave `image_shape`, `val_resize`, "
                             "`rgb_mean` and `rgb_std` as they were, or give another `prefix` and start from the epoch "
                             "by `pretrained_model`.")

    def mend(self):
        """Of a run that is at its end, finish what a killed process left undone, and write again what is lost of
        summary and network; nothing else."""
        with self:
            if self._writes and self._state:
                self._text = self._state.symbol
                self._align()

    def _note_start(self):
        with writing(self._log):
            self._log_file = logging.FileHandler(self._log, encoding="utf-8", mode="a" if self.checkpoint else "w")
        self._closing.callback(_close, self._log_file)
        # Where the disk is full, saving says so; logging would write a traceback to standard error for each line.
        self._log_file.handleError = lambda record: None
        self._log_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(self._log_file)
        self._closing.callback(log.removeHandler, self._log_file)
        told = RunSettings(self.settings, self._starts)
        told.add_start(self.position)
        told.write(self._settings_file)

    def _align(self):
        """Bring the other files into line with the state, which is on disk."""
        there = self._summary_file.exists()
        if there and not self._state or not there and self._summary.rows:
            self._summary.write(self._summary_file)
        if self.saves and self.position.epoch:
            write_symbol(self.prefix, self._text)
            if self._state:
                self._drop_old(self.position.epoch)
        self._move_replaced()

    def _move_replaced(self):
        """Move the checkpoints of the older run out of the way; one that was moved before has a successor here."""
        with writing(self._replaced):
            for epoch in self._replaces:
                file = parameter_file(self.prefix, epoch)
                if file.exists() and not (self._replaced / file.name).exists():
                    self._replaced.mkdir(exist_ok=True)
                    os.replace(file, self._replaced / file.name)
                    sync_folder(self._replaced)

    def save_batch(self, learner, trainer):
        """Write the state in the middle of an epoch."""
        if self.saves:
            self._save_state(learner, trainer)
            self.last = f"the state after epoch {self.position.epoch}, batch {self.position.batch} was saved"

    def save_epoch(self, epoch):
        """Write what an `Epoch` ends with: checkpoint, line of the summary, state."""
        if self.saves:
            with epoch.learner.averaged():
                file = save_checkpoint(self.prefix, self.position.epoch, epoch.learner.net, self._text)
            self.last = f"the last good checkpoint is {file}"
            log.info("saved %s", file)
        self._summary.add(epoch.result)
        if self._writes:
            self._summary.write(self._summary_file)
        if self.saves:
            # The state comes last: a run that dies before does the epoch again and writes the same files.
            self._replaces = []
            self._save_state(epoch.learner, epoch.trainer)
            self._drop_old(self.position.epoch)

    def results(self):
        """The epochs so far, those before the run was gone on with included, as a list of `EpochResult`."""
        return self._summary.results()

    def say_best(self):
        """Say in a log line which epoch was the best by its score, or on the source's held-out part, where one is
        judged so."""
        best = best_result(self.results(), self.by)
        if self.by and not best:
            log.warning("no epoch could be judged by %s, so that all checkpoints are kept; choose.py chooses among "
                        "them by other scores", self.by)
        if best and (self.by or SOURCE_ACCURACY in best.others):
            how, figure = ("on the source's held-out part", f"{100 * judged_by(best):.2f} %") if not self.by else \
                (f"by {self.by}", f"{judged_by(best, self.by):.4g}")
            log.info("the best %s is epoch %d, %s%s", how, best.epoch, figure,
                     "" if math.isnan(best.validation_accuracy) else
                     f"; its validation accuracy is {best.validation_accuracy:.2%}")

    def _save_state(self, learner, trainer):
        save_state(self._state_file, learner, trainer, self.position, self.settings, self._text, self._summary.text,
                   self._replaces)

    def _drop_old(self, last):
        if self._replaced.exists():
            with writing(self._replaced):
                shutil.rmtree(self._replaced)
        if self.keep:
            results = self.results()
            best = best_result(results, self.by)
            judged = {result.epoch for result in results if not math.isnan(judged_by(result, self.by))}
            for epoch in [epoch for epoch in saved_epochs(self.prefix) if epoch <= last][:-self.keep]:
                file = parameter_file(self.prefix, epoch)
                if (best is None or epoch != best.epoch) and (epoch in judged or not self.by):
                    with writing(file):
                        file.unlink(missing_ok=True)
