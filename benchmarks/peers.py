"""What benchmarks share that measure other packages: a process that is asked for figures, and what to say without it.

Nothing here imports MXNet or this project, so that a Python with PyTorch alone can run what is measured.
"""
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

INSTALL = "pip install 'transfer-gluon[peers]', or give a Python that has them as --peer-python"


def refuse(message):
    """End the process as commands do that are asked for what cannot be: one message, exit code 2."""
    print(f"Error: {message}", file=sys.stderr)
    sys.exit(2)


def processor():
    """Its name, cores that this process may use, and the widest of its units for numbers of 16 bits.

    >>> ", " in processor()
    True
    """
    try:
        lines = dict(line.split("\t: ", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if "\t: " in line)
    except OSError:
        lines = {}
    lines = {name.strip(): value for name, value in lines.items()}
    flags = lines.get("flags", "").split()
    units = next((name for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 with bf16"),
                                          ("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "no AVX2")
    name = lines.get("model name") or platform.machine()
    return f"{name} (family {lines.get('cpu family')}, model {lines.get('model')}), " \
           f"{len(os.sched_getaffinity(0))} cores, {units}"


def torch_or_refuse(denormals=False, threads=None):
    """PyTorch, with denormals flushed to zero: with them it is up to eight times slower on some networks.

    Called before anything runs in several threads: these inherit the flag from the one that starts them.
    """
    try:
        import torch
    except ImportError:
        refuse(f"PyTorch is not installed: {INSTALL}.")
    torch.set_flush_denormal(not denormals)
    if threads:
        torch.set_num_threads(threads)
    return torch


def say(**line):
    """Answer whoever started this process."""
    print(json.dumps(line), flush=True)


def serve(run):
    """Answer every line `run NAME SECONDS` with what `run(name, seconds)` gives, a dict, or with its error."""
    for line in sys.stdin:
        name = line.strip()
        try:
            verb, name, seconds = line.split()
            if verb != "run":
                raise ValueError(f"{verb} is none of: run")
            answer = run(name, float(seconds))
        except Exception as error:      # the other process decides what to do without this figure
            answer = dict(error=f"{type(error).__name__}: {error}"[:500])
        say(what=name, **answer)


def jmmd_of_dalib(linear=True):
    """JMMD with the kernels that dalib's own example gives it, or None where dalib is not installed."""
    try:
        from dalib.adaptation.jan import JointMultipleKernelMaximumMeanDiscrepancy
        from dalib.modules.kernels import GaussianKernel
    except ImportError:
        return None
    return JointMultipleKernelMaximumMeanDiscrepancy(
        ([GaussianKernel(alpha=2.0 ** k) for k in range(-3, 2)],
         [GaussianKernel(sigma=0.92, track_running_stats=False)]), linear=linear)


class Peer:
    """A script in a process of its own, that waits for lines and answers each with a line of JSON.

    While nothing is asked it takes no time, so that figures of several processes can be taken in turns.

    >>> with Peer("torch_resnet.py", "--batch", 2) as peer:      # doctest: +SKIP
    ...     peer.ask("run train-float32 5")["images_per_second"]
    """

    def __init__(self, script, *flags, python=None):
        self._process = subprocess.Popen(
            [python or sys.executable, str(Path(__file__).parent / script), *map(str, flags)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.about = self._answer("its start")

    def ask(self, line):
        """The answer; RuntimeError where that tells an error."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._answer(line)
        if "error" in answer:
            raise RuntimeError(f"{line}: {answer['error']}")
        return answer

    def _answer(self, line):
        answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            if code == 2:       # it said why
                sys.exit(2)
            raise RuntimeError(f"{self._process.args[1]} ended with code {code} at {line}")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
