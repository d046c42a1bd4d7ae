"""Finds out of which benchmark a file is, and reads its problems."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.evaluate.codegen.ds1000 import Ds1000
from coder_lsp.evaluate.codegen.humaneval import HumanEval
from coder_lsp.evaluate.codegen.leetcode import LeetCode
from coder_lsp.evaluate.codegen.maths import Maths
from coder_lsp.evaluate.codegen.mbpp import Mbpp
from coder_lsp.evaluate.rows import tasks

if TYPE_CHECKING:
    from pathlib import Path

    from coder_lsp.evaluate.codegen.problem import Choice, Format, Problem

FORMATS: tuple[Format, ...] = (LeetCode(), Ds1000(), Mbpp(), HumanEval(), Maths())
"""In the order they are tried: the last ones ask for little."""


def read(path: Path, choice: Choice) -> tuple[Format, list[Problem]]:
    """The format of a file, by its first row, and all of its problems.

    :raises InputError: no benchmark known here, a row that lacks something, a style that the benchmark does not have.
    """
    rows = list(tasks(path))
    if not rows:
        raise InputError(f"{path} is empty")
    form = next((each for each in FORMATS if each.recognises(rows[0][1])), None)
    if form is None:
        names = ", ".join(each.name for each in FORMATS)
        raise InputError(f"{path} is of no benchmark that is known here", hint=f"known: {names}")
    if choice.style and choice.style not in form.styles:
        raise InputError(
            f"{form.name} has no style {choice.style}", hint=f"leave it out, or choose {' or '.join(form.styles)}"
        )
    problems = form.problems(rows, path, choice)
    seen: set[str] = set()
    for problem in problems:
        if problem.task_id in seen:
            raise InputError(f"{path}: task {problem.task_id} is there twice")
        seen.add(problem.task_id)
    return form, problems


def sample(problems: list[Problem], limit: int | None, seed: int) -> list[Problem]:
    """So many, by chance, in the order of the file; the same seed takes the same, and more with a larger limit."""
    order = list(range(len(problems)))
    random.Random(seed).shuffle(order)  # noqa: S311  # a sample, not a secret
    return [problems[number] for number in sorted(order[:limit])]
