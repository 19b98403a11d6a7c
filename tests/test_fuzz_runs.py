"""Mutants of a run's files, whole as files and wrong inside: each is refused in one message, or read as it was."""
import copy
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from test_fuzz import damage
from test_resume import content
from tiny import train

from transfer_gluon.base.framework import mx
from transfer_gluon.training import settings as settings_file
from transfer_gluon.training import state as state_file
from transfer_gluon.training.run import Run

# How many of each; the first group must be refused or end as the run does, the second must not end the process.
EXACT = {"state inside": 90, "state bytes": 60, "settings inside": 50, "settings bytes": 30, "summary inside": 40,
         "summary bytes": 30, "symbol of a run": 50}
SAFE = {"symbol": 80, "state forged": 60, "state of before": 60}
SETTINGS = {"lr": 0.05, "flags": [1, None, "x"], "source.lst": "0123456789abcdef"}

# Goes on with every mutant, in a process that may die.
READ = """
import json, sys, traceback
from pathlib import Path
from transfer_gluon.base.errors import InputError
from tiny import SHAPE, train
from test_fuzz_runs import SETTINGS
from test_resume import content
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.training.run import Run

wanted = content(Path(sys.argv[1]))
for folder in map(Path, json.loads(sys.stdin.read())):
    prefix, kind = folder / "m", folder.name.rstrip("0123456789").strip()
    print(folder.name, file=sys.stderr, flush=True)
    try:
        if kind == "symbol":
            load_checkpoint(prefix, 2).classifier("flatten0", 3, SHAPE)
        elif kind == "symbol of a run":
            Run(prefix, SETTINGS, load_epoch=2)
        elif kind.startswith("state "):
            Run(prefix, SETTINGS, resume=True).checkpoint.classifier("flatten0", 3, SHAPE)
        answer = "read"
        if kind in sys.argv[2:]:
            train(Run(prefix, SETTINGS, resume=True), 3)
            now = content(prefix)
            different = [name for name in wanted if now.get(name) != wanted[name]]
            answer = f"accepted with other {different}" if different else "accepted"
    except InputError as error:
        named = str(prefix) in str(error) or "no such layer" in str(error)
        answer = "refused" if named else f"refused without a name: {error}"
    except Exception:
        answer = "failed: " + traceback.format_exc().replace("\\n", " ")
    print(f"ANSWER {folder.name}: {answer}", flush=True)
"""
WRONG = [None, -1, 0, 1, 2, 3, 10**6, 2**31, 2**63, 1e308, True, "", "x", "1000000", [], [[]], {}, [0, 0, 0],
         {"a": 1}, "data", float("nan")]


