"""Processes as Linux lists them: whose children they are, what memory they hold, and how all of them are ended."""

# ruff: noqa: PTH116, PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
from typing import NamedTuple


class Process(NamedTuple):
    """``memory_bytes`` is what is resident, shared pages included."""

    parent: int
    threads: int
    memory_bytes: int


def table() -> dict[int, Process]:
    """All that can be seen, by pid; empty where there is no ``/proc``."""
    page = resource.getpagesize()
    found = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    for name in names:
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stream:
                # The name, in brackets, may hold anything. proc(5) counts from pid as 1.
                fields = stream.read().rpartition(b")")[2].split()
                found[int(name)] = Process(int(fields[1]), int(fields[17]), int(fields[21]) * page)
    return found


def descendants(root: int, known: dict[int, Process]) -> list[int]:
    """Children, their children and so on, without ``root`` itself."""
    children: dict[int, list[int]] = {}
    for pid, process in known.items():
        children.setdefault(process.parent, []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def deleted_bytes(root: int) -> int:
    """What files hold that a process or its descendants have open and that are in no folder any more."""
    found: dict[tuple[int, int], int] = {}
    for pid in (root, *descendants(root, table())):
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{number}")
                    if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                        found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def threads_of(uid: int) -> int:
    """How many threads a user has, as RLIMIT_NPROC counts them."""
    count = 0
    for pid, process in table().items():
        with contextlib.suppress(OSError):
            count += process.threads if os.stat(f"/proc/{pid}").st_uid == uid else 0
    return count


def end_children() -> None:
    """End all descendants of this process, which must be their subreaper, and wait until there is none.

    They are kept from making new ones first, so that a fork bomb loses the race.
    """
    while True:
        below = descendants(os.getpid(), table())
        for pid in below:
            with contextlib.suppress(OSError, ValueError):
                if hasattr(resource, "prlimit"):
                    resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            # One at least was killed; what it leaves behind is ours now. None: one came while the list was made.
            os.waitpid(-1, 0 if below else os.WNOHANG)
        except ChildProcessError:
            return
