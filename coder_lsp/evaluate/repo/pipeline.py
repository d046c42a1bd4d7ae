"""``coder-lsp eval repo``: places out of the history, the workspace of each, completions, a report.

    FOLDER/samples.jsonl     every completion
    FOLDER/report.json, report.html

Knows neither a terminal nor a host: what shows progress and what completes is given. What was completed before is taken
from the file of samples, so the same command goes on where it was ended, and more places or another model add to it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.evaluate import rows
from coder_lsp.evaluate.repo import page, places, report
from coder_lsp.evaluate.repo.complete import Sample
from coder_lsp.evaluate.repo.history import History
from coder_lsp.evaluate.repo.workspace import prepare
from coder_lsp.models import files
from coder_lsp.workspace.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.evaluate.repo.complete import Subject
    from coder_lsp.evaluate.repo.history import Change, Commit
    from coder_lsp.evaluate.repo.workspace import Prepared

    Progress = Callable[[str, int, int, str], None]
    """Told of a stage, how much of it is done, how much there is (0: not known), and of what."""
    Complete = Callable[
        [Sequence[Prepared], Subject, Sequence[Sample], Callable[[Sample, int, int], None]], list[Sample]
    ]
    """Has a model host complete places; takes what is known already, and tells of each new sample."""

SAMPLES, REPORT, PAGE = "samples.jsonl", "report.json", "report.html"
_LOCK = ".lock"


@dataclass(frozen=True)
class Plan:
    """What is to be measured: up to ``limit`` places out of the newest ``commits`` of a branch (empty: the default).

    ``budget`` is in tokens of other files. ``exclude`` are patterns of files that nothing is asked in,
    ``exclude_context`` of files that are not shown either.
    """

    repository: Path
    folder: Path
    branch: str = ""
    commits: int = 50
    limit: int = 120
    seed: int = 1
    budget: int = 512
    exclude: tuple[str, ...] = ()
    exclude_context: tuple[str, ...] = ()


def measure(plan: Plan, subjects: Sequence[Subject], complete: Complete, progress: Progress) -> dict[str, Any]:
    """The report, which is also written.

    :raises InputError: no repository, or nothing in its newest commits that could be asked for.
    :raises CoderLspError: indexing, a host or the disk fails; the samples so far are kept.
    """
    history = History.open(plan.repository, plan.branch)
    # Before any work, for a file of something else is refused.
    rows.load(plan.folder / SAMPLES, Sample)
    commits = _commits(plan, history)
    chosen = _places(plan, history, commits, progress)
    prepared = list(
        prepare(
            chosen,
            history,
            budget=plan.budget,
            exclude=plan.exclude_context,
            progress=lambda number, total: progress("context", number, total, "places"),
        )
    )
    _make(plan.folder)
    with files.exclusive(plan.folder / _LOCK, lambda: progress(f"waiting for another run in {plan.folder}", 0, 0, "")):
        done = rows.load(plan.folder / SAMPLES, Sample)
        samples: dict[str, list[Sample]] = {}
        for subject in subjects:

            def told(sample: Sample, number: int, total: int, name: str = subject.name) -> None:
                rows.append(plan.folder / SAMPLES, sample)
                progress(f"completing, {name}", number, total, "completions")

            samples[subject.label] = complete(prepared, subject, done, told)
        table = report.written(_facts(plan, history, commits), chosen, subjects, samples)
        with files.disk_full_as_error(plan.folder):
            files.write_text(plan.folder / REPORT, json.dumps(table, indent=1) + "\n")
            files.write_text(plan.folder / PAGE, page.page(table))
    return table


def name_of(repository: Path) -> str:
    """A repository as its folder is called."""
    return repository.resolve().name.removesuffix(".git") or "repository"


def _make(folder: Path) -> None:
    """A folder that is its user's alone, as lines of code will be in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CoderLspError(f"cannot make {folder}: {error.strerror}", hint="name another folder with -o") from error


def _commits(plan: Plan, history: History) -> list[Commit]:
    """:raises InputError: there are none."""
    found = history.newest(plan.commits)
    if not found:
        shallow = history.repository.is_shallow()
        raise InputError(
            f"{history.branch.name} has no commit {'here ' if shallow else ''}that changes one before it",
            hint="it is a shallow clone: git fetch --unshallow brings the rest"
            if shallow
            else "merges and first commits say nothing of what was written: name another --branch",
        )
    return found


def _facts(plan: Plan, history: History, commits: Sequence[Commit]) -> report.Facts:
    days = [datetime.fromtimestamp(commit.time, timezone.utc).date().isoformat() for commit in commits]
    return report.Facts(
        name=name_of(plan.repository),
        branch=history.branch.name,
        commit=history.branch.commit,
        commits=len(commits),
        first_day=min(days),
        last_day=max(days),
        left_out=dict(history.left_out),
        seed=plan.seed,
        budget=plan.budget,
        shallow=history.repository.is_shallow(),
    )


def _places(plan: Plan, history: History, commits: Sequence[Commit], progress: Progress) -> list[places.Place]:
    # An empty folder: the work tree's ignore files are of today, and what is committed is wanted.
    with tempfile.TemporaryDirectory(prefix="coder-lsp-eval-") as empty:
        rules = Folder(Path(empty), exclude=plan.exclude)

        def changes() -> Iterator[Change]:
            for number, commit in enumerate(commits, start=1):
                yield from history.changes(commit, rules.admits)
                progress("history", number, len(commits), "commits")

        found = places.find(changes(), name_of(plan.repository), seed=plan.seed)
        chosen = places.choose(found, plan.limit, seed=plan.seed)
    if not chosen:
        raise InputError(
            f"nothing to ask for in the newest {len(commits)} commits of {history.branch.name}",
            hint="raise --commits, or name another --branch: lines of code that were added are needed",
        )
    return chosen
