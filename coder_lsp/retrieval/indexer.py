"""Keeps the index in step with the disk and the editor: one thread, a pool of processes, a watcher.

At the start each root becomes searchable with what its store has; then it is walked, and what changed is read, by the
pool if it is much. From then on the watcher says what changed, an editor may say it sooner (``touch``), and the
text of open documents hides the disk's (``set_overlay``). Everything that changes the index happens on the one thread,
in small steps; the urgent goes first. Readings are committed in batches, so a process that is killed loses one.

Whatever goes wrong is said by ``on_notice``, each thing once, and never ends the thread.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp import __version__
from coder_lsp.errors import origin
from coder_lsp.retrieval.database import database_path
from coder_lsp.retrieval.inbox import Inbox, Urgency
from coder_lsp.retrieval.index import Index
from coder_lsp.retrieval.pool import Pool, usable_cores
from coder_lsp.retrieval.progress import Progress, Reporter
from coder_lsp.retrieval.record import Reading, read_document, read_file
from coder_lsp.retrieval.root_index import Item, RootIndex
from coder_lsp.workspace.folder import Folder, open_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.retrieval.pool import Done
    from coder_lsp.retrieval.store import Store
    from coder_lsp.workspace.watch import Changes, Watcher

__all__ = ["Indexer", "Progress"]

logger = logging.getLogger(__name__)

MAX_FILES = 50_000
"""Of one root. 10,183 files took 120 MB in memory; five times that is what an editor's helper may take at most."""
SMALL = 32
"""Up to so many files are read on the thread itself: a worker process takes longer to start than they take."""

_BATCH = 16
_COMMIT_S = 0.2
_RETRY_S = 1.0
_CHECKER_S = 1.0
_RESULTS_WAITING = 64
"""Readings that wait to be committed before the workers have to wait: some 20 kB each."""
_MOST_WORKERS = 4


