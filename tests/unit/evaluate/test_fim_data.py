"""The published sets themselves, where they are."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from coder_lsp.evaluate import fim
from coder_lsp.evaluate.codegen import toolchains
from coder_lsp.evaluate.sandbox import Limits
from coder_lsp.evaluate.ways import Written

VARIABLE = "CODER_LSP_EVAL_DATA"
DATA = Path(os.environ.get(VARIABLE, ""))

pytestmark = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} names the folder that holds santacoder_fim and human_eval_infilling"
)


def load(folder, **choice):
    files = sorted((DATA / folder).glob("*.jsonl.gz"))
    if not files:
        pytest.skip(f"{DATA / folder} has no task files")
    return fim.load(files, **choice)


def test_every_row_of_santacoder_is_a_task():
    tasks = load("santacoder_fim")
    assert Counter(task.language for task in tasks) == {"python": 1043, "java": 1780, "javascript": 1969}
    assert Counter(task.language for task in tasks if task.lone_bracket) == {
        "java": 599,
        "javascript": 587,
        "python": 2,
    }


def test_every_gold_is_exact_whoever_writes_it():
    for task in [*load("santacoder_fim"), *load("human_eval_infilling")]:
        assert fim.judged(task, Written(task.truth), "gold", "gold", 64).exact, task.task_id


def test_golds_of_infilling_pass_their_tests_in_the_sandbox():
    tasks = load("human_eval_infilling", limit=6)
    assert len(tasks) >= 18
    for task in tasks:
        outcome = toolchains.execute("python", task.program(task.truth.removesuffix("\n"), 0), limits=Limits())
        assert toolchains.reached("python", outcome), (task.task_id, outcome.stderr)


def test_a_wrong_answer_does_not_pass():
    task = load("human_eval_infilling", limit=1)[0]
    for wrong in ("    raise ValueError", "    raise SystemExit", "    import os; os._exit(0)"):
        outcome = toolchains.execute("python", task.program(wrong, 0), limits=Limits())
        assert not toolchains.reached("python", outcome), wrong
