"""The history on disk: what it keeps, for how long, from how many windows, and what it survives."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.histories import AT, PLAIN, row
from support.lsp_client import environment

from coder_lsp.paths import state_dir
from coder_lsp.stats import store
from coder_lsp.stats.events import Fate, Shown
from coder_lsp.stats.store import MAX_AGE_DAYS, History, HistoryError, history_path

NOW = float(AT)


@pytest.fixture
def notices():
    return []


@pytest.fixture
def history(notices):
    with closing(History(on_notice=notices.append, clock=lambda: NOW)) as history:
        yield history


def rounded(shown: Shown) -> Shown:
    """Features are stored as 32-bit floats."""
    return replace(shown, features=tuple(pytest.approx(value, rel=1e-6) for value in shown.features))


def test_rows_come_back_as_they_were_written_the_oldest_first(history):
    rows = [
        row(7, Fate.REJECTED, language="c++", automatic=False),
        row(2**61, reported=True, weight=10.0, latency_ms=12.5, generated_tokens=9, features=()),
        row(3, Fate.TYPED),
    ]
    history.write(rows)
    assert history.read() == [rounded(each) for each in rows]


def test_a_row_with_a_known_key_replaces_the_earlier_one_in_its_place(history):
    history.write([row(1, accepted_characters=4), row(2)])
    history.write([row(1, accepted_characters=9)])
    assert [(each.key, each.accepted_characters) for each in history.read()] == [(1, 9), (2, 10)]


def test_only_the_days_asked_for(history):
    history.write([row(1, at=int(NOW) - 3 * 86_400), row(2, at=int(NOW) - 86_400)])
    assert [each.key for each in history.read(days=2)] == [2]
    assert [each.key for each in history.read()] == [1, 2]


def test_reading_where_nothing_was_written_makes_no_file(history):
    assert history.read() == []
    assert history.forget() == 0
    assert not history_path().exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_the_file_and_its_parts_are_for_the_user_alone(history):
    old = os.umask(0)
    try:
        history.write([row()])
        modes = {path.name: path.stat().st_mode & 0o777 for path in state_dir().iterdir()}
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(("suggestions.sqlite3", "suggestions.sqlite3-wal", "suggestions.sqlite3-shm"), 0o600)


def test_there_is_no_column_for_text(history):
    """Four columns of words, each out of a fixed set or cut by a pattern before it comes here; the rest are numbers."""
    words = {name for name, kind in get_type_hints(Shown).items() if kind in {str, Fate}}
    assert words == {"language", "shape", "source", "fate"}
    history.write([row()])
    with closing(sqlite3.connect(history_path())) as database:
        columns = {name: kind for _, name, kind, *_ in database.execute("PRAGMA table_info(shown)")}
    assert {name for name, kind in columns.items() if kind == "TEXT"} == words
    assert {name for name, kind in columns.items() if kind == "BLOB"} == {"features"}


def test_old_rows_and_rows_beyond_the_limit_go(notices):
    with closing(History(max_rows=100, on_notice=notices.append, clock=lambda: NOW)) as history:
        ancient = int(NOW) - (MAX_AGE_DAYS + 1) * 86_400
        history.write([row(key, at=ancient) for key in range(5)])
        history.write([row(key) for key in range(10, 250)])
        kept = [each.key for each in history.read()]
    assert len(kept) <= 110
    assert kept == list(range(250 - len(kept), 250)), "the newest"


def test_a_new_process_prunes_what_an_old_one_left(notices):
    with closing(History(max_rows=1000, clock=lambda: NOW)) as wide:
        wide.write([row(key) for key in range(200)])
    with closing(History(max_rows=50, clock=lambda: NOW)) as narrow:
        narrow.write([row(999)])
        assert len(narrow.read()) == 50


@pytest.mark.parametrize(
    "what", ["garbage", "head", "middle", "truncated", "another table", "no version", "below none"]
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(what, history, notices):
    with closing(History(clock=lambda: NOW)) as before:
        before.write([row(key) for key in range(300)])
    damage(what)
    history.write([row(7)])
    assert [each.key for each in history.read()] == [7]
    assert len(notices) == 1
    assert "set aside" in notices[0] or "begin anew" in notices[0]
    assert history_path().with_name("suggestions.sqlite3.damaged").exists()


def damage(what):
    path = history_path()
    content = bytearray(path.read_bytes())
    if what == "garbage":
        content = bytearray(b"no database at all, but long enough to be looked at" * 100)
    elif what == "head":
        content[:100] = b"\0" * 100
    elif what == "middle":
        content[4096 : len(content) // 2] = os.urandom(len(content) // 2 - 4096)
    elif what in {"no version", "below none"}:
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA user_version = {0 if what == 'no version' else -1}")
        return
    elif what == "truncated":
        del content[len(content) // 2 :]
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as other:
            other.executescript("CREATE TABLE shown (key INTEGER); PRAGMA user_version = 1;")
        return
    path.write_bytes(content)


def test_a_file_damaged_under_our_hands_costs_one_write(history, notices):
    history.write([row(key) for key in range(300)])
    with closing(sqlite3.connect(history_path())) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    history.close()
    damage("middle")
    with pytest.raises(HistoryError) if not reads_again(history) else closing(history):
        history.read()
    history.write([row(5)])
    assert [each.key for each in history.read()] == [5]
    assert len(notices) == 1


def reads_again(history):
    """Opening looks at the whole file, so damage found there is mended before anything is asked."""
    return history._database is None


def test_a_window_that_still_has_the_damaged_file_leaves_the_new_one_alone(notices):
    with (
        closing(History(on_notice=notices.append, clock=lambda: NOW)) as one,
        closing(History(on_notice=notices.append, clock=lambda: NOW)) as other,
    ):
        one.write([row(1)])
        other.write([row(2)])
        one._replace()
        one.write([row(3)])
        other._replace()
        other.write([row(4)])
        assert [each.key for each in other.read()] == [3, 4]
    assert len(notices) == 1


def test_a_file_of_a_newer_version_is_left_as_it_is(history):
    with closing(sqlite3.connect(history_path())) as newer:
        newer.executescript(f"CREATE TABLE shown (all_new); PRAGMA user_version = {store.SCHEMA_VERSION + 1};")
    before = history_path().read_bytes()
    with pytest.raises(HistoryError, match="newer"):
        history.write([row()])
    assert history_path().read_bytes() == before


def test_a_newer_version_that_comes_while_we_have_the_file_open_is_no_damage(history, notices):
    """A bug once: what it had made of the table looked like damage, and the user's whole history was set aside."""
    history.write([row(1)])
    with closing(sqlite3.connect(history_path())) as newer:
        newer.executescript(
            "ALTER TABLE shown RENAME COLUMN weight TO heft;"
            f"ALTER TABLE shown ADD COLUMN mood INTEGER; PRAGMA user_version = {store.SCHEMA_VERSION + 1};"
        )
    for use in (history.read, lambda: history.write([row(2)])) * 2:
        with pytest.raises(HistoryError, match="newer coder-lsp") as refused:
            use()
        assert "restart the editor" in refused.value.hint
    with pytest.raises(HistoryError, match="newer coder-lsp"):
        history.forget()
    assert notices == []
    assert not history_path().with_name("suggestions.sqlite3.damaged").exists()
    with closing(sqlite3.connect(history_path())) as newer:
        assert newer.execute("SELECT key, heft FROM shown").fetchall() == [(1, 1.0)]


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(history, notices, monkeypatch):
    """Steps one by one, from whatever version; two windows at once."""
    history.write([row(key) for key in range(100)])
    history.close()
    next_steps = (
        "CREATE TABLE kinds (kind INTEGER); INSERT INTO kinds SELECT count(*) FROM shown;",
        "ALTER TABLE shown ADD COLUMN kind INTEGER; UPDATE shown SET kind = (SELECT kind FROM kinds);",
    )
    monkeypatch.setattr(store, "_STEPS", (*store._STEPS, *next_steps))
    monkeypatch.setattr(store, "SCHEMA_VERSION", 3)
    with ThreadPoolExecutor(8) as windows:
        assert list(windows.map(lambda _: rows_seen_by_a_window(), range(8))) == [100] * 8
    with closing(sqlite3.connect(history_path())) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
        assert database.execute("SELECT count(*), min(kind), max(kind) FROM shown").fetchone() == (100, 100, 100)
        assert database.execute("SELECT count(*) FROM kinds").fetchone() == (1,), "each step once"
    assert notices == []


