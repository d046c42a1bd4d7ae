"""The history of suggestions on disk: one SQLite file (WAL) in the state folder, readable by the user alone.

Several windows write to it at once. A damaged file is set aside and a new one begun; one of an older version is brought
up to this one's, and one of a newer version is left as it is. What cannot be written raises :class:`HistoryError` and
the caller (``recorder``) keeps it. Bounded by rows and by age. Holds numbers and the fixed words of ``events``, nothing
else: there is no column for text.
"""

from __future__ import annotations

import array
import contextlib
import logging
import os
import sqlite3
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING

from coder_lsp.completion.show_filter import FEATURE_VERSION, FEATURES
from coder_lsp.errors import CoderLspError
from coder_lsp.paths import state_dir
from coder_lsp.stats.events import Fate, Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_ROWS = 50_000
"""About 15 MB, and a year of a busy programmer."""
MAX_AGE_DAYS = 400

_SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""SQLite's words about a damaged schema quote it, and Python cannot make an error of words that are not UTF-8."""
_BUSY_S = 2.0
_SPARE_ROWS = 500
"""So many too many are kept until the next pruning."""
_WAL_LIMIT_BYTES = 4 << 20
_COLUMNS = tuple(field.name for field in fields(Shown))
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("int", "bool"), int),
    **dict.fromkeys(("str", "Fate"), str),
    "float": (int, float),
    "tuple[float, ...]": bytes,
}
"""What a column of each field holds. SQLite keeps any value in any column, so one changed bit makes a number a text."""
_STEPS: tuple[str, ...] = (
    """
    CREATE TABLE shown (
        number INTEGER PRIMARY KEY AUTOINCREMENT, feature_version INTEGER NOT NULL, key INTEGER NOT NULL,
        at INTEGER NOT NULL, language TEXT NOT NULL, shape TEXT NOT NULL, source TEXT NOT NULL,
        automatic INTEGER NOT NULL, fate TEXT NOT NULL, accepted_characters INTEGER NOT NULL,
        reported INTEGER NOT NULL, shown_ms REAL NOT NULL, latency_ms REAL NOT NULL, prefill_ms REAL NOT NULL,
        decode_ms REAL NOT NULL, characters INTEGER NOT NULL, lines INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        reused_tokens INTEGER NOT NULL, evaluated_tokens INTEGER NOT NULL, generated_tokens INTEGER NOT NULL,
        features BLOB NOT NULL, weight REAL NOT NULL
    );
    CREATE UNIQUE INDEX shown_key ON shown (key);
    """,
)
"""What makes version 1 of an empty file, version 2 of version 1 and so on. A step that was released never changes:
files that it made are out there.
"""
SCHEMA_VERSION = len(_STEPS)
_WRITE = (
    f"INSERT INTO shown (feature_version, {', '.join(_COLUMNS)}) "  # noqa: S608  (our own names)
    f"VALUES ({', '.join('?' * (1 + len(_COLUMNS)))}) ON CONFLICT (key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "key")
)
_READ = f"SELECT feature_version, {', '.join(_COLUMNS)} FROM shown WHERE at >= ? ORDER BY number"  # noqa: S608  (same)


class HistoryError(CoderLspError):
    """The history cannot be read or written now."""


def history_path() -> Path:
    return state_dir() / "suggestions.sqlite3"


