"""Several devices and several processes, started and watched by tools/launch.py."""
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL, make_data, make_domain

from transfer_gluon.base import devices
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import parameter_file, read_parameters, saved_epochs
from transfer_gluon.commands import fine_tune
from transfer_gluon.distributed.stores import Shared, Store, open_store
from transfer_gluon.distributed.unpickling import load_optimizer
from transfer_gluon.iters import Augmentation, DualIter, OrderedIter, RecordIter, read_list
from transfer_gluon.iters.transforms import centre_crop
from transfer_gluon.records.packing import ensure_packed
from transfer_gluon.symbols import JMMDLoss, TransferNet, TransferObjective, features_block, resnet
from transfer_gluon.tools.launch import _free_ports as free_ports
from transfer_gluon.tools.launch import main as launcher
from transfer_gluon.tools.launch import members, run
from transfer_gluon.training.learner import prepare
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.summary import read_summary


class Launched:
    """A launcher with all its processes, output in a file."""

    def __init__(self, folder, flags, command, environment):
        self.log = folder / f"launch-{time.monotonic_ns()}.txt"
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "tools" / "launch.py"), *map(str, flags), "--", *map(str, command)],
                cwd=folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self.seen = set()

    def family(self):
        """Process ids of the launcher's living descendants, and of those that were seen to be so, with role."""
        status, children = {}, {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                environment = (entry / "environ").read_bytes().split(b"\0")
                name = (entry / "cmdline").read_bytes().partition(b"\0")[0]
            except (OSError, ValueError):
                continue
            if fields[0] == "Z":
                continue
            pid = int(entry.name)
            roles = [line[10:].decode() for line in environment if line.startswith(b"DMLC_ROLE=")]
            status[pid] = roles[0] if roles and b"python" in name else "keeper"
            children.setdefault(int(fields[1]), []).append(pid)
        young = [self.process.pid]
        while young:
            young = [pid for parent in young for pid in children.get(parent, [])]
            self.seen.update(young)
        return {pid: status[pid] for pid in self.seen & status.keys()}

    def wait_for(self, text, seconds=120):
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def end(self, expect=0, seconds=150):
        code = self.process.wait(seconds)
        text = self.log.read_text()
        assert code == expect, text
        deadline = time.monotonic() + 10
        while self.family() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not self.family(), text
        return text


@pytest.fixture
def launch(tmp_path):
    """Start `tools/launch.py FLAGS -- COMMAND`; nothing of it outlives the test."""
    launched = []

    def start(flags, command, **environment):
        launched.append(Launched(tmp_path, flags, command, environment))
        return launched[-1]

    yield start
    for one in launched:
        family = one.family()
        one.process.kill()
        one.process.wait()
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def script(folder, text):
    """A worker's program that can import ours, under a path with a blank."""
    path = folder / "a worker.py"
    path.write_text(f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n{text}")
    return [sys.executable, path]


class Several(mx.io.DataIter):
    """The given batches, every epoch."""

    def __init__(self, images, labels):
        super().__init__(len(images[0]))
        self._batches = [mx.io.DataBatch([mx.nd.array(x)], [mx.nd.array(y)], pad=0) for x, y in zip(images, labels)]
        self.batches_per_epoch, self.num_images = len(images), images.shape[0] * images.shape[1]
        self.provide_data = [mx.io.DataDesc("data", images.shape[1:])]
        self.provide_label = [mx.io.DataDesc("softmax_label", labels.shape[1:])]
        self.set_epoch(0)

    def set_epoch(self, epoch):
        self._left = iter(self._batches)

    def skip(self, count):
        assert not count

    def next(self):
        return next(self._left)


def train(store, num_devices, folder):
    """Five updates with JMMD on 16 images, divided among workers and devices; the first worker writes what came out."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (2, 5, 8, 3, 16, 16)).astype(np.float32)
    labels = np.stack([np.tile(np.arange(8) % 3, (5, 1)), np.full((5, 8), 9999)])
    each = 8 // store.num_workers
    mine = slice(store.rank * each, (store.rank + 1) * each)
    batches = DualIter(*(Several(x[:, mine], y[:, mine]) for x, y in zip(images, labels)), num_devices)
    mx.random.seed(0)
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    results = fit(net, TransferObjective(JMMDLoss(), 2.0), batches,
                  [mx.cpu(i) for i in range(num_devices)], StepSchedule(0.01, 0.5, [3]), 1, wd=0.01, kvstore=store)
    assert results[0].updates == 5
    if store.rank == 0:
        np.savez(folder / "results.npz", loss=results[0].loss, transfer=results[0].transfer_loss,
                 **{name: np.mean([copy.asnumpy() for copy in parameter.list_data()], axis=0)
                    for name, parameter in net.collect_params().items()})


def trained_by(launch, folder, store, num_workers):
    """The results of `train` in this many processes."""
    command = script(folder, f"""
from pathlib import Path
from test_distributed import train
from transfer_gluon.distributed.stores import open_store
with open_store({store!r}) as store:
    train(store, 1, Path({str(folder)!r}))
""")
    launch(["-n", num_workers, "-s", 2], command).end()
    return dict(np.load(folder / "results.npz"))


def trained_here(folder, num_devices):
    train(open_store("device"), num_devices, folder)
    return dict(np.load(folder / "results.npz"))


def assert_equal(found, wanted, start):
    for name, value in wanted.items():
        if name == "bn_data_gamma":     # fixed at 1, whatever is written there
            continue
        moved = np.abs(value - start.get(name, 0)).max()
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * moved, err_msg=name)


@pytest.fixture
def start():
    """The parameters that `train` begins with."""
    mx.random.seed(0)
    net = TransferNet(features_block(resnet(8, (3, 16, 16))), 3)
    prepare(net, [mx.cpu(0)])
    net(mx.nd.zeros((1, 3, 16, 16)))
    return {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()
            if parameter.grad_req != "null"}


@pytest.mark.parametrize("repetitions", [1, pytest.param(10, marks=pytest.mark.long)])
def test_two_workers_equal_two_devices(launch, tmp_path, start, repetitions):
    wanted = trained_here(tmp_path, 2)
    for _ in range(repetitions):
        (tmp_path / "results.npz").unlink()
        assert_equal(trained_by(launch, tmp_path, "dist_sync", 2), wanted, start)


def test_servers_that_update_do_as_the_loop_does(launch, tmp_path, start):
    wanted = trained_here(tmp_path, 1)
    assert_equal(trained_by(launch, tmp_path, "dist_async", 1), wanted, start)


@pytest.mark.parametrize("store", [pytest.param("dist_sync", marks=pytest.mark.long), "dist_async"])
def test_figures_are_summed_exactly_and_alike(launch, tmp_path, store):
    command = script(tmp_path, """
from transfer_gluon.base.errors import InputError
from transfer_gluon.distributed.stores import open_store
with open_store(sys.argv[1]) as store:
    try:
        store.compare({"lr": 0.1 + store.rank})
    except InputError as error:
        print(error)
    store.compare({"lr": 0.1})
    for i in range(3):
        print(store.sum([1e9 + 1 + store.rank, 1 / 3, i, -1e-300]).tolist(), store.sum([[float("inf")]]).tolist())
    print(store.anybody(store.rank == 1), store.anybody(False))
""")
    text = launch(["-n", 2], [*command, store]).end()
    assert text.count("lr: 0.1 on worker 0; 1.1 on worker 1") == 2
    for i in range(3):
        assert text.count(f"[2000000003.0, {2 / 3}, {2.0 * i}, -2e-300] [[inf]]") == 2
    assert text.count("True False") == 2


def flags_of(folder, *flags):
    return [*SMALL, *NEW_NETWORK, "--kv-store", "dist_sync", "--data-dir", folder / "data", *flags]


def training(folder, *flags):
    return [sys.executable, ROOT / "fine_tune.py", *flags_of(folder, *flags)]


@pytest.mark.parametrize("roles", [["worker"], pytest.param(["worker", "server", "scheduler"],
                                                            marks=pytest.mark.long)])
def test_killed_processes_are_named_and_the_run_goes_on_as_if_nothing_had_been(launch, tmp_path, roles):
    make_domain(make_data(tmp_path / "data"), "source", [i % 3 for i in range(135)], seed=5)
    flags = ["--model-prefix", tmp_path / "killed", "--resume", "--num-epochs"]
    done = 0
    for role in roles:
        run = launch(["-n", 2], training(tmp_path, *flags, 100000))
        run.wait_for(f"epoch {done + 2}:")
        os.kill(next(pid for pid, its in run.family().items() if its == role), signal.SIGKILL)
        killed = time.monotonic()
        text = run.end(expect=1, seconds=60)
        print(f"{role} killed: all ended after {time.monotonic() - killed:.1f} s")
        assert re.search(rf"launch.py: {role}( \d)? was killed by SIGKILL; stopping the others", text)
        done = saved_epochs(tmp_path / "killed")[-1]
    run = launch(["-n", 2], training(tmp_path, *flags, 100000))
    run.wait_for(f"epoch {done + 2}:")
    run.process.send_signal(signal.SIGTERM)
    assert run.end(expect=3).count("fine_tune.py: SIGTERM") == 2
    last = saved_epochs(tmp_path / "killed")[-1] + 1
    launch(["-n", 2], training(tmp_path, *flags, last)).end()
    launch(["-n", 2], training(tmp_path, "--model-prefix", tmp_path / "whole", "--num-epochs", last)).end()
    whole, killed = (read_parameters(parameter_file(tmp_path / name, last)) for name in ("whole", "killed"))
    for name, value in whole[0].items():
        assert (killed[0][name].asnumpy() == value.asnumpy()).all(), name
    for name, value in whole[1].items():        # averaged over the workers once more, where the run was stopped
        np.testing.assert_allclose(killed[1][name].asnumpy(), value.asnumpy(), rtol=1e-4, atol=1e-5)
    whole, killed = (read_summary(tmp_path / f"{name}-run" / "summary.csv") for name in ("whole", "killed"))
    assert [row["validation_accuracy"] for row in whole] == [row["validation_accuracy"] for row in killed]


@pytest.mark.parametrize("role", ["server", "scheduler"])
def test_a_killed_server_or_scheduler_is_named(launch, tmp_path, role):
    run = launch(["-n", 1], script(tmp_path, """
import time
from transfer_gluon.distributed.stores import open_store
with open_store("dist_sync") as store:
    print("ready", flush=True)
    time.sleep(3600)
"""))
    run.wait_for("ready")
    family = run.family()
    os.kill(next(pid for pid, its in family.items() if its == role), signal.SIGKILL)
    assert re.search(rf"launch.py: {role}( 0)? was killed by SIGKILL; stopping the others", run.end(expect=1))


HANGING = """
import time
from transfer_gluon.base.watchdog import progress
from transfer_gluon.distributed.stores import open_store
with open_store("dist_sync") as store:
    if store.rank == 1:
        for _ in range(5):
            time.sleep(1)
            progress()
    store.barrier()
    print("slow but well", flush=True)
    if store.rank == 1:
        time.sleep(3600)
    store.barrier()
"""


def test_a_worker_that_hangs_is_named_and_one_that_is_slow_or_waits_is_left_alone(launch, tmp_path):
    run = launch(["-n", 2, "--patience", 3], script(tmp_path, HANGING))
    text = run.end(expect=1)
    assert text.count("slow but well") == 2
    assert re.search(r'worker 1:   File ".*a worker.py", line 15 in <module>', text), text
    assert "worker 1: no progress for 3 s" in text and "worker 0: no progress" not in text
    assert "launch.py: worker 1 ended with exit code 1; stopping the others" in text


def test_a_process_that_stands_still_is_named_and_nobody_listens_to_the_network(launch, tmp_path):
    run = launch(["-n", 1, "--patience", 3], script(tmp_path, """
import time
from transfer_gluon.base.watchdog import waiting
from transfer_gluon.distributed.stores import open_store
with open_store("dist_sync") as store, waiting():
    print("ready", flush=True)
    time.sleep(3600)
"""))
    run.wait_for("ready")
    family = run.family()
    sockets = {os.readlink(f"/proc/{pid}/fd/{fd}") for pid in family for fd in os.listdir(f"/proc/{pid}/fd")}
    listening = [fields[1] for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
                 if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets]
    assert len(listening) == 3 and {place.partition(":")[0] for place in listening} == {"0100007F"}     # 127.0.0.1
    os.kill(next(pid for pid, its in family.items() if its == "worker"), signal.SIGSTOP)
    text = run.end(expect=1)
    assert "scheduler: nothing heard of worker 0 for 3 s; giving up" in text, text


def test_two_workers_train_on_the_batches_of_two_devices(launch, tmp_path):
    make_data(tmp_path / "data")
    launch(["-n", 2, "-s", 1], training(tmp_path, "--num-epochs", 2, "--batch-size", 4,
                                        "--model-prefix", tmp_path / "two")).end()
    fine_tune.main([str(flag) for flag in flags_of(tmp_path, "--num-epochs", 2, "--batch-size", 8, "--model-prefix",
                                                   tmp_path / "one", "--kv-store", "device", "--cpus", 2)],
                   standalone_mode=False)
    one, two = (read_parameters(parameter_file(tmp_path / name, 2)) for name in ("one", "two"))
    for name, value in one[0].items():
        np.testing.assert_allclose(two[0][name].asnumpy(), value.asnumpy(), rtol=1e-4, atol=1e-6, err_msg=name)
    one, two = (read_summary(tmp_path / f"{name}-run" / "summary.csv") for name in ("one", "two"))
    np.testing.assert_allclose(*([float(row["loss"]) for row in rows] for rows in (two, one)), rtol=1e-5)


def test_mxnets_reader_is_refused_to_several_workers(tmp_path, monkeypatch):
    make_data(tmp_path / "data")
    monkeypatch.setattr("transfer_gluon.training.stages.open_store", lambda name: Store(mx.kv.create("device"), 2))
    monkeypatch.setattr(Store, "compare", lambda self, settings: None)
    with pytest.raises(InputError, match="--read mxnet was given to 2 workers, and reads for one"):
        fine_tune.main([str(flag) for flag in flags_of(tmp_path, "--read", "mxnet")], standalone_mode=False)


@pytest.mark.long
@pytest.mark.parametrize("role", ["worker", "server", "scheduler"])
def test_processes_that_no_launcher_watches_notice_a_dead_one(tmp_path, role):
    command = script(tmp_path, """
import time
from transfer_gluon.distributed.stores import open_store
with open_store("dist_sync") as store:
    store.barrier()
    print("ready", flush=True)
    time.sleep(8)
    store.barrier()
    time.sleep(3600)
""")
    processes = []
    try:
        for member in members(command, 2, 1):
            environment = {name: str(value) for name, value in member.environment.items()}
            processes.append(subprocess.Popen([str(part) for part in member.command], text=True, stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE, env={**os.environ, **environment}))
        scheduler, server, *workers = processes
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        victim = {"scheduler": scheduler, "server": server, "worker": workers[1]}[role]
        victim.kill()
        victim.wait()
        killed = time.monotonic()
        said = [process.communicate(timeout=70)[1] for process in processes if process is not victim]
        print(f"{role} killed: all ended after {time.monotonic() - killed:.1f} s")
        assert time.monotonic() - killed < 60
        assert all(process.returncode for process in processes)
        name = {"scheduler": "the scheduler", "server": "server 0", "worker": "worker 1"}[role]
        assert any(f"nothing heard of {name} for" in text for text in said)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_lines_for_slurm_start_a_run(tmp_path):
    lines, = re.findall("((?:    .*\n)+)", (ROOT / "docs" / "scaling.md").read_text().split("### Under Slurm")[1]
                        .split("\n###")[0])
    for ours, here in (("NUM_SERVER=2", "NUM_SERVER=1"), ("NUM_WORKER=4", "NUM_WORKER=2"),
                       ("$(hostname -I | cut -d ' ' -f 1)", "127.0.0.1"), ("9091", str(free_ports(1)[0])),
                       ("transfer-gluon fine-tune --kv-store dist_sync …", "python worker.py")):
        assert ours in lines
        lines = lines.replace(ours, here)
    (tmp_path / "worker.py").write_text("from transfer_gluon.distributed.stores import open_store\n"
                                        "with open_store('dist_sync') as store:\n"
                                        "    text = f'{store.num_workers} {store.sum([store.rank + 1])[0]}'\n"
                                        "    open(f'worker-{store.rank}', 'w').write(text)\n")
    (tmp_path / "srun").write_text("#!/bin/sh\nshift; n=$2; shift 2\n"      # srun --overlap -n COUNT COMMAND …
                                   "while [ $n -gt 0 ]; do \"$@\" & n=$((n - 1)); done; wait\n")
    (tmp_path / "srun").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["sh", "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT),
                                                         "DMLC_NODE_HOST": "127.0.0.1"})
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"worker-{rank}").read_text() for rank in range(2)] == ["2 3.0", "2 3.0"]


def test_nothing_outlives_a_killed_launcher(launch):
    run = launch(["-n", 1], ["sh", "-c", "echo ready; sleep 600 & wait"])
    run.wait_for("ready")
    assert len(run.family()) >= 7       # three keepers and what they keep
    run.process.kill()
    run.end(expect=-signal.SIGKILL)


def test_settings_that_differ_are_named_on_every_worker_and_who_cannot_go_on_ends_the_run(launch, tmp_path):
    command = script(tmp_path, """
from transfer_gluon.base.errors import InputError
from transfer_gluon.distributed.stores import open_store
with open_store("dist_sync") as store:
    same = {"seed": 0, "source.lst": "a" * 64}
    store.compare(same)
    try:
        store.compare({**same, "batch_size": 8 + store.rank // 2, **({"größer": None} if store.rank else {"x": True})})
    except InputError as error:
        print(error, flush=True)
    store.barrier()
    if store.rank == 1:
        sys.exit(2)
    store.barrier()
""")
    text = launch(["-n", 3], command).end(expect=2)
    assert "launch.py: worker 1 ended with exit code 2; stopping the others" in text
    for rank in range(3):
        assert f"worker {rank}: the workers were given different settings" in text
        assert f"worker {rank}:   batch_size: 8 on workers 0, 1; 9 on worker 2" in text
        assert f"worker {rank}:   x: True on worker 0; None on workers 1, 2" in text
    assert "seed" not in text and "source.lst" not in text


def test_a_run_whose_workers_have_other_flags_ends_with_a_sentence(launch, tmp_path):
    make_data(tmp_path / "data")
    own = "size=8; mkdir first 2>/dev/null && size=4; exec \"$@\" --batch-size $size"
    text = launch(["-n", 2], ["sh", "-c", own, "sh", *training(tmp_path)]).end(expect=2)
    assert text.count("the workers were given different settings") == 2 and "batch_size: " in text


# Of two workers, the first one to come ends; the other one waits for it.
ONE_ENDS = ["sh", "-c", "mkdir first 2>/dev/null && exit; exec sleep 600"]


@pytest.mark.parametrize("command, message", [
    (["true"], r"worker \d ended before all processes had joined the run"),
    (ONE_ENDS, r"worker \d ended before all processes had joined the run"),
    (["no-such-command"], r"worker \d ended with exit code 127: the command was not found"),
    (["/dev/null"], r"worker \d ended with exit code 126: the command cannot be executed")])
def test_commands_that_do_not_join_are_not_waited_for(tmp_path, monkeypatch, capfd, command, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transfer_gluon.tools.launch._GRACE", 1)
    assert run(members(command, 2, 1)) == 2
    assert re.search(f"launch.py: {message}", capfd.readouterr().err)


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return exec, (f"open({self.path!r}, 'w')",)


@pytest.mark.parametrize("protocol", [0, 4])
def test_servers_unpickle_optimizers_and_nothing_else(tmp_path, monkeypatch, capsys, protocol):
    schedule = Shared(StepSchedule(0.1, 0.5, [2]), 3)
    for name in mx.optimizer.Optimizer.opt_registry:
        made = mx.optimizer.create(name, wd=0.25, lr_scheduler=schedule)
        found = load_optimizer(pickle.dumps(made, protocol))
        assert type(found) is type(made) and found.wd == 0.25 and found.lr_scheduler(7) == 0.05
    made.lr_scheduler = Malicious(tmp_path / "touched")
    harmful = pickle.dumps(made, protocol)
    for pickled in (harmful, pickle.dumps(os.system, protocol), pickle.dumps(schedule, protocol), b"cos\nsystem\n.",
                    b"ctransfer_gluon.tools.launch\nrun\n.", b"cmxnet.optimizer.optimizer\nos.system\n.", b"no pickle"):
        with pytest.raises(pickle.UnpicklingError):
            load_optimizer(pickled)
    from transfer_gluon.distributed import server
    monkeypatch.setattr("os._exit", sys.exit)
    with pytest.raises(SystemExit, match="2"):
        server._Server.__new__(server._Server)._controller()(0, harmful, None)
    assert re.search("refused what came as an optimizer: it asks for .*exec", capsys.readouterr().err)
    assert not (tmp_path / "touched").exists()


def test_ssh_gets_folder_environment_and_command_as_they_are(launch, tmp_path):
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text("""#!/bin/sh
# Like ssh -G, or like ssh to this machine: the login shell gets the command, in another folder, with little else.
if [ "$1" = -G ]; then echo "hostname 127.0.0.1"; exit; fi
while [ "$1" = -o ]; do shift 2; done
echo "$1" >> "$SSH_LOG"; shift
cd / && exec env -i PATH="$PATH" HOME="$HOME" sh -c "$*"
""")
    ssh.chmod(0o755)
    hosts = tmp_path / "hosts"
    hosts.write_text("alpha\nuser@beta   # the second\n")
    command = script(tmp_path, """
import os
from transfer_gluon.distributed.stores import open_store
with open_store("dist_sync") as store:
    print(store.sum([1]), sys.argv[1:], os.getcwd(), os.environ["GREETING"], os.environ.get("SSH_LOG"))
""")
    odd = "it's $HOME; \"two words\""
    log = tmp_path / "ssh.txt"
    text = launch(["-n", 2, "-s", 2, "-H", hosts, "--env", "GREETING"], [*command, odd],
                  PATH=f"{ssh.parent}:{os.environ['PATH']}", SSH_LOG=str(log), GREETING="good day").end()
    assert sorted(log.read_text().split()) == ["alpha", "alpha", "user@beta", "user@beta"]
    assert text.count(f"[2.] {[odd]} {tmp_path} good day None") == 2
    assert "worker 0 on " in text and "worker 1 on " in text


@pytest.mark.parametrize("flags, message", [
    (["-n", 1, "-H", "no.such.host.invalid"], "-H names no.such.host.invalid"),
    (["-n", 1, "-H", "a,,b"], "-H is 'a,,b'; expected host names"),
    (["-n", 1, "--env", "NOT_SET_ANYWHERE"], "--env NOT_SET_ANYWHERE: no such variable here"),
    (["-n", 0], "'-n'"),
    (["-n", 1, "--port", 70000], "'--port'"),
    (["-n", 1, "--port", "TAKEN"], "the scheduler cannot listen there, on 127.0.0.1 (Address already in use); choose"),
    (["-n", 1, "--address", "192.0.2.1"], "--address 192.0.2.1: not an address of this machine"),
    (["-n", 1, "-H", ",".join(f"h{i}.invalid" for i in range(100))], "-H names h0.invalid"),
    (["-n", 1, "-H", "-oProxyCommand=x"], "which ssh would take for an option"),
    (["-n", 1, "-H", b"\xff"], "-H names"),
    (["-n", 1, "--env", "="], "--env =: expected NAME"),
])
def test_bad_flags_of_the_launcher(flags, message, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = [taken.getsockname()[1] if flag == "TAKEN" else flag for flag in flags]
        with pytest.raises((InputError, click.UsageError)) as caught:
            launcher([*(os.fsdecode(flag) if isinstance(flag, bytes) else str(flag) for flag in flags), "--", "true"],
                     standalone_mode=False)
    error = caught.value
    assert message in (error.format_message() if isinstance(error, click.UsageError) else str(error))


def test_output_that_nobody_reads_holds_nothing_up():
    flags = ["-n", "1", "--", "sh", "-c", "seq 100000; exit 2"]
    with subprocess.Popen([sys.executable, ROOT / "tools" / "launch.py", *flags], stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"worker 0: 1\n"
        run.stdout.close()
        assert run.wait(60) == 2


def test_numbers_are_ranks():
    # ps-lite sorts by address, descending as text, and then by port.
    processes = members(["work"], 3, 2, ["127.0.0.1", "127.0.0.2"], address="10.0.0.9")
    assert [str(process) for process in processes[:3]] == ["scheduler", "server 0 on 127.0.0.2",
                                                           "server 1 on 127.0.0.1"]
    workers = [process.environment for process in members(["work"], 4, 1)[-4:]]
    assert [environment["DMLC_NUM_WORKER"] for environment in workers] == [4] * 4
    ports = [environment["PORT"] for environment in workers]
    assert ports == sorted(ports)


PLAIN = Augmentation(random_crop=False, random_mirror=False, jitter=0.0, pca_noise=0.0)


@pytest.mark.parametrize("count, num_workers", [(9, 2), (9, 4), (5, 4)])
def test_workers_validate_every_image_once(tmp_path, count, num_workers):
    images = read_list(make_domain(tmp_path, "val", range(count)))
    ensure_packed(images)
    seen = []
    for rank in range(num_workers):
        for batch in OrderedIter(images, 2, centre_crop(16, 16), 1, True, num_workers, rank):
            seen += batch.label[0].asnumpy().astype(int).tolist()
    assert seen == list(range(count))


def test_servers_are_told_how_fast_every_parameter_learns_and_decays_and_where_the_run_is():
    parameters = {name: mx.gluon.Parameter(name, shape=(1,), lr_mult=rate, wd_mult=decay)
                  for name, rate, decay in (("b_weight", 0.25, 3), ("a_bias", 2, 0))}
    for parameter in parameters.values():
        parameter.initialize()
    optimizer = mx.optimizer.SGD(lr_scheduler=StepSchedule(0.1, 0.5, [6]), learning_rate=0.1, begin_num_update=5)
    Store(SimpleNamespace(type="dist_async"), 3).trainer(parameters, optimizer)
    assert (optimizer.lr_mult, optimizer.wd_mult) == ({0: 2, 1: 0.25}, {0: 0, 1: 3})
    assert optimizer.num_update == optimizer.begin_num_update == 15
    assert [optimizer.lr_scheduler(update) for update in (18, 19)] == [0.1, 0.05]


def test_a_shared_schedule_counts_the_updates_of_all_workers():
    schedule = Shared(StepSchedule(1.0, 0.5, [2]), 3)
    assert [schedule(update) for update in (1, 6, 7, 12)] == [1.0, 1.0, 0.5, 0.5]


def test_a_gpu_with_too_little_memory_is_refused(monkeypatch):
    net = TransferNet(mx.gluon.SymbolBlock(
        mx.sym.Flatten(mx.sym.Convolution(mx.sym.var("data"), kernel=(1, 1), num_filter=5, no_bias=True, name="c")),
        mx.sym.var("data")), 3)
    # Weights: 5 × 3 × 1 × 1 and 3 × (5 · 4 · 4) and 3; the convolution's output: 2 × 5 × 4 × 4.
    assert devices.memory_needed(net, (2, 3, 4, 4)) == 4 * (3 * (15 + 240 + 3) + 160)
    monkeypatch.setattr(mx.context, "gpu_memory_info", lambda number: ((2**31, 2**33), (2**30, 2**33))[number])
    devices.check_memory([mx.gpu(0), mx.gpu(1)], 2**30)
    devices.check_memory([mx.cpu(0)], 2**60)
    with pytest.raises(InputError, match="GPU 1, of whose 8.0 GiB 1.0 are free; this network .* takes 1.5"):
        devices.check_memory([mx.gpu(0), mx.gpu(1)], 3 * 2**29)


def test_files_that_come_and_go_elsewhere_do_not_disturb_reading(tmp_path, monkeypatch):
    images = read_list(make_domain(tmp_path, "source", range(4)))
    ensure_packed(images)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    others = subprocess.Popen(["sh", "-c", "while :; do : > 1; : > 2; : > 3; rm 1 2 3; done"], cwd=temporary)
    try:
        reader = RecordIter(images, 2, (3, 16, 16), PLAIN, 1)
        for epoch in range(100):
            reader.set_epoch(epoch)
    finally:
        others.kill()
        others.wait()
