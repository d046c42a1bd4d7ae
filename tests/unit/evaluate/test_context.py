"""Recall of a small repository through the shipped indexer, beside the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coder_lsp import paths
from coder_lsp.evaluate.context import measure, summary
from coder_lsp.evaluate.cutter import EstimatingCutter
from coder_lsp.evaluate.indexed import indexed
from coder_lsp.evaluate.tasks import TaskSet


@pytest.fixture
def tasks(repository, task, tmp_path):
    return TaskSet(tmp_path / "t.jsonl", (task, replace(task, task_id="drawing/1")), {"drawing": repository})


def test_both_recipes_are_measured_side_by_side(tasks):
    """Two identifiers are needed by each task, and one chunk of the other file has both."""
    told = []
    measured = measure(tasks, EstimatingCutter(), budget=512, progress=lambda done, total: told.append((done, total)))
    figures = summary(measured, EstimatingCutter(), budget=512)
    assert told == [(1, 2), (2, 2)]
    assert (figures["tasks"], figures["needed"]) == (2, 4)
    assert figures["reference"]["found"] == 4
    assert figures["ours"]["found"] == 4
    assert figures["ours"]["recall"] == 1.0
    assert 0 < figures["ours"]["tokens"] <= 512
    assert 0 < figures["ms"]["p50"] <= figures["ms"]["p95"]
    assert figures["repositories"]["drawing"]["ours"] == figures["ours"]
    assert figures["tokens_by"] == "estimate"


def test_without_the_reference_rank_bm25_is_not_needed(tasks, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rank_bm25", None)
    figures = summary(measure(tasks, EstimatingCutter(), budget=512, reference=False), EstimatingCutter(), budget=512)
    assert "reference" not in figures
    assert figures["ours"]["found"] == 4


def test_no_room_finds_nothing(tasks):
    figures = summary(measure(tasks, EstimatingCutter(), budget=16), EstimatingCutter(), budget=16)
    assert figures["ours"]["tokens"] <= 16
    assert figures["ours"]["found"] == 0


def test_the_answer_on_disk_is_never_shown(repository, task):
    """The file still has its body on disk; the document that is open has not."""
    with indexed(repository) as index:
        snippets, _ = index.snippets(task, 2048)
    assert snippets
    assert all(snippet.path != "report.py" for snippet in snippets)


def test_the_users_own_index_is_left_alone(repository, task):
    with indexed(repository) as index:
        index.snippets(task, 512)
    assert not (paths.cache_dir() / "index").exists()


def test_ours_finds_more_than_the_reference_on_the_shared_tasks(shared_tasks):
    """By estimated tokens, so that it needs no model; `coder-lsp eval context` says it exactly."""
    figures = summary(measure(shared_tasks, EstimatingCutter(), budget=512), EstimatingCutter(), budget=512)
    assert figures["needed"] == 366
    assert figures["ours"]["recall"] >= 0.6
    assert figures["ours"]["found"] > figures["reference"]["found"]
