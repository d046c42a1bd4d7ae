"""What a process holds on to: memory of its own, descriptors, threads; and the processor time it has had."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

_OWN = re.compile(rb"^(?:Anonymous|Swap):\s+(\d+) kB", re.MULTILINE)

# On Linux interrupts are apart from "system"; elsewhere they are a part of it.
_BUSY = ("user", "nice", "system", *(("irq", "softirq", "steal") if sys.platform == "linux" else ()))


@dataclass(frozen=True)
class Held:
    """``memory_mb``: 10⁶ bytes that no file backs, swapped out or not. ``children`` are counted, not measured."""

    memory_mb: float
    descriptors: int
    threads: int
    children: int
    cpu_s: float = 0.0
    """Since it began, without its children."""


def held(pid: int) -> Held | None:
    """None if there is no such process any more.

    A model file that is mapped counts for nothing: how much of it is in memory is for the system to say.
    """
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Held(
                memory_mb=round(_own_bytes(process) / 1e6, 2),
                descriptors=_descriptors(process),
                threads=process.num_threads(),
                children=_children(process),
                cpu_s=round(times.user + times.system, 2),
            )
    except (psutil.Error, OSError):
        return None


def machine_busy_s() -> float:
    """Processor time that all processes of this machine have had, and what its own host took away, since it began."""
    times = psutil.cpu_times()
    return round(sum(getattr(times, name, 0.0) for name in _BUSY), 2)


def _own_bytes(process: psutil.Process) -> int:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup")
    if rollup.exists():
        return 1024 * sum(map(int, _OWN.findall(rollup.read_bytes())))
    # Not Linux: pages of files that nobody else has mapped are in it too.
    return int(process.memory_full_info().uss)


def _descriptors(process: psutil.Process) -> int:
    # Windows counts handles.
    name = "num_fds" if hasattr(process, "num_fds") else "num_handles"
    return int(getattr(process, name)())


def _children(process: psutil.Process) -> int:
    return len(process.children(recursive=True))
