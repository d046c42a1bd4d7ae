from __future__ import annotations

import json
import os

import pytest

from coder_lsp.engine import tuned
from coder_lsp.engine.tuned import Tuned
from coder_lsp.optimise import tune

CHOSEN = Tuned(threads=1, threads_batch=1, flash_attention=False, kv_type="q8_0")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    return path


def test_what_was_remembered_for_a_file_is_recalled(model):
    assert tuned.recall(model) is None
    tune.remember(model, CHOSEN)
    assert tuned.recall(model) == CHOSEN
    assert tuned.file().stat().st_mode & 0o777 == 0o600


def test_another_file_and_a_changed_file_have_nothing(model, tmp_path):
    tune.remember(model, CHOSEN)
    other = tmp_path / "other.gguf"
    other.write_bytes(model.read_bytes())
    assert tuned.recall(other) is None
    model.write_bytes(model.read_bytes() + b"x")
    assert tuned.recall(model) is None
    assert tuned.recall(tmp_path / "missing.gguf") is None


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {"threads": 1},
        {"threads": 0, "threads_batch": 1, "flash_attention": True, "kv_type": "f16"},
        {"threads": True, "threads_batch": 1, "flash_attention": True, "kv_type": "f16"},
        {"threads": 1, "threads_batch": 10**6, "flash_attention": True, "kv_type": "f16"},
        {"threads": 1, "threads_batch": 1, "flash_attention": "yes", "kv_type": "f16"},
        {"threads": 1, "threads_batch": 1, "flash_attention": True, "kv_type": ["q4_0"]},
    ],
)
def test_an_entry_that_makes_no_sense_is_as_if_nothing_had_been_measured(model, entry):
    tuned.file().write_text(json.dumps({tuned.key(model): entry}))
    assert tuned.recall(model) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_file_is_as_if_nothing_had_been_measured_and_is_replaced(model, content):
    tuned.file().write_bytes(content)
    assert tuned.recall(model) is None
    tune.remember(model, CHOSEN)
    assert tuned.recall(model) == CHOSEN


def test_only_the_last_entries_are_kept(model, tmp_path):
    tuned.file().write_text(json.dumps({str(i): {} for i in range(200)}))
    tune.remember(model, CHOSEN)
    entries = json.loads(tuned.file().read_text())
    assert len(entries) == tune.KEPT_ENTRIES
    assert list(entries)[-1] == tuned.key(model)


def test_every_number_of_threads_is_tried_once_and_all_cores_first():
    counts = tune._thread_counts(4)
    assert counts[0] == 4
    assert len(counts) == len(set(counts))
    assert {2, 3} <= set(counts)
    assert max(counts) <= max(4, os.cpu_count() or 1)