class Indexer:
    """See the module. ``on_progress`` and ``on_notice`` are called on threads of the indexer; ``job`` is for tests."""

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        exclude: Sequence[str] = (),
        max_files: int = MAX_FILES,
        workers: int | None = None,
        watch: str = "auto",
        on_progress: Callable[[Progress], None] = lambda _: None,
        on_notice: Callable[[str], None] = lambda _: None,
        job: Callable[[Folder, Item], Reading] = read_file,
        made_by: str = __version__,
        database: Callable[[Path], Path] = database_path,
    ) -> None:
        self._inbox = Inbox()
        self.index = Index(on_damage=partial(self._inbox.post, Urgency.NEWS, self._rebuild))
        self._wanted = list(roots)
        self._exclude = tuple(exclude)
        self._max_files = max_files
        self._watching = watch
        self._reporter = Reporter(on_progress)
        self._on_notice = on_notice
        self._made_by = made_by
        self._database = database
        self._room = threading.BoundedSemaphore(_RESULTS_WAITING)
        self._pool: Pool[Item, Reading] = Pool(
            job, self._on_done, workers=workers or min(_MOST_WORKERS, usable_cores())
        )
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._stopping = False
        self._loaded = threading.Event()
        # Of the thread alone.
        self._roots: dict[Path, RootIndex] = {}
        self._scans: dict[Path, Iterator[list[Item]]] = {}
        self._pending: dict[Path, list[Item]] = {}
        self._in_pool: dict[tuple[Path, str], _Batch] = {}
        self._documents: dict[Path, str] = {}
        self._watcher: Watcher | None = None
        self._checker: threading.Thread | None = None
        self._said: set[str] = set()
        self._commit_at = 0.0
        self._unchecked: set[Path] = set()

    # -- from any thread

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Commit what is read, end the workers. What was not read yet is found by the next start."""
        self._stopping = True
        self._pool.close(timeout_s=0)
        self._inbox.post(Urgency.NOW, lambda: None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def wait_loaded(self, timeout_s: float) -> bool:
        """Until what the stores have can be searched; False if that takes longer."""
        return self._loaded.wait(timeout_s)

    def wait_settled(self, timeout_s: float) -> bool:
        """Until nothing is left to do of what is known by now; False if that takes longer.

        A change on disk is known when the watcher has told of it; ``rescan`` makes all of them known.
        """
        return self._inbox.wait_settled(timeout_s)

    def touch(self, path: Path) -> None:
        """A file may have changed, as an editor knows that has just saved it."""
        self._inbox.post(Urgency.NOW, self._touch, path)

    def rescan(self) -> None:
        """Look at everything again."""
        self._inbox.post(Urgency.NEWS, self._rescan)

    def set_overlay(self, path: Path, text: str) -> None:
        """The text of an open document that is not saved; the caller debounces."""
        self._inbox.post(Urgency.NOW, self._set_overlay, path, text)

    def clear_overlay(self, path: Path) -> None:
        """The document is closed or saved: the disk counts."""
        self._inbox.post(Urgency.NOW, self._clear_overlay, path)

    def add_root(self, root: Path) -> None:
        self._inbox.post(Urgency.NEWS, self._change_roots, (root,), ())

    def remove_root(self, root: Path) -> None:
        self._inbox.post(Urgency.NEWS, self._change_roots, (), (root,))

    # -- the thread

    def _run(self) -> None:
        try:
            self._guarded(partial(self._change_roots, self._wanted, ()))
            while not self._stopping:
                self._guarded(self._step)
        finally:
            self._loaded.set()
            if self._watcher:
                self._watcher.stop()
            for state in self._roots.values():
                self._guarded(state.close)
            if self._checker:
                # Closing its store has ended what it does; a thread left behind keeps the C++ modules from going.
                self._checker.join(_CHECKER_S)
            self._inbox.end()

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end all indexing
            # Where, but not what: a message can hold text out of a file.
            logger.error("indexing step failed: %s at %s", type(error).__name__, origin(error))  # noqa: TRY400  # see above

    def _step(self) -> None:
        """One message, or else one step of a scan, or else a wait."""
        self.index.give_way()
        if not self._inbox.do_next(wait=False):
            if self._scans:
                self._scan_step()
            else:
                self._rest()
        if time.monotonic() >= self._commit_at:
            self._commit()
            self._report()

    def _rest(self) -> None:
        """Nothing to do here but to wait for news, or for the pool."""
        self._commit()
        self._report()
        unsaved = any(state.has_unsaved for state in self._roots.values())
        if not self._in_pool and not unsaved:
            self._inbox.settle()
            self._check()
        self._inbox.do_next(wait=True, timeout_s=_RETRY_S if unsaved else None)

    def _commit(self) -> None:
        for root, state in list(self._roots.items()):
            state.commit()
            if state.damaged and state.store:
                self._rebuild(root, state.store)
        self._commit_at = time.monotonic() + _COMMIT_S

    def _report(self) -> None:
        walking = bool(self._scans)
        self._reporter.tell(walking=walking, finished=not walking and not self._in_pool)

    def _notice(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._on_notice(text)

    # -- roots

    def _change_roots(self, added: Sequence[Path], removed: Sequence[Path]) -> None:
        gone = {Path(root).absolute() for root in removed}
        self._wanted = [root for root in self._wanted if Path(root).absolute() not in gone]
        self._wanted += [root for root in added if root not in self._wanted]
        folders = {folder.root: folder for folder in open_folders(self._wanted, exclude=self._exclude)}
        if self._watcher:
            self._watcher.stop()
            self._watcher = None
        for root in [root for root in self._roots if root not in folders]:
            self._end_root(root)
        for root, folder in folders.items():
            if root in self._roots:
                # What lies in an inner root, now or not any more, is another matter than before.
                self._roots[root].folder = folder
            else:
                self._begin_root(folder)
        self._loaded.set()
        if self._watching != "off" and folders:
            self._guarded(partial(self._watch, list(folders.values())))
        for root in folders:
            self._begin_scan(root)
            self._show_documents(root)

    def _begin_root(self, folder: Folder) -> None:
        options = {"made_by": self._made_by, "max_files": self._max_files, "database": self._database}
        state = RootIndex(folder, self.index, on_notice=self._notice, **options)  # type: ignore[arg-type]
        self._roots[folder.root] = state
        state.open()
        self._unchecked.add(folder.root)

    def _end_root(self, root: Path) -> None:
        self._forget_work(root)
        state = self._roots.pop(root)
        state.close()
        self.index.detach(root)

    def _forget_work(self, root: Path) -> None:
        self._scans.pop(root, None)
        self._pending.pop(root, None)
        for key, batch in list(self._in_pool.items()):
            if key[0] == root:
                self._pool.forget(batch)
                del self._in_pool[key]

    def _rebuild(self, root: Path, damaged: Store) -> None:
        state = self._roots.get(root)
        if state is None or state.store is not damaged or not damaged.suspicion:
            return  # What is wrong with a store is met more than once.
        if state.mend() and state.store is damaged:
            return
        self._forget_work(root)
        if state.store is damaged:
            state.rebuild()
        self._begin_scan(root)
        self._show_documents(root)

    def _check(self) -> None:
        """Once a root, when there is nothing else to do: is its database sound?

        Most damage shows when it is met, but a damaged index of a table can also leave rows out.
        """
        if not self._unchecked:
            return
        # On another thread: this one stays free for what is saved, and can end.
        stores = [(root, state.store) for root, state in self._roots.items() if root in self._unchecked]
        self._unchecked.clear()
        samples = [(state.folder, (state.sample(), b"")) for state in self._roots.values()]

        def look() -> None:
            # For nothing, but the first file that is saved does not wait for parsers to be imported.
            for folder, item in samples[:1]:
                read_file(folder, item)
            for root, store in stores:
                if store and (found := store.examine()):
                    store.suspicion = found
                    self._inbox.post(Urgency.NEWS, self._rebuild, root, store)

        self._checker = threading.Thread(target=look, name="index check", daemon=True)
        self._checker.start()

    def _locate(self, path: Path) -> tuple[RootIndex, str] | None:
        """The root a file belongs to, the innermost one, and its path there."""
        for root in sorted(self._roots, key=lambda root: len(root.parts), reverse=True):
            inside = self._roots[root].folder.relative(path)
            if inside:
                return self._roots[root], inside
        return None

    # -- what changed

    def _watch(self, folders: list[Folder]) -> None:
        from coder_lsp.workspace.watch import Watcher

        self._watcher = Watcher(
            folders,
            lambda changes: self._inbox.post(Urgency.NEWS, self._changed, changes),
            events=self._watching != "poll",
            on_fallback=self._notice,
        )
        self._watcher.start()

    def _changed(self, changes: Changes) -> None:
        state = self._roots.get(changes.root)
        if state is None:
            return
        if changes.rescan:
            self._look_again(state)
        self._read(state, [item for path in sorted(changes.paths) if (item := state.item(path))])

    def _touch(self, path: Path) -> None:
        place = self._locate(path)
        item = place[0].item(place[1]) if place else None
        if place and item:
            self._read(place[0], [item])

    def _rescan(self) -> None:
        for state in self._roots.values():
            self._look_again(state)

    def _look_again(self, state: RootIndex) -> None:
        state.folder.refresh_rules()
        self._begin_scan(state.root)
        # What is ignored now has no place here, open or not.
        self._show_documents(state.root)

    def _begin_scan(self, root: Path) -> None:
        self._scans[root] = self._roots[root].scan()
        self._pending[root] = []

    def _scan_step(self) -> None:
        root, scan = next(iter(self._scans.items()))
        state, pending = self._roots[root], self._pending[root]
        try:
            pending += next(scan)
        except StopIteration:
            del self._scans[root]
            rest = self._pending.pop(root)
            if any(key[0] == root for key in self._in_pool):
                self._submit(state, rest)
            else:
                self._read(state, rest)
            return
        if len(pending) > SMALL:
            self._submit(state, pending)
            self._pending[root] = []

    # -- reading

    def _read(self, state: RootIndex, items: list[Item]) -> None:
        """A few here and now, many in the pool. What once ended a process never gets near this one."""
        here = [] if len(items) > SMALL else [item for item in items if not state.is_hostile(item[0])]
        elsewhere = [item for item in items if item not in here]
        if elsewhere:
            self._submit(state, elsewhere)
        for item in here:
            self.index.give_way()
            # A reading that is on its way is older.
            self._in_pool.pop((state.root, item[0]), None)
            state.accept(read_file(state.folder, item))
        self._commit()

    def _submit(self, state: RootIndex, items: list[Item]) -> None:
        shared = copy.copy(state.folder)
        shared.refresh_rules()  # Its caches grow with the root, and go through a pipe.
        for start in range(0, len(items), _BATCH):
            part = items[start : start + _BATCH]
            batch = _Batch(state.root)
            for path, _ in part:
                self._in_pool[state.root, path] = batch
            self._pool.submit(batch, shared, part)
        self._reporter.begin(len(items))

    def _on_done(self, done: Done[Item, Reading]) -> None:
        """On a thread of the pool."""
        while not self._room.acquire(timeout=1.0):
            if self._stopping:
                return
        self._inbox.post(Urgency.RESULT, self._take, done)

    def _take(self, done: Done[Item, Reading]) -> None:
        self._room.release()
        self._reporter.end()
        root, path = done.batch.root, done.item[0]
        if self._in_pool.get((root, path)) is not done.batch:
            return  # It was read again meanwhile, or its root is gone.
        del self._in_pool[root, path]
        state = self._roots[root]
        if done.result is not None:
            waiting = state.accept(done.result)
        else:
            self._notice(f"{path} {done.reason}; it is not indexed.")
            waiting = state.refuse(path, done.reason)
        if waiting >= _BATCH:
            self._commit()

    # -- open documents

    def _set_overlay(self, path: Path, text: str) -> None:
        self._documents[path] = text
        if place := self._locate(path):
            self._show_document(*place, text)

    def _clear_overlay(self, path: Path) -> None:
        self._documents.pop(path, None)
        if place := self._locate(path):
            self._hide_document(*place)

    def _show_documents(self, root: Path) -> None:
        for path, text in self._documents.items():
            place = self._locate(path)
            if place and place[0].root == root:
                self._show_document(*place, text)

    def _show_document(self, state: RootIndex, path: str, text: str) -> None:
        record = read_document(state.folder, path, text)
        if record:
            self.index.set_overlay(state.root, record)
        else:
            self._hide_document(state, path)

    def _hide_document(self, state: RootIndex, path: str) -> None:
        if not self.index.clear_overlay(state.root, path):
            state.forget(path)
            self._touch(state.root / path)


@dataclass(eq=False)
class _Batch:
    """Files that went to the pool together."""

    root: Path
