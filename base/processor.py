"""What the processor can compute with: its name, and units for numbers of 16 and 8 bits."""
import ctypes
import os
import platform
from pathlib import Path

# What a network may compute in where it trains.
DTYPES = "float32", "bfloat16", "float16"

# An environment variable: how many processes of ours share the cores of a machine.
PROCESSES = "TRANSFER_GLUON_PROCESSES"

_AMX = "amx_bf16", "amx_tile"
# Linux's system call arch_prctl (x86-64), its request for a process's use of a feature, and the tile registers.
_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18


def processor_flags(text=None):
    """What the processor says that it can do, as a set of Linux's names, such as ``avx512_bf16``.

    `text`: what ``/proc/cpuinfo`` says; None: it is read.

    >>> sorted(processor_flags("model name : One\\nflags : fpu amx_tile amx_bf16\\n"))
    ['amx_bf16', 'amx_tile', 'fpu']
    """
    return set(_told("flags", text).split())


def processor_name(text=None):
    """What the processor is called, for people; `text` as in `processor_flags`.

    >>> processor_name("model name : AMD EPYC 9R14\\nflags : fpu\\n")
    'AMD EPYC 9R14'
    """
    return _told("model name", text) or platform.machine()


def _told(what, text):
    if text is None:
        try:
            text = Path("/proc/cpuinfo").read_text()
        except OSError:     # no Linux
            text = ""
    return next((value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())
                 if name.strip() == what), "")


def cores(folder="/sys/devices/system/cpu", allowed=None, limits="/sys/fs/cgroup/cpu.max"):
    """How many cores this process may compute on: those that Linux lets it run on, of hyperthreads one a core, and no
    more than a container's share; at least 1.

    `folder`, `allowed`, `limits`: where Linux tells the topology, the numbers of the processors, and the share.
    """
    allowed = set(os.sched_getaffinity(0) if allowed is None else allowed)
    first = set()
    for number in allowed:
        try:
            shared = Path(folder, f"cpu{number}", "topology", "thread_siblings_list").read_text()
        except OSError:
            shared = str(number)
        first.add(min(_numbers(shared) & allowed or {number}))
    try:
        quota, period = Path(limits).read_text().split()
        share = max(int(quota) // int(period), 1)
    except (OSError, ValueError):       # no container's, or "max"
        share = len(first)
    return max(min(len(first), share), 1)


def _numbers(text):
    """Of a list as Linux writes it.

    >>> sorted(_numbers("0-2,5"))
    [0, 1, 2, 5]
    """
    ranges = (part.partition("-") for part in text.strip().split(","))
    return {number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)}


def use_all_cores(environment=os.environ):
    """Have MXNet compute on all cores: to be called before it is imported.

    By itself it takes half of the processors that it sees, which it takes for hyperthreads: on a virtual machine with a
    processor a core, half of the speed. Threads that wait give their core away soon; GCC's OpenMP would have them turn
    around for milliseconds, and two commands on one machine take ten times as long. What a person has set stays.

    Where several processes compute on this machine at once, whoever starts them says how many in the variable
    `PROCESSES`, and each takes its share.
    """
    processes = environment.get(PROCESSES, "")
    processes = int(processes) if processes.isdecimal() and int(processes) else 1
    environment.setdefault("OMP_NUM_THREADS", str(max(cores() // processes, 1)))
    environment.setdefault("GOMP_SPINCOUNT", "1000")


def has_bfloat16(flags=None):
    """Whether the processor multiplies matrices in bfloat16: by AMX (Intel), or AVX-512 (AMD's Zen 4 too).

    >>> has_bfloat16({"avx512_bf16"}), has_bfloat16({"avx2"})
    (True, False)
    """
    flags = processor_flags() if flags is None else flags
    return "avx512_bf16" in flags or set(_AMX) <= flags


def emulates_bfloat16(flags=None):
    """Whether oneDNN can compute in bfloat16 at all, by units for it or by float32 ones: by AVX-512 as
    servers have it.

    >>> emulates_bfloat16({"avx512f", "avx512bw", "avx512dq", "avx512vl"}), emulates_bfloat16({"avx2"})
    (True, False)
    """
    return {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= (processor_flags() if flags is None else flags)


def ask_for_amx(flags=None, environment=os.environ, system_call=None):
    """Have MXNet use AMX where the processor has it: to be called before it is imported.

    Linux gives a process the tile registers when it asks for them (5.16 on), and oneDNN 2.4, which MXNet 1.9.1 holds,
    keeps to AVX-512 unless ``DNNL_MAX_CPU_ISA`` says otherwise; one that a person has set stays. Numbers in float32 are
    not computed by AMX, and stay the same.

    Returns: whether it is on.

    >>> ask_for_amx({"avx2"})
    False
    """
    flags = processor_flags() if flags is None else flags
    if not set(_AMX) <= flags:
        return False
    system_call = system_call or ctypes.CDLL(None).syscall
    if system_call(_ARCH_PRCTL, _REQUEST, _TILES):
        return False
    return environment.setdefault("DNNL_MAX_CPU_ISA", "AVX512_CORE_AMX") == "AVX512_CORE_AMX"
