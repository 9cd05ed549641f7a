"""What this process may use of the machine that it runs on."""

import functools
import math
import os
import platform
from pathlib import Path


@functools.cache
def processors() -> int:
    """Of the machine's, those that the process is bound to, and no more than its container may use of their time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, time_share(Path("/")))))


def time_share(root: Path) -> float:
    """Processors' worth of time that the process's control group grants, infinite without a limit.

    `docker run --cpus 2` on 64 processors grants 2, and 64 threads would wait for each other's turn. root: where
    /proc and /sys lie. Both versions of control groups are read, in the group's own folder and in the container's.
    Source: docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max) and scheduler/sched-bwc.html (cfs_quota_us).
    """
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return math.inf
    paths = [path.lstrip("/") for _, kinds, path in groups if not kinds or "cpu" in kinds.split(",")]
    places = [root / "sys/fs/cgroup" / kind / path for kind in ("", "cpu") for path in {*paths, ""}]
    return min([math.inf, *map(_second_version, places), *map(_first_version, places)])


def _second_version(group: Path) -> float:
    return _share(*_words(group / "cpu.max"))


def _first_version(group: Path) -> float:
    return _share(*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us"))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _share(*numbers: str) -> float:
    """Quota by period; a quota that is no number, or below 0, is no limit."""
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers) or not int(numbers[1]):
        return math.inf
    return int(numbers[0]) / int(numbers[1])


@functools.cache
def vector_int8() -> bool:
    """Whether this processor has 8-bit dot products that do not overflow (VNNI on x86; every 64-bit ARM)."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


# What decides a CPU's speed on networks, as /proc/cpuinfo names it.
INSTRUCTION_SETS = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip


def instruction_sets(root: Path = Path("/")) -> tuple[str, ...]:
    """Those of INSTRUCTION_SETS that this processor has; none where /proc does not tell."""
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ()
    flags = next(
        (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))), []
    )
    return tuple(name for name in INSTRUCTION_SETS if name in flags)
