"""The index of a workspace, from the first walk to an update: what ``bench.retrieval`` measures, a function a process.

Each takes a folder and measures the shipped :class:`~coder_lsp.retrieval.indexer.Indexer` on it, which keeps its
database under CODER_LSP_HOME: ``first_index`` makes it, the others begin with it. The libraries are imported first, so
that memory can be compared with what the process had before; everything a session does later (watching, checking the
database) is at work as it is in an editor.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from coder_lsp.bench.figures import megabytes, spread
from coder_lsp.errors import CoderLspError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.bench.fresh import Note
    from coder_lsp.retrieval.index import Index
    from coder_lsp.retrieval.indexer import Indexer
    from coder_lsp.retrieval.progress import Progress

BUDGET_TOKENS = 512
WARM_UP = 20
"""Places that are asked about before any is measured: parsers and SQLite's cache load then."""

_LONGEST_S = 3600.0
_UPDATE_S = 30.0
_LOOK_S = 0.0005
_LEAST_LINES = 10


def first_index(root: str, files: int, note: Note) -> dict[str, Any]:
    """A folder that was never indexed: from the start until everything is read, stored and searchable."""
    before = _load_libraries()

    def progress(now: Progress) -> None:
        note(f"first index, {now.done:,} of {now.total:,}{' or more' * now.walking} files")

    began = time.perf_counter()
    with _indexer(root, files, progress) as indexer:
        _settle(indexer)
        seconds = time.perf_counter() - began
        known = indexer.index.stats()
        resident_mb = {"before": before["resident_mb"], "indexed": _resident_mb(), "peak": _peak_mb()}
        front_s = time.process_time() - before["cpu_s"]
    # Counted once they have ended.
    workers_s = sum(os.times()[2:4])
    return {
        "files": known.files,
        "chunks": known.chunks,
        "symbols": known.roots[0].symbols,
        "skipped": known.roots[0].skipped,
        "seconds": round(seconds, 2),
        "files_per_s": round(known.files / seconds, 1),
        "cpu_ms_a_file": {
            "front": round(front_s * 1000 / known.files, 2),
            "workers": round(workers_s * 1000 / known.files, 2),
        },
        "database_mb": megabytes(known.roots[0].database_bytes),
        "resident_mb": resident_mb,
    }


def warm_start(root: str, files: int, note: Note) -> dict[str, Any]:
    """A new process with the database there: until a search finds everything, and until every file was looked at."""
    note("warm start")
    before = _load_libraries()
    query = ["self", "return", "import"]
    began = time.perf_counter()
    with _indexer(root, files) as indexer:
        indexer.wait_loaded(_LONGEST_S)
        indexer.index.search(query, 10)
        searchable_ms = (time.perf_counter() - began) * 1000
        loaded = len(indexer.index.files())
        _settle(indexer)
        settled_ms = (time.perf_counter() - began) * 1000
        return {
            "files": loaded,
            "libraries_ms": before["libraries_ms"],
            "searchable_ms": round(searchable_ms, 1),
            "settled_ms": round(settled_ms, 1),
        }


def in_use(root: str, files: int, *, places: int, updates: int, seed: int, note: Note) -> dict[str, Any]:
    """Contexts, queries, updates and memory of a session whose folder is indexed."""
    before = _load_libraries()
    resident_mb = {"before": before["resident_mb"]}
    choose = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
    with _indexer(root, files) as indexer:
        _settle(indexer)
        # After this the check of the database is over, too, and what it needed is in memory.
        indexer.rescan()
        _settle(indexer)
        resident_mb["settled"] = _resident_mb()
        note("contexts")
        found = _contexts(indexer.index, Path(root), choose, places)
        resident_mb["asked"] = _resident_mb()
        return {
            "chunks": indexer.index.stats().chunks,
            **found,
            "update": _updates(indexer, Path(root), choose, updates, note),
            "resident_mb": {**resident_mb, "peak": _peak_mb()},
        }


# -- the session


@contextmanager
def _indexer(root: str, files: int, on_progress: Callable[[Progress], None] = lambda _: None) -> Iterator[Indexer]:
    from coder_lsp.retrieval.indexer import Indexer

    notices: list[str] = []
    # More files than the setting allows by default are no fault of the workspace here.
    indexer = Indexer([Path(root)], max_files=files, on_progress=on_progress, on_notice=notices.append)
    indexer.start()
    try:
        yield indexer
    finally:
        indexer.stop(timeout_s=30.0)
    if notices:
        raise CoderLspError(f"the index cannot be measured: {notices[0]}")


def _load_libraries() -> dict[str, float]:
    """Import what a session uses; how long that took, and what the process had spent by then."""
    began = time.perf_counter()
    import coder_lsp.retrieval.context
    import coder_lsp.retrieval.indexer
    import coder_lsp.workspace.watch  # noqa: F401  # for its cost

    libraries_ms = round((time.perf_counter() - began) * 1000, 1)
    return {"libraries_ms": libraries_ms, "cpu_s": time.process_time(), "resident_mb": _resident_mb()}


