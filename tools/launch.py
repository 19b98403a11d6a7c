#!/usr/bin/env python3
"""Start a distributed run: scheduler, servers and workers, here or on other machines by ssh, and watch them.

    tools/launch.py -n 2 -s 2 -H a,b -- python fine_tune.py --kv-store dist_sync …
"""
import contextlib
import errno
import ipaddress
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes

import click

import transfer_gluon
from transfer_gluon.base import processor
from transfer_gluon.base.errors import InputError

_GRACE = 5          # seconds between asking processes to end and killing them
_ALIKE = 2          # seconds for other workers to say that they cannot go on either, given the same as the first
_LEAVING = 30       # seconds for servers and scheduler to end by themselves when the workers are done
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=10",
        "-o", "ServerAliveCountMax=3")
_JOINED = b"all workers and servers have joined"     # what distributed.server says, as a scheduler
_NOT_RUN = {126: "the command cannot be executed", 127: "the command was not found"}        # what shells say by them
# Runs a command in a process group of its own, passes on the signals that come by name on standard input, and
# kills the group at its end: when the launcher dies, or the connection, nothing is left behind.
_KEEPER = """exec 3<&0; cd {folder} || exit 2
setsid env {environment} {command} </dev/null 3<&- & process=$!
exec 2>/dev/null
{{ while read -r name; do kill -s "$name" -- -$process; done; kill -s KILL -- -$process; }} <&3 >/dev/null & reader=$!
exec 3<&-; wait $process; code=$?; kill $reader; kill -s KILL -- -$process; exit $code"""


@dataclass
class Member:
    """A process of the run, on this machine (`host` is None) or another."""

    role: str
    number: int
    host: str
    command: list
    environment: dict
    process: subprocess.Popen = field(init=False, default=None)
    joined: threading.Event = field(init=False, default_factory=threading.Event)    # a scheduler: all are there
    _pumps: list = field(init=False, default_factory=list)

    def __str__(self):
        name = self.role if self.role == "scheduler" else f"{self.role} {self.number}"
        return f"{name} on {self.host}" if self.host else name

    def start(self):
        keeper = _KEEPER.format(folder=shlex.quote(os.getcwd()), command=shlex.join(self.command),
                                environment=shlex.join(f"{k}={v}" for k, v in self.environment.items()))
        keeper = ["sh", "-c", keeper]
        # In a session of its own, so that Ctrl-C reaches it through the launcher only.
        self.process = subprocess.Popen([*_SSH, self.host, shlex.join(keeper)] if self.host else keeper,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)
        for pipe, out in ((self.process.stdout, sys.stdout), (self.process.stderr, sys.stderr)):
            self._pumps.append(threading.Thread(target=self._pump, args=(pipe, out.buffer), daemon=True))
            self._pumps[-1].start()

    def _pump(self, pipe, out):
        for line in pipe:
            line = line.rstrip(b"\r\n")
            if self.role == "scheduler" and line == _JOINED:
                self.joined.set()
            with contextlib.suppress(BrokenPipeError):      # nobody listens any more, and the process shall go on
                out.write(f"{self}: ".encode() + line + b"\n")
                out.flush()

    def send(self, name):
        """Send a signal, such as TERM."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{name}\n".encode())
            self.process.stdin.flush()

    def kill(self):
        """End whatever is left of it, and say what it had still to say."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE)
        self.process.kill()
        for pump in self._pumps:
            pump.join(1)

    @property
    def running(self):
        return self.process.poll() is None

    @property
    def how_it_ended(self):
        code = self.process.returncode
        if self.host and code == 255:
            return "is lost: ssh ended with code 255"
        if code in _NOT_RUN:
            return f"ended with exit code {code}: {_NOT_RUN[code]}"
        number = -code if code < 0 else code - 128
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(number).name}"
        return f"ended with exit code {code}"


