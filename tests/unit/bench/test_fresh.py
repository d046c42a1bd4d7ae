"""``bench.fresh``: a function in a process of its own; its notes come as they are made, its errors as ours."""

from __future__ import annotations

import pytest

from coder_lsp.bench.fresh import in_fresh_process
from coder_lsp.errors import CoderLspError


def test_result_and_notes_come_back(tmp_path):
    (tmp_path / "a.py").write_text("one = two\n")
    notes = []
    options = {"queries": 3, "peer_queries": 0, "updates": 1, "loads": 1}
    arguments = {"root": str(tmp_path), "options": options}
    figures = in_fresh_process("bm25:measure_folder", arguments, tmp_path, notes.append)
    assert figures["files"] == figures["chunks"] == 1
    assert notes[0] == "BM25, reading"


def test_what_is_kept_goes_to_the_folder_given(tmp_path, coder_lsp_home):
    root, home = tmp_path / "root", tmp_path / "home"
    root.mkdir()
    (root / "a.py").write_text("one = two\n")
    found = in_fresh_process("indexing:first_index", {"root": str(root), "files": 10}, home, lambda _: None)
    assert found["files"] == 1
    assert list(home.rglob("index.sqlite3"))
    assert not list(coder_lsp_home.rglob("*"))


def test_an_error_of_ours_is_raised_here(tmp_path):
    arguments = {"root": str(tmp_path), "files": 1, "most": 1, "seed": 0, "settled": True}
    with pytest.raises(CoderLspError, match="no Python file"):
        in_fresh_process("busy_front:requests", arguments, tmp_path, lambda _: None)


def test_a_child_that_fails_says_where(tmp_path):
    with pytest.raises(CoderLspError, match="ended with status 1") as failed:
        in_fresh_process("bm25:no_such_function", {}, tmp_path, lambda _: None)
    assert "no_such_function" in failed.value.hint
