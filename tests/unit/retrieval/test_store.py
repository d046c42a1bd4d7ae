"""The database of one root: what is kept, what is replaced, and every way in which its file can be unusable."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.records import record

from coder_lsp.retrieval import database
from coder_lsp.retrieval.database import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Fault,
    StoreError,
    alone,
    database_path,
    delete_database,
    fault_of,
    identity_of,
)
from coder_lsp.retrieval.store import SkippedFile, Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "index" / "key" / "index.sqlite3"


def open_store(path, made_by="test 1"):
    return Store.open(path, root=path.parent, made_by=made_by)


@pytest.fixture
def store(path):
    opened = open_store(path)
    yield opened
    opened.close()


def everything(store):
    files = list(store.load())
    return (
        files,
        store.load_skipped(),
        [
            (
                file.path,
                store.texts([file.path]).get(file.path),
                store.definitions_in(file.path),
                store.imports_in([file.path]),
            )
            for file in files
        ],
    )


def names(found):
    return sorted((path, symbol[0]) for path, symbol in found)


def test_a_file_comes_back_as_it_was_written(store):
    written = record("a/b.py", names=("f", "g"), modules=("os", "a.b"))
    store.write([written])
    [file] = store.load()
    assert (file.path, file.digest, file.terms, file.chunks) == ("a/b.py", written.digest, b"terms", b"")
    assert store.file("a/b.py") == file
    assert tuple(store.definitions_in("a/b.py")) == written.symbols
    assert tuple(store.imports_in(["a/b.py"])["a/b.py"]) == written.imports
    assert store.texts(["a/b.py", "b"])["a/b.py"][1].lines() == written.text.decode().split("\n")


def test_writing_a_file_again_replaces_all_of_it(store):
    store.write([record("a.py", names=("f", "g", "h"), modules=("os",)), record("b.py", names=("f",))])
    store.write([record("a.py", "x = 1\n", names=("new",))])
    assert names(store.definitions(["f", "g", "h", "new"], limit=9)) == [("a.py", "new"), ("b.py", "f")]
    assert store.imports_in(["a.py"]) == {}
    assert store.texts(["a.py"])["a.py"][1].lines() == ["x = 1", ""]
    assert store.counts() == {"symbols": 2, "imports": 0, "skipped": 0}


def test_a_removed_file_leaves_nothing(store):
    store.write([record("a.py", modules=("os",)), record("b.py", names=("g",))])
    store.write(removed=["a.py", "never.py"])
    assert [file.path for file in store.load()] == ["b.py"]
    assert store.definitions(["f"], limit=9) == []
    assert (store.texts(["a.py"]), store.file("a.py"), store.definitions_in("a.py")) == ({}, None, [])
    assert store.counts() == {"symbols": 1, "imports": 0, "skipped": 0}


def test_a_file_is_either_kept_or_skipped(store):
    store.write([record("a.py")])
    store.write(skipped=[SkippedFile("a.py", 5, 6, "binary")])
    assert list(store.load()) == []
    assert store.load_skipped() == [SkippedFile("a.py", 5, 6, "binary")]
    store.write([record("a.py")])
    assert store.load_skipped() == []
    store.write(skipped=[SkippedFile("a.py", 5, 6, "binary")])
    store.write(removed=["a.py"])
    assert store.load_skipped() == []


def test_an_unchanged_file_gets_its_new_stamp(store):
    store.write([record("a.py")])
    store.write(stamps=[("a.py", 7, 8)])
    [file] = store.load()
    assert (file.size_bytes, file.mtime_ns, file.terms) == (7, 8, b"terms")


def test_definitions_of_a_common_name_are_capped_and_of_each_name_found(store):
    store.write([record(f"{number}.py", names=("main", f"only{number}")) for number in range(50)])
    found = store.definitions(["main", "only7", "only9", "none"], limit=5)
    assert sorted(symbol[0] for _, symbol in found) == ["main"] * 5 + ["only7", "only9"]


def test_names_with_quotes_and_other_letters_are_only_names(store):
    odd = ("it's", 'say "x"', "größe", "名前", "a\\b", "%", "")
    store.write([record("ünï/名.py", names=odd)])
    assert names(store.definitions(odd, limit=5)) == sorted(("ünï/名.py", name) for name in odd)


def test_a_failing_batch_changes_nothing(store):
    store.write([record("a.py")])
    before = everything(store)
    broken = record("c.py", names=("x",))
    object.__setattr__(broken, "text", object())
    with pytest.raises(StoreError):
        store.write([record("a.py", "other\n"), broken], removed=["a.py"])
    assert everything(store) == before


def test_the_reader_sees_the_last_commit_while_a_batch_is_written(store):
    store.write([record("a.py", names=("old",))])
    store._writer.execute("BEGIN IMMEDIATE")
    store._writer.execute("DELETE FROM symbols")
    assert names(store.definitions(["old"], limit=5)) == [("a.py", "old")]
    store._writer.execute("ROLLBACK")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_only_the_user_can_read_any_of_it(path):
    old = os.umask(0)
    try:
        store = open_store(path)
    finally:
        os.umask(old)
    store.write([record("a.py")])
    modes = {part.name: stat.S_IMODE(part.stat().st_mode) for part in path.parent.iterdir()}
    assert {name for name in modes if name != "lock"} == {f"index.sqlite3{end}" for end in ("", "-wal", "-shm")}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.close()


def test_a_root_has_one_path_however_it_is_reached(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "project")
    assert database_path(tmp_path / "link") == database_path(tmp_path / "project")
    assert database_path(tmp_path) != database_path(tmp_path / "project")


def test_the_database_says_whose_it_is(store, path):
    rows = dict(sqlite3.connect(path).execute("SELECT * FROM meta"))
    assert rows == {"root": os.path.realpath(path.parent), "made_by": "test 1"}


def test_a_database_is_kept_from_session_to_session(path):
    store = open_store(path)
    store.write([record("a.py")])
    before = everything(store)
    store.close()
    again = open_store(path)
    assert again.replaced == ""
    assert everything(again) == before
    again.close()


def test_two_sessions_write_the_same_rows(path):
    one, two = open_store(path), open_store(path)
    for store in (one, two, one):
        store.write([record("a.py", names=("f", "g"))], skipped=[SkippedFile("b.py", 1, 1, "binary")])
    assert everything(one) == everything(two)
    assert one.counts() == {"symbols": 2, "imports": 0, "skipped": 1}
    one.close()
    two.close()


def test_a_closed_store_says_so_by_its_fault(path):
    store = open_store(path)
    store.close()
    with pytest.raises(StoreError) as raised:
        store.write([record("a.py")])
    assert raised.value.fault is Fault.UNWRITABLE


# -- several sessions


def test_a_further_session_leaves_the_locks_of_the_first(path):
    """A database that was opened and closed beside SQLite lost the locks of this process: whoever closed it last then,
    in another process, took away the log that this one was writing.
    """
    one = open_store(path)
    one.write([record("a.py")])
    two = open_store(path)
    log = identity_of(path.with_name("index.sqlite3-wal"))
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute('SELECT path FROM files').fetchall())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[('a.py',)]\n"
    assert identity_of(path.with_name("index.sqlite3-wal")) == log
    one.write([record("b.py")])
    assert [file.path for file in two.load()] == ["a.py", "b.py"]
    one.close()
    two.close()


def test_what_one_session_throws_away_another_goes_on_with(path):
    one, two = open_store(path), open_store(path)
    two.write([record("a.py")])
    one.delete()
    assert two.is_replaced
    two.write([record("b.py")])
    assert [file.path for file in two.load()] == ["a.py", "b.py"]
    assert two.examine(thoroughly=True) == ""
    two.close()


def test_a_session_does_not_throw_away_what_another_has_made_in_its_place(path):
    one, two = open_store(path), open_store(path)
    one.delete()
    new = open_store(path)
    new.write([record("new.py")])
    two.delete()
    assert not new.is_replaced
    new.close()
    again = open_store(path)
    assert [file.path for file in again.load()] == ["new.py"]
    again.close()


def test_who_writes_waits_for_who_writes_checkpoints_or_replaces(store, path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_MS", 50)
    with alone(path), pytest.raises(StoreError) as raised:
        store.write([record("a.py")])
    assert raised.value.fault is Fault.BUSY
    with alone(path), pytest.raises(StoreError):
        delete_database(path)
    store.write([record("a.py")])
    assert [file.path for file in store.load()] == ["a.py"]


def test_the_log_is_emptied_by_who_writes_and_never_by_itself(store, path):
    """SQLite's own checkpoints begin after its lock is let go: two sessions could meet in one (fixed in 3.51.3)."""
    assert store._writer.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    for number in range(40):
        store.write([record(f"{number % 5}.py", terms=bytes(1 << 20))])
    assert path.with_name("index.sqlite3-wal").stat().st_size < 16 << 20
    assert path.stat().st_size > 4 << 20