def members(command, num_workers, num_servers, hosts=(), port=None, address=None, environment=None):
    """The processes of a run, not started yet.

    Their numbers are MXNet's ranks: ps-lite sorts by address, descending, and then by port.

    Parameters
    ----------
    command : list of str
        Of a worker.
    num_workers, num_servers : int
    hosts : sequence of str
        As ssh takes them; workers and servers are dealt to them in turn. Empty: all on this machine.
    port, address
        Of the scheduler, which runs here; default: a free port, the address that the first host sees.
    environment : dict
        More variables for all processes.

    Returns: list of `Member`, the scheduler first. Raises: InputError for hosts that cannot be resolved.
    """
    ports = sorted(_free_ports(1 + num_workers + num_servers))
    addresses = {host: _address(host) for host in hosts}
    address = address or _own_address(addresses.values())
    common = dict(environment or {}, DMLC_PS_ROOT_URI=address, DMLC_PS_ROOT_PORT=port or ports.pop(),
                  DMLC_NUM_WORKER=num_workers, DMLC_NUM_SERVER=num_servers)

    def group(role, count, command):
        places = [hosts[i % len(hosts)] if hosts else None for i in range(count)]
        if hosts:
            places.sort(key=addresses.get, reverse=True)
        for number, host in enumerate(places):
            here = "127.0.0.1" if not hosts else addresses[host]
            if hosts and ipaddress.ip_address(here).is_loopback:
                here = address
            shared = {processor.PROCESSES: places.count(host)} if role == "worker" else {}
            yield Member(role, number, host, command,
                         dict(common, **shared, DMLC_ROLE=role, DMLC_NODE_HOST=here, PORT=ports.pop(0)))

    where = Path(transfer_gluon.__file__).resolve().parent.parent
    server = ["env", f"PYTHONPATH={where}", sys.executable, "-m", "transfer_gluon.distributed.server"]
    scheduler = Member("scheduler", 0, None, server, dict(common, DMLC_ROLE="scheduler"))
    return [scheduler, *group("server", num_servers, server), *group("worker", num_workers, command)]


def _free_ports(count):
    """Ports that nobody uses: below those that a system gives to whoever connects, which might be taken in between."""
    found = []
    for port in random.sample(range(10000, 32768), 100 + count):
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("", port))
            found.append(port)
    return found[:count]


def check_port(scheduler):
    """Find out before anything starts whether the scheduler can listen. Raises: InputError."""
    address, port = (scheduler.environment[f"DMLC_PS_ROOT_{name}"] for name in ("URI", "PORT"))
    try:
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, port))
    except (OSError, UnicodeError) as error:
        what = f"--port {port}: the scheduler cannot listen there, on {address}"
        hint = "choose another, or leave it out"
        if getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
            what = f"--address {address}: not an address of this machine, where the scheduler would listen"
            hint = "give one of those that `hostname -I` tells"
        raise InputError(f"{what} ({getattr(error, 'strerror', None) or error}); {hint}.") from None


def _address(host):
    """The IPv4 address of a host as ssh knows it."""
    if host.startswith("-"):
        raise InputError(f"-H names {host!r}, which ssh would take for an option.")
    try:
        settings = subprocess.run(["ssh", "-G", host], text=True, errors="surrogateescape",
                                  capture_output=True).stdout
    except FileNotFoundError:
        raise InputError("-H starts processes by ssh, which is not installed here; install it, or leave -H out to run "
                         "all of them on this machine.") from None
    names = [line.split()[1] for line in settings.splitlines() if line.startswith("hostname ")]
    name = names[0] if names else host.rpartition("@")[2]
    try:
        return socket.getaddrinfo(name, None, socket.AF_INET)[0][4][0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"-H names {host}: {name} cannot be resolved: {getattr(error, 'strerror', None) or error}. "
                         "Give an address, or a name of ~/.ssh/config with a HostName.") from None


def _own_address(others):
    others = [other for other in others if not ipaddress.ip_address(other).is_loopback]
    if not others:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((others[0], 9))       # sends nothing: only asks which of our addresses leads there
        except OSError as error:
            raise InputError(f"-H: no way leads to {others[0]}: {error.strerror}. Give the address of this machine "
                             "that the hosts see by --address.") from None
        return probe.getsockname()[0]


def run(processes):
    """Start the members of a run and watch them to the end; return the exit code.

    When one dies, the others are stopped. SIGINT and SIGTERM are passed on to the workers, which end in their own
    time; a second one stops everything.

    Returns: 0 when all workers ended well; 2 or 3 when that is how a worker ended (see `base.errors`); 2 when its
    command cannot be run, or ended well before all had joined, for whom the others would wait forever; 130 after a
    second signal; else 1.
    """
    asked = []
    handlers = {number: signal.signal(number, lambda number, _: asked.append(number))
                for number in (signal.SIGINT, signal.SIGTERM)}
    workers, scheduler = [member for member in processes if member.role == "worker"], processes[0]
    try:
        for member in processes:
            member.start()
        passed_on = 0
        while any(worker.running for worker in workers):
            dead = _dead(processes)
            if dead is not None:
                code = dead.process.returncode
                # 3: it has stopped, as asked, and so will the other workers.
                _wait(workers, {3: _LEAVING, 2: _ALIKE}.get(code, 0))
                _say(f"{dead} {dead.how_it_ended}; stopping the others")
                return _code(dead)
            if not all(worker.running for worker in workers) and not _have_joined(scheduler):
                break
            if len(asked) > 1:
                _say("stopping everything")
                return 130
            if len(asked) > passed_on:
                passed_on = len(asked)
                _say(f"{signal.Signals(asked[0]).name}: the workers are asked to end; once more to stop at once")
                for worker in workers:
                    worker.send("TERM")
            time.sleep(0.1)
        failed = [worker for worker in workers if worker.process.returncode]
        for worker in failed:
            _say(f"{worker} {worker.how_it_ended}")
        if failed:
            codes = {_code(worker) for worker in failed}
            return codes.pop() if len(codes) == 1 else 1
        if not _have_joined(scheduler):
            early = next(worker for worker in workers if not worker.running)
            _say(f"{early} ended before all processes had joined the run; stopping the others. COMMAND has to train "
                 "with --kv-store dist_sync, dist_device_sync or dist_async, on every worker")
            return 2
        _wait(processes, _LEAVING)
        return 0
    finally:
        _stop([member for member in processes if member.process])
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _dead(processes):
    """A member that ended with an error, or None."""
    return next((member for member in processes if not member.running and member.process.returncode), None)


