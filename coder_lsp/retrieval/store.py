"""The durable truth of the index: what is known of the files of one root, in its database.

Holds, for each indexed file, its text, terms, chunks, definitions and imports, and the stamp (size, time, digest) that
says whether the disk has gone on; and the files that were refused, so that a warm start does not read them again.
Everything about one file is replaced in one transaction. Raises :class:`~coder_lsp.retrieval.database.StoreError` and
nothing else. What to index and when is the indexer's business.

One connection writes, on one thread at a time; a second one only reads and serves the event loop meanwhile. Other
sessions write the same rows: what is read may be newer than what this session has taken in.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from coder_lsp.retrieval.database import (
    Fault,
    StoreError,
    alone,
    connect_writer,
    database_parts,
    fault_of,
    identity_of,
    open_database,
    open_reader,
    unlink_database,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from coder_lsp.retrieval.database import Database

T = TypeVar("T")

_ROWS_A_FETCH = 200

_CHECKPOINT_BYTES = 4 << 20
"""What is written between two checkpoints, about: SQLite's own measure, a thousand pages."""
_ROW_BYTES = 32 << 10
"""Of pages that a file's rows touch, beside its text and terms."""

# A row of `symbols` or `imports` is numbered by its file and its place in it. The rows of one file lie together that
# way and are found and deleted by range, with no second index.
_SHIFT = 20
_MOST_ROWS = 1 << _SHIFT

# One row, so that the interpreter lock is let go and taken back once and not for every definition: while another
# thread computes, each taking back costs up to a switch interval.
_DEFINITIONS = f"""
SELECT json_group_array(json_array(f.path, s.name, s.kind, s.parent, s.signature, s.doc, s.start_line, s.end_line))
FROM json_each(?1) AS n
JOIN symbols AS s ON s.id IN (SELECT id FROM symbols WHERE name = n.value ORDER BY id LIMIT ?2)
JOIN files AS f ON f.id = s.id >> {_SHIFT}
"""  # noqa: S608  # the number of bits, not input


SymbolRow = tuple[str, str, str, str, str, int, int]
"""name, kind, parent, signature, doc, start_line, end_line"""
ImportRow = tuple[str, int, int, str, str]
"""module, level, line, names and aliases in JSON"""

# What the columns hold, as they are asked for.
_FILE = (str, int, int, bytes, str, str, int, bytes, bytes)
_SKIPPED = (str, int, int, str)
_SYMBOL = (str, str, str, str, str, int, int)
_IMPORT = (str, int, int, str, str)


@dataclass(frozen=True)
class FileRecord:
    """Everything that is kept of one file."""

    path: str
    size_bytes: int
    mtime_ns: int
    digest: bytes
    language: str
    package: str
    lines: int
    chunks: bytes
    terms: bytes
    text: bytes
    """UTF-8. Compressed it would take a third of the room, and a question that reads 25 files twice the time."""
    symbols: tuple[SymbolRow, ...]
    imports: tuple[ImportRow, ...]


@dataclass(frozen=True)
class StoredText:
    """The text of a file as it is written down, which takes a third of the memory of its lines."""

    packed: bytes
    """UTF-8."""
    count: int
    """Of its lines."""

    def lines(self) -> list[str]:
        r"""What lies between its ``\n``.

        :raises ValueError, TypeError: damaged.
        """
        lines = str(self.packed, "utf-8").split("\n")
        if len(lines) != self.count:
            raise ValueError(f"{len(lines)} lines, and {self.count} were written")
        return lines


@dataclass(frozen=True)
class StoredFile:
    """What is loaded of a file when a session begins."""

    path: str
    size_bytes: int
    mtime_ns: int
    digest: bytes
    language: str
    package: str
    lines: int
    chunks: bytes
    terms: bytes


@dataclass(frozen=True)
class SkippedFile:
    """A file that was read and refused."""

    path: str
    size_bytes: int
    mtime_ns: int
    reason: str


