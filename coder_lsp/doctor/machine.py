"""What the machine gives to the model: processor, threads, memory. The figures are those the engine itself uses."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from coder_lsp.doctor.finding import ok, warn
from coder_lsp.engine import hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.doctor.finding import Finding

GIGABYTE = 1 << 30
_X86 = {"x86_64", "AMD64", "i686"}


def check_processor() -> Iterator[Finding]:
    """Name, features and the number of threads the engine would start, with the reason."""
    cpu = hardware.cpu()
    flags = " ".join(cpu.flags)
    if platform.machine() in _X86 and "avx2" not in cpu.flags:
        yield warn(
            "processor",
            f"{cpu.name}; features that matter: {flags or 'none'}; without AVX2 a model runs several times slower",
            "In a virtual machine: pass the host's processor through. Otherwise use the smallest model.",
        )
    else:
        yield ok("processor", f"{cpu.name}; features that matter: {flags or 'unknown'}")
    cores = hardware.cores()
    logical = os.cpu_count() or 1
    detail = f"{cores.count} used for a model ({cores.reason}); the machine has {logical} logical processors"
    # A single thread is too slow to be of use; a machine that has no more cannot be helped.
    if cores.count == 1 and logical > 1:
        yield warn("threads", detail, "Allow this process more: taskset, the container's CPU limit, or engine.threads.")
    else:
        yield ok("threads", detail)


def check_memory() -> Iterator[Finding]:
    memory = hardware.memory()
    available, total = memory.available_bytes / GIGABYTE, memory.total_bytes / GIGABYTE
    yield ok("memory", f"{available:.1f} GiB available of {total:.1f} GiB ({memory.reason})")


def memory_bytes() -> tuple[int, int]:
    """Available and total, as limited for this process."""
    memory = hardware.memory()
    return memory.available_bytes, memory.total_bytes
