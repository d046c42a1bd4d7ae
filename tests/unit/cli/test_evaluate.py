"""``coder-lsp eval``: tasks are made out of a folder and measured, on a machine without a model."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from coder_lsp.cli.evaluate import eval as verb
from coder_lsp.cli.evaluate import report
from coder_lsp.errors import InputError, ModelError

SOURCE = """from other import helper_{n}


def use_{n}(value):
    \"\"\"Stays.\"\"\"
    prepared_{n} = helper_{n}(value).special_{n}
    return prepared_{n}
"""
OTHER = """def helper_{n}(value):
    return value


class Value_{n}:
    special_{n} = 1
"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    for n in range(6):
        (root / f"use{n}.py").write_text(SOURCE.format(n=n))
        (root / f"other{n}.py").write_text(OTHER.format(n=n))
    return root


def run(*arguments, status=0):
    result = CliRunner().invoke(verb, [str(each) for each in arguments])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def tasks(root, tmp_path):
    said = run("make-tasks", root, "--functions", 4, "--seed", 3, "-o", tmp_path / "t.jsonl").stdout
    assert said.startswith("4 tasks from 4 files in ")
    return tmp_path / "t.jsonl"


def test_made_tasks_are_measured(tasks):
    figures = json.loads(run("context", tasks, "--json").stdout)
    assert (figures["tasks"], figures["needed"]) == (4, 4)
    assert figures["tokens_by"] == "estimate"
    assert figures["ours"]["tokens"] <= 512
    assert 0 <= figures["reference"]["recall"] <= 1
    assert figures["repositories"]["project"]["needed"] == 4
    assert "exact_match" not in figures


def test_text_has_both_recipes_by_repository_and_in_total(tasks):
    result = run("context", tasks, "--limit", 2, "--budget", 300)
    assert "at most 300; 2 identifiers needed" in result.stdout
    heads = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert {"project", "total", "mean", "assembled"} <= set(heads)
    assert "reference" in result.stdout
    assert "is not installed: tokens are estimated" in result.stderr


def test_the_reference_can_be_left_out(tasks, monkeypatch):
    monkeypatch.setitem(sys.modules, "rank_bm25", None)
    assert "rank_bm25" in run("context", tasks, status=1).exception.message
    assert "reference" not in json.loads(run("context", tasks, "--json", "--no-reference").stdout)


def test_tasks_whose_repository_went_are_refused(tasks, root, tmp_path):
    root.rename(tmp_path / "gone")
    assert isinstance(run("context", tasks, status=1).exception, InputError)


def test_exact_match_needs_the_model(tasks):
    assert isinstance(run("context", tasks, "--exact-match", status=1).exception, ModelError)


@pytest.mark.parametrize("option", [("--sample", 2), ("--out", "x"), ("--reference-too",)])
def test_options_of_exact_match_need_it(tasks, option):
    assert "--exact-match" in run("context", tasks, *option, status=1).exception.message


def test_a_task_file_has_its_ending(root, tmp_path):
    assert isinstance(run("make-tasks", root, "-o", tmp_path / "t.txt", status=1).exception, InputError)


def test_exact_matches_are_reported_in_pairs():
    recipe = {"found": 3, "recall": 0.75, "recall_per_task": 0.7, "tokens": 490.0}
    exact = {
        "recipes": {
            "none": {"tasks": 4, "exact": 1, "exact_share": 0.25, "similarity": None},
            "ours": {"tasks": 4, "exact": 2, "exact_share": 0.5, "similarity": 0.8},
        },
        "difference_to_none": {
            "ours": {"tasks": 4, "better": 1, "worse": 0, "difference": 0.25, "interval_95": [0.0, 0.75]}
        },
    }
    lines = list(
        report(
            {
                "tasks": 4,
                "budget": 512,
                "tokens_by": "m",
                "needed": 4,
                "ours": recipe,
                "ms": {"p50": 5.0, "p95": 9.0},
                "repositories": {},
                "exact_match": exact,
            }
        )
    )
    assert any("none" in line and "1 of 4  25.0 %" in line for line in lines)
    assert any("2 of 4  50.0 %, edit similarity 0.800" in line for line in lines)
    assert lines[-1] == "ours - none  +25.0 points (95 %: +0.0 to +75.0), better 1, worse 0 of 4"
