"""The database file of one root's index: where it is, how it is made, opened and replaced, what can be wrong with it.

One SQLite file (WAL) in the user's cache folder, readable by the user alone. One that is damaged, of another format or
made by another version is replaced, one that is not ours is moved aside. Whatever a database cannot do becomes a
:class:`StoreError` with one of three faults here: damaged (look again, then make a new one), unwritable (go on in
memory), busy (try again). Knows the schema and no query; ``store`` has those.

Every window of an editor has the same database open. ``alone`` is the lock under which it is opened, replaced, written
and checkpointed. One that is replaced while others have it open lives on for them without a name, as an open file does
(Windows refuses, and we go on in memory); ``identity`` tells whether the one at the path is still the one that was
opened, so that nobody takes away what another session has just made.
"""

from __future__ import annotations

import contextlib
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
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION = 2
FILE_NAME = "index.sqlite3"
APPLICATION_ID = 0x434C5350
""""CLSP": what tells our databases from others."""

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""SQLite's words about a damaged schema quote it, and Python cannot make an error of words that are not UTF-8."""

_BUSY_MS = 10_000
_LOOK_S = 0.005
"""How often a lock that another session holds is tried: a batch is written in a few milliseconds."""
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
    """The database cannot do what was asked of it; ``fault`` says what helps, ``found`` what damage was met."""

    def __init__(self, fault: Fault, message: str, *, found: str = "") -> None:
        super().__init__(message)
        self.fault = fault
        self.found = found


@dataclass(frozen=True)
class Database:
    """``writer`` is for one thread at a time; ``replaced`` is why the database before this one had to go, or empty."""

    path: Path
    writer: sqlite3.Connection
    reader: sqlite3.Connection
    replaced: str
    identity: tuple[int, int]
    """Of the file, as ``identity_of`` says."""


def database_path(root: Path) -> Path:
    """Where the index of a root is; the root is known by its real path."""
    real = os.path.realpath(root)
    key = hashlib.blake2b(os.fsencode(real), digest_size=16).hexdigest()
    return paths.cache_dir() / "index" / key / FILE_NAME


def open_database(path: Path, *, root: Path, made_by: str) -> Database:
    """Open or make the database of a root; one that ``made_by`` did not make, or that is damaged, is replaced.

    StoreError (unwritable or busy) if there can be none at this place.
    """
    # Two windows of an editor start at once: one makes or replaces the database, the other one waits.
    with alone(path):
        try:
            path.parent.chmod(0o700)
            return _open_locked(path, root, made_by)
        except OSError as error:
            raise _cannot_write(path, error) from error


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """While this lasts, no other session opens, replaces, writes or checkpoints this database; all may read.

    SQLite's own locks keep writers apart, but until 3.51.3 two connections that write and checkpoint at the same
    moment could damage the file (https://sqlite.org/wal.html#walresetbug), and replacing has no lock of SQLite's.
    """
    import filelock

    lock = filelock.FileLock(path.with_name("lock"), timeout=_BUSY_MS / 1000, mode=0o600)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire(poll_interval=_LOOK_S)
    except filelock.Timeout as error:
        raise StoreError(Fault.BUSY, f"another process holds {path.parent}") from error
    except (OSError, NotImplementedError) as error:
        raise _cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()


