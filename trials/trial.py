"""A command of ours that is run once, with what it says and what it comes to."""
import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, replacing
from transfer_gluon.base.processor import PROCESSES
from transfer_gluon.training.summary import read_summary

_TOP = Path(__file__).resolve().parent.parent
# The commands lie on top of the tree; installed, in a folder of their own.
COMMANDS = _TOP / "commands" if (_TOP / "commands").is_dir() else _TOP


@dataclass(frozen=True)
class Trial:
    """One command of one seed.

    Attributes
    ----------
    method, title : str
        Its row in the table: under which name, and what people read.
    seed : int or None
        None where there is one of everything only.
    command : tuple of str
        The script and its flags.
    prefix : Path
        Where it writes.
    done : Path
        The file without which it is not done.
    lists : dict
        The lists that it reads, from name to digest.
    stage : 0, 1 or None
        Of training; None for a command that does not train.
    pair : tuple of str
        Source and target, where there are several.
    judged : bool
        Whether it tells an accuracy on images of the target.
    after : tuple of Trial
        Those that it goes on from: it is done again where they are.
    anew : bool
        Whether it begins anew, with --overwrite in the place of --resume, where another command, or one with other
        lists, wrote there.
    """

    method: str
    title: str
    seed: int
    command: tuple
    prefix: Path
    done: Path
    lists: dict
    stage: int = None
    pair: tuple = ()
    judged: bool = True
    after: tuple = ()
    anew: bool = False

    def __str__(self):
        seed = [] if self.seed is None else [f"seed {self.seed}"]
        return ", ".join([*seed, *([" → ".join(self.pair)] if self.pair else []), self.title])

    @property
    def made_of(self):
        """What its results follow from; as long as this is the same, it need not be done again."""
        earlier = {"after": [one.made_of for one in self.after]} if self.after else {}
        return {"command": shlex.join(self.command), "lists": self.lists, **earlier}

    @property
    def log(self):
        """Path of the file that holds what the command said."""
        return Path(f"{self.prefix}.log")

    @property
    def summary(self):
        """Path of the file that has a line an epoch."""
        return Path(f"{self.prefix}-run", "summary.csv")


def training_command(data_dir, num_classes, seed, prefix, gpus, flags):
    """The command of a training run that goes on where it was; `flags` are words behind those that it always has."""
    command = ["fine_tune.py", "--data-dir", data_dir, "--num-classes", num_classes, "--seed", seed,
               "--model-prefix", prefix, "--resume", *(["--gpus", gpus] if gpus else []), *flags]
    return tuple(map(str, command))


def execute_all(stages, jobs):
    """Run lists of trials one after the other, `jobs` of a list at the same time. Raises: InputError, as `execute`."""
    from tqdm import tqdm

    with tqdm(total=sum(map(len, stages)), unit=" runs", disable=None) as bar, ThreadPoolExecutor(jobs) as pool:
        for stage in stages:
            futures = [pool.submit(execute, run, bar, min(jobs, len(stage))) for run in stage]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def execute(run, bar, at_once=1):
    """Run a command unless it was finished before with these lists; what it says goes to its log.

    `at_once`: how many commands share the machine meanwhile.

    Raises: InputError with its last words when it fails.
    """
    record = Path(f"{run.prefix}.made-of.json")
    before = _read(record)
    if run.done.exists() and before == run.made_of:
        bar.write(f"{run}: done before{_came_to(run)}", file=sys.stderr)
        bar.update()
        return
    started = time.monotonic()
    run.prefix.parent.mkdir(parents=True, exist_ok=True)
    script, *flags = run.command
    last = before and before.get("begun", before)      # made there, or begun at least
    if last and run.anew and last != run.made_of:
        bar.write(f"{run}: anew, since images or commands are others than before", file=sys.stderr)
        flags = ["--overwrite" if flag == "--resume" else flag for flag in flags]
    state = _written(run)
    _write(record, {"begun": run.made_of})
    code = None
    try:
        with open(run.log, "w") as log:
            code = subprocess.run([sys.executable, _path(script), *flags], stdout=log, stderr=subprocess.STDOUT,
                                  stdin=subprocess.DEVNULL, env={**os.environ, PROCESSES: str(at_once)}).returncode
    finally:
        if code != 0 and _written(run) == state:        # what is there is still what it was
            _write(record, {"begun": last})
    if code:
        raise InputError(f"{run}: ended with exit code {code}. Its last words, from {run.log}:\n"
                         + "\n".join(read_text(run.log).splitlines()[-5:]))
    _write(record, run.made_of)
    bar.write(f"{run}: {time.monotonic() - started:.0f} s{_came_to(run)}", file=sys.stderr)
    bar.update()


def _came_to(run):
    return f", {accuracy(run):.2f} %" if run.judged else ""


def _path(script):
    """Of a command: one of those on top of the tree, or of ``tools/``."""
    return next(path for path in (COMMANDS / script, _TOP / script) if path.exists())


def _read(record):
    try:
        found = json.loads(record.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(record, made_of):
    with replacing(record) as temporary:
        temporary.write_text(json.dumps(made_of))


def _written(run):
    """When its run was last written, if there is one."""
    state = Path(f"{run.prefix}-run", "state.params")
    return state.stat().st_mtime_ns if state.exists() else None


def accuracy(run):
    """Accuracy on val.lst after the last epoch, in percent; NaN of a trial that tells none."""
    if not run.judged:
        return math.nan
    if run.stage is None:
        said = re.search(r"([\d.]+)% after", read_text(run.log))
        if not said:
            raise InputError(f"{run.log}: tells no accuracy; see what it says, and delete it to run the command again.")
        return float(said[1])
    return 100 * float(read_summary(run.summary)[-1]["validation_accuracy"])
