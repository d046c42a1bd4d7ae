"""Notices changes on macOS and Windows, whose systems watch whole trees: watchdog's observer, filtered.

An ignored folder costs nothing there but events that are thrown away.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watchdog.observers.api import BaseObserver, ObservedWatch

    from coder_lsp.workspace.folder import Folder

_CONTENT = frozenset({"created", "modified", "deleted", "moved", "closed"})
"""Kinds of events after which a file reads differently; opening and reading make events too."""


class _Reports(Protocol):
    def file(self, folder: Folder, path: str) -> None: ...

    def anything(self, folder: Folder) -> None: ...


class ObserverSource:
    """Watches each folder as a whole."""

    def __init__(self, folders: Sequence[Folder], reports: _Reports) -> None:
        self._folders = list(folders)
        self._reports = reports
        self._observer: BaseObserver = Observer()
        self._watches: dict[Folder, ObservedWatch] = {}

    def start(self) -> None:
        self._observer.start()
        for folder in self._folders:
            self._schedule(folder)

    def upkeep(self) -> None:
        """Watch roots that have come, let go of those that went."""
        for folder in self._folders:
            watch = self._watches.get(folder)
            if watch is None:
                if self._schedule(folder):
                    folder.refresh_rules()
                    self._reports.anything(folder)
            elif not folder.root.is_dir():
                del self._watches[folder]
                self._observer.unschedule(watch)
                folder.refresh_rules()
                self._reports.anything(folder)

    def stop(self) -> None:
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def _schedule(self, folder: Folder) -> bool:
        if not folder.root.is_dir():
            return False
        self._watches[folder] = self._observer.schedule(
            _Handler(folder, self._reports), str(folder.root), recursive=True
        )
        return True


class _Handler(FileSystemEventHandler):
    def __init__(self, folder: Folder, reports: _Reports) -> None:
        self._folder = folder
        self._reports = reports

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _CONTENT:
            return
        for raw in {event.src_path, event.dest_path}:
            path = self._folder.relative(os.fsdecode(raw)) if raw else None
            if not path:
                continue
            if not event.is_directory:
                self._reports.file(self._folder, path)
            elif event.event_type != "modified":
                self._folder.forget(path)
                # What is in it has no reliable events of its own.
                if self._folder.looks_into(path):
                    self._reports.anything(self._folder)
