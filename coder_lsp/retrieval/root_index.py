"""One root on its way into the index: what is known of its files, which of them to read, and where the readings go.

Belongs to the indexing thread. Finds out by a walk which files changed while nobody looked; takes readings in, a batch
at a time, into the store first and the index then; goes on in memory when the store cannot be written, and begins anew
when it is damaged. Starts nothing and waits for nothing: ``indexer`` has the thread, the processes and the events.
"""

from __future__ import annotations

import itertools
import logging
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from coder_lsp.retrieval.database import Fault, StoreError, database_path
from coder_lsp.retrieval.pool import CRASHED, HANGS
from coder_lsp.retrieval.record import Gone, Unchanged
from coder_lsp.retrieval.store import FileRecord, SkippedFile, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from coder_lsp.retrieval.index import Index
    from coder_lsp.retrieval.record import Reading
    from coder_lsp.retrieval.store import StoredFile
    from coder_lsp.workspace.folder import Folder

logger = logging.getLogger(__name__)

Item = tuple[str, bytes]
"""What to read: a path, and the digest that is known of it, empty if none is."""

_FILES_A_STEP = 16

_LOADS = 3
"""So often a store is read that is busy, or looks damaged and is not."""
_SUSPICIONS = 5
"""In one session. What looks damaged more often is, even if a second look finds nothing."""


class _Known(NamedTuple):
    """A file that was read: its stamp, and the digest if it is in the index or else why it is not."""

    size_bytes: int
    mtime_ns: int
    digest: bytes
    reason: str = ""