def _settle(indexer: Indexer) -> None:
    if not indexer.wait_settled(_LONGEST_S):
        raise CoderLspError(f"the index was not up to date after {_LONGEST_S:,.0f} s")


# -- contexts


def _contexts(index: Index, root: Path, choose: random.Random, count: int) -> dict[str, Any]:
    """The block, and the search within it alone, at places in different files."""
    from coder_lsp.retrieval.context import assemble
    from coder_lsp.retrieval.place import look
    from coder_lsp.retrieval.signals import CHUNKS

    places = _places(index, root, choose, count + WARM_UP)
    skipped = min(WARM_UP, len(places) // 2)
    context_ms, cpu_ms, query_ms, empty = [], [], [], 0
    for path, text, cursor in places:
        began, cpu_began = time.perf_counter(), time.thread_time()
        with index.request():
            snippets = assemble(index, root, path, text, cursor, budget=BUDGET_TOKENS)
        cpu_ms.append((time.thread_time() - cpu_began) * 1000)
        context_ms.append((time.perf_counter() - began) * 1000)
        empty += not snippets
    for path, text, cursor in places:
        terms = look(text, cursor).terms
        own = index.number(root, path)
        exclude = [own] if own is not None else []
        began = time.perf_counter()
        index.search(list(terms), CHUNKS, weights=list(terms.values()), exclude=exclude)
        query_ms.append((time.perf_counter() - began) * 1000)
    return {
        "places": len(places) - skipped,
        "empty": empty,
        "query_ms": spread(query_ms[skipped:]),
        "context_ms": spread(context_ms[skipped:]),
        # What it would be if nothing else ran on this machine, roughly.
        "context_cpu_ms": spread(cpu_ms[skipped:]),
    }


def _places(index: Index, root: Path, choose: random.Random, count: int) -> list[tuple[str, str, int]]:
    """(path, text, cursor) in the middle of lines that say something, each of another file."""
    paths = sorted(file.path for _, file in index.files() if file.lines >= _LEAST_LINES)
    found = []
    for path in choose.sample(paths, min(count, len(paths))):
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")
        told = [number for number, line in enumerate(lines) if len(line.strip()) > 1]
        if told:
            number = choose.choice(told)
            indentation = len(lines[number]) - len(lines[number].lstrip())
            column = choose.randrange(indentation + 1, max(indentation + 2, len(lines[number])))
            found.append((path, text, sum(len(line) + 1 for line in lines[:number]) + column))
    return found


# -- updates


def _updates(indexer: Indexer, root: Path, choose: random.Random, count: int, note: Note) -> dict[str, Any]:
    """Milliseconds from a change until a search finds it: on disk, on disk with a word from the editor, unsaved."""

    def on_disk(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")

    def saved_in_editor(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        indexer.touch(path)

    ways = {"on_disk_ms": on_disk, "saved_in_editor_ms": saved_in_editor, "unsaved_ms": indexer.set_overlay}
    paths = sorted(file.path for _, file in indexer.index.files())
    taken = choose.sample(paths, min(count, len(paths)))
    figures: dict[str, Any] = {"count": len(taken)}
    for way, change in ways.items():
        note(f"updates, {way.removesuffix('_ms')}")
        figures[way] = spread(
            [_update(indexer, change, root / path, f"{way}_{turn}") for turn, path in enumerate(taken)]
        )
    return figures


def _update(indexer: Indexer, change: Callable[[Path, str], None], path: Path, name: str) -> float:
    """Add a word that is nowhere else, and look for it until it is found."""
    word = f"never_written_before_{name}"
    text = path.read_text(encoding="utf-8", errors="replace") + f"\n{word}\n"
    began = time.perf_counter()
    change(path, text)
    while not _finds(indexer.index, [word]):
        if time.perf_counter() - began > _UPDATE_S:
            raise CoderLspError(f"a change of {path} was not in the index after {_UPDATE_S:.0f} s")
        time.sleep(_LOOK_S)
    took_ms = (time.perf_counter() - began) * 1000
    indexer.wait_settled(_UPDATE_S)
    return took_ms


def _finds(index: Index, query: Sequence[str]) -> bool:
    return bool(index.search(query, 1))


# -- memory


def _resident_mb() -> float:
    return megabytes(psutil.Process().memory_info().rss)


def _peak_mb() -> float:
    """Of this process alone. Not ``ru_maxrss`` on Linux: it begins with what the parent had when it started us."""
    on_windows = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if on_windows is not None:
        return megabytes(on_windows)
    status = Path("/proc/self/status")
    if status.exists():
        peak = status.read_text(encoding="ascii", errors="replace").partition("VmHWM:")[2]
        return megabytes(int(peak.split()[0]) * 1024)
    import resource

    return megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
