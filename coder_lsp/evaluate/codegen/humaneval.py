"""HumanEval: OpenAI's own file, HumanEval-X (Python, JavaScript, Java, C++, Go) and MultiPL-E's files.

Plain: the prompt is continued until its function ends, which is where a line begins that is not indented (Python) or
with the brace that closes it. Chat: DeepSeek-Coder's instruction, for Python and JavaScript.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate.codegen.golang import PACKAGES
from coder_lsp.evaluate.codegen.problem import CHAT, PLAIN, Problem, fenced
from coder_lsp.evaluate.codegen.toolchains import LANGUAGES, reached
from coder_lsp.evaluate.rows import text_of
from coder_lsp.evaluate.sandbox import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.evaluate.codegen.problem import Choice
    from coder_lsp.evaluate.sandbox import Outcome

_NAMES = {
    "python": "python", "humaneval": "python", "py": "python", "javascript": "javascript", "js": "javascript",
    "java": "java", "cpp": "cpp", "go": "go", "sh": "shell", "bash": "shell",
}  # fmt: skip
"""Languages as the files call them -> as we do."""
PYTHON_STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint", "\nassert ", "\n@", "\nimport ", "\nfrom ", "\n```")
_STOP = {
    "python": PYTHON_STOP,
    "javascript": ("\n}",),
    "cpp": ("\n}",),
    "go": ("\n}",),
    # A method within a class.
    "java": ("\n    }",),
}
_CLOSE = {"python": "\n", "javascript": "\n}\n", "cpp": "\n}\n", "go": "\n}\n", "java": "\n    }\n}\n"}
IMPORTS = {
    "python": (
        "import math, re, sys, copy, datetime, itertools, collections, heapq, functools, hashlib, string, random\n"
        "import statistics, bisect, operator\n"
        "from typing import *\n"
        "from collections import *\n"
        "from functools import *\n"
    ),
    "cpp": "".join(
        f"#include<{name}>\n"
        for name in ("stdlib.h", "algorithm", "math.h", "stdio.h", "vector", "string", "climits", "cstring", "iostream")
    ),
}
"""What HumanEval-X's own harness puts before every program; a superset of it."""
_INSTRUCTION = (
    "Please continue to complete the function. You are not allowed to modify the given code and do the completion "
    "only. Please return all completed function in a codeblock. "
    "Here is the given code to do completion:\n```{}\n{}\n```"
)
"""DeepSeek-Coder's, in its published evaluation of instruct models."""
_COMMENT = re.compile(r"//.*")
_DEFINITION = re.compile(r"^def ", re.MULTILINE)


class HumanEval:
    """A file of any of the three kinds; one file may hold several languages."""

    name = "humaneval"
    styles = (PLAIN, CHAT)
    limits = Limits(seconds=10.0)

    def recognises(self, row: dict[str, Any]) -> bool:
        return isinstance(row.get("prompt"), str) and (
            ("test" in row and ("entry_point" in row or "declaration" in row)) or {"tests", "stop_tokens"} <= row.keys()
        )

    def problems(self, rows: Sequence[tuple[int, dict[str, Any]]], path: Path, choice: Choice) -> list[Problem]:
        return [self._problem(row, f"{path}, line {number}", choice) for number, row in rows]

    def _problem(self, row: dict[str, Any], where: str, choice: Choice) -> Problem:
        style = choice.style or PLAIN
        named = str(row.get("language") or text_of(row, "task_id", where).split("/")[0])
        language = _NAMES.get(named.lower())
        if language is None:
            raise InputError(f"{where}: no way to run {named} is known here", hint=f"known: {', '.join(LANGUAGES)}")
        prompt = text_of(row, "prompt", where)
        if "tests" in row:
            stop, close = tuple(str(each) for each in row["stop_tokens"]), "\n"
        else:
            stop, close = _STOP[language], _CLOSE[language]
        if style == CHAT:
            if language not in {"python", "javascript"} or "tests" in row:
                raise InputError(f"{where}: {named} has no instruction here", hint="use --style plain")
            prompt, stop, close = _INSTRUCTION.format(language, prompt.strip()), (), ""
        return Problem(
            task_id=str(row.get("name") or row["task_id"]),
            language=language,
            prompt=prompt,
            stop=stop,
            max_tokens=choice.max_tokens or (1024 if style == CHAT else 512),
            style=style,
            close=close,
            gold=row.get("canonical_solution"),
            row=row,
        )

    def program(self, problem: Problem, completion: str) -> str:
        row = problem.row
        if problem.chat and completion != problem.gold:
            code = _whole(row["prompt"], fenced(completion), problem.language)
        else:
            code = row["prompt"] + completion
        if "tests" in row:
            return f"{code}\n{row['tests']}"
        if problem.language == "go":
            return _go(row, completion)
        call = f"\ncheck({row['entry_point']})\n" if "entry_point" in row and "declaration" not in row else "\n"
        return f"{IMPORTS.get(problem.language, '')}{code}\n{row['test']}{call}"

    def passed(self, problem: Problem, outcome: Outcome) -> bool:
        return reached(problem.language, outcome)


def _whole(prompt: str, code: str, language: str) -> str:
    """A function as answered, after what the prompt defines before it; a body alone goes on with the prompt."""
    if language != "python":
        return code if "=>" in code or "function" in code else prompt + code
    definitions = [match.start() for match in _DEFINITION.finditer(prompt)]
    if not _DEFINITION.search(code):
        return prompt + code
    return prompt[: definitions[-1]] + code if definitions else code


def _go(row: dict[str, Any], completion: str) -> str:
    """Imports first: those of the test, and those that the code names and nobody has imported."""
    code = row["prompt"].replace(row["import"], "") + completion
    setup = row["test_setup"]
    text = _COMMENT.sub("", code + row["test"])
    used = [
        name for name in PACKAGES if f'"{name}"' not in setup and re.search(rf"\b{name.split('/')[-1]}\.[A-Z]", text)
    ]
    imports = "import (\n" + "".join(f'\t"{name}"\n' for name in used) + ")\n" if used else ""
    return f"{setup}\n{imports}\n{code}\n{row['test']}"