def _code(dead):
    """The launcher's exit code for a member that ended with an error."""
    code = dead.process.returncode
    if dead.role != "worker":
        return 1
    return 2 if code in _NOT_RUN else code if code in (2, 3) else 1


def _have_joined(scheduler):
    """Whether all processes have joined the run, or have been there and are leaving."""
    _wait([scheduler], _GRACE, scheduler.joined)
    return scheduler.joined.is_set() or not scheduler.running


def _stop(processes):
    for member in processes:
        member.send("TERM")
    _wait(processes, _GRACE)
    for member in processes:
        member.kill()


def _wait(processes, seconds, event=None):
    """Wait until all of them have ended or, if given, the event is set."""
    deadline = time.monotonic() + seconds
    while any(member.running for member in processes) and time.monotonic() < deadline and not (
            event and event.is_set()):
        time.sleep(0.1)


def _say(text):
    context = click.get_current_context(silent=True)
    print(f"{context.command_path if context else 'launch.py'}: {text}", file=sys.stderr, flush=True)


def _hosts(text):
    """Host names from ``a,b`` or from a file with a name a line."""
    if os.path.isfile(text):    # not Path.is_file, which raises for many names, too long for the name of a file
        content = Path(text).read_text(encoding="utf-8", errors="replace")
        lines = (line.partition("#")[0].strip() for line in content.splitlines())
        names = [line for line in lines if line]
    else:
        names = [name.strip() for name in text.split(",")]
    if not names or not all(names):
        raise InputError(f"-H is {text!r}; expected host names separated by commas, or a file with one a line.")
    return names


def _environment(names):
    values = {}
    for name in names:
        name, given, value = name.partition("=")
        if not name:
            raise InputError(f"--env ={value}: expected NAME or NAME=VALUE.")
        if not given and name not in os.environ:
            raise InputError(f"--env {name}: no such variable here; set it, or give --env {name}=VALUE.")
        values[name] = value if given else os.environ[name]
    return values


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Four machines", "-n 4 -s 4 -H a,b,c,d -- python fine_tune.py --kv-store dist_sync --resume --model-prefix "
     "model/mmd --num-classes 263 --gpus 0,1"),
    ("Two workers here, to try it out",
     "-n 2 -- python fine_tune.py --kv-store dist_sync --model-prefix model/try --num-classes 10"),
    ], sections={"Processes": ("num_workers", "num_servers", "patience"),
                 "Machines": ("hosts", "env", "port", "address")})
@click.option("-n", "--workers", "num_workers", type=click.IntRange(min=1), required=True, help="Number of workers.")
@click.option("-s", "--servers", "num_servers", type=click.IntRange(min=1), default=1,
              help="Number of parameter servers.")
@click.option("-H", "--hosts", default=None,
              help="Machines, as a,b or as a file with one a line. Parameter servers then listen on the network and "
                   "trust whoever reaches them: only in a network of your own.  [default: this one, without ssh]")
@click.option("--env", multiple=True, metavar="NAME[=VALUE]", help="A variable that remote processes get, too.")
@click.option("--port", type=click.IntRange(1, 65535), default=None,
              help="Of the scheduler, here.  [default: a free one]")
@click.option("--address", default=None, help="Of this machine, as the hosts see it.  [default: found out]")
@click.option("--patience", type=click.IntRange(min=1), default=1800,
              help="Seconds without progress, by a batch or an image, after which a worker ends itself as hung.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(num_workers, num_servers, hosts, env, port, address, patience, command):
    """Run COMMAND as several workers that train together, with the parameter servers they need.

    COMMAND is what one worker runs, with --kv-store dist_sync, dist_device_sync or dist_async. On other
    machines it runs in a folder of the same name as this one, with the same Python. If a process dies, all
    others are stopped within seconds, and a message says which it was.
    """
    environment = {"TRANSFER_GLUON_PATIENCE": patience, **_environment(env)}
    processes = members(list(command), num_workers, num_servers, _hosts(hosts) if hosts else (), port, address,
                        environment)
    check_port(processes[0])
    sys.exit(run(processes))


if __name__ == "__main__":
    exit_codes(main)()
