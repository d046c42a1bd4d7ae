"""The history in a few figures: how much was shown and accepted, what it saved, how quick it was."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.stats.events import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.stats.events import Shown


@dataclass(frozen=True)
class Figures:
    """``acceptance`` is accepted of those that were on screen long enough to be read; None without any.

    Latency is from the request to its answer; None where nothing was shown.
    """

    shown: int
    accepted: int
    rejected: int
    ignored: int
    typed: int
    acceptance: float | None
    saved_characters: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


@dataclass(frozen=True)
class Day:
    """One day of the user's calendar (``date`` as 2026-11-22) on which something was shown."""

    date: str
    figures: Figures


@dataclass(frozen=True)
class Summary:
    """``languages`` by their ids, the most shown first; ``days`` in order, those without suggestions left out."""

    overall: Figures
    languages: dict[str, Figures]
    days: tuple[Day, ...] = ()


def summarise(rows: Sequence[Shown]) -> Summary:
    by_language: dict[str, list[Shown]] = {}
    for row in rows:
        by_language.setdefault(row.language, []).append(row)
    ordered = sorted(by_language.items(), key=lambda item: (-len(item[1]), item[0]))
    by_day: dict[str, list[Shown]] = {}
    for row in rows:
        by_day.setdefault(time.strftime("%Y-%m-%d", time.localtime(row.at)), []).append(row)
    return Summary(
        figures(rows),
        {language: figures(of_it) for language, of_it in ordered},
        tuple(Day(date, figures(of_it)) for date, of_it in sorted(by_day.items())),
    )


def figures(rows: Sequence[Shown]) -> Figures:
    counts = {fate: sum(row.fate is fate for row in rows) for fate in Fate}
    readable = len(rows) - counts[Fate.IGNORED]
    latencies = sorted(row.latency_ms for row in rows)
    return Figures(
        shown=len(rows),
        accepted=counts[Fate.ACCEPTED],
        rejected=counts[Fate.REJECTED],
        ignored=counts[Fate.IGNORED],
        typed=counts[Fate.TYPED],
        acceptance=counts[Fate.ACCEPTED] / readable if readable else None,
        saved_characters=sum(row.accepted_characters for row in rows),
        latency_p50_ms=_nearest_rank(latencies, 0.5),
        latency_p95_ms=_nearest_rank(latencies, 0.95),
    )


COLUMNS = ("Language", "Shown", "Accepted", "Of those read", "Saved", "p50", "p95")


def cells(name: str, figures: Figures) -> tuple[str, ...]:
    """Figures for people, one text for each of :data:`COLUMNS`."""
    return (
        name,
        f"{figures.shown:,}",
        f"{figures.accepted:,}",
        "-" if figures.acceptance is None else f"{figures.acceptance:.0%}",
        f"{figures.saved_characters:,}",
        milliseconds(figures.latency_p50_ms),
        milliseconds(figures.latency_p95_ms),
    )


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def _nearest_rank(ordered: Sequence[float], share: float) -> float | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
