"""What retrieval is to reach, beside what it reached: the goals as data, and the figures as lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.goals import Goal, look_up, rows

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class SizedGoal:
    """A goal for workspaces of up to ``up_to`` of what ``counts`` names."""

    goal: Goal
    counts: str = "files"
    up_to: int | None = None


GOALS = (
    SizedGoal(Goal("first_index.files_per_s", 300, "first index", "files/s", least=True)),
    SizedGoal(Goal("warm_start.searchable_ms.p50", 1000, "warm start until searchable", "ms"), up_to=10_000),
    SizedGoal(Goal("in_use.update.on_disk_ms.p95", 100, "saved file found, p95", "ms")),
    SizedGoal(Goal("in_use.update.unsaved_ms.p95", 100, "unsaved text found, p95", "ms")),
    SizedGoal(Goal("in_use.resident_mb.asked", 400, "resident memory", "MB"), up_to=10_000),
    SizedGoal(Goal("in_use.context_ms.p95", 15, "context, p95", "ms"), "in_use.chunks", 100_000),
    SizedGoal(Goal("in_use.query_ms.p95", 5, "query, p95", "ms"), "in_use.chunks", 100_000),
    SizedGoal(Goal("bm25.peer.ratio.p50", 100, "quicker than rank_bm25", "times", least=True)),
    SizedGoal(Goal("front.indexing.request_ms.p95", 30, "request while indexing, p95", "ms")),
)


def judge(size: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal whose figure was measured; ``met`` is None for one missed in a larger workspace than it is for."""
    judged = []
    for sized in GOALS:
        value = look_up(size, sized.goal.figure)
        if value is None:
            continue
        counted = look_up(size, sized.counts)
        applies = sized.up_to is None or (counted is not None and counted <= sized.up_to)
        verdict = sized.goal.judge(value)
        judged.append({**verdict, "up_to": sized.up_to, "met": verdict["met"] or (False if applies else None)})
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
    for judged, (title, value, bound, verdict) in zip(size["goals"], rows(size["goals"]), strict=True):
        within = f" up to {judged['up_to']:,}" if judged["up_to"] else ""
        yield f"  {title:<30} {value:>16}   goal {bound + within:<28} {verdict}"


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
