"""A small repository with a known answer, and the shared data where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coder_lsp.evaluate.tasks import Task, load_tasks

DATA_VARIABLE = "CODER_LSP_EVAL_DATA"
BESIDE = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_tasks():
    """The 145 tasks of RepoEval's functions that fill a gap."""
    data = Path(os.environ.get(DATA_VARIABLE, BESIDE)) / "repoeval_function" / "fim_tasks.jsonl.gz"
    if not data.exists():
        pytest.skip(f"there is no evaluation data: {DATA_VARIABLE} names the folder that holds repoeval_function")
    return load_tasks(data)


SHAPES = """class Shape:
    def outline_length(self):
        return 0.0


def area_of(shape):
    return shape.area_units
"""
REPORT = """from shapes import Shape, area_of


def total(shapes):
    \"\"\"All of them together.\"\"\"
{body}
    return result
"""
BODY = """    result = 0.0
    for each in shapes:
        result += area_of(each) + each.outline_length() + len(each.area_units)"""


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repos" / "drawing"
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "shapes.py").write_text(SHAPES)
    (root / "report.py").write_text(REPORT.format(body=BODY))
    for number, word in enumerate(("paper", "pencil", "ruler", "rubber", "ink")):
        # Words are worth something only where there are files without them.
        (root / "lib" / f"{word}.py").write_text(f"def buy_{word}():\n    return {number}\n")
    (root / "notes.txt").write_text("outline_length comes in metres\n")
    return root


@pytest.fixture
def task():
    before, after = REPORT.split("{body}")
    return Task("drawing/0", "drawing", "report.py", "total", before, after, BODY)