def rows_seen_by_a_window():
    with closing(History(on_notice=pytest.fail, clock=lambda: NOW)) as window:
        return len(window.read())


def test_a_step_that_fails_leaves_the_file_as_it_was(history, notices, monkeypatch):
    history.write([row(1)])
    history.close()
    failing = "ALTER TABLE shown ADD COLUMN kind INTEGER; INSERT INTO shown (key) VALUES (2);"
    with monkeypatch.context() as newer:
        newer.setattr(store, "_STEPS", (*store._STEPS, failing))
        newer.setattr(store, "SCHEMA_VERSION", 2)
        with pytest.raises(HistoryError, match="NOT NULL"):
            history.read()
    assert [each.key for each in history.read()] == [1]
    with closing(sqlite3.connect(history_path())) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert "kind" not in {name for _, name, *_ in database.execute("PRAGMA table_info(shown)")}
    assert notices == []


def test_the_steps_make_the_columns_of_a_row(history):
    history.write([row()])
    with closing(sqlite3.connect(history_path())) as database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(shown)")]
    assert columns == ["number", "feature_version", *store._COLUMNS]


def test_features_of_another_version_are_not_read_as_ours(history, monkeypatch):
    history.write([row(1)])
    monkeypatch.setattr(store, "FEATURE_VERSION", store.FEATURE_VERSION + 1)
    assert [(each.key, each.features) for each in history.read()] == [(1, ())]


