"""The recorder: off the loop, in batches, nothing lost by a full disk or the end of the session."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import closing

import pytest
from support.histories import row
from support.lsp_client import environment

from coder_lsp.stats.recorder import MAX_PENDING, Recorder
from coder_lsp.stats.store import History, history_path


def stored():
    with closing(History()) as history:
        return history.read()


@pytest.fixture
def recorder():
    """Writes by itself only after an hour."""
    recorder = Recorder(History(), batch_s=3600, retry_s=3600)
    recorder.enable(True)
    yield recorder
    recorder.close()


def test_rows_are_written_at_the_end(recorder):
    for key in range(3):
        recorder.record(row(key))
    assert not history_path().exists(), "nothing is written for each row"
    recorder.close()
    assert [each.key for each in stored()] == [0, 1, 2]


def test_rows_are_written_when_a_batch_is_due():
    recorder = Recorder(History(), batch_s=0.001)
    recorder.enable(True)
    recorder.record(row(1))
    with recorder._changed:
        assert recorder._changed.wait_for(lambda: not recorder._pending, 30)
    assert recorder.flush(30)
    assert [each.key for each in stored()] == [1]
    recorder.close()


def test_the_latest_word_on_a_suggestion_counts(recorder):
    recorder.record(row(1, accepted_characters=3))
    recorder.record(row(1, accepted_characters=8))
    assert recorder.flush(30)
    recorder.record(row(1, accepted_characters=20))
    assert recorder.flush(30)
    assert [each.accepted_characters for each in stored()] == [20]


def test_switched_off_nothing_is_kept(recorder):
    recorder.record(row(1))
    recorder.enable(False)
    recorder.record(row(2))
    recorder.close()
    assert not history_path().exists()


def test_before_settings_are_known_nothing_is_kept():
    recorder = Recorder(History())
    recorder.record(row(1))
    recorder.close()
    assert not history_path().exists()


def test_what_cannot_be_written_waits_in_memory_and_is_said_once(recorder, caplog):
    history_path().mkdir()
    recorder.record(row(1))
    with caplog.at_level(logging.WARNING):
        assert not recorder.flush(30)
        recorder.record(row(2))
        assert not recorder.flush(30)
    assert len([line for line in caplog.messages if "kept in memory" in line]) == 1
    history_path().rmdir()
    assert recorder.flush(30)
    assert [each.key for each in stored()] == [1, 2]


def test_memory_is_bounded_the_oldest_go(recorder):
    history_path().mkdir()
    for key in range(MAX_PENDING + 10):
        recorder.record(row(key))
    recorder.flush(30)
    history_path().rmdir()
    assert recorder.flush(30)
    keys = [each.key for each in stored()]
    assert len(keys) == MAX_PENDING
    assert keys[-1] == MAX_PENDING + 9


def test_a_damaged_file_costs_no_row(recorder):
    history_path().write_bytes(b"not a database" * 1000)
    recorder.record(row(1))
    assert recorder.flush(30)
    assert [each.key for each in stored()] == [1]


def test_closing_twice_and_recording_afterwards_are_harmless(recorder):
    recorder.record(row(1))
    recorder.close()
    recorder.close()
    recorder.record(row(2))
    assert len(stored()) == 1


def test_a_process_that_ends_without_closing_is_not_held_up():
    """The thread must not keep an editor's server alive."""
    program = """
from support.histories import row
from coder_lsp.stats.recorder import Recorder
from coder_lsp.stats.store import History
recorder = Recorder(History(), batch_s=3600)
recorder.enable(True)
recorder.record(row(1))
"""
    done = subprocess.run((sys.executable, "-c", program), env=environment(), check=False, timeout=60)
    assert done.returncode == 0
