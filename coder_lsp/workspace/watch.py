"""Tells when the files of the workspace change, in batches.

Whatever notices changes (``inotify`` on Linux, ``observer`` elsewhere, ``polling`` on network drives and where the
system refuses) reports paths here; a batch is handed on once it has been quiet for a moment, or after a maximum wait.
Many changes at once, an ignore file, or a folder that moved make a batch without paths: look at the whole root again.
Paths in a batch may have appeared, changed or gone, and may not have changed at all; only paths that the folder admits
are reported. Callbacks come on the watcher's own thread.
"""

from __future__ import annotations

import errno
import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from coder_lsp.workspace.ignore import IGNORE_FILES
from coder_lsp.workspace.mounts import network_file_system
from coder_lsp.workspace.polling import Poller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coder_lsp.workspace.folder import Folder

logger = logging.getLogger(__name__)

MAX_PENDING = 2000
"""More changed paths than this are one look at the whole root, which costs less than as many single ones."""
DEBOUNCE_MS = 20
"""An editor's save is a handful of events within a few milliseconds. What is read half written is reported again."""
MAX_WAIT_FACTOR = 25
"""A batch is handed on after this many times the debounce at the latest, however busy the disk is."""
MASS_PATHS = 100
"""Nobody saves that many files at once: something larger is going on."""
MASS_FACTOR = 15
"""Many changes, and a look at the whole root, wait this many times longer: a branch switch should be one batch."""
UPKEEP_S = 1.0
"""How often a root that is not there is looked for."""


@dataclass(frozen=True)
class Changes:
    """What happened in one root since the last batch."""

    root: Path
    paths: frozenset[str]
    """Files that were created, changed or removed, as the root names them."""
    rescan: bool
    """Anything may have changed: walk the root again. Then there are no paths."""


class Source(Protocol):
    """Something that notices changes in some folders and reports them to a :class:`Reports`, from its own thread."""

    def start(self) -> None:
        """Returns once no change can be missed any more. OSError: it cannot, try another one."""
        ...

    def upkeep(self) -> None:
        """Called now and then, and after a batch with an ignore file. OSError: it cannot go on."""
        ...

    def stop(self) -> None: ...


