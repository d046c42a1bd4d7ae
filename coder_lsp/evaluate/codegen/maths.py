r"""Maths by program, as in PAL: the model writes a function, its result is compared with the answer.

Rows have a question (``question``, ``problem`` or ``input``) and an answer (``target``, or ``answer``, of which the
part after ``####`` counts, as in GSM8K). Numbers are equal within a thousandth of a percent, or a thousandth; other
answers as text without white space and dollar signs. That is stricter than graders that know algebra: ``1/2`` is a
number, ``\frac`` is not.
"""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate.codegen.problem import CHAT, PLAIN, Problem, fenced
from coder_lsp.evaluate.sandbox import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.evaluate.codegen.problem import Choice
    from coder_lsp.evaluate.sandbox import Outcome

_QUESTIONS = ("question", "problem", "input", "Question")
_HEAD = "def solution():\n"
_MARK = "answer of the program: "
_INSTRUCTION = (
    "{}\n\nWrite a Python function solution() without arguments that computes and returns the answer, in one block of "
    "code."
)


class Maths:
    """``--shots`` gives worked examples, as text that ends before a question; without it there are none."""

    name = "maths"
    styles = (PLAIN, CHAT)
    limits = Limits(seconds=10.0)

    def recognises(self, row: dict[str, Any]) -> bool:
        return any(name in row for name in _QUESTIONS) and ("answer" in row or "target" in row)

    def problems(self, rows: Sequence[tuple[int, dict[str, Any]]], path: Path, choice: Choice) -> list[Problem]:
        style = choice.style or PLAIN
        shots = choice.shots.rstrip() + "\n\n" if choice.shots.strip() else ""
        found = []
        for number, row in rows:
            question = next((row[name] for name in _QUESTIONS if isinstance(row.get(name), str)), None)
            if question is None:
                raise InputError(f"{path}, line {number}: no question", hint=f"one of {', '.join(_QUESTIONS)}")
            plain = f"{shots}Question: {question.strip()}\n\n```python\n{_HEAD}"
            found.append(
                Problem(
                    task_id=str(row.get("task_id", row.get("idx", number))),
                    language="python",
                    prompt=plain if style == PLAIN else _INSTRUCTION.format(question.strip()),
                    stop=("\n```", "\nQuestion:", "\ndef ", "\nprint") if style == PLAIN else (),
                    max_tokens=choice.max_tokens or 512,
                    style=style,
                    row=row | {"expected": _expected(row)},
                )
            )
        return found

    def program(self, problem: Problem, completion: str) -> str:
        code = fenced(completion) if problem.chat else _HEAD + completion
        return f'{code}\n\nprint("\\n{_MARK}" + str(solution()), flush=True)\n'

    def passed(self, problem: Problem, outcome: Outcome) -> bool:
        _, marked, said = outcome.stdout.rpartition(_MARK)
        return bool(marked) and same(said.strip(), problem.row["expected"])


def same(said: str, expected: str) -> bool:
    """Whether two answers are equal: ``0.5`` and ``1/2`` are, ``18`` and ``18.0``, ``x = 3`` and ``3`` are not."""
    left, right = _number(said), _number(expected)
    if left is not None and right is not None:
        return math.isclose(left, right, rel_tol=1e-5, abs_tol=1e-3)
    return _bare(said) == _bare(expected)


def _expected(row: dict[str, Any]) -> str:
    value = row["answer"] if "answer" in row else row["target"]
    return str(value).rpartition("####")[2].strip()


def _number(text: str) -> float | None:
    bare = _bare(text).rstrip("%").replace(",", "")
    with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):
        return float(Fraction(bare)) if "/" in bare else float(bare)
    return None


def _bare(text: str) -> str:
    return "".join(text.split()).replace("$", "").rstrip(".")