def identity_of(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, None if there is none. A file that somebody has open keeps its number to itself."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def connect_writer(path: Path) -> sqlite3.Connection:
    """One more connection to a database that was opened before, for one who is ``alone``."""
    writer = _plain(path)
    _tune(writer)
    return writer


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, and sees what was committed."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    timeout = _BUSY_MS / 1000
    reader = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    reader.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
    reader.execute("SELECT count(*) FROM meta").fetchone()
    return reader


def delete_database(path: Path) -> None:
    """With what SQLite keeps beside it. OSError or StoreError if that cannot be done now."""
    if path.parent.is_dir():
        with alone(path):
            unlink_database(path)


def unlink_database(path: Path) -> None:
    """The same for one who is ``alone``. The database goes first: where it cannot go, all has to stay."""
    for part in database_parts(path):
        part.unlink(missing_ok=True)


def database_parts(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]


def fault_of(error: Exception, path: Path, *, writing: bool) -> StoreError:
    """Only what says that the content is wrong is damage; the message never quotes any of the content."""
    # A value that cannot be written is wrong, too, but not the database.
    if damage := damage_in(error) if isinstance(error, sqlite3.Error) or not writing else "":
        return StoreError(Fault.DAMAGED, f"{path} is damaged: {damage}", found=damage)
    message = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
    if "interrupted" in message:
        return StoreError(Fault.BUSY, f"reading {path} was interrupted")
    if any(sign in message for sign in _BUSY_SIGNS):
        return StoreError(Fault.BUSY, f"{path} is locked by another process")
    return StoreError(Fault.UNWRITABLE, f"cannot {'write' if writing else 'read'} {path}: {message}")


def damage_in(error: Exception) -> str:
    """What an error says of the content of a database: that it is damaged, and how. Empty for all other errors.

    By message, because codes exist from Python 3.11 on. SQLite's messages are the same in all languages.
    """
    if isinstance(error, sqlite3.Error):
        message = str(error)
        if "decode" in message:  # Python's, which quotes the text.
            return "a text is not UTF-8"
        return message if any(sign in message for sign in _DAMAGE_SIGNS) else ""
    # Of JSON and text that was read; what cannot be encoded comes from outside.
    decoding = isinstance(error, ValueError) and not isinstance(error, UnicodeEncodeError)
    return "a value cannot be read" if decoding or isinstance(error, TypeError) else ""


_DAMAGE_SIGNS = (
    "malformed",  # SQLITE_CORRUPT
    "not a database",  # SQLITE_NOTADB
    "file format",
    "no such table",
    "no such column",
    "too big",  # a length that no row of ours has
    "JSON cannot hold BLOB",  # a column of the wrong type
)
_BUSY_SIGNS = ("locked", "busy", "locking protocol", "schema has changed")


def _cannot_write(path: Path, error: BaseException) -> StoreError:
    return StoreError(Fault.UNWRITABLE, f"cannot write {path.parent}: {_reason(error)}")


def _open_locked(path: Path, root: Path, made_by: str) -> Database:
    replaced = _obstacle(path)
    if replaced:
        _set_aside(path)
    try:
        writer = _connect(path, root, made_by)
    except _Unusable:
        writer, replaced = _connect_again(path, root, made_by)
    try:
        reader = open_reader(path)
    except SQLITE_ERRORS as error:
        writer.close()
        raise fault_of(error, path, writing=True) from error
    identity = identity_of(path)
    assert identity is not None  # it is open, and we are alone
    return Database(path, writer, reader, replaced, identity)


def _connect_again(path: Path, root: Path, made_by: str) -> tuple[sqlite3.Connection, str]:
    """After one that cannot be used: if a second look, on a new connection, finds the same, make another one."""
    try:
        return _connect(path, root, made_by), ""
    except _Unusable as unusable:
        reason = str(unusable)
        if unusable.foreign:
            _set_aside(path)
        else:
            unlink_database(path)
    try:
        return _connect(path, root, made_by), reason
    except _Unusable as again:  # What was just made cannot be read back: not a place to keep things.
        raise StoreError(Fault.UNWRITABLE, f"cannot write {path}: {again}") from again


class _Unusable(Exception):
    """A database that has to go; ``foreign`` ones are not ours to delete."""

    def __init__(self, reason: str, *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.foreign = foreign


def _connect(path: Path, root: Path, made_by: str) -> sqlite3.Connection:
    _make_private(path)
    writer = _plain(path)
    try:
        _prepare(writer, root, made_by)
    except SQLITE_ERRORS as error:
        writer.close()
        damage = damage_in(error)
        if not damage:
            raise fault_of(error, path, writing=True) from error
        raise _Unusable(f"it was damaged ({damage})") from error
    except BaseException:
        writer.close()
        raise
    return writer


def _plain(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)


def _tune(writer: sqlite3.Connection) -> None:
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA synchronous = NORMAL")
    writer.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    # By itself a checkpoint would begin when the transaction, and with it SQLite's lock, has ended; see ``alone``.
    writer.execute("PRAGMA wal_autocheckpoint = 0")


def _make_private(path: Path) -> None:
    """Before SQLite makes it with the umask's mode; -wal and -shm take over this one's.

    One that is there is never opened: closing it again would end the locks that another connection of this process
    holds on it (https://sqlite.org/howtocorrupt.html §2.2).
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        path.chmod(0o600)


def _prepare(writer: sqlite3.Connection, root: Path, made_by: str) -> None:
    (application,) = writer.execute("PRAGMA application_id").fetchone()
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    (tables,) = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise _Unusable("it was not an index of ours", foreign=True)
    if tables and version != SCHEMA_VERSION:
        raise _Unusable(f"it had the format {version}, and this version knows {SCHEMA_VERSION}")
    _tune(writer)
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
    unlink_database(path)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
