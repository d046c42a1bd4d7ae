"""A control group for one run where this user may make one: memory and processes of all of it together."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coder_lsp.evaluate.sandbox.limits import Limits

_ROOT = Path("/sys/fs/cgroup")
_OWN = 3
"""Processes of the sandbox itself that are in the group."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Group:
    """``joins`` are files: who writes 0 into them is in. ``controllers`` says what is limited."""

    folders: tuple[Path, ...]
    joins: tuple[str, ...]
    controllers: tuple[str, ...]

    def remove(self) -> None:
        """When all of it has ended."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def make(limits: Limits) -> Group | None:
    """None where there is no controller that this user may use."""
    memory = (limits.memory_mb + limits.files_mb) << 20
    processes = limits.processes + _OWN
    name = f"coder-lsp-{os.getpid()}-{next(_numbers)}"
    if (_ROOT / "cgroup.controllers").exists():
        wanted = {"memory": {"memory.max": memory, "memory.swap.max": 0}, "pids": {"pids.max": processes}}
        return _second(name, wanted)
    first = {
        "memory": {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
        "pids": {"pids.max": processes},
    }
    return _first(name, first)


def _second(name: str, wanted: Mapping[str, Mapping[str, int]]) -> Group | None:
    """One hierarchy. A group that has processes cannot hand controllers on, so it is made beside our own, or on top."""
    own = _ROOT / _own_path("").lstrip("/")
    for parent in dict.fromkeys((own.parent, _ROOT)):
        try:
            usable = [each for each in wanted if each in (parent / "cgroup.subtree_control").read_text().split()]
            if not usable:
                continue
            folder = parent / name
            folder.mkdir()
        except OSError:
            continue
        if all(_set(folder, wanted[each]) for each in usable):
            return Group((folder,), (str(folder / "cgroup.procs"),), tuple(usable))
        folder.rmdir()
    return None


def _first(name: str, wanted: Mapping[str, Mapping[str, int]]) -> Group | None:
    """A hierarchy for each controller."""
    folders, controllers = [], []
    for controller, values in wanted.items():
        folder = _ROOT / controller / _own_path(controller).lstrip("/") / name
        try:
            folder.mkdir()
        except OSError:
            continue
        if _set(folder, values):
            folders.append(folder)
            controllers.append(controller)
        else:
            folder.rmdir()
    joins = tuple(str(folder / "cgroup.procs") for folder in folders)
    return Group(tuple(folders), joins, tuple(controllers)) if folders else None


def _own_path(controller: str) -> str:
    """Of this process, in the hierarchy of a controller; that of version 2 has no name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                return path
    return "/"


def _set(folder: Path, values: Mapping[str, int]) -> bool:
    """The first value counts; others are for kernels that have them, as swap."""
    for number, (name, value) in enumerate(values.items()):
        written = False
        with contextlib.suppress(OSError):
            (folder / name).write_text(str(value))
            written = True
        if number == 0 and not written:
            return False
    return True
