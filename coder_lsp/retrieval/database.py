"""The database file of one root's index: where it is, how it is made, opened and replaced, what can be wrong with it.

One SQLite file (WAL) in the user's cache folder, readable by the user alone. One that is damaged, of another format or
made by another version is replaced, one that is not ours is moved aside. Whatever a database cannot do becomes a
:class:`StoreError` with one of three faults here: damaged (make a new one), unwritable (go on in memory), busy (try
again). Knows the schema and no query; ``store`` has those.
"""

from __future__ import annotations

import enum
import hashlib
import os
import sqlite3
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp import paths
from coder_lsp.errors import CoderLspError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 2
FILE_NAME = "index.sqlite3"
APPLICATION_ID = 0x434C5350
""""CLSP": what tells our databases from others."""

_BUSY_MS = 10_000
_WAL_LIMIT_BYTES = 32 << 20
_READER_CACHE_KIB = 8192

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL, language TEXT NOT NULL, package TEXT NOT NULL, lines INTEGER NOT NULL
);
CREATE TABLE terms (file INTEGER PRIMARY KEY, chunks BLOB NOT NULL, terms BLOB NOT NULL);
CREATE TABLE texts (file INTEGER PRIMARY KEY, text BLOB NOT NULL);
CREATE TABLE symbols (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, parent TEXT NOT NULL, signature TEXT NOT NULL,
    doc TEXT NOT NULL, start_line INTEGER NOT NULL, end_line INTEGER NOT NULL
);
CREATE INDEX symbols_name ON symbols (name);
CREATE TABLE imports (
    id INTEGER PRIMARY KEY, module TEXT NOT NULL, level INTEGER NOT NULL, line INTEGER NOT NULL, names TEXT NOT NULL,
    aliases TEXT NOT NULL
);
CREATE TABLE skipped (
    path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
"""


class Fault(enum.Enum):
    """What is wrong with a database."""

    DAMAGED = "damaged"
    UNWRITABLE = "unwritable"
    BUSY = "busy"


class StoreError(CoderLspError):
    """The database cannot do what was asked of it; ``fault`` says what helps."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True)
class Database:
    """``writer`` is for one thread at a time; ``replaced`` is why the database before this one had to go, or empty."""

    path: Path
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    replaced: str


def database_path(root: Path) -> Path:
    """Where the index of a root is; the root is known by its real path."""
    real = os.path.realpath(root)
    key = hashlib.blake2b(os.fsencode(real), digest_size=16).hexdigest()
    return paths.cache_dir() / "index" / key / FILE_NAME


def open_database(path: Path, *, root: Path, made_by: str) -> Database:
    """Open or make the database of a root; one that ``made_by`` did not make, or that is damaged, is replaced.

    StoreError (unwritable or busy) if there can be none at this place.
    """
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        # Two windows of an editor start at once: one makes or replaces the database, the other one waits.
        with filelock.FileLock(path.with_name("lock"), timeout=_BUSY_MS / 1000, mode=0o600):
            return _open_locked(path, root, made_by)
    except filelock.Timeout as error:
        raise StoreError(Fault.BUSY, f"another process holds {path.parent}") from error
    except (OSError, NotImplementedError) as error:
        raise StoreError(Fault.UNWRITABLE, f"cannot write {path.parent}: {_reason(error)}") from error


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, and sees what was committed."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    timeout = _BUSY_MS / 1000
    reader = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    reader.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
    reader.execute("SELECT count(*) FROM meta").fetchone()
    return reader


def delete_database(path: Path) -> None:
    """With what SQLite keeps beside it."""
    for part in database_parts(path):
        part.unlink(missing_ok=True)


def database_parts(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def fault_of(error: Exception, path: Path, *, writing: bool) -> StoreError:
    """By message: codes exist from Python 3.11 on."""
    message = str(error)
    if "locked" in message or "busy" in message:
        return StoreError(Fault.BUSY, f"{path} is locked by another process")
    if "interrupted" in message:
        return StoreError(Fault.BUSY, f"reading {path} was interrupted")
    damaged = ("malformed", "not a database", "decode", "no such table", "no such column", "file format")
    if not writing or any(sign in message for sign in damaged):
        return StoreError(Fault.DAMAGED, f"{path} is damaged")
    return StoreError(Fault.UNWRITABLE, f"cannot write {path}: {message}")


def _open_locked(path: Path, root: Path, made_by: str) -> Database:
    replaced = _obstacle(path)
    if replaced:
        _set_aside(path)
    try:
        writer = _connect(path, root, made_by)
    except _Unusable as unusable:
        replaced = str(unusable)
        if unusable.foreign:
            _set_aside(path)
        else:
            delete_database(path)
        try:
            writer = _connect(path, root, made_by)
        except _Unusable as again:  # What was just made cannot be read back: not a place to keep things.
            raise StoreError(Fault.UNWRITABLE, f"cannot write {path}: {again}") from again
    try:
        reader = open_reader(path)
    except sqlite3.Error as error:
        writer.close()
        raise fault_of(error, path, writing=True) from error
    return Database(path, writer, reader, replaced)


class _Unusable(Exception):
    """A database that has to go; ``foreign`` ones are not ours to delete."""

    def __init__(self, reason: str, *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.foreign = foreign


def _connect(path: Path, root: Path, made_by: str) -> sqlite3.Connection:
    # Before SQLite makes it with the umask's mode; -wal and -shm take over this one's.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    writer = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        _prepare(writer, root, made_by)
    except sqlite3.Error as error:
        writer.close()
        fault = fault_of(error, path, writing=True)
        if fault.fault is not Fault.DAMAGED:
            raise fault from error
        raise _Unusable("it was damaged") from error
    except BaseException:
        writer.close()
        raise
    return writer


def _prepare(writer: sqlite3.Connection, root: Path, made_by: str) -> None:
    (application,) = writer.execute("PRAGMA application_id").fetchone()
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    (tables,) = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise _Unusable("it was not an index of ours", foreign=True)
    if tables and version != SCHEMA_VERSION:
        raise _Unusable(f"it had the format {version}, and this version knows {SCHEMA_VERSION}")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = NORMAL")
    writer.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    if not tables:
        header = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        writer.executescript(f"BEGIN IMMEDIATE; {header} {_SCHEMA} COMMIT;")
        rows = {"root": os.fsencode(os.path.realpath(root)).decode(errors="replace"), "made_by": made_by}
        writer.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
    found = writer.execute("SELECT value FROM meta WHERE key = 'made_by'").fetchone()
    if not found or found[0] != made_by:
        raise _Unusable("another version had made it")
    # Names every table and column that is used, so that a damaged schema shows now.
    for table in ("files", "terms", "texts", "symbols", "imports", "skipped"):
        writer.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()  # noqa: S608  # our own names


def _obstacle(path: Path) -> str:
    """What stands where the database should be and is no file, or empty."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    return "" if stat.S_ISREG(mode) else "something else was in its place"


def _set_aside(path: Path) -> None:
    """Out of the way, under the first name that is free."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.aside{number}")
        if not os.path.lexists(aside):
            path.rename(aside)
            break
    delete_database(path)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