def test_rows_that_nobody_could_have_written_are_left_out(history):
    history.write([row(key) for key in range(1, 7)])
    with closing(sqlite3.connect(history_path())) as other, other:
        other.execute("UPDATE shown SET fate = 'eaten' WHERE key = 1")
        other.execute("UPDATE shown SET features = x'0102' WHERE key = 2")
        # SQLite keeps them as they are, and the report could not add them up.
        other.execute("UPDATE shown SET latency_ms = 'x' WHERE key = 3")
        other.execute("UPDATE shown SET language = x'00' WHERE key = 4")
        other.execute("UPDATE shown SET characters = 1.5 WHERE key = 5")
    assert [each.key for each in history.read()] == [6]


def test_a_damaged_schema_that_is_no_text_is_set_aside(history, notices):
    """Python's own error about SQLite's words was not taken for one of the database."""
    history.write([row(1)])
    history.close()
    with closing(sqlite3.connect(history_path())) as other, other:
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = 'CREATE x' WHERE name = 'shown'")
    history.write([row(2)])
    assert [each.key for each in history.read()] == [2]
    assert len(notices) == 1


WRITER = """
import sys
from support.histories import row
from coder_lsp.stats.store import History
history = History()
first = int(sys.argv[1])
for key in range(first, first + 40):
    history.write([row(key)])
history.close()
"""


def test_several_windows_write_at_once_and_nothing_is_lost(history):
    """The first writes also race for making the file."""
    windows = [
        subprocess.Popen((sys.executable, "-c", WRITER, str(1000 * number)), env=environment()) for number in range(4)
    ]
    assert [window.wait(timeout=60) for window in windows] == [0] * 4
    keys = [each.key for each in history.read()]
    assert sorted(keys) == sorted(1000 * window + key for window in range(4) for key in range(40))


def test_a_killed_writer_leaves_what_it_had_written(history):
    program = WRITER.replace("history.close()", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    window = subprocess.run((sys.executable, "-c", program, "0"), env=environment(), check=False, timeout=60)
    assert window.returncode != 0
    assert len(history.read()) == 40


def test_a_folder_that_cannot_be_written_is_said_with_the_reason(history):
    history_path().mkdir()
    with pytest.raises(HistoryError, match=re.escape(str(history_path()))):
        history.write([row()])


def test_a_full_disk_is_an_error_and_afterwards_all_goes_on(history):
    history.write([row(1)])
    database = history._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HistoryError, match="full"):
        history.write([row(key) for key in range(2, 500)])
    history.write([row(2)])
    assert [each.key for each in history.read()] == [1, 2], "all of a batch or nothing"


def test_forgetting_leaves_nothing_and_other_windows_go_on(history, notices):
    with closing(History(clock=lambda: NOW)) as other:
        other.write([row(key) for key in range(50)])
        history_path().with_name("suggestions.sqlite3.damaged").write_bytes(b"old")
        assert history.forget() == 50
        assert sorted(path.name for path in state_dir().iterdir() if path.stat().st_size) == [
            "suggestions.sqlite3",
            "suggestions.sqlite3-shm",
        ]
        other.write([row(99)])
        assert [each.key for each in history.read()] == [99]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.lists(
        st.builds(
            row,
            st.integers(0, 2**62 - 1),
            st.sampled_from(Fate),
            latency_ms=st.floats(0, 1e9),
            features=st.just(PLAIN.values()) | st.just(()),
            accepted_characters=st.integers(0, 10**9),
        ),
        max_size=20,
        unique_by=lambda each: each.key,
    )
)
def test_any_rows_come_back(tmp_path_factory, rows):
    with closing(History(tmp_path_factory.mktemp("any") / "h.sqlite3", clock=lambda: NOW)) as history:
        history.write(rows)
        assert history.read() == [rounded(each) for each in rows]
