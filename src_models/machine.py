"""Facts about this machine: the threads of a CPU server, native bf16 and exact 8-bit arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

CPU_FOLDER = Path("/sys/devices/system/cpu")
CPU_INFO = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # the last one is Arm's

ONNX_SUMS = ("session.x64quantprecision", "1")
"""Setting of an ONNX Runtime session: processors without VNNI add 8-bit products without saturation, as the
others do. It costs 25 % there (E5-small's shapes, one thread) and nothing elsewhere.
"""


def usable_cpus() -> set[int]:
    """The logical CPUs this process may run on (respects taskset and cpusets)."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(folder: Path = CPU_FOLDER) -> int:
    """Physical cores among the usable CPUs: hyper-thread siblings share one core's arithmetic units, and
    llama.cpp gains nothing from the second. Falls back to logical CPUs where the kernel does not report
    cores. A CPU quota (cgroup v2) caps the result.
    """
    cpus = usable_cpus()
    cores = {_core_of(folder, cpu) for cpu in cpus}
    return max(1, min(len(cores), _quota(len(cpus))))


def default_threads(share: int = 1) -> int:
    """Threads for one of `share` LLM servers on this machine: more spinning threads than cores slow down
    every server, so the cores are divided; each server gets at least one.
    """
    return max(1, physical_cores() // max(1, share))


def native_bf16(file: Path = CPU_INFO) -> bool | None:
    """Whether the processor has instructions for bf16 matrix products; otherwise they are emulated, many
    times slower than float32. None where the kernel does not report it.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return None if flags is None else bool(_BF16_FLAGS & set(flags.split()))


def _core_of(folder: Path, cpu: int) -> str:
    topology = folder / f"cpu{cpu}" / "topology"
    try:
        package = (topology / "physical_package_id").read_text().strip()
        return f"{package}:{(topology / 'core_id').read_text().strip()}"
    except OSError:
        return f"cpu{cpu}"


def _quota(default: int, file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Whole cores that a container may use, from cgroup v2; `default` when there is no limit."""
    try:
        quota, period = file.read_text().split()[:2]
        return default if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return default