def places(value, path=()):
    """The paths of all values in a JSON value, but itself."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def mutated(value, rng):
    """A JSON value, one to three of whose parts were replaced, removed, repeated or renamed."""
    value = copy.deepcopy(value)
    for _ in range(rng.integers(1, 4)):
        *path, key = (everything := list(places(value)))[rng.integers(len(everything))]
        parent = value
        for step in path:
            parent = parent[step]
        kind = rng.integers(4)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif kind == 1:
            parent[f"{key}_"] = parent.pop(key)
        else:
            parent[key] = copy.deepcopy(WRONG[rng.integers(len(WRONG))])
        if not list(places(value)):
            break
    return value


def with_json(values, change):
    told = change(json.loads(values["json"].asnumpy().tobytes()))
    return {**values, "json": mx.nd.array(np.frombuffer(json.dumps(told).encode(), np.uint8), dtype="uint8")}


def other_arrays(values, rng):
    """The arrays of a state, of which one has another name, type, shape, value or owner, or is gone."""
    values = dict(values)
    name = sorted(set(values) - {"json", "sha256"})[rng.integers(len(values) - 2)]
    kind = rng.integers(7)
    if kind == 0:
        del values[name]
    elif kind == 1:
        values[f"{name}_"] = values.pop(name)
    elif kind == 2:
        values[name] = values[name].astype("float64")
    elif kind == 3:
        values[name] = mx.nd.concat(values[name], values[name], dim=0)
    elif kind == 4:
        values[name] = values[name] + 1
    elif kind == 5:
        values[f"device1:{name}"] = values[name]
    else:
        values[name] = mx.nd.array(values[name].asnumpy().ravel()[:1])
    return values


def mutate(kind, prefix, rng):
    run = prefix.with_name("m-run")
    file = {"state": run / "state.params", "settings": run / "settings.json", "summary": run / "summary.csv",
            "symbol": prefix.with_name("m-symbol.json")}[kind.split()[0]]
    if kind.endswith("bytes"):
        file.write_bytes(damage(file.read_bytes(), rng))
    elif kind.startswith("symbol"):
        file.write_text(json.dumps(mutated(json.loads(file.read_text()), rng)))
    elif kind.startswith("settings"):
        told = mutated(json.loads(file.read_text()), rng)
        if rng.random() < 0.3 and isinstance(told, dict):       # whoever changes it knows how it is protected
            told.pop("sha256", None)
            told = {"sha256": settings_file._digest(told), **told} if rng.random() < 0.5 else told
        file.write_text(json.dumps(told))
    elif kind.startswith("summary"):
        lines = [line.split(",") for line in file.read_text().splitlines()]
        file.write_text("\r\n".join(",".join(map(str, line)) if isinstance(line, list) else str(line)
                                    for line in mutated(lines, rng)) + "\r\n")
    else:
        values = mx.nd.load(str(file))

        def inside(told):
            if rng.random() < 0.5:
                return mutated(told, rng)
            return {**told, "symbol": json.dumps(mutated(json.loads(told["symbol"]), rng))}

        values = with_json(values, inside) if rng.random() < 0.6 else other_arrays(values, rng)
        digest = values.pop("sha256")
        if kind == "state forged":
            digest = mx.nd.array(np.frombuffer(state_file.digest_of(values), np.uint8), dtype="uint8")
        elif kind == "state of before":
            values = with_json(values, lambda told: {key: told[key] for key in told
                                                     if key not in ("summary", "replaces")})
        if kind != "state of before":
            values["sha256"] = digest
        mx.nd.save(str(file), values)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What became of the mutants of every kind."""
    folder, rng = tmp_path_factory.mktemp("fuzz"), np.random.default_rng(0)
    for name, epochs in (("run", 2), ("whole", 3)):
        train(Run(folder / name / "m", SETTINGS), epochs)
    mutants = []
    for kind, count in {**EXACT, **SAFE}.items():
        while count:
            place = shutil.copytree(folder / "run", folder / f"{kind} {count}")
            mutate(kind, place / "m", rng)
            if content(place / "m") == content(folder / "run" / "m") and not kind.startswith("settings"):
                shutil.rmtree(place)        # nothing was changed: once more
                continue
            mutants.append(str(place))
            count -= 1
    done = subprocess.run([sys.executable, "-c", READ, str(folder / "whole" / "m"), *EXACT], input=json.dumps(mutants),
                          text=True, capture_output=True, cwd=ROOT / "tests",
                          env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                          timeout=300)
    assert done.returncode == 0, f"it died of {done.stderr[-3000:]}"
    answers = {}
    for line in done.stdout.splitlines():
        if line.startswith("ANSWER "):
            name, _, answer = line[len("ANSWER "):].partition(": ")
            answers.setdefault(name.rstrip("0123456789").strip(), []).append(answer)
    return answers


@pytest.mark.parametrize("kind", [*EXACT, *SAFE])
def test_mutants_are_refused_in_a_sentence_or_read_as_they_were(answers, kind):
    assert len(answers[kind]) == {**EXACT, **SAFE}[kind]
    assert set(answers[kind]) <= {"refused", "accepted" if kind in EXACT else "read"}
    assert answers[kind].count("refused") > len(answers[kind]) * (0.3 if kind in SAFE else 0.7)
