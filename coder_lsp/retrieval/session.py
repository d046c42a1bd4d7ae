"""The workspace of one editor window: its folders indexed, its open documents on top, and context for completions.

Everything is called on one event loop and returns at once; callbacks come on that loop. The index is begun and ended on
a thread, one step after the other, because the libraries it needs take longer to load than an editor should wait. The
text of an open document hides the disk's once the document was left alone for a moment, a shorter one if something
happens in another one: nobody needs the index of the line that is being typed. Knows no protocol; what a place needs is
``context``'s business, and which files count is the workspace's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import origin
from coder_lsp.retrieval.place import scope
from coder_lsp.retrieval.recent import RecentRanges
from coder_lsp.types import IndexState, IndexStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coder_lsp.config import Config, ContextConfig
    from coder_lsp.retrieval.index import Index, IndexStats
    from coder_lsp.retrieval.indexer import Indexer
    from coder_lsp.retrieval.progress import Progress
    from coder_lsp.types import CompletionRequest, Snippet

logger = logging.getLogger(__name__)

LEFT_ALONE_S = 0.5
"""A document whose text did not change for so long is shown to the index."""
SWITCHED_S = 0.1
"""After something happened in another document it waits so long: a request that came with the switch goes first, which
the parsing of a document would hold up (p95 of requests 28 instead of 24 ms)."""
VIEW_LINES = 10
"""Lines on each side of a place that the user is taken to look at."""

_SETTLED_POLL_S = 0.05
_WAIT_SLICE_S = 0.25


@dataclass(eq=False)
class _Running:
    """One indexer from its order to its end."""

    roots: tuple[Path, ...]
    """What the indexer was last told."""
    indexer: Indexer | None = None
    """None until the thread has made it, and for good if it could not."""
    arrived: bool = False
    """Whether the event loop knows of it."""


class WorkspaceSession:
    """See the module. ``on_notice`` gets what the user should know, each thing once.

    Nothing is indexed before :meth:`configure` said what may be.
    """

    def __init__(
        self,
        *,
        on_status: Callable[[IndexStatus], None] = lambda _: None,
        on_notice: Callable[[str], None] = lambda _: None,
        workers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_status = on_status
        self._on_notice = on_notice
        self._workers = workers
        self._clock = clock
        self._settings: ContextConfig | None = None
        self._roots: tuple[Path, ...] = ()
        self._texts: dict[Path, str] = {}
        """Of open documents that may differ from the disk."""
        self._waiting: dict[Path, asyncio.TimerHandle] = {}
        """Those of them that the index does not have yet."""
        self._recent: RecentRanges[Path] = RecentRanges()
        self._running: _Running | None = None
        self._steps = ThreadPoolExecutor(1, "coder-lsp workspace")
        self._status = IndexStatus()
        self._held: tuple[tuple[Index, int, tuple[Snippet, ...]], bool] | None = None
        """What :meth:`holds` last answered, and to what."""
        self._said: set[str] = set()
        self._stopped = False

    # -- what is indexed

    def configure(self, config: Config) -> None:
        """Go by new settings. Switched off, nothing is indexed and nothing shown; what is stored stays."""
        before, self._settings = self._settings, config.context
        if before != config.context:
            self._begin()

    def set_roots(self, roots: Sequence[Path]) -> None:
        """The folders that are open now; what lies in a folder inside another one belongs to the inner one."""
        before, self._roots = self._roots, tuple(dict.fromkeys(roots))
        if self._running is None or not self._roots:
            if before != self._roots:
                self._begin()
        else:
            self._tell_roots(self._running)

    # -- what is open

    def opened(self, path: Path, text: str) -> None:
        """A document was opened; paths are absolute."""
        self._set_text(path, text)
        self._recent.viewed(path, 0, 2 * VIEW_LINES, self._clock())

    def changed(self, path: Path, text: str, start_line: int, old_end_line: int, end_line: int) -> None:
        """Lines ``[start_line, old_end_line)`` of a document became ``[start_line, end_line)`` of ``text``."""
        self._set_text(path, text)
        self._recent.edited(path, start_line, old_end_line, end_line, self._clock())

    def saved(self, path: Path) -> None:
        self._drop_text(path)
        if indexer := self._indexer:
            indexer.touch(path)
            indexer.clear_overlay(path)

    def closed(self, path: Path) -> None:
        """The disk counts again; so it does for a document whose text is not known any more."""
        self._drop_text(path)
        if indexer := self._indexer:
            indexer.clear_overlay(path)

    # -- what is asked

    def context(self, request: CompletionRequest, budget: int) -> tuple[Snippet, ...]:
        """Snippets of other files for a place, about ``budget`` tokens of them, out of what is indexed by now."""
        try:
            return self._context(request, budget)
        except Exception as error:  # noqa: BLE001  # a fault of ours costs the context, not the suggestion
            _log_fault("context", error)
            return ()

    def holds(self, snippets: Sequence[Snippet]) -> bool:
        """Whether the files still have all lines of snippets that were given before, wherever in them."""
        indexer = self._indexer
        if indexer is None:
            return not snippets
        # Asked at every key, about the same snippets; to answer, their files are read.
        now = (indexer.index, indexer.index.generation, tuple(snippets))
        if self._held is not None and self._held[0] == now:
            return self._held[1]
        try:
            verdict = all(_has_lines(indexer.index, snippet) for snippet in snippets)
            self._held = (now, verdict)
            return verdict
        except Exception as error:  # noqa: BLE001  # see above
            _log_fault("a look at old context", error)
            return False

    def scope(self, request: CompletionRequest) -> str:
        """What tells a function from the next one; see ``types.ContextSource``."""
        try:
            return scope(request.text, request.cursor)
        except Exception as error:  # noqa: BLE001  # see above
            _log_fault("the function around a place", error)
            return ""

    @property
    def status(self) -> IndexStatus:
        """What ``on_status`` last said, with the files that are indexed now."""
        indexer = self._indexer
        files = len(indexer.index.files()) if indexer else 0
        return IndexStatus(self._status.state, files, self._status.done, self._status.total)

    async def stats(self) -> IndexStats | None:
        """The index in figures; None if there is none."""
        indexer = self._indexer
        return await asyncio.get_running_loop().run_in_executor(None, indexer.index.stats) if indexer else None

    async def wait_settled(self, timeout_s: float) -> bool:
        """Until the disk and all open documents are indexed as they are known now; False if that takes longer."""
        deadline = time.monotonic() + timeout_s
        loop = asyncio.get_running_loop()
        while not self._stopped and (left := deadline - time.monotonic()) > 0:
            running = self._running
            # What begins an index goes through this thread: when the step is done there is one, or there is none.
            step = loop.run_in_executor(self._steps, _nothing)
            await asyncio.wait([step], timeout=left)
            if not step.done() or running is not self._running:
                continue
            if running is None or running.indexer is None:
                return True
            self._hand_on_all()
            settled = partial(running.indexer.wait_settled, min(left, _WAIT_SLICE_S))
            if await loop.run_in_executor(None, settled) and running is self._running:
                return True
        return False

    async def stop(self) -> None:
        """End the index and its threads; what is stored is whole."""
        if self._stopped:
            return
        self._stopped = True
        for path in list(self._waiting):
            self._drop_text(path)
        self._end()
        try:
            await asyncio.get_running_loop().run_in_executor(self._steps, _nothing)
        finally:
            self._steps.shutdown(wait=False)

    # -- begin and end

    def _begin(self) -> None:
        """Make a new index by the settings and folders there are now, in place of the one before."""
        self._end()
        settings = self._settings
        if self._stopped or settings is None or not settings.enabled or not self._roots:
            self._say(IndexStatus())
            return
        running = self._running = _Running(self._roots)
        self._say(IndexStatus(IndexState.INDEXING))
        loop = asyncio.get_running_loop()
        self._steps.submit(self._make, running, settings, partial(_call_on, loop))

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._steps.submit(_close, running)

    def _make(self, running: _Running, settings: ContextConfig, on_loop: Callable[..., None]) -> None:
        """On the thread: load the libraries, begin the index."""
        try:
            import coder_lsp.retrieval.context  # noqa: F401  # here, so that the first question does not wait for it
            from coder_lsp.retrieval.indexer import Indexer

            def progressed(progress: Progress) -> None:
                # Counted on the indexer's thread: it is a list of all files.
                on_loop(self._progressed, running, progress, len(indexer.index.files()))

            indexer = running.indexer = Indexer(
                running.roots,
                exclude=settings.exclude,
                max_files=settings.max_files,
                watch=settings.watch,
                workers=self._workers,
                on_progress=progressed,
                on_notice=lambda text: on_loop(self._notice, text),
            )
            indexer.start()
        except Exception as error:  # noqa: BLE001  # whatever it is, completions go on without context
            running.indexer = None
            _log_fault("the start of the index", error)
        on_loop(self._made, running)

    def _made(self, running: _Running) -> None:
        if running is not self._running:
            return
        if running.indexer is None:
            self._say(IndexStatus())
            return
        running.arrived = True
        self._tell_roots(running)
        for path, text in self._texts.items():
            if path not in self._waiting:
                running.indexer.set_overlay(path, text)
        self._look(running)

    def _tell_roots(self, running: _Running) -> None:
        """Add and remove what changed since the index was begun or last told."""
        if not running.arrived or running.indexer is None:
            return
        for root in running.roots:
            if root not in self._roots:
                running.indexer.remove_root(root)
        for root in self._roots:
            if root not in running.roots:
                running.indexer.add_root(root)
        running.roots = self._roots

    # -- how it goes

    def _look(self, running: _Running) -> None:
        """Wait for the end of a start that reads so little that nothing of it is reported."""
        if running is not self._running or running.indexer is None or self._status.state is not IndexState.INDEXING:
            return
        if not self._status.total and running.indexer.wait_settled(0):
            self._say(IndexStatus(IndexState.READY, len(running.indexer.index.files())))
        else:
            asyncio.get_running_loop().call_later(_SETTLED_POLL_S, self._look, running)

    def _progressed(self, running: _Running, progress: Progress, files: int) -> None:
        if running is self._running:
            state = IndexState.READY if progress.finished else IndexState.INDEXING
            self._say(IndexStatus(state, files, progress.done, progress.total))

    def _say(self, status: IndexStatus) -> None:
        if status != self._status and not self._stopped:
            self._status = status
            self._on_status(status)

    def _notice(self, text: str) -> None:
        if text not in self._said and not self._stopped:
            self._said.add(text)
            logger.info("index: %s", text)
            self._on_notice(text)

    # -- documents

    @property
    def _indexer(self) -> Indexer | None:
        return self._running.indexer if self._running is not None and self._running.arrived else None

    def _set_text(self, path: Path, text: str) -> None:
        """Keep a text until its document is left alone; what waits of others waits no longer."""
        self._hurry(but=path)
        if self._stopped:
            return
        self._drop_text(path)
        self._texts[path] = text
        self._waiting[path] = asyncio.get_running_loop().call_later(LEFT_ALONE_S, self._hand_on, path)

    def _drop_text(self, path: Path) -> None:
        self._texts.pop(path, None)
        if timer := self._waiting.pop(path, None):
            timer.cancel()

    def _hurry(self, *, but: Path | None) -> None:
        """What waits of other documents does so for a moment only: their texts are not being typed any more."""
        loop = asyncio.get_running_loop()
        for path, timer in self._waiting.items():
            if path != but and timer.when() > loop.time() + SWITCHED_S:
                timer.cancel()
                self._waiting[path] = loop.call_later(SWITCHED_S, self._hand_on, path)

    def _hand_on_all(self) -> None:
        for path in list(self._waiting):
            self._hand_on(path)

    def _hand_on(self, path: Path) -> None:
        self._waiting.pop(path).cancel()
        # An index that is still to come gets the texts that do not wait any more.
        if indexer := self._indexer:
            indexer.set_overlay(path, self._texts[path])

    # -- context

    def _context(self, request: CompletionRequest, budget: int) -> tuple[Snippet, ...]:
        where = Path(request.root, request.path).absolute() if request.path else None
        self._hurry(but=where)
        recent = self._recent.elsewhere(where, self._clock())
        # A notebook's cell has lines of its own.
        if where is not None and not request.preceding:
            line = request.text.count("\n", 0, request.cursor)
            self._recent.viewed(where, max(0, line - VIEW_LINES), line + VIEW_LINES + 1, self._clock())
        indexer = self._indexer
        if indexer is None or budget <= 0:
            return ()
        from coder_lsp.retrieval.context import Recent, assemble

        index = indexer.index
        numbered = [(_number(index, each.file), each) for each in recent]
        with index.request():
            return assemble(
                index,
                *_place(index, where),
                request.text,
                request.cursor,
                budget=budget,
                recent=[
                    Recent(number, each.start_line, each.end_line, each.weight)
                    for number, each in numbered
                    if number is not None
                ],
            )


def _close(running: _Running) -> None:
    """On the thread, after whatever made it."""
    if running.indexer is not None:
        running.indexer.stop()


def _call_on(loop: asyncio.AbstractEventLoop, action: Callable[..., None], *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(action, *arguments)


def _place(index: Index, path: Path | None) -> tuple[Path | None, str]:
    """The innermost folder a file is in, and its path there."""
    if path is None:
        return None, ""
    around = [root for root in index.roots if path.is_relative_to(root)]
    if not around:
        return None, path.as_posix()
    root = max(around, key=lambda root: len(root.parts))
    return root, path.relative_to(root).as_posix()


def _number(index: Index, path: Path) -> int | None:
    root, inside = _place(index, path)
    return index.number(root, inside) if root is not None else None


def _has_lines(index: Index, snippet: Snippet) -> bool:
    wanted = {line.rstrip() for line in snippet.text.split("\n")}
    # A snippet does not say which folder its path is in.
    for root in index.roots:
        file = index.number(root, snippet.path)
        if file is not None and wanted <= {line.rstrip() for line in index.lines(file)} | {""}:
            return True
    return False


def _log_fault(what: str, error: BaseException) -> None:
    logger.error("%s failed: %s at %s", what, type(error).__name__, origin(error))


def _nothing() -> None:
    pass
