from __future__ import annotations

import gzip
import json

import pytest

from coder_lsp.errors import InputError
from coder_lsp.optimise import tasks

ROW = {"name": "add", "language": "py", "prompt": "def f():", "suffix": "f()", "canonical_solution": "    return 1"}


def write(path, *rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.jsonl.gz"])
def test_a_row_becomes_a_task_with_a_path_of_its_language(tmp_path, name):
    (task,) = tasks.load([write(tmp_path / name, ROW)], 10)
    assert (task.prefix, task.suffix, task.ground_truth) == ("def f():\n", "\nf()", "    return 1")
    assert task.path.endswith(".py")
    assert task.prefix + task.ground_truth + task.suffix == "def f():\n    return 1\nf()"


def test_the_same_seed_takes_the_same_sample_and_another_seed_another(tmp_path):
    path = write(tmp_path / "tasks.jsonl", *({**ROW, "name": str(i)} for i in range(50)))
    first = [task.function for task in tasks.load([path], 10)]
    assert first == [task.function for task in tasks.load([path], 10)]
    assert first != [task.function for task in tasks.load([path], 10, seed=2)]
    assert len(first) == 10


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2 is no task"),
        (json.dumps({**ROW, "suffix": 1}), "line 2 is no task"),
        (json.dumps({**ROW, "language": "klingon"}), "klingon"),
    ],
)
def test_a_damaged_row_is_reported_with_its_line(tmp_path, line, says):
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(InputError, match=says):
        tasks.load([path], 10)


def test_an_empty_or_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no tasks"):
        tasks.load([write(tmp_path / "empty.jsonl")], 10)
    with pytest.raises(InputError, match="cannot read"):
        tasks.load([tmp_path / "missing.jsonl"], 10)


def test_pairs_say_what_was_gained_and_what_was_lost():
    exact = tasks.compare([True, True, False, False], [True, False, True, True])
    assert (exact.tasks, exact.before, exact.after, exact.better, exact.worse) == (4, 2, 3, 2, 1)
    assert exact.points == 25.0
