"""The index kept in step with a real disk: first and warm starts, changes, open documents, and what goes wrong."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time

import pytest
from support import reading_jobs
from support.projects import Hands, becomes, contents, difference, make

from coder_lsp.retrieval.bm25 import tokenize
from coder_lsp.retrieval.database import SCHEMA_VERSION, Fault, StoreError, database_path, identity_of
from coder_lsp.retrieval.indexer import Indexer
from coder_lsp.retrieval.store import Store

PATIENCE_S = 60
LONG_AGO_NS = 1_600_000_000_000_000_000


@pytest.fixture
def root(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


class Session:
    """An indexer with what it said."""

    def __init__(self, roots, **options):
        self.progress, self.notices = [], []
        options = {"workers": 2, "watch": "off", **options}
        self.indexer = Indexer(roots, on_progress=self.progress.append, on_notice=self.notices.append, **options)
        self.index = self.indexer.index
        self.indexer.start()

    def settle(self):
        assert self.indexer.wait_settled(PATIENCE_S)
        return self

    def stop(self):
        """To the end, however slow this machine is."""
        self.indexer.stop(timeout_s=PATIENCE_S)

    def paths(self):
        return sorted(file.path for _, file in self.index.files())

    def found(self, query):
        return sorted({self.index.file(hit.file).path for hit in self.index.search(tokenize(query), 99)})


@pytest.fixture
def start():
    sessions = []

    def begin(*roots, **options):
        sessions.append(Session(roots, **options))
        return sessions[-1]

    yield begin
    for session in sessions:
        session.stop()


@pytest.fixture
def fresh(start, tmp_path, monkeypatch):
    """The contents of an index that is built from nothing, in a home of its own."""

    def build(*roots, overlays=None, **options):
        with monkeypatch.context() as patch:
            patch.setenv("CODER_LSP_HOME", str(tmp_path / f"home {time.monotonic_ns()}"))
            session = start(*roots, **options).settle()
        for path, text in (overlays or {}).items():
            session.indexer.set_overlay(path, text)
        session.settle()
        return contents(session.index)

    return build


def age(root):
    """Files that were written long ago, whose times prove what they say."""
    for path in root.rglob("*"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def test_a_first_start_finds_all_and_reports_progress(start, root):
    make(root, 100)
    session = start(root).settle()
    assert len(session.paths()) == 100
    assert session.progress[-1].finished
    assert session.progress[-1].done == session.progress[-1].total == 100
    done = [progress.done for progress in session.progress]
    assert done == sorted(done)
    assert session.notices == []


def test_a_warm_start_reads_nothing_and_has_everything(start, root):
    age(make(root, 100))
    (root / "binary.py").write_bytes(b"\0" * 100)
    os.utime(root / "binary.py", ns=(LONG_AGO_NS, LONG_AGO_NS))
    session = start(root).settle()
    expected = contents(session.index)
    session.stop()
    again = start(root, job=reading_jobs.dawdle)
    assert again.indexer.wait_loaded(PATIENCE_S)
    assert difference(contents(again.index), expected).startswith("missing [], extra [], other []")
    again.settle()
    assert again.progress == []
    assert again.index.stats().roots[0].skipped == 1


def test_a_warm_start_finds_what_changed_meanwhile(start, fresh, root):
    age(make(root, 100))
    session = start(root).settle()
    session.stop()
    Hands(root, seed=5).work(60)
    again = start(root).settle()
    assert contents(again.index) == fresh(root)


def test_a_new_time_alone_costs_no_parsing(start, root):
    """As after a branch was switched and back."""
    age(make(root, 50))
    start(root).settle().stop()
    for path in root.rglob("*.*"):
        os.utime(path, ns=(LONG_AGO_NS + 10**9, LONG_AGO_NS + 10**9))
    again = start(root).settle()
    assert again.index.generation == 1
    again.stop()
    database = sqlite3.connect(database_path(root))
    assert database.execute("SELECT DISTINCT mtime_ns FROM files").fetchall() == [(LONG_AGO_NS + 10**9,)]
    database.close()


def test_a_file_rewritten_within_the_clocks_grain_is_read_again(start, root):
    path = root / "a.py"
    path.write_text("old_name = 1\n")
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    start(root).settle().stop()
    path.write_text("new_name = 1\n")
    os.utime(path, ns=(now, now))
    session = start(root).settle()
    file = session.index.number(root, "a.py")
    assert session.index.lines(file)[0] == "new_name = 1"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_operations_leave_what_a_fresh_index_has(start, fresh, root, seed):
    """Created, changed, deleted, renamed, moved, ignored, opened and closed, while the watcher watches."""
    make(root, 60, seed)
    session = start(root, watch="auto").settle()
    hands = Hands(root, seed, session.indexer)
    hands.work(1000)
    expected = fresh(root, overlays=hands.overlays)
    assert len(expected[0]) > 20
    assert becomes(session.index, expected) == ""
    session.indexer.rescan()
    session.settle()
    assert difference(contents(session.index), expected).endswith(
        "extra [], other [], names and searches equal: [True, True]"
    )
    assert contents(session.index) == expected
    for path in list(hands.overlays):
        session.indexer.clear_overlay(path)
    session.settle()
    assert contents(session.index) == fresh(root)
    session.stop()
    assert contents(start(root).settle().index) == fresh(root)
    assert session.notices == []


def test_a_touched_file_is_there_at_once(start, root):
    session = start(make(root, 40)).settle()
    (root / "saved.py").write_text("def freshly_saved():\n    return unheard_of\n")
    session.indexer.touch(root / "saved.py")
    session.settle()
    assert session.found("unheard_of") == ["saved.py"]
    (root / "saved.py").unlink()
    session.indexer.touch(root / "saved.py")
    session.settle()
    assert session.found("unheard_of") == []


def test_the_watcher_tells_of_a_save(start, root):
    session = start(make(root, 40), watch="auto").settle()
    (root / "saved.py").write_text("def freshly_saved():\n    return unheard_of\n")
    deadline = time.monotonic() + PATIENCE_S
    while session.found("unheard_of") != ["saved.py"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_changes_at_once_go_to_the_pool(start, fresh, root):
    session = start(make(root, 10)).settle()
    assert session.progress == []
    make(root, 200, seed=3)
    session.indexer.rescan()
    session.settle()
    assert session.progress[-1].finished
    assert contents(session.index) == fresh(root)


def test_what_is_ignored_excluded_or_secret_is_not_there(start, root):
    for name in ("kept.py", "ignored.py", "excluded.py", ".env", "id_rsa", "node_modules/x.js"):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("some_word = 1\n")
    (root / ".gitignore").write_text("ignored.py\n")
    session = start(root, exclude=["excluded.py"]).settle()
    assert session.paths() == ["kept.py"]
    for name in ("ignored.py", "excluded.py", ".env"):
        session.indexer.touch(root / name)
        session.indexer.set_overlay(root / name, "some_word = 2\n")
    session.settle()
    assert session.paths() == ["kept.py"]
    (root / ".gitignore").write_text("")
    session.indexer.rescan()
    session.settle()
    assert session.paths() == ["ignored.py", "kept.py"]


def test_open_documents_hide_the_disk_without_their_secrets(start, root):
    make(root, 40)
    (root / "a.py").write_text("on_disk = 1\n")
    session = start(root).settle()
    key = "AKIA" + "QX3ZP7LM2KD9WTRB"
    session.indexer.set_overlay(root / "a.py", f'typed_now = 1\r\naws_key = "{key}"\r\nlast_line = 2 \ud800\r\n')
    session.settle()
    file = session.index.number(root, "a.py")
    assert session.index.lines(file) == ["typed_now = 1", "", "last_line = 2 ?", ""]
    assert (session.found("on_disk"), session.found("typed_now")) == ([], ["a.py"])
    session.stop()
    assert key.encode() not in b"".join(path.read_bytes() for path in database_path(root).parent.iterdir())
    again = start(root).settle()
    assert (again.found("on_disk"), again.found("typed_now")) == (["a.py"], [])


def test_roots_come_and_go(start, fresh, tmp_path):
    one, two = make(tmp_path / "one", 40, 1), make(tmp_path / "two", 40, 2)
    session = start(one).settle()
    session.indexer.add_root(two)
    assert contents(session.settle().index) == fresh(one, two)
    session.indexer.remove_root(one)
    assert contents(session.settle().index) == fresh(two)
    session.indexer.remove_root(two)
    assert session.settle().paths() == []


def test_a_root_inside_another_takes_its_files(start, fresh, root):
    make(root, 40)
    inner = make(root / "inner", 10, 4)
    session = start(root).settle()
    session.indexer.add_root(inner)
    session.settle()
    assert contents(session.index) == fresh(root, inner)
    assert not [path for path in session.paths() if path.startswith("inner/")]
    session.indexer.remove_root(inner)
    session.settle()
    assert contents(session.index) == fresh(root)


def test_two_sessions_share_a_root(start, fresh, root):
    make(root, 150)
    one, two = start(root, watch="auto"), start(root, watch="auto")
    assert contents(one.settle().index) == contents(two.settle().index) == fresh(root)
    Hands(root, seed=9).work(100)
    expected = fresh(root)
    assert becomes(one.index, expected) == becomes(two.index, expected) == ""
    assert one.notices == two.notices == []


def test_a_session_that_is_behind_another_one_takes_that_for_no_damage(start, root):
    """It read the text that the other one had stored, counted its lines, and threw the database away."""
    make(root, 20)
    (root / "a.py").write_text("some_name = 1\n")
    one, two = start(root).settle(), start(root).settle()
    (root / "a.py").write_text("some_name = 1\nother_name = 2\n")
    two.indexer.touch(root / "a.py")
    two.settle()
    file = one.index.number(root, "a.py")
    assert one.index.lines(file) == ["some_name = 1", "other_name = 2", ""]
    (root / "a.py").write_text("some_name = 1\n")
    two.indexer.touch(root / "a.py")
    two.settle()
    # What was read in between was never this file's text.
    assert one.index.lines(file) == ["some_name = 1", ""]
    assert one.settle().notices == two.notices == []


def test_what_looks_like_damage_is_looked_at_again_before_anything_is_thrown_away(start, fresh, root, caplog):
    make(root, 60)
    session, other = start(root).settle(), start(root).settle()
    before = identity_of(database_path(root))
    for indexer in (session.indexer, other.indexer):
        store = indexer._roots[root].store
        # Nothing that SQLite does on request: a connection that has got something wrong.
        store.suspicion = "database disk image is malformed"
        for _ in range(20):
            indexer.index._on_damage(root, store)
    assert contents(session.settle().index) == contents(other.settle().index) == fresh(root)
    assert session.notices == other.notices == []
    assert identity_of(database_path(root)) == before
    assert [record.message for record in caplog.records if "second look found nothing wrong" in record.message] != []
    (root / "a.py").write_text("some_name = 1\n")
    session.indexer.touch(root / "a.py")
    session.settle().stop()
    assert contents(start(root).settle().index) == fresh(root)


def test_of_two_sessions_with_a_damaged_database_the_second_takes_what_the_first_made(start, fresh, root):
    make(root, 60)
    one, two = start(root).settle(), start(root).settle()
    with sqlite3.connect(database_path(root)) as database:
        database.execute("UPDATE texts SET text = x'00'")
    database.close()
    contents(one.index)
    assert becomes(one.settle().index, fresh(root)) == ""
    made = identity_of(database_path(root))
    contents(two.index)
    assert becomes(two.settle().index, fresh(root)) == ""
    assert identity_of(database_path(root)) == made
    assert [len(one.notices), len(two.notices)] == [1, 1]


def test_a_database_that_is_busy_while_it_is_loaded_is_kept(start, fresh, root, monkeypatch):
    make(root, 60)
    start(root).settle().stop()
    before = identity_of(database_path(root))
    load, failed = Store.load, []

    def busy_once(store):
        if not failed:
            failed.append(store)
            raise StoreError(Fault.BUSY, "another process writes")
        return load(store)

    monkeypatch.setattr(Store, "load", busy_once)
    session = start(root).settle()
    assert failed
    assert contents(session.index) == fresh(root)
    assert identity_of(database_path(root)) == before
    assert session.notices == []


def test_stopping_is_quick_in_the_middle_and_nothing_is_lost(start, fresh, root):
    make(root, 200)
    session = start(root, job=reading_jobs.dawdle)
    deadline = time.monotonic() + PATIENCE_S
    while not any(progress.done for progress in session.progress):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    session.indexer.stop()
    assert time.monotonic() - began < 1.1
    again = start(root).settle()
    assert contents(again.index) == fresh(root)


def test_beyond_the_limit_nothing_is_indexed_and_that_is_said_once(start, root):
    make(root, 60)
    session = start(root, max_files=50).settle()
    session.indexer.rescan()
    session.settle()
    assert len(session.paths()) == 50
    assert session.notices == [f"{root} has more than 50 source files; the rest is not indexed."]


# -- bad input


def test_a_file_that_crashes_the_parser_costs_only_itself(start, root):
    age(make(root, 60))
    (root / "hostile.py").write_text("def trap():\n    pass\n")
    session = start(root, job=reading_jobs.crash).settle()
    assert len(session.paths()) == 60
    assert session.notices == ["hostile.py crashes the parser; it is not indexed."]
    # Nor does it come near this process when it is saved.
    (root / "hostile.py").write_text("def trap():\n    return 1\n")
    session.indexer.touch(root / "hostile.py")
    session.settle()
    session.stop()
    os.utime(root / "hostile.py", ns=(LONG_AGO_NS, LONG_AGO_NS))
    again = start(root, job=reading_jobs.crash).settle()
    assert len(again.paths()) == 60


def test_files_deleted_before_they_are_read_are_simply_not_there(start, root):
    make(root, 60)
    for number in range(10):
        (root / f"fleeting{number}.py").write_text("some_name = 1\n")
    session = start(root, job=reading_jobs.delete_first).settle()
    assert len(session.paths()) == 60
    assert session.notices == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_read_once_it_can_be(start, root):
    (root / "a.py").write_text("some_name = 1\n")
    (root / "a.py").chmod(0)
    session = start(root).settle()
    assert session.paths() == []
    (root / "a.py").chmod(0o600)
    session.indexer.rescan()
    assert session.settle().paths() == ["a.py"]


def test_twenty_thousand_empty_files_take_a_moment_and_no_room(start, root):
    for folder in range(200):
        (root / f"f{folder}").mkdir()
        for number in range(100):
            (root / f"f{folder}" / f"{number}.py").touch()
    (root / "a.py").write_text("some_name = 1\n")
    began = time.monotonic()
    session = start(root).settle()
    assert time.monotonic() - began < 20
    assert session.paths() == ["a.py"]
    assert session.index.stats().roots[0].skipped == 0


def test_a_line_of_a_hundred_megabytes_is_never_read(start, root):
    with (root / "huge.js").open("wb") as file:
        file.truncate(100 << 20)
    (root / "a.py").write_text("some_name = 1\n")
    session = start(root).settle()
    session.indexer.touch(root / "huge.js")
    session.settle()
    assert session.paths() == ["a.py"]


def test_a_missing_root_is_an_empty_one(start, root):
    session = start(root / "missing").settle()
    assert session.paths() == []


def test_a_root_that_goes_takes_its_files(start, root):
    make(root, 40)
    session = start(root).settle()
    shutil.rmtree(root)
    session.indexer.rescan()
    assert session.settle().paths() == []


# -- bad databases


def settle_database(path):
    """All of it in its one file; a session that ends while its check still reads leaves a log beside it."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def spoil(path, how):
    settle_database(path)
    if how == "newer":
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        database.close()
    elif how == "no database":
        path.write_bytes(os.urandom(10_000))
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "terms":
        with sqlite3.connect(path) as database:
            database.execute("UPDATE terms SET terms = randomblob(100) WHERE file % 3 = 0")
        database.close()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pages":
        # All of it but the first pages, which hold the schema.
        with path.open("r+b") as file:
            file.seek(16 * 4096)
            file.write(os.urandom(path.stat().st_size - 16 * 4096))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("newer", "is built anew: it had the format"),
        ("no database", "is built anew: it was damaged (file is not a database)"),
        ("folder", "is built anew: something else was in its place"),
        ("pages", "and is built anew"),
        ("terms", ""),
        ("empty", ""),
    ],
)
def test_a_database_that_cannot_be_used_is_made_again_and_that_is_said_once(start, fresh, root, how, said):
    make(root, 60)
    start(root).settle().stop()
    spoil(database_path(root), how)
    session = start(root).settle()
    session.indexer.rescan()
    assert contents(session.settle().index) == fresh(root)
    assert len(session.notices) == bool(said)
    assert not said or said in session.notices[0]
    session.stop()
    again = start(root).settle()
    assert contents(again.index) == fresh(root)
    assert again.notices == []


