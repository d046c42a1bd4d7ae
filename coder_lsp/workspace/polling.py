"""Notices changes by walking the folders again and again: slow, but works on every file system.

Compares what :meth:`Folder.walk` lists by size and time, so a poll costs what a walk costs and ignored folders cost
nothing. The pause between two walks grows with their length: a slow drive is not kept busy.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.workspace.folder import Folder

MAX_SHARE = 0.05
"""Of the time that may go into walking."""

_Listing = dict[str, tuple[int, int]]


class _Reports(Protocol):
    def file(self, folder: Folder, path: str) -> None: ...

    def anything(self, folder: Folder) -> None: ...


class Poller:
    """Polls folders. The listing that changes are measured against is taken by :meth:`start`."""

    def __init__(self, folders: Sequence[Folder], reports: _Reports, *, interval_s: float) -> None:
        self._folders = list(folders)
        self._reports = reports
        self._interval_s = interval_s
        self._known: dict[Folder, _Listing] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coder-lsp poll", daemon=True)

    def start(self) -> None:
        for folder in self._folders:
            self._known[folder] = _listing(folder)
        self._thread.start()

    def upkeep(self) -> None:
        """Nothing to keep up: a root that comes back is found by the next walk."""

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause_s = self._interval_s
        while not self._ended.wait(pause_s):
            began = time.monotonic()
            for folder in self._folders:
                self._compare(folder)
            pause_s = max(self._interval_s, (time.monotonic() - began) / MAX_SHARE)

    def _compare(self, folder: Folder) -> None:
        if not folder.root.is_dir():
            return  # a drive that is away for a while; its files are not deleted
        # What an ignore file newly hides or shows is then found as gone or as new, like everything else.
        folder.refresh_rules()
        before, now = self._known[folder], _listing(folder)
        self._known[folder] = now
        for path in before.keys() | now.keys():
            if before.get(path) == now.get(path):
                continue
            if folder.admits(path):  # it is ignored since, so it cannot be reported as a file
                self._reports.anything(folder)
            else:
                self._reports.file(folder, path)


def _listing(folder: Folder) -> _Listing:
    return {file.path: (file.size_bytes, file.mtime_ns) for file in folder.walk()}