class Watcher:
    """Watches folders from :meth:`start` to :meth:`stop`.

    Without ``events`` changes are looked for. ``on_fallback`` gets a sentence for the user when they have to be, though
    nobody asked for it.
    """

    def __init__(
        self,
        folders: Sequence[Folder],
        on_change: Callable[[Changes], None],
        *,
        debounce_ms: float = DEBOUNCE_MS,
        poll_ms: float = 2000,
        events: bool = True,
        on_fallback: Callable[[str], None] = logger.warning,
    ) -> None:
        self._folders = list(folders)
        self._on_change = on_change
        self._on_fallback = on_fallback
        self._poll_ms = poll_ms
        self._events = events
        self._reports = Reports(self._folders, debounce_ms / 1000)
        self._sources: list[tuple[Source, list[Folder]]] = []
        self._thread = threading.Thread(target=self._run, name="coder-lsp watch", daemon=True)

    def start(self) -> None:
        """Begin. Every change after this returns is reported; a folder that is not there yet is waited for."""
        if not self._events:
            self._poll(self._folders)
            self._thread.start()
            return
        by_kind: dict[str, list[Folder]] = {}
        for folder in self._folders:
            by_kind.setdefault(network_file_system(folder.root), []).append(folder)
        local = by_kind.pop("", [])
        for kind, folders in by_kind.items():
            self._poll(folders, f"{_names(folders)} is on a network drive ({kind}), which does not report changes")
        if local:
            self._watch_by_system(local)
        self._thread.start()

    def stop(self) -> None:
        """End all threads. No callback comes after this returns, unless it is called by one."""
        self._reports.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        for source, _ in self._sources:
            source.stop()
        self._sources.clear()

    def _run(self) -> None:
        while True:
            batch = self._reports.wait(UPKEEP_S)
            if batch is None:
                return
            for source, folders in list(self._sources):
                self._keep(source, folders, source.upkeep)
            for changes in batch:
                self._hand_on(changes)

    def _keep(self, source: Source, folders: list[Folder], step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            self._replace(source, folders, error)

    def _hand_on(self, changes: Changes) -> None:
        try:
            self._on_change(changes)
        except Exception:
            # One bad batch must not end the watching of everything.
            logger.exception("a change in %s was not taken in", changes.root.name)

    def _replace(self, source: Source, folders: list[Folder], error: OSError) -> None:
        self._sources.remove((source, folders))
        source.stop()
        self._poll(folders, f"changes in {_names(folders)} cannot be watched: {_reason(error)}")
        for folder in folders:
            self._reports.anything(folder)  # what happened in between was seen by nobody

    def _watch_by_system(self, folders: list[Folder]) -> None:
        try:
            source = _native_source(folders, self._reports)
        except ImportError:
            # Python 3.10 has watchdog 6, which does not have what inotify needs.
            self._poll(
                folders, f"changes in {_names(folders)} cannot be watched with this version of Python or watchdog"
            )
            return
        self._sources.append((source, folders))
        self._keep(source, folders, source.start)

    def _poll(self, folders: list[Folder], why: str = "") -> None:
        poller = Poller(folders, self._reports, interval_s=self._poll_ms / 1000)
        self._sources.append((poller, folders))
        poller.start()
        if why:
            self._on_fallback(f"{why}. Looking for changes every {self._poll_ms / 1000:g} seconds instead.")


class Reports:
    """Where sources report to: collects, and gives out batches. Safe to use from any thread."""

    def __init__(self, folders: Sequence[Folder], debounce_s: float) -> None:
        self._debounce_s = debounce_s
        self._pending = {folder: _Pending(folder) for folder in folders}
        self._changed = threading.Condition()
        self._closed = False

    def file(self, folder: Folder, path: str) -> None:
        """A file appeared, changed or went."""
        name = path.rpartition("/")[2]
        if name in IGNORE_FILES:
            if folder.looks_into(path.rpartition("/")[0]):
                self.rules(folder)
            return
        # Asked before it is kept, so that a build's output neither wakes nor fills anything.
        if not folder.admits(path):
            with self._changed:
                self._pending[folder].add(path)
                self._changed.notify()

    def rules(self, folder: Folder) -> None:
        """An ignore file changed."""
        folder.refresh_rules()
        self.anything(folder)

    def anything(self, folder: Folder) -> None:
        """The whole root has to be looked at."""
        with self._changed:
            self._pending[folder].add(None)
            self._changed.notify()

    def wait(self, timeout_s: float) -> list[Changes] | None:
        """The next batches, one a root: empty when none came in that time, None once closed."""
        with self._changed:
            until = time.monotonic() + timeout_s
            while not self._closed:
                now = time.monotonic()
                due = [one for one in self._pending.values() if one.due(self._debounce_s) <= now]
                if due or now >= until:
                    return [one.take() for one in due]
                nearest = min(one.due(self._debounce_s) for one in self._pending.values()) if self._pending else until
                self._changed.wait(max(0.0, min(until, nearest) - now))
            return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass
class _Pending:
    """What one root's next batch holds so far. Times are of the monotonic clock, in seconds."""

    folder: Folder
    paths: set[str] = field(default_factory=set)
    rescan: bool = False
    first: float = 0.0
    last: float = 0.0

    def add(self, path: str | None) -> None:
        """A path, or None for the whole root."""
        self.last = time.monotonic()
        if not self.paths and not self.rescan:
            self.first = self.last
        if path is not None and not self.rescan:
            self.paths.add(path)
        if path is None or len(self.paths) > MAX_PENDING:
            self.rescan = True
            self.paths.clear()

    def due(self, debounce_s: float) -> float:
        """When to hand it on: after quiet, or a maximum wait."""
        if not self.paths and not self.rescan:
            return float("inf")
        factor = MASS_FACTOR if self.rescan or len(self.paths) > MASS_PATHS else 1
        return min(self.last + debounce_s * factor, self.first + debounce_s * factor * MAX_WAIT_FACTOR)

    def take(self) -> Changes:
        changes = Changes(self.folder.root, frozenset(self.paths), self.rescan)
        self.paths, self.rescan = set(), False
        return changes


def _native_source(folders: list[Folder], reports: Reports) -> Source:
    system: str = sys.platform  # as a plain value: the other branch is not dead code
    if system == "linux":
        from coder_lsp.workspace.inotify import InotifySource

        return InotifySource(folders, reports)
    from coder_lsp.workspace.observer import ObserverSource

    return ObserverSource(folders, reports)


def _names(folders: list[Folder]) -> str:
    return ", ".join(folder.root.name or str(folder.root) for folder in folders)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (
            "the system's limit of watched folders is reached. Raise it with "
            "`sudo sysctl fs.inotify.max_user_watches=524288` (keep it in /etc/sysctl.d), or exclude large folders in "
            ".coderlspignore"
        )
    if error.errno == errno.EMFILE:
        return (
            "the limit of watchers or open files is reached. Raise it with "
            "`sudo sysctl fs.inotify.max_user_instances=1024` (keep it in /etc/sysctl.d) or `ulimit -n`"
        )
    return error.strerror or str(error)
