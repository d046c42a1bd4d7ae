"""``coder-lsp eval context``: how much of what tasks need out of other files the context brings, beside the reference.

Every block is what the model would read: assembled by ``retrieval`` out of an index that the shipped indexer built,
with the task's document open and unsaved, and cut by the model's own tokens with all headers. The reference recipe gets
the same budget. Blocks are compared by identifiers (``identifiers``); completions are ``exact``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp.evaluate.crosscodeeval import Reference
from coder_lsp.evaluate.identifiers import Recall, Repository
from coder_lsp.evaluate.indexed import fim_request, indexed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from coder_lsp.evaluate.cutter import Cutter
    from coder_lsp.evaluate.tasks import Task, TaskSet
    from coder_lsp.types import Snippet

OURS, REFERENCE = "ours", "reference"


@dataclass(frozen=True)
class Measured:
    """One task: what it needs, what the recipes show for it, in how many tokens and milliseconds."""

    task: Task
    needed: frozenset[str]
    blocks: dict[str, str] = field(repr=False)
    """Recipe -> its block."""
    tokens: dict[str, int]
    ms: float
    assembled: tuple[Snippet, ...] = field(default=(), repr=False)
    """Ours before the cut, as the front sends them to the host."""


def measure(
    tasks: TaskSet,
    cutter: Cutter,
    *,
    budget: int,
    reference: bool = True,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Measured]:
    """All tasks, a repository after the other.

    :raises CoderLspError: the reference is wanted and rank_bm25 is not installed.
    """
    measured: list[Measured] = []
    for root, theirs in tasks.by_root().items():
        for one in _measure_repository(root, theirs, cutter, budget=budget, reference=reference):
            measured.append(one)
            progress(len(measured), len(tasks.tasks))
    return measured


def _measure_repository(
    root: Path, tasks: Sequence[Task], cutter: Cutter, *, budget: int, reference: bool
) -> Iterator[Measured]:
    repository = Repository.read(root)
    recipe = Reference(repository.texts) if reference else None
    with indexed(root) as index:
        for task in tasks:
            snippets, ms = index.snippets(task, budget)
            cut = cutter.snippets(fim_request(task, snippets), budget)
            blocks, tokens = {OURS: cut.content}, {OURS: cut.tokens}
            if recipe is not None:
                other = cutter.text(recipe.block(task), budget)
                blocks[REFERENCE], tokens[REFERENCE] = other.text, other.tokens
            yield Measured(task, repository.needed(task), blocks, tokens, ms, snippets)


def summary(measured: Sequence[Measured], cutter: Cutter, *, budget: int) -> dict[str, Any]:
    """The figures: in total and by repository."""
    repositories: dict[str, list[Measured]] = {}
    for one in measured:
        repositories.setdefault(one.task.repo, []).append(one)
    return {
        "tasks": len(measured),
        "budget": budget,
        "tokens_by": cutter.name or "estimate",
        **_figures(measured),
        "ms": {"p50": round(_percentile(measured, 50), 2), "p95": round(_percentile(measured, 95), 2)},
        "repositories": {
            name: {"tasks": len(theirs), **_figures(theirs)} for name, theirs in sorted(repositories.items())
        },
    }


def _figures(measured: Sequence[Measured]) -> dict[str, Any]:
    figures: dict[str, Any] = {"needed": sum(len(one.needed) for one in measured)}
    for recipe in measured[0].blocks:
        recall = Recall()
        for one in measured:
            recall.add(one.needed, one.blocks[recipe])
        figures[recipe] = {
            "found": recall.found,
            "recall": round(recall.micro, 4),
            "recall_per_task": round(recall.per_task, 4),
            "tokens": round(sum(one.tokens[recipe] for one in measured) / len(measured), 1),
        }
    return figures


def _percentile(measured: Sequence[Measured], percent: int) -> float:
    ordered = sorted(one.ms for one in measured)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
