"""Fill-in-the-middle tasks, completed by two models through the shipped path, and how often each is exactly right.

A task file has one JSON object a line, gzipped or not: ``name``, ``language``, ``prompt``, ``canonical_solution`` and
``suffix``: the lines before, the line that is missing, and the lines after, without the line ends between them. Samples
are fixed by a seed, and both models complete the same, so that few tasks tell something: what one has right and the
other has not.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.evaluate.exact import NONE, Gap, complete_all
from coder_lsp.evaluate.tasks import Task
from coder_lsp.languages import PLAIN, by_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coder_lsp.config import Config

FIELDS = ("name", "language", "prompt", "suffix", "canonical_solution")
MAX_TOKENS = 48
_IDS = {"py": "python", "js": "javascript", "ts": "typescript", "rs": "rust", "rb": "ruby"}
"""Languages as task files abbreviate them, where an editor says otherwise."""


@dataclass(frozen=True)
class Exact:
    """Tasks that a model had right before and after, and those where they differ."""

    tasks: int
    before: int
    after: int
    better: int
    worse: int

    @property
    def points(self) -> float:
        """Percentage points gained; negative: lost."""
        return 100 * (self.after - self.before) / self.tasks if self.tasks else 0.0


def load(files: Sequence[Path], count: int, seed: int = 1) -> list[Task]:
    """``count`` tasks of all files together, the same for the same seed.

    :raises InputError: a file that cannot be read, or a row that is no task, with its line.
    """
    tasks = [_task(row, f"{path}, line {number}", number, path) for path in files for number, row in _rows(path)]
    if not tasks:
        raise InputError(f"no tasks in {', '.join(map(str, files))}", hint=f"each line has {', '.join(FIELDS)}")
    chance = random.Random(seed)  # noqa: S311  # a sample, not a secret
    chosen = sorted(chance.sample(range(len(tasks)), min(count, len(tasks))))
    return [tasks[number] for number in chosen]


async def complete(tasks: Sequence[Task], config: Config, tell: Callable[[int, int], None]) -> list[bool]:
    """Whether each was exactly right, by the model and the settings of ``config``, in a host of its own."""
    from coder_lsp.app import host_settings
    from coder_lsp.host.supervisor import HostSupervisor

    # Nothing of the bench's order or of work ahead may enter: the tasks are unrelated.
    config = replace(config, prompt=replace(config.prompt, context_tokens=0))
    gaps = [Gap(task, Path.cwd(), {NONE: ()}) for task in tasks]
    supervisor = HostSupervisor(host_settings(config))
    try:
        samples = await complete_all(
            gaps,
            supervisor,
            config,
            max_tokens=MAX_TOKENS,
            on_sample=lambda _sample, number, total: tell(number, total),
        )
    finally:
        await supervisor.stop()
    return [sample.exact for sample in samples]


def compare(before: Sequence[bool], after: Sequence[bool]) -> Exact:
    pairs = list(zip(before, after, strict=True))
    return Exact(
        tasks=len(pairs),
        before=sum(before),
        after=sum(after),
        better=sum(new and not old for old, new in pairs),
        worse=sum(old and not new for old, new in pairs),
    )


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the tasks in {path}: {error}") from error
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in FIELDS):
            raise InputError(f"{path}, line {number} is no task", hint=f"a task has the texts {', '.join(FIELDS)}")
        rows.append((number, row))
    return rows


def _task(row: dict[str, str], where: str, number: int, path: Path) -> Task:
    language = by_id(_IDS.get(row["language"], row["language"]))
    if language is PLAIN or not language.extensions:
        raise InputError(f"{where}: the language {row['language']!r} is not known")
    return Task(
        task_id=f"{path.name}:{number}",
        repo=path.stem,
        path=f"task{number}{language.extensions[0]}",
        function=row["name"],
        prefix=row["prompt"] + "\n" if row["prompt"] else "",
        suffix="\n" + row["suffix"] if row["suffix"] else "",
        ground_truth=row["canonical_solution"],
    )
