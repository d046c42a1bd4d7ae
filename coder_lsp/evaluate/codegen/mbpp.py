"""MBPP: tasks 11 to 510, after the worked tasks 2, 3 and 4, prompted as in DeepSeek-Coder's published evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate.codegen.problem import CHAT, PLAIN, Problem, fenced
from coder_lsp.evaluate.codegen.toolchains import reached
from coder_lsp.evaluate.rows import text_of
from coder_lsp.evaluate.sandbox import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.evaluate.codegen.problem import Choice
    from coder_lsp.evaluate.sandbox import Outcome

SHOTS = (2, 3, 4)
TESTED = range(11, 511)
_TASK = (
    "You are an expert Python programmer, and here is your task: {} Your code should pass these tests:\n\n{}\n[BEGIN]"
)
_DONE = "[DONE]"
_INSTRUCTION = (
    "Please refer the given examples and generate a python function for my problem.\n"
    "Examples are listed as follows:\n{}\n\nHere is my problem:\n{}"
)


class Mbpp:
    """The whole file (974 tasks), or one that holds tasks to be asked and those three."""

    name = "mbpp"
    styles = (PLAIN, CHAT)
    limits = Limits(seconds=10.0)

    def recognises(self, row: dict[str, Any]) -> bool:
        return {"text", "code", "test_list"} <= row.keys()

    def problems(self, rows: Sequence[tuple[int, dict[str, Any]]], path: Path, choice: Choice) -> list[Problem]:
        tasks: dict[int, dict[str, Any]] = {}
        for number, row in rows:
            where = f"{path}, line {number}"
            text_of(row, "text", where)
            text_of(row, "code", where)
            if not isinstance(row.get("task_id"), int) or not isinstance(row.get("test_list"), list):
                raise InputError(f"{where}: task_id must be a number and test_list a list")
            tasks[row["task_id"]] = row
        without = [number for number in SHOTS if number not in tasks]
        if without:
            raise InputError(
                f"{path} lacks task {without[0]}, which is one of the three worked examples",
                hint="give the whole file of 974 tasks",
            )
        style = choice.style or PLAIN
        found = [
            Problem(
                task_id=f"MBPP/{number}",
                language="python",
                prompt=_prompt(tasks, row, style),
                stop=(_DONE,) if style == PLAIN else (),
                max_tokens=choice.max_tokens or (512 if style == PLAIN else 1024),
                style=style,
                gold=row["code"],
                row=row,
            )
            for number, row in tasks.items()
            if number in TESTED
        ]
        if not found:
            raise InputError(f"{path} has no task from {TESTED.start} to {TESTED.stop - 1}")
        return found

    def program(self, problem: Problem, completion: str) -> str:
        code = fenced(completion) if problem.chat or "```" in completion else completion
        row = problem.row
        return "\n".join((code.strip("\r\n"), row.get("test_setup_code") or "", *row["test_list"], ""))

    def passed(self, problem: Problem, outcome: Outcome) -> bool:
        return reached(problem.language, outcome)


def _prompt(tasks: dict[int, dict[str, Any]], row: dict[str, Any], style: str) -> str:
    if style == PLAIN:
        shots = "".join(f"{_task(tasks[number])}\n{_code(tasks[number])}\n{_DONE}\n" for number in SHOTS)
        return shots + _task(row)
    shots = "\n\n".join(
        f"- Example {place}:\n{_case(tasks[number])}\n>>> Code:\n```python\n{_code(tasks[number])}\n```"
        for place, number in enumerate(SHOTS, start=1)
    )
    return _INSTRUCTION.format(shots, _case(row))


def _task(row: dict[str, Any]) -> str:
    return _TASK.format(row["text"], "\n".join(row["test_list"]))


def _case(row: dict[str, Any]) -> str:
    return ">>> Problem:\n{}\n>>> Test Cases:\n{}\n".format(row["text"].strip(), "\n".join(row["test_list"]))


def _code(row: dict[str, Any]) -> str:
    code: str = row["code"]
    return code.replace("\r", "").replace("\t", "    ")
