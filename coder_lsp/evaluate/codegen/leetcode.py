"""LeetCode contests as DeepSeek-Coder published them: an instruction with examples and the head of a class, then tests.

The outline style adds the paper's sentence, which asks for a step-by-step outline first. Plain continues the problem,
as a docstring, and the head of its class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.evaluate.codegen.humaneval import IMPORTS, PYTHON_STOP
from coder_lsp.evaluate.codegen.problem import CHAT, OUTLINE, OUTLINE_SENTENCE, PLAIN, Problem, fenced
from coder_lsp.evaluate.codegen.toolchains import reached
from coder_lsp.evaluate.rows import text_of
from coder_lsp.evaluate.sandbox import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.evaluate.codegen.problem import Choice
    from coder_lsp.evaluate.sandbox import Outcome


class LeetCode:
    """The tests make the class and call it; there are no solutions in the file."""

    name = "leetcode"
    styles = (CHAT, OUTLINE, PLAIN)
    limits = Limits(seconds=20.0)

    def recognises(self, row: dict[str, Any]) -> bool:
        return {"prompt", "prompt_sft", "test"} <= row.keys()

    def problems(self, rows: Sequence[tuple[int, dict[str, Any]]], path: Path, choice: Choice) -> list[Problem]:
        style = choice.style or CHAT
        found = []
        for number, row in rows:
            where = f"{path}, line {number}"
            asked = text_of(row, "prompt_sft", where)
            prompts = {
                PLAIN: _open(text_of(row, "prompt", where)),
                CHAT: asked,
                OUTLINE: f"{asked}\n{OUTLINE_SENTENCE}",
            }
            text_of(row, "test", where)
            found.append(
                Problem(
                    task_id=text_of(row, "task_id", where),
                    language="python",
                    prompt=prompts[style],
                    stop=PYTHON_STOP if style == PLAIN else (),
                    max_tokens=choice.max_tokens or 1024,
                    style=style,
                    close="\n" if style == PLAIN else "",
                    row=row,
                )
            )
        return found

    def program(self, problem: Problem, completion: str) -> str:
        code = fenced(completion) if problem.chat else _open(problem.row["prompt"]) + completion
        return f"{IMPORTS['python']}{code}\n{problem.row['test']}\n"

    def passed(self, problem: Problem, outcome: Outcome) -> bool:
        return reached(problem.language, outcome)


def _open(prompt: str) -> str:
    """Without the indentation at its end: tokens of code begin with theirs, so that it makes models stumble."""
    return prompt.rstrip()
