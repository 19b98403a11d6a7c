"""Runs that are killed at a file event, each in a process of its own that starts at once.

Reads tasks, a line of JSON each: `prefix`, `how` (arguments of `Run`, `loss`, dann or jmmd, and `regular`),
`num_epochs`, `optimizer`, and `kill`, the number of the file event before which the process is killed, or null. Answers
each with a line: `end` (done, refused, killed or failed), `message`, and `events`, how many there were. Events are the
opening of a file to write, the making, renaming and removing of names, and the moment when half of the arrays are
written.
"""
import json
import os
import signal
import sys
import traceback

from tiny import Validation, train

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.training import settings
from transfer_gluon.training.run import Run


class Events:
    """Counts file events and kills the process at one of them."""

    def __init__(self, folder, kill):
        self.count, self._folder, self._kill = 0, folder, kill
        self._save, mx.nd.save = mx.nd.save, self._save_arrays
        sys.addaudithook(self._heard)

    def _heard(self, event, arguments):
        if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir") or \
                event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path = str(arguments[0])
            if path.startswith(self._folder) or not os.path.isabs(path):     # of a folder that is being removed
                self._happens()

    def _happens(self):
        self.count += 1
        if self.count == self._kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def _save_arrays(self, file, values):
        self._save(file, values)
        if self.count + 1 == self._kill:
            os.truncate(file, os.path.getsize(file) // 2)
        self._happens()


def act(task):
    events = Events(os.path.dirname(task["prefix"]), task["kill"])
    loss, regular = task["how"].pop("loss", "jmmd"), task["how"].pop("regular", False)
    try:
        run = Run(task["prefix"], **task["how"])
        train(run, task["num_epochs"], batches=3, optimizer=task["optimizer"], validation=Validation(1), loss=loss,
              regular=regular)
        return {"end": "done", "message": "", "events": events.count}
    except InputError as error:
        return {"end": "refused", "message": str(error), "events": events.count}
    except Exception:
        return {"end": "failed", "message": traceback.format_exc(), "events": events.count}


def in_a_process(task):
    read, write = os.pipe()
    child = os.fork()       # MXNet has computed nothing here
    if not child:
        os.close(read)
        os.dup2(2, 1)
        os.write(write, json.dumps(act(task)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else {"end": "killed", "message": ""}


if __name__ == "__main__":
    settings.versions = dict        # without git, which is a process too
    for line in sys.stdin:
        print(json.dumps(in_a_process(json.loads(line))), flush=True)
