"""Tasks that need other files, out of three formats of files: places with what was written there, from left to right.

CrossCodeEval's (``prompt``, ``groundtruth``, ``metadata``, ``crossfile_context``), RepoEval's (``prompt`` and
``metadata`` with ``ground_truth`` and ``fpath_tuple``), and that of ``tasks``. Looks into no repository.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate import rows
from coder_lsp.evaluate.tasks import FIELDS, Task
from coder_lsp.languages import by_path

if TYPE_CHECKING:
    from pathlib import Path

Chunk = tuple[str, str]
"""A path, and lines of that file."""


@dataclass(frozen=True)
class CrossfileTask:
    """A place, what was written there, and the fragments its file brings, the best first."""

    task: Task
    given: tuple[Chunk, ...] | None = field(default=None, repr=False)

    @property
    def language(self) -> str:
        return by_path(self.task.path).id


def load(path: Path, *, repos: Path | None = None, limit: int | None = None, seed: int = 1) -> list[CrossfileTask]:
    """The tasks of a file; with a limit so many at random, the same for the same seed.

    ``repos`` is the folder that holds their repositories; without it ``repos`` beside the file is, or what a task says.

    :raises InputError: the file cannot be read, a row is no task (with its line), or there are none.
    """
    found: dict[str, CrossfileTask] = {}
    for number, row in rows.tasks(path):
        where = f"{path}, line {number}"
        if "groundtruth" in row:
            task = _crosscodeeval(row, where)
        elif "metadata" in row:
            task = _repoeval(row, where)
        else:
            stated = {"root": rows.text_of(row, "root", where)} if "root" in row else {}
            task = CrossfileTask(Task(**{name: rows.text_of(row, name, where) for name in FIELDS}, **stated))
        task = _located(task, path, repos, where)
        if found.setdefault(task.task.task_id, task) is not task:
            raise InputError(f"{where}: task {task.task.task_id} was there before")
    if not found:
        raise InputError(f"{path} has no tasks", hint="formats: CrossCodeEval's, RepoEval's, eval context's")
    tasks = list(found.values())
    order = list(range(len(tasks)))
    if limit is not None:
        # Shuffled, not sampled: a larger limit adds to the tasks of a smaller one.
        random.Random(seed).shuffle(order)  # noqa: S311  # a sample, not a secret
    return [tasks[number] for number in sorted(order[:limit])]


def _located(task: CrossfileTask, path: Path, repos: Path | None, where: str) -> CrossfileTask:
    one = task.task
    for name, value in (("the repository", one.repo), ("the path", one.path)):
        if not value or value.startswith("/") or ".." in value.split("/"):
            raise InputError(f"{where}: {name} {value!r} leads out of its folder")
    stated = path.parent / one.root if one.root and repos is None else None
    root = (stated or (repos or path.parent / "repos") / one.repo).resolve()
    return replace(task, task=replace(one, root=str(root)))


def _crosscodeeval(row: dict[str, Any], where: str) -> CrossfileTask:
    context = row.get("crossfile_context")
    chunks = context.get("list") if isinstance(context, dict) else None
    given = None
    if isinstance(chunks, list):
        given = tuple(
            (rows.text_of(one, "filename", where), rows.text_of(one, "retrieved_chunk", where)) for one in chunks
        )
    right = row.get("right_context")
    task = Task(
        task_id=rows.text_of(row, "metadata.task_id", where),
        repo=rows.text_of(row, "metadata.repository", where),
        path=rows.text_of(row, "metadata.file", where),
        function="",
        prefix=rows.text_of(row, "prompt", where),
        suffix=right if isinstance(right, str) else "",
        ground_truth=rows.text_of(row, "groundtruth", where),
    )
    return CrossfileTask(task, given)


def _repoeval(row: dict[str, Any], where: str) -> CrossfileTask:
    parts = row["metadata"].get("fpath_tuple") if isinstance(row["metadata"], dict) else None
    if not isinstance(parts, list) or len(parts) < 2 or not all(isinstance(part, str) for part in parts):
        raise InputError(f"{where}: metadata.fpath_tuple is not a list of a repository and the parts of a path")
    task = Task(
        task_id=rows.text_of(row, "metadata.task_id", where),
        repo=parts[0],
        path="/".join(parts[1:]),
        function="",
        prefix=rows.text_of(row, "prompt", where),
        suffix="",
        ground_truth=rows.text_of(row, "metadata.ground_truth", where),
    )
    return CrossfileTask(task)