class RootIndex:
    """See the module. ``on_notice`` gets what the user should know, each thing once."""

    def __init__(
        self,
        folder: Folder,
        index: Index,
        *,
        made_by: str,
        max_files: int,
        on_notice: Callable[[str], None],
        database: Callable[[Path], Path] = database_path,
    ) -> None:
        self.folder = folder
        self.root: Path = folder.root
        self._index = index
        self._made_by = made_by
        self._max_files = max_files
        self._on_notice = on_notice
        self._database = database
        self.store: Store | None = None
        """None: it is in memory only."""
        self._writable = False
        self._rebuilt = False
        self._suspicions = 0
        self._known: dict[str, _Known] = {}
        self.damaged = False
        """A write found out that the store is damaged; ``rebuild`` is due."""
        self._seen: set[str] | None = None
        """What the walk that is under way has seen, and what changed meanwhile."""
        self._batch: dict[str, Reading] = {}
        self._unsaved: dict[str, Reading] = {}
        """In the index, not in the store: another process wrote too long. Tried again."""

    # -- beginning and end

    def open(self) -> None:
        """Make the root searchable with what the store has."""
        self._open_store()
        self._index.attach(self.root, self.store)
        reason = ""
        for _ in range(_LOADS):
            if self.store is None:
                return
            try:
                self._load(self.store)
            except StoreError as error:
                reason = error.message
                self._known = {}
                self._index.detach(self.root)
                self._index.attach(self.root, self.store)
                if error.fault is Fault.DAMAGED and not self.mend():
                    self.rebuild()
                    return
            else:
                return
        self._give_up(reason)

    def mend(self) -> bool:
        """The store seems to be damaged: look again on new connections. True if it is not, and goes on."""
        self.damaged = False
        if self.store is None:
            return True
        self._suspicions += 1
        # One that another session has replaced has no path by which it could be looked at again.
        if self._suspicions > _SUSPICIONS or self.store.is_replaced:
            return False
        suspicion = self.store.suspicion
        found = self.store.examine(thoroughly=True)
        if found:
            self.store.suspicion = found
            return False
        logger.warning("the index of %s goes on, a second look found nothing wrong: %s", self.root, suspicion)
        try:
            self.store.reopen()
        except StoreError as error:
            self._give_up(error.message)
        return True

    def rebuild(self) -> None:
        """The store is damaged: begin with a new one, and after a second time with none."""
        again, self._rebuilt = self._rebuilt, True
        reason = self.store.suspicion if self.store else ""
        if self.store:
            self.store.delete()
        self._known, self._batch, self._unsaved = {}, {}, {}
        self._suspicions = 0
        self._index.detach(self.root)
        if again:
            self.store, self._writable = None, False
            self._index.attach(self.root, None)
            self._on_notice(f"The index of {self.root} was damaged again ({reason}) and is kept in memory from now on.")
        else:
            self._on_notice(f"The index of {self.root} was damaged ({reason}) and is built anew.")
            self.open()

    def close(self) -> None:
        self.commit()
        if self.store:
            self.store.close()

    # -- what to read

    def scan(self) -> Iterator[list[Item]]:
        """Walk the root. Each step gives what of a few files has to be read, mostly nothing; the last one removes
        what is gone. A scan that begins ends the one before it.
        """
        seen: set[str] = set()
        self._seen = seen
        found: list[Item] = []
        full = False
        for count, file in enumerate(self.folder.walk(), 1):
            if len(seen) >= self._max_files:
                full = True
                break
            seen.add(file.path)
            known = self._known.get(file.path)
            if known is None or (known.size_bytes, known.mtime_ns) != (file.size_bytes, file.mtime_ns):
                found.append((file.path, known.digest if known else b""))
            if count % _FILES_A_STEP == 0:
                yield found
                found = []
        if full:
            self._on_notice(f"{self.root} has more than {self._max_files} source files; the rest is not indexed.")
        for path in [path for path in self._known if path not in seen]:
            # Moved to where the walk had been already: there after all.
            if not full and self._is_there(path):
                found.append((path, self._known[path].digest))
            else:
                self.accept(Gone(path))
        yield found
        self._seen = None

    def item(self, path: str) -> Item | None:
        """What to read of a file that may have changed; None if there is no room for it."""
        if self._seen is not None:
            self._seen.add(path)
        known = self._known.get(path)
        if known is None and len(self._known) >= self._max_files:
            return None
        return path, known.digest if known else b""

    def is_hostile(self, path: str) -> bool:
        """Whether reading it once ended a process."""
        known = self._known.get(path)
        return known is not None and known.reason in {CRASHED, HANGS}

    def sample(self) -> str:
        """The path of some small file that is in the index, empty if none is."""
        some = itertools.islice(((known.size_bytes, path) for path, known in self._known.items() if known.digest), 100)
        return min(some, default=(0, ""))[1]

    def forget(self, path: str) -> None:
        """Read it next time, whatever its digest is."""
        self._known.pop(path, None)

    # -- where readings go

    def accept(self, reading: Reading) -> int:
        """Into the batch; returns how many there are. The later of two readings of a path counts."""
        self._batch.pop(reading.path, None)
        self._batch[reading.path] = reading
        return len(self._batch)

    def refuse(self, path: str, reason: str) -> int:
        """A file that cannot be read at all, as long as it is what it is now."""
        try:
            status = os.lstat(self.root / path)
        except (OSError, ValueError):
            return self.accept(Gone(path))
        return self.accept(SkippedFile(path, status.st_size, status.st_mtime_ns, reason))

    def commit(self) -> None:
        """Write the batch and show it. What cannot be written is shown all the same."""
        batch, self._batch = {**self._unsaved, **self._batch}, {}
        if not batch:
            return
        self._unsaved = {}
        records = [reading for reading in batch.values() if isinstance(reading, FileRecord)]
        skipped = [reading for reading in batch.values() if isinstance(reading, SkippedFile)]
        unchanged = [reading for reading in batch.values() if isinstance(reading, Unchanged)]
        gone = [path for path, reading in batch.items() if isinstance(reading, Gone) and path in self._known]
        try:
            stored = self._write(records, skipped, unchanged, gone)
        except StoreError as error:
            stored = False
            self._unsaved = batch
            if error.fault is Fault.DAMAGED:
                # Written when a second look finds nothing, or else read again with all the rest.
                self.damaged = True
                return
        for record in records:
            self._known[record.path] = _Known(record.size_bytes, record.mtime_ns, record.digest)
        for file in skipped:
            self._known[file.path] = _Known(file.size_bytes, file.mtime_ns, b"", file.reason)
        for same in unchanged:
            if same.path in self._known:
                known = self._known[same.path]
                self._known[same.path] = known._replace(size_bytes=same.size_bytes, mtime_ns=same.mtime_ns)
        for path in gone:
            self._known.pop(path, None)
        self._index.put(self.root, records, stored=stored)
        self._index.remove(self.root, [*gone, *(file.path for file in skipped)])

    @property
    def has_unsaved(self) -> bool:
        return bool(self._unsaved)

    # -- how

    def _load(self, store: Store) -> None:
        for path in self._index.load(self.root, self._remember(store.load())):
            del self._known[path]
        for file in store.load_skipped():
            self._known[file.path] = _Known(file.size_bytes, file.mtime_ns, b"", file.reason)

    def _give_up(self, reason: str) -> None:
        """Go on without a store; what it held is read again."""
        if self.store:
            self.store.close()
        self.store, self._writable = None, False
        self._known = {}
        self._index.detach(self.root)
        self._index.attach(self.root, None)
        self._in_memory_only(reason)

    def _open_store(self) -> None:
        self.store, self._writable = None, False
        try:
            self.store = Store.open(self._database(self.root), root=self.root, made_by=self._made_by)
            self._writable = True
        except StoreError as error:
            self._in_memory_only(error.message)
            return
        except OSError as error:  # not even a cache folder
            self._in_memory_only(error.strerror or type(error).__name__)
            return
        if self.store.replaced:
            self._on_notice(f"The index of {self.root} is built anew: {self.store.replaced}.")

    def _remember(self, files: Iterable[StoredFile]) -> Iterator[StoredFile]:
        for file in files:
            self._known[file.path] = _Known(file.size_bytes, file.mtime_ns, file.digest)
            yield file

    def _is_there(self, path: str) -> bool:
        if self.folder.admits(path):
            return False
        try:
            status = os.lstat(self.root / path)
        except (OSError, ValueError):
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size > 0

    def _write(
        self, records: list[FileRecord], skipped: list[SkippedFile], unchanged: list[Unchanged], gone: list[str]
    ) -> bool:
        if self.store is None or not self._writable:
            return False
        stamps = [(same.path, same.size_bytes, same.mtime_ns) for same in unchanged]
        try:
            self.store.write(records, skipped=skipped, stamps=stamps, removed=gone)
        except StoreError as error:
            if error.fault is not Fault.UNWRITABLE:
                raise
            # It still can be read.
            self._writable = False
            self._in_memory_only(error.message)
            return False
        return True

    def _in_memory_only(self, reason: str) -> None:
        self._on_notice(f"The index of {self.root} is kept in memory only and made again next time: {reason}.")
