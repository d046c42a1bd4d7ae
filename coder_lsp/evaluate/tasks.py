"""Tasks with a known answer: a file of a repository with the body of one function taken out.

A file has one JSON object a line, gzipped if its name ends with ``.gz``: ``task_id``, ``repo``, ``path``, ``function``,
``prefix``, ``suffix`` and ``ground_truth``, whose concatenation in the order prefix, ground truth, suffix is the file.
The repository is the folder ``repos/<repo>`` beside the task file, ``<DIR>/<repo>`` where a folder is named, or what an
optional field ``root`` says. Reads and writes tasks; looks into no repository.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FIELDS = ("task_id", "repo", "path", "function", "prefix", "suffix", "ground_truth")


@dataclass(frozen=True)
class Task:
    """One gap. ``path`` is relative to the repository, with ``/``; ``root`` is empty if it is where the format says."""

    task_id: str
    repo: str
    path: str
    function: str
    prefix: str = field(repr=False)
    suffix: str = field(repr=False)
    ground_truth: str = field(repr=False)
    root: str = ""


@dataclass(frozen=True)
class TaskSet:
    """The tasks of a file, each with the folder of its repository."""

    path: Path
    tasks: tuple[Task, ...]
    roots: dict[str, Path]
    """Repository -> its folder."""

    def by_root(self) -> dict[Path, list[Task]]:
        """The tasks of each repository, in the order of the file."""
        found: dict[Path, list[Task]] = {}
        for task in self.tasks:
            found.setdefault(self.roots[task.repo], []).append(task)
        return found


def load_tasks(path: Path, *, repos: Path | None = None, limit: int | None = None) -> TaskSet:
    """The tasks of a file, the first ``limit`` of them; ``repos`` is the folder that holds their repositories.

    :raises InputError: the file cannot be read, a row is not a task (with its line), a repository is not there.
    """
    tasks: list[Task] = []
    seen: dict[str, int] = {}
    try:
        for number, line in enumerate(_lines(path), start=1):
            if limit is not None and len(tasks) >= limit:
                break
            if not line.strip():
                continue
            task = _task(line, f"{path}, line {number}")
            if task.task_id in seen:
                raise InputError(f"{path}, line {number}: task {task.task_id} is on line {seen[task.task_id]} as well")
            seen[task.task_id] = number
            tasks.append(task)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    if not tasks:
        raise InputError(f"{path} has no tasks", hint=f"each line is a JSON object with {', '.join(FIELDS)}")
    return TaskSet(path, tuple(tasks), _roots(path, tasks, repos))


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write a task file; gzipped if its name says so.

    :raises InputError: it cannot be written.
    """
    rows = []
    for task in tasks:
        row = asdict(task)
        if not task.root:
            del row["root"]
        rows.append(json.dumps(row) + "\n")
    data = "".join(rows).encode()
    try:
        # mtime 0: the same tasks make the same file.
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as stream:
        for line in stream:
            yield line.decode()


def _task(line: str, where: str) -> Task:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: {type(row).__name__} instead of an object")
    values: dict[str, str] = {}
    for name in (*FIELDS, "root"):
        value = row.get(name, "" if name == "root" else None)
        if value is None:
            raise InputError(f"{where}: no {name}", hint=f"a task has {', '.join(FIELDS)}")
        if not isinstance(value, str):
            raise InputError(f"{where}: {name} is {type(value).__name__} instead of text")
        values[name] = value
    for name in ("repo", "path"):
        parts = values[name].split("/")
        if not values[name] or values[name].startswith("/") or ".." in parts:
            raise InputError(f"{where}: {name} {values[name]!r} leads out of its folder")
    return Task(**values)


def _roots(path: Path, tasks: Iterable[Task], repos: Path | None) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for task in tasks:
        stated = path.parent / task.root if task.root and repos is None else None
        root = (stated or (repos or path.parent / "repos") / task.repo).resolve()
        if roots.setdefault(task.repo, root) != root:
            raise InputError(f"{path}: the repository {task.repo} is both {roots[task.repo]} and {root}")
    for root in roots.values():
        if not root.is_dir():
            raise InputError(
                f"{root} is not a folder", hint="--repos names the folder that holds the repositories of the tasks"
            )
    return roots
