"""The index and the statistics on disk, damaged: bytes of a bad disk, rows nobody of ours wrote, other things instead.

A session over them goes on: what was damaged is made again or set aside, with a line a person can read, and in the end
everything is found as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.engine import Check, target
from fuzz.lsp import watched
from fuzz.model_records import well_typed
from fuzz.mutations import changed, changes
from hypothesis import strategies as st
from support.histories import AT, row
from support.projects import QUERIES, make

from coder_lsp.retrieval.indexer import Indexer
from coder_lsp.stats.events import Fate, Shown
from coder_lsp.stats.page import page
from coder_lsp.stats.store import History, HistoryError
from coder_lsp.stats.summary import summarise

_PATIENCE_SECONDS = 30.0
_LONG_AGO_NS = 1_600_000_000_000_000_000
"""Files that were written long ago are believed to be as their times say."""

odd_values = st.sampled_from(
    [
        None,
        "",
        "x",
        "a/b.py",
        "../x.py",
        "\x00",
        0,
        -1,
        2**62,
        1e300,
        b"",
        b"\x00" * 9,
        b"\xff" * 64,
        "[1]",
        "{",
        "é" * 999,
    ]
) | st.binary(max_size=80)


def faults(columns: dict[str, list[str]]) -> st.SearchStrategy[Any]:
    """Other bytes, other rows, another file beside it, or no database."""
    names = st.sampled_from([(table, column) for table, listed in columns.items() for column in listed])
    cells = st.lists(st.tuples(names, st.integers(0, 20), odd_values), min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.just("bytes"), changes(most=6, within=1 << 17)),
        st.tuples(st.just("cells"), cells),
        st.tuples(st.just("cells"), cells),
        st.tuples(st.just("drop"), st.sampled_from([table for table, _ in [(t, 0) for t in columns]])),
        st.tuples(st.just("beside"), st.sampled_from(["-wal", "-shm", "-journal"]), st.binary(max_size=200)),
        st.tuples(st.just("noise"), st.binary(max_size=200)),
        st.tuples(st.just("header"), st.sampled_from(["user_version", "application_id"]), st.integers(0, 9)),
        st.sampled_from([("folder",), ("absent",), ("foreign",), ("link",)]),
    )


def spoil(path: Path, whole: bytes, kind: str, *given: Any) -> None:
    """The database at a path, with something wrong."""
    shutil.rmtree(path.parent)
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
        return
    if kind == "absent":
        return
    if kind == "link":
        path.symlink_to(path.parent / "nowhere" / "x")
        return
    path.write_bytes(changed(whole, *given) if kind == "bytes" else given[0] if kind == "noise" else whole)
    if kind == "beside":
        path.with_name(path.name + given[0]).write_bytes(given[1])
    if kind in {"cells", "drop", "header", "foreign"}:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            if kind == "cells":
                for (table, column), number, value in given[0]:
                    where = f"rowid = {number} OR {number} > 15" if table in {"files", "terms", "texts"} else "1"
                    with contextlib.suppress(sqlite3.Error):
                        database.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {where}", (value,))
            elif kind == "drop":
                database.execute(f"DROP TABLE {given[0]}")
            elif kind == "header":
                database.execute(f"PRAGMA {given[0]} = {given[1]}")
            else:
                database.execute("PRAGMA application_id = 77")
                database.execute("CREATE TABLE theirs (x)")


INDEX_COLUMNS = {
    "meta": ["key", "value"],
    "files": ["path", "size_bytes", "mtime_ns", "digest", "language", "package", "lines"],
    "terms": ["chunks", "terms"],
    "texts": ["text"],
    "symbols": ["name", "kind", "parent", "signature", "doc", "start_line", "end_line"],
    "imports": ["module", "level", "line", "names", "aliases"],
    "skipped": ["path", "size_bytes", "mtime_ns", "reason"],
}


class Session:
    """An indexer over a root, used as completions use it."""

    def __init__(self, root: Path, database: Path) -> None:
        self.notices: list[str] = []
        self.indexer = Indexer(
            [root], workers=1, watch="off", on_notice=self.notices.append, database=lambda _: database, made_by="fuzz"
        )

        self.indexer.start()
        assert self.indexer.wait_loaded(_PATIENCE_SECONDS)

    def close(self) -> None:
        self.indexer.stop(timeout_s=_PATIENCE_SECONDS)

    def used(self) -> list[str]:
        """Everything is asked for; the paths that are found."""
        index = self.indexer.index
        for query in QUERIES[:12]:
            for hit in index.search(query, 20):
                index.lines(hit.file, hit.chunk.start_line, hit.chunk.end_line)
            index.definitions(query)
        found = dict(index.files())
        index.imports_of(found)
        for file in found:
            index.definitions_in(file)
            index.lines(file)
        index.stats()
        return sorted(known.path for known in found.values())

    def settled(self) -> list[str]:
        """What damage is found on the way is mended on the indexer's thread."""
        for _ in range(4):
            assert self.indexer.wait_settled(_PATIENCE_SECONDS)
            found = self.used()
        assert self.indexer.wait_settled(_PATIENCE_SECONDS)
        return found