@pytest.mark.parametrize("seed", range(4))
def test_noise_in_the_database_is_healed(start, fresh, root, seed):
    """512 bytes at a random place of the file, as a bad disk does; whatever is asked first finds it."""
    make(root, 60)
    start(root).settle().stop()
    path = database_path(root)
    settle_database(path)
    place = (seed * 7919 * 4096 + 100) % (path.stat().st_size - 512)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(os.urandom(512))
    session = start(root).settle()
    assert becomes(session.index, fresh(root)) == ""
    assert len(session.notices) <= 1


def test_damage_that_nobody_meets_is_looked_for(start, fresh, root):
    """The first page of the index of names: neither opening nor loading reads it."""
    age(make(root, 60))
    start(root).settle().stop()
    path = database_path(root)
    settle_database(path)
    database = sqlite3.connect(path)
    (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'symbols_name'").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    session = start(root)
    deadline = time.monotonic() + PATIENCE_S
    while not session.notices:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    [notice] = session.notices
    assert re.fullmatch(rf"The index of {root} was damaged \([^)]*Page {page}\b.*\) and is built anew\.", notice)
    assert contents(session.settle().index) == fresh(root)


def test_a_store_that_breaks_while_it_is_used_is_built_anew_around_open_documents(start, fresh, root):
    make(root, 60)
    session = start(root).settle()
    overlays = {root / "typed.py": "def typed_now():\n    pass\n"}
    session.indexer.set_overlay(root / "typed.py", overlays[root / "typed.py"])
    session.settle()
    with sqlite3.connect(database_path(root)) as database:
        database.execute("UPDATE texts SET text = x'00'")
    database.close()
    contents(session.index)
    assert becomes(session.index, fresh(root, overlays=overlays)) == ""
    assert session.notices == [f"The index of {root} was damaged (a value cannot be read) and is built anew."]


@pytest.mark.parametrize(
    "spoil",
    [
        # Each of them ended the step on the indexer's thread, or the completion that asked.
        "INSERT INTO skipped VALUES (x'00', 1, 1, '')",
        "UPDATE files SET path = x'00' WHERE id = 1",
        "UPDATE imports SET names = '5'",
        "UPDATE symbols SET start_line = 'x'",
    ],
)
def test_values_of_other_types_are_damage(start, fresh, root, spoil):
    age(make(root, 20))
    start(root).settle().stop()
    with sqlite3.connect(database_path(root)) as database:
        database.execute(spoil)
    database.close()
    session = start(root).settle()
    contents(session.index)
    assert becomes(session.index, fresh(root)) == ""
    assert session.notices == [f"The index of {root} was damaged (a value cannot be read) and is built anew."]


def test_a_damaged_schema_that_is_no_text_is_built_anew(start, fresh, root):
    """Python cannot make an error of SQLite's words about it, and the index was never loaded."""
    age(make(root, 20))
    start(root).settle().stop()
    with sqlite3.connect(database_path(root)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = 'CREATE x' WHERE name = 'texts'")
    database.close()
    session = start(root)
    assert session.indexer.wait_loaded(PATIENCE_S)
    session.settle()
    assert becomes(session.index, fresh(root)) == ""
    assert session.notices == [f"The index of {root} is built anew: it was damaged (a value cannot be read)."]


def test_without_a_place_for_the_database_the_index_is_in_memory(start, fresh, root, tmp_path, monkeypatch):
    make(root, 60)
    expected = fresh(root)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CODER_LSP_HOME", str(tmp_path / "file"))
    session = start(root).settle()
    assert contents(session.index) == expected
    Hands(root, seed=3, editor=session.indexer).work(100)
    session.indexer.rescan()
    session.settle()
    [notice] = session.notices
    assert notice.startswith(f"The index of {root} is kept in memory only")


def test_a_full_disk_leaves_the_index_right_and_is_said_once(start, fresh, root):
    make(root, 60)
    session = start(root).settle()
    writer = session.indexer._roots[root].store._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    make(root / "more", 100, seed=8)
    Hands(root, seed=4).work(50)
    session.indexer.rescan()
    session.settle()
    assert contents(session.index) == fresh(root)
    [notice] = session.notices
    assert "in memory only" in notice
    assert "full" in notice
    session.stop()
    assert contents(start(root).settle().index) == fresh(root)
