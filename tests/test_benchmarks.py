"""What the benchmarks that measure other packages reckon with; their quick modes where these packages are."""
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import heads  # noqa: E402
import peers  # noqa: E402
import time_to_accuracy  # noqa: E402

PEER = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
import peers

def run(name, seconds):
    if name == "broken":
        raise ValueError("no such way")
    return dict(images_per_second=2 * seconds)

peers.say(ready=True)
peers.serve(run)
"""


def test_a_peer_answers_lines_and_tells_errors(tmp_path):
    (tmp_path / "peer.py").write_text(PEER)
    with peers.Peer(tmp_path / "peer.py") as peer:
        assert peer.about == {"ready": True}
        assert peer.ask("run quick 3") == {"what": "quick", "images_per_second": 6}
        for line, told in (("run broken 1", "ValueError: no such way"), ("walk quick 1", "walk is none of: run"),
                           ("run quick", "not enough values")):
            with pytest.raises(RuntimeError, match=told):
                peer.ask(line)
        assert peer.ask("run quick 4")["images_per_second"] == 8


@pytest.mark.parametrize("script", ["torch_resnet.py", "torch_heads.py", "torch_jan.py"])
def test_without_pytorch_benchmarks_say_what_to_install(script, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')")
    flags = ["--source", "a", "--target", "b", "--classes", "2"] if script == "torch_jan.py" else []
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / script, *flags], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr == f"Error: PyTorch is not installed: {peers.INSTALL}.\n"


def test_a_peer_that_misses_a_package_ends_who_asks(tmp_path):
    (tmp_path / "peer.py").write_text("raise SystemExit(2)")
    with pytest.raises(SystemExit) as ends:
        peers.Peer(tmp_path / "peer.py")
    assert ends.value.code == 2


def test_an_accuracy_is_reached_by_the_first_epoch_that_is_as_good():
    epochs = [(10, 0.3), (20, 0.5), (30, 0.4), (40, 0.6)]
    assert time_to_accuracy.reached(epochs, 0.5) == 20
    assert time_to_accuracy.reached(epochs, 0.55) == 40
    assert time_to_accuracy.reached(epochs, 0.7) is None


def test_stage_0_counts_and_validation_does_not(monkeypatch, tmp_path):
    lines = []

    def fine_tune(told, data, prefix, stage, flags, epochs, start=None):
        lines.append((stage, flags, epochs, start))
        return (100 if stage == 0 else 1000), [7 * n for n in range(1, epochs + 1)]

    monkeypatch.setattr(time_to_accuracy, "fine_tune", fine_tune)
    monkeypatch.setattr(time_to_accuracy, "write_lists", lambda data_dir, folder, every: folder)
    monkeypatch.setattr(time_to_accuracy, "accuracy", lambda told, data, prefix, epoch: epoch / 10)
    told = SimpleNamespace(data_dir="data", every=1, stage0_epochs=5, stage1_epochs=2, peer_epochs=3)
    assert time_to_accuracy.ours(told, "cached", tmp_path) == ([(107, 0.1), (114, 0.2)], 100)
    assert len(time_to_accuracy.ours(told, "everything", tmp_path)[0]) == 3
    assert lines[1][3] == (tmp_path / "stage0", 5) and "--read features" in lines[1][1]
    assert "--read" not in lines[3][1]


def test_lists_are_found_wherever_paths_lead_from(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for i in range(10):
        (tmp_path / "images" / f"{i}.png").touch()
    for name in ("source", "target", "val"):
        (tmp_path / f"{name}.lst").write_text("".join(f"{i}\t0\timages/{i}.png\n" for i in range(10)))
    folder = time_to_accuracy.write_lists(tmp_path, tmp_path / "new", most=4)
    rows = [line.split("\t") for line in (folder / "val.lst").read_text().splitlines()]
    assert [row[0] for row in rows] == ["0", "3", "6", "9"]
    assert rows[1][2] == str(tmp_path / "images" / "3.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(SystemExit) as ends:
        time_to_accuracy.write_lists(tmp_path, tmp_path / "newer")
    assert ends.value.code == 2 and "run this where its paths lead from" in capsys.readouterr().err


def test_what_fit_does_between_batches_counts_and_what_takes_turns_does_not(monkeypatch):
    now = [0.0]

    def passes(seconds):
        now[0] += seconds

    monkeypatch.setattr(heads, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    batches = SimpleNamespace(batch_size=8, provide_data=[], provide_label=[], next=lambda: "batch")
    turns = heads.Turns(batches, 2, {"bare": lambda: passes(2), "head": lambda: passes(0.5)})
    steps = 0
    for batch in turns:
        assert batch == "batch"
        steps += 1
        passes(3 + 10 * (steps <= turns.WARM_UP))
    assert steps == turns.batches_per_epoch == 4
    assert (turns.median("fit"), turns.median("bare"), turns.median("head")) == (3, 2, 0.5)
    assert turns.median_difference("fit", "bare") == 1


def test_jmmd_by_pairs_is_jmmd():
    x, z = heads.inputs(12, 5)
    ours = heads.transfer_loss("jmmd")(x, z).asscalar()
    np.testing.assert_allclose(heads.per_pair(x, z).asscalar(), ours, rtol=1e-5, atol=1e-6)


def test_torch_is_timed_in_each_way():
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    script = [sys.executable, ROOT / "benchmarks" / "torch_resnet.py", "--batch", "4", "--side", "32"]
    names = subprocess.run([*script, "--names"], capture_output=True, text=True, check=True).stdout.split()
    names = [name for name in names if "compiled" not in name]
    said = subprocess.run([*script, "--repeat", "1", "--seconds", "0", *names], capture_output=True, text=True,
                          check=True).stdout
    lines = [json.loads(line) for line in said.splitlines()][1:]
    assert [line["what"] for line in lines] == names and all(line["images_per_second"] > 0 for line in lines)
