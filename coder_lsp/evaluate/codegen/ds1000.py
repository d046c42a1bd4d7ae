"""DS-1000 in its one-file form: ``prompt``, ``reference_code``, ``code_context`` with the tests, and ``metadata``.

The programs need the libraries they are about (numpy, pandas, …) in the interpreter that runs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.evaluate.codegen.problem import CHAT, PLAIN, Problem, cut, fenced
from coder_lsp.evaluate.codegen.toolchains import reached
from coder_lsp.evaluate.rows import text_of
from coder_lsp.evaluate.sandbox import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.evaluate.codegen.problem import Choice
    from coder_lsp.evaluate.sandbox import Outcome

_STOP = ("</code>", "# SOLUTION END", "END SOLUTION", "BEGIN SOLUTION")
_INSTRUCTION = "{}\n\nWrite only the missing code, in one block of Python."


class Ds1000:
    """Completion; the insertion variants are other files."""

    name = "ds1000"
    styles = (PLAIN, CHAT)
    # Importing TensorFlow alone takes seconds and a gigabyte.
    limits = Limits(seconds=120.0, memory_mb=4096, files_mb=256)

    def recognises(self, row: dict[str, Any]) -> bool:
        return {"prompt", "reference_code", "code_context", "metadata"} <= row.keys()

    def problems(self, rows: Sequence[tuple[int, dict[str, Any]]], path: Path, choice: Choice) -> list[Problem]:
        style = choice.style or PLAIN
        found = []
        for number, row in rows:
            where = f"{path}, line {number}"
            prompt = text_of(row, "prompt", where)
            text_of(row, "code_context", where)
            metadata = row["metadata"] if isinstance(row["metadata"], dict) else {}
            name = f"{metadata.get('library', 'DS-1000')}/{metadata.get('problem_id', number - 1)}"
            found.append(
                Problem(
                    task_id=name,
                    language="python",
                    prompt=prompt if style == PLAIN else _INSTRUCTION.format(prompt),
                    stop=_STOP if style == PLAIN else (),
                    max_tokens=choice.max_tokens or 512,
                    style=style,
                    gold=text_of(row, "reference_code", where),
                    row=row,
                )
            )
        return found

    def program(self, problem: Problem, completion: str) -> str:
        code = fenced(completion) if problem.chat and completion != problem.gold else completion
        context = problem.row["code_context"]
        lines = [context, f"_solution = {cut(code, _STOP)!r}", "test_execution(_solution)"]
        if "test_string(" in context:
            lines.append("test_string(_solution)")
        return "\n".join((*lines, ""))

    def passed(self, problem: Problem, outcome: Outcome) -> bool:
        return reached(problem.language, outcome)
