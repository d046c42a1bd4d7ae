"""Makes tasks: takes the bodies of randomly chosen functions out of a repository's files.

What a folder's source files are, the workspace decides, as for the index; files with blanked secrets are left alone.
Python's functions are found by its own parser, and their docstrings stay; those of languages with braces by the
outline, their body being what lies between the line that ends with ``{`` and the one that begins with ``}``.
"""

from __future__ import annotations

import ast
import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.evaluate.tasks import Task
from coder_lsp.languages import BlockStyle, by_path
from coder_lsp.syntax.outline import outline
from coder_lsp.workspace.folder import Folder
from coder_lsp.workspace.source import SourceText

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIN_LINES = 2
MAX_LINES = 40
"""Of a body. One line says too little about context, hundreds are no completion."""

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Body:
    """A function's lines that are taken out, half-open."""

    function: str
    start_line: int
    end_line: int


def make_tasks(root: Path, *, functions: int, seed: int) -> list[Task]:
    """At most so many tasks out of a folder, in the order of its files; the same seed makes the same ones.

    :raises InputError: it has no functions that could be taken out.
    """
    folder = Folder(root)
    found: list[tuple[str, Body]] = []
    for file in folder.walk():
        text = _text(folder, file.path)
        found += [(file.path, body) for body in bodies(file.path, text)] if text else []
    if not found:
        raise InputError(
            f"{root} has no functions to take out",
            hint=f"bodies of {MIN_LINES} to {MAX_LINES} lines are, in Python and in languages with braces",
        )
    chance = random.Random(seed)  # noqa: S311  # a sample, not a secret
    picked = sorted(chance.sample(range(len(found)), min(functions, len(found))))
    return [_task(folder, *found[number]) for number in picked]


def bodies(path: str, text: str) -> Iterator[Body]:
    """What may be taken out of a file."""
    language = by_path(path)
    if language.id == "python":
        yield from _python(text)
    elif language.style is BlockStyle.BRACE:
        yield from _braces(path, text)


def _python(text: str) -> Iterator[Body]:
    try:
        with warnings.catch_warnings():
            # About invalid escapes in code that is not ours.
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            # A body on the line of its head leaves nowhere to begin.
            if body and body[0].lineno > node.lineno and isinstance(body[-1].end_lineno, int):
                yield from _fitting(node.name, _first(body[0]) - 1, body[-1].end_lineno)


def _first(statement: ast.stmt) -> int:
    """The line a statement begins on, its decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _braces(path: str, text: str) -> Iterator[Body]:
    lines = text.split("\n")
    for definition in outline(by_path(path), text).definitions:
        if definition.kind not in {"function", "method"}:
            continue
        head = definition.start_line + definition.signature.count("\n") + 3
        opened = next(
            (
                number
                for number in range(definition.start_line, min(head, definition.end_line))
                if lines[number].rstrip().endswith("{")
            ),
            None,
        )
        if opened is not None and lines[definition.end_line - 1].lstrip().startswith("}"):
            yield from _fitting(definition.name, opened + 1, definition.end_line - 1)


def _fitting(function: str, start_line: int, end_line: int) -> Iterator[Body]:
    if MIN_LINES <= end_line - start_line <= MAX_LINES:
        yield Body(function, start_line, end_line)


def _task(folder: Folder, path: str, body: Body) -> Task:
    # As the parsers count lines: only "\n" ends one.
    lines = _text(folder, path).split("\n")
    return Task(
        task_id=f"{folder.root.name}/{path}:{body.start_line}",
        repo=folder.root.name,
        path=path,
        function=body.function,
        prefix="\n".join([*lines[: body.start_line], ""]),
        suffix="\n" + "\n".join(lines[body.end_line :]) if body.end_line < len(lines) else "",
        ground_truth="\n".join(lines[body.start_line : body.end_line]),
        root=str(folder.root),
    )


def _text(folder: Folder, path: str) -> str:
    """Empty if there is none, or not all of it."""
    found = folder.read(path)
    return found.text if isinstance(found, SourceText) and not found.masked_lines else ""