class Store:
    """An open database. ``replaced`` is why the one before it had to go, empty if it did not."""

    def __init__(self, database: Database) -> None:
        self.path = database.path
        self.replaced = database.replaced
        self.suspicion = ""
        """What looked like damage since the connections were opened, empty if nothing did."""
        self._identity = database.identity
        self._log_bytes = 0
        self._writer = database.writer
        self._reader = database.reader
        self._reading = threading.Lock()
        self._closed = False
        self._checking: sqlite3.Connection | None = None

    @classmethod
    def open(cls, path: Path, *, root: Path, made_by: str) -> Store:
        """The store of a root; StoreError (unwritable or busy) if there can be none."""
        return cls(open_database(path, root=root, made_by=made_by))

    # -- what the indexing thread does

    def load(self) -> Iterator[StoredFile]:
        """All files in the order of their ids, without their texts."""
        query = """
            SELECT f.path, f.size_bytes, f.mtime_ns, f.digest, f.language, f.package, f.lines, t.chunks, t.terms
            FROM files AS f JOIN terms AS t ON t.file = f.id ORDER BY f.id
        """
        with self._faults(writing=False):
            cursor = self._writer.execute(query)
            while rows := cursor.fetchmany(_ROWS_A_FETCH):
                for row in rows:
                    yield StoredFile(*_as_written(row, _FILE))

    def load_skipped(self) -> list[SkippedFile]:
        with self._faults(writing=False):
            rows = self._writer.execute("SELECT path, size_bytes, mtime_ns, reason FROM skipped").fetchall()
            return [SkippedFile(*_as_written(row, _SKIPPED)) for row in rows]

    def write(
        self,
        records: Sequence[FileRecord] = (),
        *,
        skipped: Sequence[SkippedFile] = (),
        stamps: Sequence[tuple[str, int, int]] = (),
        removed: Collection[str] = (),
    ) -> None:
        """All or nothing of it, in one transaction. ``stamps`` are (path, size_bytes, mtime_ns) of unchanged files."""

        def statements(run: sqlite3.Connection) -> None:
            for path in [*removed, *(file.path for file in skipped)]:
                self._delete_file(run, path)
            run.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?, ?)", map(_skipped_row, skipped))
            run.executemany(
                "UPDATE files SET size_bytes = ?2, mtime_ns = ?3 WHERE path = ?1",
                stamps,
            )
            for record in records:
                self._replace_file(run, record)

        with self._faults(writing=True), alone(self.path):
            self._transaction(statements)
            self._checkpoint(sum(_ROW_BYTES + len(record.text) + len(record.terms) for record in records))

    def examine(self, *, thoroughly: bool = False) -> str:
        """What is wrong with the file, empty if nothing is found: its structure, and ``thoroughly`` every value.

        On a connection of its own, so that other threads go on and nothing is blamed on the database that an old
        connection has got wrong; ``close`` ends it early. A database that is not at its path any more is not looked at.
        """
        try:
            with self._faults(writing=False):
                with alone(self.path):
                    if self.is_replaced:
                        return ""
                    connection = open_reader(self.path)
                with contextlib.closing(connection):
                    self._checking = connection
                    try:
                        connection.execute("BEGIN")
                        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                        if found != "ok":
                            return " ".join(found.replace("*** in database main ***", "").split())
                        if thoroughly:
                            _read_all(connection)
                    finally:
                        self._checking = None
        except StoreError as error:
            return error.found
        return ""

    @property
    def is_replaced(self) -> bool:
        """Whether another session has put another database in the place of this one, which lives on without a name."""
        return identity_of(self.path) != self._identity

    def reopen(self) -> None:
        """New connections to the same database. StoreError if there can be none; then the old ones are closed."""
        with self._faults(writing=True), alone(self.path), self._reading:
            if self.is_replaced:
                raise StoreError(Fault.UNWRITABLE, f"{self.path} is another one")
            self._close_connections()
            self._writer = connect_writer(self.path)
            self._reader = open_reader(self.path)
            self.suspicion = ""

    def close(self) -> None:
        """Later calls raise StoreError (unwritable)."""
        checking = self._checking
        if checking:
            with contextlib.suppress(sqlite3.Error):
                checking.interrupt()
        with self._reading:
            self._closed = True
            self._close_connections()

    def delete(self) -> None:
        """Close and remove the file, so that the next ``open`` makes a new one; never another session's new one."""
        self.close()
        with contextlib.suppress(OSError, StoreError), alone(self.path):
            if not self.is_replaced:
                unlink_database(self.path)

    # -- what any thread may ask

    def definitions(self, names: Collection[str], *, limit: int) -> list[tuple[str, SymbolRow]]:
        """(path, symbol) of the definitions that have one of the names, at most ``limit`` a name."""

        def read(run: sqlite3.Connection) -> list[tuple[str, SymbolRow]]:
            row = run.execute(_DEFINITIONS, (json.dumps(list(names)), limit)).fetchone()
            return [(path, _as_written(symbol, _SYMBOL)) for path, *symbol in json.loads(row[0])]

        return self._read(read)

    def definitions_in(self, path: str, parent: str | None = None) -> list[SymbolRow]:
        query = f"""
            SELECT name, kind, parent, signature, doc, start_line, end_line FROM symbols
            WHERE id BETWEEN (SELECT id << {_SHIFT} FROM files WHERE path = ?1)
                         AND (SELECT (id + 1 << {_SHIFT}) - 1 FROM files WHERE path = ?1)
              AND (?2 IS NULL OR parent = ?2)
            ORDER BY id
        """  # noqa: S608  # the number of bits, not input

        def read(run: sqlite3.Connection) -> list[SymbolRow]:
            return [_as_written(row, _SYMBOL) for row in run.execute(query, (path, parent))]

        return self._read(read)

    def imports_in(self, paths: Collection[str]) -> dict[str, list[ImportRow]]:
        """Path -> its imports, by line, of those files that have some."""
        query = f"""
            SELECT f.path, i.module, i.level, i.line, i.names, i.aliases
            FROM json_each(?) AS p JOIN files AS f ON f.path = p.value
            JOIN imports AS i ON i.id BETWEEN f.id << {_SHIFT} AND (f.id + 1 << {_SHIFT}) - 1
            ORDER BY i.id
        """  # noqa: S608  # the number of bits, not input

        def read(run: sqlite3.Connection) -> dict[str, list[ImportRow]]:
            found: dict[str, list[ImportRow]] = {}
            for path, *row in run.execute(query, (json.dumps(list(paths)),)):
                found.setdefault(path, []).append(_as_written(row, _IMPORT))
            return found

        return self._read(read)

    def texts(self, paths: Collection[str]) -> dict[str, tuple[bytes, StoredText]]:
        """Path -> digest and text, of those files that are here."""
        query = """
            SELECT f.path, f.digest, f.lines, t.text
            FROM json_each(?) AS p JOIN files AS f ON f.path = p.value JOIN texts AS t ON t.file = f.id
        """

        def read(run: sqlite3.Connection) -> dict[str, tuple[bytes, StoredText]]:
            rows = run.execute(query, (json.dumps(list(paths)),)).fetchall()
            found = {path: (digest, StoredText(text, lines)) for path, digest, lines, text in rows}
            for _, text in found.values():
                text.lines()  # damage shows here
            return found

        return self._read(read)

    def file(self, path: str) -> StoredFile | None:
        query = """
            SELECT f.path, f.size_bytes, f.mtime_ns, f.digest, f.language, f.package, f.lines, t.chunks, t.terms
            FROM files AS f JOIN terms AS t ON t.file = f.id WHERE f.path = ?
        """

        def read(run: sqlite3.Connection) -> StoredFile | None:
            row = run.execute(query, (path,)).fetchone()
            return StoredFile(*_as_written(row, _FILE)) if row else None

        return self._read(read)

    def counts(self) -> dict[str, int]:
        """Rows of the tables that a user may ask about."""
        query = "SELECT (SELECT count(*) FROM symbols), (SELECT count(*) FROM imports), (SELECT count(*) FROM skipped)"
        symbols, imports, skipped = self._read(lambda run: run.execute(query).fetchone())
        return {"symbols": symbols, "imports": imports, "skipped": skipped}

    def size_bytes(self) -> int:
        total = 0
        for part in database_parts(self.path):
            with contextlib.suppress(OSError):
                total += part.stat().st_size
        return total

    # -- how

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        with self._reading, self._faults(writing=False):
            return query(self._reader)

    def _transaction(self, statements: Callable[[sqlite3.Connection], None]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            statements(self._writer)
            self._writer.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already.
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            raise

    def _checkpoint(self, written_bytes: int) -> None:
        """From time to time, by one who is ``alone``: what is committed goes from the log into the file."""
        self._log_bytes += written_bytes
        if self._log_bytes >= _CHECKPOINT_BYTES:
            self._log_bytes = 0
            # What is committed is committed. A disk that is full says so at the next transaction.
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _close_connections(self) -> None:
        # The writer last: it takes the log along if no other session has the database open.
        for connection in (self._reader, self._writer):
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _replace_file(self, run: sqlite3.Connection, record: FileRecord) -> None:
        run.execute(
            """
            INSERT INTO files (path, size_bytes, mtime_ns, digest, language, package, lines)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns,
                digest = excluded.digest, language = excluded.language, package = excluded.package,
                lines = excluded.lines
            """,
            (
                record.path,
                record.size_bytes,
                record.mtime_ns,
                record.digest,
                record.language,
                record.package,
                record.lines,
            ),
        )
        (file,) = run.execute("SELECT id FROM files WHERE path = ?", (record.path,)).fetchone()
        first = file << _SHIFT
        self._delete_rows(run, file)
        run.execute("DELETE FROM skipped WHERE path = ?", (record.path,))
        run.execute("INSERT OR REPLACE INTO terms VALUES (?, ?, ?)", (file, record.chunks, record.terms))
        run.execute("INSERT OR REPLACE INTO texts VALUES (?, ?)", (file, record.text))
        run.executemany(
            "INSERT INTO symbols VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(first + number, *symbol) for number, symbol in enumerate(record.symbols[:_MOST_ROWS])],
        )
        run.executemany(
            "INSERT INTO imports VALUES (?, ?, ?, ?, ?, ?)",
            [(first + number, *imported) for number, imported in enumerate(record.imports[:_MOST_ROWS])],
        )

    def _delete_file(self, run: sqlite3.Connection, path: str) -> None:
        run.execute("DELETE FROM skipped WHERE path = ?", (path,))
        row = run.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
        if row:
            self._delete_rows(run, row[0])
            run.execute("DELETE FROM terms WHERE file = ?", row)
            run.execute("DELETE FROM texts WHERE file = ?", row)
            run.execute("DELETE FROM files WHERE id = ?", row)

    def _delete_rows(self, run: sqlite3.Connection, file: int) -> None:
        rows = (file << _SHIFT, (file + 1 << _SHIFT) - 1)
        run.execute("DELETE FROM symbols WHERE id BETWEEN ? AND ?", rows)
        run.execute("DELETE FROM imports WHERE id BETWEEN ? AND ?", rows)

    @contextlib.contextmanager
    def _faults(self, *, writing: bool) -> Iterator[None]:
        if self._closed:
            raise StoreError(Fault.UNWRITABLE, f"{self.path} is closed")
        try:
            yield
        # ValueError and TypeError: damaged JSON or a column of the wrong type.
        except (sqlite3.Error, ValueError, TypeError) as error:
            fault = fault_of(error, self.path, writing=writing)
            self.suspicion = fault.found or self.suspicion
            raise fault from error


def names_in(packed: str) -> tuple[str, ...]:
    """The names of an import.

    :raises ValueError: damaged.
    """
    names = json.loads(packed)
    if not _are_texts(names):
        raise ValueError("no names")
    return tuple(names)


def aliases_in(packed: str) -> tuple[tuple[str, str], ...]:
    """Pairs of another name and the name that it stands for.

    :raises ValueError: damaged.
    """
    pairs = json.loads(packed)
    if not isinstance(pairs, list) or not all(_are_texts(pair) and len(pair) == 2 for pair in pairs):
        raise ValueError("no pairs")
    return tuple((name, original) for name, original in pairs)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _as_written(row: Sequence[Any], kinds: tuple[type, ...]) -> Any:
    """A row as it was written. SQLite keeps any value in any column, so one changed bit makes a number a text.

    :raises TypeError: damaged.
    """
    if tuple(map(type, row)) != kinds:
        raise TypeError("a value of another type")
    return tuple(row)


def _read_all(run: sqlite3.Connection) -> None:
    """Every value as it is read in use; ValueError, TypeError or sqlite3.Error where that cannot be done."""
    for row in run.execute("SELECT name, kind, parent, signature, doc, start_line, end_line FROM symbols"):
        _as_written(row, _SYMBOL)
    for row in run.execute("SELECT path, size_bytes, mtime_ns, reason FROM skipped"):
        _as_written(row, _SKIPPED)
    for row in run.execute("SELECT module, level, line, names, aliases FROM imports"):
        _as_written(row, _IMPORT)
        names_in(row[3]), aliases_in(row[4])
    query = """
        SELECT f.path, f.size_bytes, f.mtime_ns, f.digest, f.language, f.package, f.lines, t.chunks, t.terms, x.text
        FROM files AS f LEFT JOIN texts AS x ON x.file = f.id LEFT JOIN terms AS t ON t.file = f.id
    """
    for *row, text in run.execute(query):
        _as_written(row, _FILE)
        StoredText(text, row[6]).lines()


def _skipped_row(file: SkippedFile) -> tuple[str, int, int, str]:
    return (file.path, file.size_bytes, file.mtime_ns, file.reason)
