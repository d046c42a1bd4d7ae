"""A small project with a history, and places in it."""

from __future__ import annotations

import pytest
from support.repositories import repository

from coder_lsp.evaluate.repo.history import Change, Commit, Insertion
from coder_lsp.evaluate.repo.places import Place
from coder_lsp.evaluate.tasks import Task

SHAPES = """class Shape:
    def outline_length(self):
        return 0.0


def area_of(shape, unit_scale):
    return shape.area_units * unit_scale
"""
REPORT = """from shapes import area_of


def count(shapes):
    return len(shapes)
"""
TOTAL = """

def total(shapes):
    result = 0.0
    for each in shapes:
        result += area_of(each, unit_scale=2.0)
    return result
"""
FILLERS = {
    # Words are worth something only where there are files without them.
    f"lib/{word}.py": f"def buy_{word}():\n    return {number}\n"
    for number, word in enumerate(("paper", "pencil", "ruler", "rubber", "ink"))
}


@pytest.fixture
def drawing(tmp_path):
    """Three commits; the last one adds a function that calls what the first one declared in another file."""
    return repository(
        tmp_path / "drawing",
        [
            {"lib/shapes.py": SHAPES, **FILLERS},
            {"report.py": REPORT},
            {"report.py": REPORT + TOTAL, "later.py": "def only_later():\n    return 'later'\n"},
        ],
    )


@pytest.fixture
def made():
    """``made(old, new, added)``: a change that put the lines ``[start, end)`` in before line ``old_line``."""

    def made(path, old, new, *added, removed=()):
        commit = Commit("c" * 40, "p" * 40, 0)
        return Change(commit, path, old, new, tuple(Insertion(*one) for one in added), frozenset(removed))

    return made


@pytest.fixture
def place():
    """``place(kind, truth)``: somewhere in ``report.py``."""

    def place(kind, truth, prefix="def total(shapes):\n    result = ", suffix="\n", name="0", path="report.py"):
        task = Task(f"{name}:{kind}", "drawing", path, kind, prefix, suffix, truth)
        return Place(kind, Commit("c" * 40, "p" * 40, 0), task)

    return place