def test_a_store_that_is_opened_again_has_the_same_rows(store):
    store.write([record("a.py")])
    before = everything(store)
    store.suspicion = "something"
    store.reopen()
    assert everything(store) == before
    store.write([record("b.py")])
    assert (len(list(store.load())), store.suspicion) == (2, "")


# -- what is damage


def _raised(statement):
    try:
        sqlite3.connect(":memory:").execute(statement).fetchall()
    except sqlite3.Error as error:
        return error
    raise AssertionError(statement)


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.DatabaseError("database disk image is malformed"),
        sqlite3.DatabaseError("malformed database schema (files)"),
        sqlite3.DatabaseError("file is not a database"),
        _raised("SELECT * FROM files"),
        _raised("SELECT CAST(x'ff' AS TEXT)"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ValueError("3 lines, and 2 were written"),
    ],
)
def test_only_wrong_content_is_damage(error):
    assert fault_of(error, Path("x"), writing=False).fault is Fault.DAMAGED


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (sqlite3.OperationalError("database is locked"), Fault.BUSY),
        (sqlite3.OperationalError("database table is locked: files"), Fault.BUSY),
        (sqlite3.OperationalError("locking protocol"), Fault.BUSY),
        (sqlite3.OperationalError("database schema has changed"), Fault.BUSY),
        (sqlite3.OperationalError("interrupted"), Fault.BUSY),
        (sqlite3.OperationalError("disk I/O error"), Fault.UNWRITABLE),
        (sqlite3.OperationalError("unable to open database file"), Fault.UNWRITABLE),
        (sqlite3.OperationalError("attempt to write a readonly database"), Fault.UNWRITABLE),
        (sqlite3.OperationalError("database or disk is full"), Fault.UNWRITABLE),
        (sqlite3.OperationalError("cannot start a transaction within a transaction"), Fault.UNWRITABLE),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), Fault.UNWRITABLE),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), Fault.UNWRITABLE),
    ],
)
@pytest.mark.parametrize("writing", [True, False])
def test_nothing_else_is_damage(error, fault, writing):
    """While reading, all of these once cost the database."""
    assert fault_of(error, Path("x"), writing=writing).fault is fault


