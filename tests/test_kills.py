"""Kills at file events: nothing is lost that was on disk, and a run goes on to the same files or says why not."""
import json
import os
import random
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from test_resume import content

# What is on disk before (epochs done; files lost), and what is killed (arguments of Run; epochs; optimizer).
SCENES = {
    "begin": (0, [], dict(save_batches=2), 2, "sgd"),
    "begin with a domain classifier": (0, [], dict(save_batches=1, loss="dann"), 2, "adam"),
    "begin with an average and penalties": (0, [], dict(save_batches=1, regular=True), 2, "nag"),
    "keep": (0, [], dict(keep=1), 3, "sgd"),
    "resume": (2, [], dict(resume=True, save_batches=1), 3, "sgd"),
    "load epoch": (4, ["m-0003.params", "m-0004.params"], dict(load_epoch=2), 4, "sgd"),
    "load epoch with other settings": (3, ["m-0003.params"], dict(load_epoch=2, settings={"b": 1}), 3, "sgd"),
    "overwrite": (3, [], dict(overwrite=True), 2, "sgd"),
    "overwrite with other settings": (3, [], dict(overwrite=True, settings={"b": 1}), 2, "adam"),
    "overwrite and keep": (3, [], dict(overwrite=True, keep=1), 4, "sgd"),
    "state lost": (3, ["m-run/state.params"], dict(load_epoch=3), 4, "sgd"),
    "state lost, overwrite": (2, ["m-run/state.params"], dict(overwrite=True), 1, "sgd"),
    "settings lost": (2, ["m-run/settings.json"], dict(resume=True), 3, "sgd"),
    "summary lost": (2, ["m-run/summary.csv"], dict(resume=True, keep=1), 3, "sgd"),
    "network lost": (2, ["m-symbol.json"], dict(resume=True), 3, "sgd"),
    "checkpoint lost": (3, ["m-0003.params"], dict(load_epoch=2), 3, "sgd"),
    "run folder lost": (2, ["m-run"], dict(load_epoch=2), 3, "sgd"),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Plays the scenes: `stage.play(prefix, how, num_epochs, optimizer, kill)`."""
    with subprocess.Popen([sys.executable, ROOT / "tests" / "killed.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}) as server:

        class Stage:
            folder = tmp_path_factory.mktemp("stage")
            _known = {}

            def play(self, prefix, how, num_epochs, optimizer="sgd", kill=None):
                task = dict(prefix=str(prefix), how=how, num_epochs=num_epochs, optimizer=optimizer, kill=kill)
                server.stdin.write(json.dumps(task) + "\n")
                server.stdin.flush()
                answer = json.loads(server.stdout.readline())
                assert answer["end"] != "failed", answer["message"]
                return answer

            def before(self, name, where):
                """The prefix in a new folder `where` with what is on disk before a scene."""
                epochs, lost, *_ = SCENES[name]
                source = self.folder / str(epochs)
                if not source.exists():
                    source.mkdir()
                    if epochs:
                        assert self.play(source / "m", {}, epochs)["end"] == "done"
                shutil.copytree(source, where)
                for file in lost:
                    shutil.rmtree(where / file) if file == "m-run" else (where / file).unlink()
                return where / "m"

            def undisturbed(self, name):
                """(number of events, content) of a scene that nobody is killed in."""
                if name not in self._known:
                    prefix = self.before(name, self.folder / name)
                    answer = self.play(prefix, *SCENES[name][2:])
                    assert answer["end"] == "done", answer["message"]
                    self._known[name] = answer["events"], content(prefix)
                return self._known[name]

        yield Stage()
        server.stdin.close()


def checkpoints(prefix):
    """The parameters on disk, by name; those of an older run too."""
    return {path.name: path.read_bytes() for path in prefix.parent.rglob("m-0*.params")}


def check_kill(stage, name, event, where):
    """Kill a scene at a file event and resume it; return whether the run was refused."""
    _, _, how, num_epochs, optimizer = SCENES[name]
    events, wanted = stage.undisturbed(name)
    prefix = stage.before(name, where)
    old, on_disk = content(prefix), checkpoints(prefix)
    assert stage.play(prefix, how, num_epochs, optimizer, kill=event)["end"] == "killed"

    def nothing_lost():
        there = content(prefix)
        assert [file for file in old if file.startswith("m-run") and file not in there] == []
        if "keep" not in how and not (how.get("overwrite") and "m-0001.params" in there):
            assert [file for file in on_disk if file not in checkpoints(prefix)] == []

    nothing_lost()
    begun = not old.items() <= content(prefix).items()
    again = {**{key: how[key] for key in how if key not in ("load_epoch", "overwrite")}, "resume": True}
    answer = stage.play(prefix, again, num_epochs, optimizer)
    nothing_lost()
    if answer["end"] == "refused":
        # Killed before it began: all is as it was, and the message says what to do.
        assert not begun and old.items() <= content(prefix).items(), answer["message"]
        assert "`load_epoch`" in answer["message"] or "`overwrite`" in answer["message"]
    if answer["end"] == "refused" or how.get("overwrite") and not begun:      # then it was the older run that went on
        assert stage.play(prefix, how, num_epochs, optimizer)["end"] == "done"
    now = content(prefix)
    assert [file for file in {**wanted, **now} if now.get(file) != wanted.get(file)] == [], (name, event, answer)
    return answer["end"] == "refused"


@pytest.mark.parametrize("name, part", [("begin", 0.3), ("load epoch", 0.4), ("overwrite with other settings", 0.3),
                                        ("overwrite", 0.5), ("keep", 0.9)])
def test_a_kill_loses_nothing(stage, tmp_path, name, part):
    check_kill(stage, name, round(part * stage.undisturbed(name)[0]), tmp_path / "killed")


@pytest.mark.long
def test_sixty_kills(stage, tmp_path):
    """Four to each scene, spread over its events: `make test-long`."""
    rng, refused = random.Random(0), 0
    for name in SCENES:
        events, _ = stage.undisturbed(name)
        for quarter in range(4):
            event = rng.randint(quarter * events // 4 + 1, (quarter + 1) * events // 4)
            refused += check_kill(stage, name, event, tmp_path / f"{name} {event}")
    assert refused < 15     # only the first few events come before the state that says what a run is