@target("index-database", faults(INDEX_COLUMNS), share=25, round_inputs=300)
def index_database(folder: Path) -> Iterator[Check]:
    root = make(folder / "root", 12)
    (root / "binary.py").write_bytes(b"\0" * 100)
    for path in root.rglob("*"):
        os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
    database = folder / "cache" / "index.sqlite3"
    with contextlib.closing(Session(root, database)) as session:
        expected = session.settled()
        assert len(expected) == 12
    with contextlib.closing(sqlite3.connect(database)) as log:
        # Who closes last takes the log into the file, and that may have been a look at it that was ended early.
        log.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    whole = database.read_bytes()

    def check(given: tuple[Any, ...]) -> None:
        spoil(database, whole, *given)
        with watched() as watch:
            with contextlib.closing(Session(root, database)) as session:
                session.used()
                assert session.settled() == expected, session.notices
                said = session.notices
            assert not watch.harm, watch.harm
        assert len(set(said)) == len(said) <= 3, said
        assert all("\n" not in line and line.endswith(".") for line in said), said
        with contextlib.closing(Session(root, database)) as session:
            assert session.settled() == expected

    yield check


SHOWN = [
    "feature_version",
    "key",
    "at",
    "language",
    "shape",
    "fate",
    "shown_ms",
    "latency_ms",
    "characters",
    "features",
]


@target("statistics-database", faults({"shown": SHOWN}), share=60, round_inputs=500)
def statistics_database(folder: Path) -> Iterator[Check]:
    path = folder / "state" / "suggestions.sqlite3"
    with contextlib.closing(History(path)) as history:
        history.write([row(key, Fate.TYPED if key % 2 else Fate.ACCEPTED) for key in range(1, 20)])
    whole = path.read_bytes()

    def kept(history: History, new: Shown) -> list[Shown]:
        """As the recorder writes: twice, then later again. A newer version's is left alone: nothing to read."""
        said = ""
        for _ in range(3):
            with contextlib.suppress(HistoryError):
                history.write([new])
                return history.read()
            said = refused(history, new)
        assert "of a newer coder-lsp" in said, said
        return [new]

    def refused(history: History, new: Shown) -> str:
        try:
            history.write([new])
        except HistoryError as error:
            return error.message
        return ""

    def check(given: tuple[Any, ...]) -> None:
        spoil(path, whole, *given)
        said: list[str] = []
        with watched() as watch, contextlib.closing(History(path, on_notice=said.append)) as history:
            with contextlib.suppress(HistoryError):
                history.read()
            if given[0] in {"folder", "link", "header"}:
                # Not ours to remove, or a newer version's: said, and left as it is.
                with contextlib.suppress(HistoryError):
                    history.write([row(99)])
                return
            rows = kept(history, row(99, at=AT))
            assert any(each.key == 99 for each in rows)
            assert all(well_typed(each, Shown) for each in rows), [each for each in rows if not well_typed(each, Shown)]
            page(summarise(rows), None)
        assert not watch.harm, watch.harm
        assert len(said) <= 1

    yield check