def test_what_is_said_of_damage_quotes_nothing():
    said = fault_of(_raised("SELECT CAST(x'736563726574ff' AS TEXT)"), Path("x"), writing=False)
    assert said.message == "x is damaged: a text is not UTF-8"


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        ("UPDATE texts SET text = x'00'", "a value cannot be read"),
        ("UPDATE files SET lines = 99", "a value cannot be read"),
        ("UPDATE imports SET names = '['", "a value cannot be read"),
        ("UPDATE imports SET names = '5'", "a value cannot be read"),
        ("UPDATE imports SET aliases = '[[1, 2]]'", "a value cannot be read"),
        ("UPDATE imports SET module = x'00'", "a value cannot be read"),
        ("UPDATE symbols SET start_line = 'x'", "a value cannot be read"),
        ("UPDATE files SET path = x'00'", "a value cannot be read"),
        ("INSERT INTO skipped VALUES (x'00', 1, 1, '')", "a value cannot be read"),
        ("UPDATE symbols SET signature = CAST(x'ff' AS TEXT)", "a text is not UTF-8"),
        ("DELETE FROM texts", "a value cannot be read"),
        ("DELETE FROM terms", "a value cannot be read"),
    ],
)
def test_a_thorough_look_reads_every_value(store, spoil, found):
    store.write([record("a.py", modules=("os",))])
    assert store.examine(thoroughly=True) == ""
    store._writer.execute(spoil)
    assert store.examine(thoroughly=True) == found
    assert store.examine() == ""


# -- databases that cannot be used


def _is_new(store):
    assert list(store.load()) == []
    store.write([record("a.py")])
    assert [file.path for file in store.load()] == ["a.py"]
    store.close()


def _filled(path):
    store = open_store(path)
    chance = random.Random(1)
    for number in range(200):
        words = [f"name_{chance.randrange(10**9)}" for _ in range(30)]
        store.write([record(f"{number}.py", "\n".join(words), names=words, terms=chance.randbytes(3000))])
    store.close()


