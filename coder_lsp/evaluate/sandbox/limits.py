"""What a program may use, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["passed", "failed", "timeout", "killed", "error"]


@dataclass(frozen=True)
class Limits:
    """Of one run. Megabytes are 2**20 bytes."""

    seconds: float = 10.0
    """From the program's start on; processor seconds of one process end a second later."""
    memory_mb: int = 1024
    """Of one process, and of all together."""
    files_mb: int = 64
    """Of the folder, all files together."""
    processes: int = 64
    """Threads included: a Java or JavaScript runtime has twenty by itself."""
    open_files: int = 256
    output_bytes: int = 64 << 10
    """Kept of stdout and of stderr each. Who writes 256 times as much is ended."""


@dataclass(frozen=True)
class Outcome:
    """``passed``: exit status 0. ``failed``: another one, or a fault of its own. ``timeout`` and ``killed``: a limit.

    ``error``: it never ran, ``stderr`` says why. ``returncode`` is negative for a signal, None where there is none.
    """

    status: Status
    returncode: int | None
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    seconds: float
    enforced: tuple[str, ...] = ()
    """By what the limits were held."""
    reason: str = ""
    """Which limit it was."""
