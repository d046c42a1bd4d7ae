"""A subject's processes: what they cost, and how they are kept from working while it is another's turn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator


class ProcessTree:
    """A process and all it started. Processes that end meanwhile are no fault."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    @property
    def alive(self) -> bool:
        """Whether the first of them has not ended."""
        try:
            return self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def cpu_s(self) -> float:
        """Processor time of all of them so far, those included that ended and were waited for."""
        total = 0.0
        for process in self._all():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def suspend(self) -> None:
        """Stop all of them, as if no time passed."""
        for process in self._all():
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def resume(self) -> None:
        """Go on, those that were started first."""
        for process in reversed(list(self._all())):
            with contextlib.suppress(psutil.Error):
                process.resume()

    def _all(self) -> Iterator[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            yield self._root
            yield from self._root.children(recursive=True)
