"""What retrieval is to reach, beside what it reached: the goals as data, and the figures as lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Goal:
    """A figure by its dotted name and the limit it is to keep, in workspaces of up to ``up_to`` files or chunks."""

    figure: str
    limit: float
    unit: str
    title: str
    least: bool = False
    """The limit is the least there should be; otherwise the most."""
    counts: str = "files"
    up_to: int | None = None


GOALS = (
    Goal("first_index.files_per_s", 300, "files/s", "first index", least=True),
    Goal("warm_start.searchable_ms.p50", 1000, "ms", "warm start until searchable", up_to=10_000),
    Goal("in_use.update.on_disk_ms.p95", 100, "ms", "saved file found, p95"),
    Goal("in_use.update.unsaved_ms.p95", 100, "ms", "unsaved text found, p95"),
    Goal("in_use.resident_mb.asked", 400, "MB", "resident memory", up_to=10_000),
    Goal("in_use.context_ms.p95", 15, "ms", "context, p95", counts="in_use.chunks", up_to=100_000),
    Goal("in_use.query_ms.p95", 5, "ms", "query, p95", counts="in_use.chunks", up_to=100_000),
    Goal("bm25.peer.ratio.p50", 100, "times", "quicker than rank_bm25", least=True),
    Goal("front.indexing.request_ms.p95", 30, "ms", "request while indexing, p95"),
)


def judge(size: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal whose figure was measured; ``met`` is None for one missed in a larger workspace than it is for."""
    judged = []
    for goal in GOALS:
        value = _look_up(size, goal.figure)
        if value is None:
            continue
        counted = _look_up(size, goal.counts)
        applies = goal.up_to is None or (counted is not None and counted <= goal.up_to)
        met = value >= goal.limit if goal.least else value < goal.limit
        judged.append(
            {"figure": goal.figure, "value": value, "limit": goal.limit, "met": met or (False if applies else None)}
        )
    return judged


def report(figures: dict[str, Any]) -> Iterator[str]:
    """The figures of ``bench.retrieval`` as lines: the machine, then each size with the goals first."""
    yield figures["hardware"]
    for size in figures["sizes"]:
        load = size["load_average"]
        yield ""
        yield (
            f"{size['files']:,} files, {size['written_mb']:,} MB; load average {load['before']} before, "
            f"{load['after']} after"
        )
        yield from _goals(size)
        yield ""
        yield from _rows(size)


def _goals(size: dict[str, Any]) -> Iterator[str]:
    goals = {goal.figure: goal for goal in GOALS}
    for judged in size["goals"]:
        goal = goals[judged["figure"]]
        what = goal.counts.rpartition(".")[2]
        within = f" up to {goal.up_to:,} {what}" if goal.up_to else ""
        bound = f"{'>=' if goal.least else '<'} {goal.limit:,g} {goal.unit}{within}"
        verdict = {True: "met", False: "MISSED", None: f"not for {_look_up(size, goal.counts):,} {what}"}[judged["met"]]
        yield f"  {goal.title:<30} {judged['value']:>10,g} {goal.unit:<8} goal {bound:<34} {verdict}"


def _rows(size: dict[str, Any]) -> Iterator[str]:
    """Everything else that was measured, one line a part."""
    for part in ("first_index", "warm_start", "in_use", "front", "bm25"):
        if part in size:
            yield f"  {part}"
            for name, value in _flat(size[part]):
                yield f"    {name:<32} {value}"


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        if not isinstance(value, dict):
            yield f"{prefix}{name}", _text(value)
        elif any(isinstance(inner, dict) for inner in value.values()):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "  ".join(f"{key} {_text(inner)}" for key, inner in value.items())


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def _look_up(figures: dict[str, Any], dotted: str) -> Any:
    """The figure of that name, None if it was not measured."""
    found: Any = figures
    for name in dotted.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