class History:
    """One connection, made when it is first needed; for one thread at a time.

    ``on_notice`` is told what the user may want to know, such as a damaged file that was set aside.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_rows: int = MAX_ROWS,
        on_notice: Callable[[str], None] = logger.warning,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path or history_path()
        self._max_rows = max_rows
        self._on_notice = on_notice
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._opened_as: os.stat_result | None = None
        self._until_pruning = 0

    def write(self, rows: Sequence[Shown]) -> None:
        """Add rows, or replace those with the same keys, in one transaction.

        :raises HistoryError: nothing was written.
        """
        values = [_to_columns(row) for row in rows]
        with self._access() as database:
            with database:
                database.executemany(_WRITE, values)
            self._until_pruning -= len(values)
            if self._until_pruning <= 0:
                self._prune(database)

    def read(self, *, days: float | None = None) -> list[Shown]:
        """Rows of the last ``days``, the oldest first. Features of another version are left out of them.

        :raises HistoryError: it cannot be read. There is no file: an empty list, and none is made.
        """
        if self._database is None and not self.path.exists():
            return []
        since = self._clock() - 86_400 * days if days is not None else 0
        with self._access() as database:
            return [row for columns in database.execute(_READ, (since,)) if (row := _from_columns(columns)) is not None]

    def forget(self) -> int:
        """Delete everything, also what was set aside; returns how many rows there were.

        Emptied, not unlinked: other windows have the file open and would go on writing to what nobody can read.
        """
        if self._database is None and not self.path.exists():
            _delete(_aside(self.path))
            return 0
        with self._access() as database:
            database.execute("PRAGMA secure_delete = ON")
            with database:
                count = database.execute("DELETE FROM shown").rowcount
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        _delete(_aside(self.path))
        return count

    def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    @contextlib.contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        """The open database. A damaged one is replaced, and what was tried counts as failed; trying again helps."""
        try:
            yield self._database or self._open()
        except _SQLITE_ERRORS as error:
            if self._database is not None:
                self._look_whether_newer(self._database)
            damaged = _is_damage(error)
            if damaged:
                self._replace()
            else:
                self.close()
            raise HistoryError(
                f"cannot use {self.path}: {error}",
                hint="it was set aside, try again" if damaged else "free disk space, or allow writing there",
            ) from error
        except OSError as error:
            self.close()
            raise HistoryError(f"cannot use {self.path}: {error.strerror or error}") from error

    def _look_whether_newer(self, database: sqlite3.Connection) -> None:
        """A newer coder-lsp may have changed the tables while we had them open: that looks like damage and is none."""
        try:
            self._refuse_newer(database)
        except HistoryError:
            self.close()
            raise
        except _SQLITE_ERRORS:
            pass  # damage, then

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except _SQLITE_ERRORS as error:
            if not _is_damage(error):
                raise
        self._replace()
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Before SQLite makes it with the umask's mode; -wal and -shm take over this one's.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self.path.chmod(0o600)
        self._opened_as = self.path.stat()
        # Autocommit; transactions begin where a `with database` does. Made in one thread and used in another.
        database = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False)
        try:
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        self._database = database
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        self._refuse_newer(database)
        database.execute("PRAGMA journal_mode = WAL").fetchall()
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        self._bring_up_to_date(database)
        # Reads every page's checks; some ten milliseconds for a full history, once a session.
        (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError("database disk image is malformed")
        database.execute(_READ, (sys.maxsize,)).fetchall()

    def _refuse_newer(self, database: sqlite3.Connection) -> None:
        version = _version(database)
        if version > SCHEMA_VERSION:
            raise HistoryError(
                f"{self.path} has the format {version} of a newer coder-lsp; this one knows {SCHEMA_VERSION}",
                hint="restart the editor if coder-lsp was updated while it ran; else update coder-lsp",
            )

    def _bring_up_to_date(self, database: sqlite3.Connection) -> None:
        """The steps that are missing, all or none of them; killed in between, the file is what it was."""
        if _version(database) == SCHEMA_VERSION:
            return
        # Two windows may come here at once: the second one waits, and looks again at what the first has left.
        database.execute("BEGIN IMMEDIATE")
        try:
            version = _version(database)
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version < 0 or (tables and not version):
                raise sqlite3.DatabaseError("database disk image is malformed: it says no version")
            # Not executescript(): it would commit before each.
            for statement in "".join(_STEPS[version:]).split(";"):
                database.execute(statement)
            # Between the two looks a newer one may have come.
            if version < SCHEMA_VERSION:
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute("COMMIT")
        except BaseException:
            database.rollback()
            raise
        self._refuse_newer(database)

    def _replace(self) -> None:
        """Set a damaged file aside, unless another window did so since we opened it."""
        self.close()
        with contextlib.suppress(OSError):
            if self._opened_as is None or not os.path.samestat(self._opened_as, self.path.stat()):
                return
            # One is kept: it may be worth a look, and a disk that damages files must not fill up with them.
            self.path.replace(_aside(self.path))
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._on_notice(f"the statistics were damaged; they begin anew, the old file is {_aside(self.path)}")

    def _prune(self, database: sqlite3.Connection) -> None:
        self._until_pruning = min(_SPARE_ROWS, max(1, self._max_rows // 10))
        oldest = int(self._clock() - 86_400 * MAX_AGE_DAYS)
        with database:
            database.execute("DELETE FROM shown WHERE at < ?", (oldest,))
            database.execute(
                "DELETE FROM shown WHERE number <= (SELECT number FROM shown ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (self._max_rows,),
            )


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HistoryError(f"cannot delete {path}: {error.strerror}") from error


def _is_damage(error: Exception) -> bool:
    """By message: codes exist from Python 3.11 on."""
    message = str(error)
    signs = ("malformed", "not a database", "no such table", "no such column", "file format", "decode")
    return any(sign in message for sign in signs)


def _to_columns(row: Shown) -> tuple[object, ...]:
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["fate"] = row.fate.value
    values["features"] = _little_endian(array.array("f", row.features)).tobytes()
    return FEATURE_VERSION, *values.values()


def _from_columns(columns: tuple[object, ...]) -> Shown | None:
    """None for a row that no version of ours wrote."""
    version, *rest = columns
    values = dict(zip(_COLUMNS, rest, strict=True))
    if not all(isinstance(values[field.name], _KINDS[str(field.type)]) for field in fields(Shown)):
        return None
    packed = array.array("f")
    try:
        packed.frombytes(values["features"])  # type: ignore[arg-type]
        values["fate"] = Fate(values["fate"])
    except (TypeError, ValueError):
        return None
    known = version == FEATURE_VERSION and len(packed) == len(FEATURES)
    values["features"] = tuple(_little_endian(packed)) if known else ()
    values["automatic"], values["reported"] = bool(values["automatic"]), bool(values["reported"])
    return Shown(**values)  # type: ignore[arg-type]  # the columns are its fields


def _little_endian(values: array.array[float]) -> array.array[float]:
    if sys.byteorder == "big":
        values.byteswap()
    return values
