"""What this machine lets this process use: cores and memory, each with the reason for the figure.

Reads the operating system and the limits put on the process (affinity, cgroup quotas of containers); decides
nothing about models. Every reader takes the root of the file system, so tests show it other machines.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/")

# What decides the speed of quantised matrix products; the rest of the flags tells a user nothing.
FLAGS_OF_INTEREST = (
    "sse4_2",
    "avx",
    "avx2",
    "f16c",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)


@dataclass(frozen=True)
class Cores:
    """How many threads are worth starting, and why that many."""

    count: int
    reason: str


@dataclass(frozen=True)
class Memory:
    """Bytes this process can still take without swapping or being killed, and what sets the limit."""

    available_bytes: int
    total_bytes: int
    reason: str


@dataclass(frozen=True)
class Cpu:
    """The processor by name, with those of its features that matter here."""

    name: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Hardware:
    """All of it, as ``doctor`` and the benchmark print it."""

    cpu: Cpu
    cores: Cores
    memory: Memory

    def line(self) -> str:
        """One line for the head of a report."""
        flags = " ".join(self.cpu.flags)
        gib = self.memory.available_bytes / 2**30
        return f"{self.cpu.name} · {self.cores.count} cores ({self.cores.reason}) · {gib:.1f} GiB available · {flags}"


def detect(root: Path = ROOT) -> Hardware:
    return Hardware(cpu=cpu(root), cores=cores(root), memory=memory(root))


def cores(root: Path = ROOT) -> Cores:
    """Physical cores this process may use: matrix products gain nothing from a second thread on a core."""
    allowed = _affinity()
    logical = len(allowed) if allowed else (os.cpu_count() or 1)
    physical, reason = _physical(allowed, logical, root)
    quota = _cpu_quota(root)
    if quota is not None and quota < physical:
        return Cores(max(1, int(quota)), f"cgroup quota of {quota:g} CPUs")
    return Cores(physical, reason)


def memory(root: Path = ROOT) -> Memory:
    """The smaller of what the machine has free and what the container may still take."""
    machine = psutil.virtual_memory()
    found = Memory(machine.available, machine.total, "free memory of the machine")
    for folder in _cgroup_folders(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is None or used is None or limit >= machine.total:
            continue
        free = max(0, limit - used + _reclaimable(folder))
        if free < found.available_bytes:
            found = Memory(free, limit, "cgroup memory limit")
    return found


def cpu(root: Path = ROOT) -> Cpu:
    info = _text(root / "proc/cpuinfo")
    name = _cpuinfo_value(info, "model name") or _sysctl("machdep.cpu.brand_string")
    known = set((_cpuinfo_value(info, "flags") or _cpuinfo_value(info, "Features")).split())
    flags = tuple(flag for flag in FLAGS_OF_INTEREST if flag in known)
    return Cpu(name or platform.processor() or platform.machine(), flags)


def _affinity() -> frozenset[int]:
    # Not on macOS and Windows.
    getter = getattr(os, "sched_getaffinity", None)
    return frozenset(getter(0)) if getter else frozenset()


def _physical(allowed: frozenset[int], logical: int, root: Path) -> tuple[int, str]:
    performance = _sysctl("hw.perflevel0.physicalcpu")
    if performance:
        return int(performance), "performance cores"
    siblings = {}
    for index in allowed:
        listed = _text(root / f"sys/devices/system/cpu/cpu{index}/topology/thread_siblings_list").strip()
        if listed:
            siblings[index] = listed
    if siblings:
        # Intel's hybrids: a step waits for its slowest thread, so efficiency cores are left out.
        fast = _cpu_list(_text(root / "sys/devices/cpu_core/cpus")) & siblings.keys()
        chosen = fast or siblings.keys()
        count = len({siblings[index] for index in chosen})
        kind = "performance cores" if fast else "physical cores"
        limited = len(allowed) < (os.cpu_count() or 1)
        return count, f"{kind} in the affinity mask" if limited else kind
    count = psutil.cpu_count(logical=False) or logical
    return min(count, logical), "physical cores" if count <= logical else "affinity mask"


def _cpu_quota(root: Path) -> float | None:
    """CPUs' worth of time the tightest cgroup above this process grants, None if none does."""
    granted = None
    for folder in _cgroup_folders(root, "cpu"):
        quota: float | None = None
        limits = _text(folder / "cpu.max").split()
        if len(limits) == 2 and limits[0] != "max":
            quota = int(limits[0]) / int(limits[1])
        elif not limits:
            microseconds = _number(folder / "cpu.cfs_quota_us")
            period = _number(folder / "cpu.cfs_period_us")
            if microseconds is not None and period and microseconds > 0:
                quota = microseconds / period
        if quota is not None:
            granted = quota if granted is None else min(granted, quota)
    return granted


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's cgroup and all above it, of version 2 and of ``controller`` of version 1."""
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            top = base
        elif controller in controllers.split(","):
            top = base / controller
        else:
            continue
        # Inside a container the path may be the one outside of it; the mount's own root then holds the limits.
        folder = top / path.lstrip("/")
        while True:
            yield folder
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _reclaimable(folder: Path) -> int:
    """Page cache counted as used, which the kernel gives back on demand."""
    found = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
    return int(found[1]) if found else 0


def _cpu_list(text: str) -> frozenset[int]:
    """``0-3,8`` as a set."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _cpuinfo_value(info: str, key: str) -> str:
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.+)$", info, re.MULTILINE)
    return found[1].strip() if found else ""


def _sysctl(name: str) -> str:
    if platform.system() != "Darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None
