"""Notices changes on Linux, with one watch for every folder that is looked into and none for the others.

watchdog's own recursive observer watches ignored folders too (most folders of a JavaScript project are in
``node_modules``, and watches are limited), does not say when it could not watch some, and reads a whole tree again for
every event it wants to simulate; one non-recursive observer a folder would be a thread a folder. So only its thin layer
over the system calls is used, one descriptor and one thread for all roots, and the tree of watches is kept here. A new
folder is watched first and listed then, so nothing in it is missed; what both see is reported once.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from itertools import count
from typing import TYPE_CHECKING, Protocol

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyFD, Mask

from coder_lsp.workspace.folder import CACHE_TAG, ENVIRONMENT_TAG
from coder_lsp.workspace.ignore import IGNORE_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

    from coder_lsp.workspace.folder import Folder

logger = logging.getLogger(__name__)

_EVENTS = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MODIFY  # truncated, or written by a process that keeps it open
    | InotifyConstants.IN_ATTRIB  # made readable
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_MARKERS = frozenset({CACHE_TAG, ENVIRONMENT_TAG, ".git"})
_APPEARED = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_LEFT = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM
_LIMITS = frozenset({errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_ROOT_LEFT = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_UNMOUNT


class _Reports(Protocol):
    def file(self, folder: Folder, path: str) -> None: ...

    def anything(self, folder: Folder) -> None: ...


class InotifySource:
    """Watches folders through one inotify descriptor."""

    def __init__(self, folders: Sequence[Folder], reports: _Reports) -> None:
        self._folders = list(folders)
        self._reports = reports
        self._ids = count(1)
        self._lock = threading.RLock()
        # Guarded by the lock: upkeep runs on the watcher's thread, events come on inotify's.
        self._watches: dict[Folder, dict[str, _Watch]] = {folder: {} for folder in self._folders}
        self._stale: set[Folder] = set()
        """Folders whose watches have to be compared with the disk."""
        self._failure: OSError | None = None
        self._inotify: InotifyFD | None = None

    def start(self) -> None:
        self._inotify = InotifyFD()
        self._inotify.start()
        for folder in self._folders:
            self._watch_tree(folder, "")
        self._raise_failure()

    def upkeep(self) -> None:
        """Watch roots that have come, and adapt the watches of folders whose rules changed."""
        self._raise_failure()
        with self._lock:
            stale, self._stale = self._stale, set()
            absent = [folder for folder, watches in self._watches.items() if "" not in watches]
        for folder in absent:
            if folder.root.is_dir():
                folder.refresh_rules()
                if self._watch_tree(folder, ""):
                    self._reports.anything(folder)
        for folder in stale.difference(absent):
            self._compare(folder)
        self._raise_failure()

    def stop(self) -> None:
        inotify, self._inotify = self._inotify, None
        with self._lock:
            for watches in self._watches.values():
                watches.clear()
        if inotify is not None:
            inotify.stop()
            inotify.join()

    @property
    def watch_count(self) -> int:
        """How many of the system's watches are in use."""
        with self._lock:
            return sum(map(len, self._watches.values()))

    def on_event(self, watch: _Watch, event: InotifyEvent) -> None:
        """Something happened in a watched folder. On inotify's thread, as all below."""
        folder = watch.folder
        if not event.name:
            if event.mask & _ROOT_LEFT and not watch.path:
                self._drop(folder, "")
                folder.refresh_rules()
                self._reports.anything(folder)
            return
        name = os.fsdecode(event.name)
        path = f"{watch.path}/{name}" if watch.path else name
        if not event.mask & InotifyConstants.IN_ISDIR:
            self._on_file(folder, path)
        elif name == ".git":
            if event.mask & (_APPEARED | _LEFT):
                self._on_marker(folder, watch.path)
        elif event.mask & _LEFT:
            known = self._drop(folder, path)
            folder.forget(path)
            # Of a folder that is moved away nothing is said about its files; one that is removed is empty by then.
            if known and event.mask & InotifyConstants.IN_MOVED_FROM:
                self._reports.anything(folder)
        elif event.mask & _APPEARED:
            folder.forget(path)
            if folder.looks_into(path):
                self._watch_tree(folder, path, report=True)

    def on_overflow(self) -> None:
        """The kernel dropped events: anything may have happened anywhere."""
        with self._lock:
            first = not self._stale
            self._stale.update(self._folders)
        if first:  # every watch is told
            for folder in self._folders:
                folder.refresh_rules()
                self._reports.anything(folder)

    def on_gone(self, watch: _Watch) -> None:
        """The system removed a watch together with its folder."""
        with self._lock:
            if self._watches[watch.folder].get(watch.path) is watch:
                del self._watches[watch.folder][watch.path]

    def _on_file(self, folder: Folder, path: str) -> None:
        above, _, name = path.rpartition("/")
        if name in _MARKERS:
            self._on_marker(folder, above)
            return
        if name in IGNORE_FILES:
            with self._lock:
                self._stale.add(folder)
        self._reports.file(folder, path)

    def _on_marker(self, folder: Folder, path: str) -> None:
        """What a folder is has changed: a cache, an environment, a repository."""
        folder.forget(path)
        with self._lock:
            self._stale.add(folder)
        self._reports.anything(folder)

    def _watch_tree(self, folder: Folder, top: str, *, report: bool = False) -> bool:
        """Watch a folder and all below; of a new one, report the files in it. Whether the folder itself is watched."""
        pending = [top]
        while pending:
            path = pending.pop()
            if not self._watch(folder, path):
                continue
            # Listed after it is watched.
            files, folders = folder.entries(path)
            pending += folders
            if report:
                for file in files:
                    self._on_file(folder, file)
        with self._lock:
            return top in self._watches[folder]

    def _compare(self, folder: Folder) -> None:
        wanted = set(folder.folders())
        with self._lock:
            unwanted = [watch for path, watch in self._watches[folder].items() if path not in wanted]
            missing = wanted.difference(self._watches[folder])
        for path in missing:
            self._watch(folder, path)
        self._remove(unwanted)

    def _watch(self, folder: Folder, path: str) -> bool:
        """Whether the folder is watched now."""
        inotify = self._inotify
        place = os.fsencode(folder.root / path)
        with self._lock:
            if inotify is None or self._failure:
                return False
            if path in self._watches[folder]:
                return True
            mask = Mask(_EVENTS | (InotifyConstants.IN_DONT_FOLLOW if path else 0))  # a root may be a link
            watch = _Watch(self, folder, path, CallbackId(next(self._ids)))
            try:
                watch.descriptor = inotify.add_callback(place, mask, watch, watch.id)
            except OSError as error:
                if error.errno in _LIMITS:
                    self._failure = error
                    self._reports.anything(folder)  # wakes the watcher's thread
                return False  # else it is gone already
            if watch.descriptor < 0:  # not readable; the library does not raise then
                inotify.remove_callbacks([(watch.descriptor, watch.id)])
                return False
            self._watches[folder][path] = watch
            return True

    def _drop(self, folder: Folder, path: str) -> bool:
        """Stop watching a folder and all below. Whether it was watched."""
        with self._lock:
            watches = self._watches[folder]
            known = path in watches
            dropped = [
                watches[one] for one in watches if known and (not path or one == path or one.startswith(path + "/"))
            ]
        self._remove(dropped)
        return known

    def _remove(self, watches: list[_Watch]) -> None:
        inotify = self._inotify
        with self._lock:
            for watch in watches:
                self._watches[watch.folder].pop(watch.path, None)
        if inotify is not None:
            inotify.remove_callbacks([(watch.descriptor, watch.id) for watch in watches])

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class _Watch:
    """What the library calls for one watched folder. Its path is as of when it was added: a move makes a new one."""

    def __init__(self, source: InotifySource, folder: Folder, path: str, id_: CallbackId) -> None:
        self._source = source
        self.folder = folder
        self.path = path
        self.id = id_
        """Its own for each, for one place can for a moment be known by two names."""
        self.descriptor: WatchDescriptor

    def on_event(self, event: InotifyEvent) -> None:
        try:
            self._source.on_event(self, event)
        except Exception:
            # It would end the library's thread, and with it the watching of everything.
            logger.exception("an event in %s was not understood", self.folder.root.name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        del wd
        self._source.on_gone(self)

    def on_queue_overflow(self) -> None:
        self._source.on_overflow()