def test_a_zero_length_file_becomes_a_database(path):
    path.parent.mkdir(parents=True)
    path.touch()
    store = open_store(path)
    assert store.replaced == ""
    _is_new(store)


def test_a_file_that_is_no_database_is_replaced(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 1000)
    store = open_store(path)
    assert store.replaced == "it was damaged (file is not a database)"
    _is_new(store)


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1, 2**31 - 1])
def test_a_database_of_another_format_is_replaced(path, version):
    _filled(path)
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {version}")
    database.close()
    store = open_store(path)
    assert store.replaced == f"it had the format {version}, and this version knows {SCHEMA_VERSION}"
    _is_new(store)


def test_a_database_of_another_version_of_the_program_is_replaced(path):
    _filled(path)
    store = open_store(path, made_by="test 2")
    assert store.replaced == "another version had made it"
    _is_new(store)


def test_a_database_of_another_program_is_moved_aside_unharmed(path):
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
        database.execute("INSERT INTO theirs VALUES (42)")
    database.close()
    store = open_store(path)
    assert store.replaced == "it was not an index of ours"
    _is_new(store)
    aside = sqlite3.connect(path.with_name("index.sqlite3.aside1"))
    assert aside.execute("SELECT x FROM theirs").fetchall() == [(42,)]
    aside.close()


def test_our_mark_without_our_tables_is_damage(path):
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as database:
        database.executescript(
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; CREATE TABLE files (x)"
        )
    database.close()
    store = open_store(path)
    assert store.replaced == "it was damaged (no such table: meta)"
    _is_new(store)


def test_a_folder_in_its_place_is_moved_aside(path):
    path.mkdir(parents=True)
    (path / "kept").touch()
    store = open_store(path)
    assert store.replaced == "something else was in its place"
    _is_new(store)
    assert (path.with_name("index.sqlite3.aside1") / "kept").exists()


def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    _is_new(open_store(path))
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_is_found_or_harmless(path, seed):
    """512 bytes of noise at a random place: opening, reading or checking says so, or every row still can be read."""
    _filled(path)
    chance = random.Random(seed)
    with path.open("r+b") as file:
        file.seek(chance.randrange(path.stat().st_size - 512))
        file.write(chance.randbytes(512))
    fault = _fault_in(path)
    assert fault in (None, Fault.DAMAGED)
    store = open_store(path)
    if fault:
        store.delete()
        store = open_store(path)
    if fault or store.replaced:
        _is_new(store)
    store.close()


def _fault_in(path):
    """What opening, reading or checking finds; a database that was replaced has none."""
    store = open_store(path)
    try:
        everything(store)
        store.definitions([f"name_{number}" for number in range(60)], limit=9)
        if store.examine():
            return Fault.DAMAGED
    except StoreError as error:
        return error.fault
    finally:
        store.close()
    return None


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_database_is_found_out(path, keep):
    _filled(path)
    os.truncate(path, int(path.stat().st_size * keep))
    fault = _fault_in(path)
    store = open_store(path)
    assert fault is Fault.DAMAGED or list(store.load()) == []
    store.close()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_unwritable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError) as raised:
        open_store(tmp_path / "index" / "index.sqlite3")
    assert raised.value.fault is Fault.UNWRITABLE
    tmp_path.chmod(0o700)


def test_a_file_where_the_folder_should_be_is_unwritable(tmp_path):
    (tmp_path / "index").write_text("")
    with pytest.raises(StoreError) as raised:
        open_store(tmp_path / "index" / "index.sqlite3")
    assert raised.value.fault is Fault.UNWRITABLE


def test_a_full_database_is_unwritable_and_still_read(store):
    store.write([record("a.py")])
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError) as raised:
        store.write([record("b.py", terms=b"x" * 100_000)])
    assert raised.value.fault is Fault.UNWRITABLE
    assert "full" in raised.value.message
    assert [file.path for file in store.load()] == ["a.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX")
def test_a_disk_that_refuses_to_grow_is_unwritable(path):
    script = """
        import resource, signal, sys
        from pathlib import Path
        from support.records import record
        from coder_lsp.retrieval.database import StoreError
        from coder_lsp.retrieval.store import Store
        store = Store.open(Path(sys.argv[1]), root=Path("/"), made_by="x")
        store.write([record("a.py")])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            store.write([record("b.py", terms=b"x" * (2 << 20))])
        except StoreError as error:
            print(error.fault.value, [file.path for file in store.load()])
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.stdout == "unwritable ['a.py']\n", done.stderr
