"""From minutes to a verdict: what grew between the first part of a run and the last, and whether that is too much.

The first part begins when things have been warm for a while: a cold start reads, loads and grows, as it should.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.figures import quantiles
from coder_lsp.bench.goals import Goal, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.bench.soak.held import Held

PART_MINUTES = 10.0
_SHARE = 6
"""A part is at most this fraction of a run, and so is what comes before the first."""
_HIGH = 0.95
_SURE = 1.96
"""Standard deviations on both sides."""

GOALS = (
    Goal("front.memory_percent", 2, "memory of a front, last part against first", "%"),
    Goal("host.memory_percent", 2, "memory of the host, last part against first", "%"),
    Goal("front.descriptors", 0, "descriptors of a front, more in the last part"),
    Goal("host.descriptors", 0, "descriptors of the host, more in the last part"),
    Goal("front.threads", 0, "threads of a front, more in the last part"),
    Goal("host.threads", 0, "threads of the host, more in the last part"),
    Goal("requests.lost", 0, "requests without an answer"),
    Goal("requests.late", 0, "requests that were answered after more than two minutes, or never"),
    Goal("requests.doubled", 0, "answers that nobody waited for"),
    Goal("requests.failed", 0, "requests that failed"),
    Goal("host.restarts", 0, "restarts of the host"),
    Goal("shown.p95_percent", 10, "keystroke to shown, p95, last part against first", "%"),
)


@dataclass
class Minute:
    """A look at everything. Times in seconds since the start, waits in ms."""

    at_s: float
    fronts: list[Held | None]
    host: Held | None
    host_pid: int = 0
    waited_ms: list[float] = field(default_factory=list)
    """From a keystroke to its ghost text, of what was shown since the look before."""
    answered: int = 0
    """Requests of all windows, since the start."""
    busy_s: float = 0.0
    """Processor time of the whole machine, all cores, since it began."""


@dataclass(frozen=True)
class Requests:
    """Of all windows. ``failed``: answered by an error, but for cancelled ones; ``late``: not within two minutes."""

    asked: int
    answered: int
    cancelled: int
    failed: int
    doubled: int
    lost: int
    late: int


def verdict(minutes: Sequence[Minute], requests: Requests) -> dict[str, Any]:
    """Figures of a run, and its goals with what was reached; a figure that could not be had is not judged."""
    first, last = parts(minutes)
    windows = range(max((len(minute.fronts) for minute in minutes), default=0))
    fronts = [_growth([minute.fronts[n] for minute in first], [minute.fronts[n] for minute in last]) for n in windows]
    host = _growth([minute.host for minute in first], [minute.host for minute in last])
    pids = [minute.host_pid for minute in minutes if minute.host_pid]
    waits = [[wait for minute in part for wait in minute.waited_ms] for part in (first, last)]
    shown: dict[str, Any] = {
        "first_ms": _told(waits[0]),
        "last_ms": _told(waits[1]),
        "count": sum(len(minute.waited_ms) for minute in minutes),
        "parts": _waits_by_part(minutes),
    }
    if all(waits):
        shown["p95_percent"] = _percent(shown["first_ms"]["p95"], shown["last_ms"]["p95"])
    figures: dict[str, Any] = {
        "minutes": round(minutes[-1].at_s / 60, 1) if minutes else 0.0,
        "part_minutes": round(_part_s(minutes) / 60, 2),
        "fronts": fronts,
        # The worst of the windows.
        "front": {name: max(each[name] for each in fronts) for name in (fronts[0] if fronts and all(fronts) else ())},
        "host": {**host, "restarts": sum(before != now for before, now in itertools.pairwise(pids))},
        "requests": asdict(requests),
        "shown": shown,
        # Waits depend on what else the machine does; these tell whether they can be compared.
        "processor": {"first": _processor(first), "last": _processor(last)},
    }
    found = [(goal, look_up(figures, goal.figure)) for goal in GOALS]
    figures["goals"] = [goal.judge(value) for goal, value in found if value is not None]
    return figures


def parts(minutes: Sequence[Minute]) -> tuple[list[Minute], list[Minute]]:
    """The minutes of the first part and of the last."""
    if not minutes:
        return [], []
    part_s, end_s = _part_s(minutes), minutes[-1].at_s
    first = [minute for minute in minutes if part_s < minute.at_s <= 2 * part_s]
    return first, [minute for minute in minutes if minute.at_s > end_s - part_s]


def _waits_by_part(minutes: Sequence[Minute]) -> list[dict[str, float]]:
    """One part after the other, the warm-up first; the last is what is left."""
    part_s = _part_s(minutes)
    found: dict[int, list[float]] = {}
    for minute in minutes:
        # The clock of a look is late by what looking took.
        found.setdefault(max(0, math.ceil(minute.at_s / part_s - 0.01) - 1), []).extend(minute.waited_ms)
    return [
        {"until_min": round((number + 1) * part_s / 60, 1), "count": len(waits), **_told(waits)}
        for number, waits in sorted(found.items())
    ]


def _told(waits: Sequence[float]) -> dict[str, float]:
    """p50 and p95, and between which two of the waits p95 lies with a certainty of 95 %, by rank.

    Of 200 waits p95 is the 191st, and lies between the 184th and the 197th: a few hundred tell 10 % only where most
    are alike.
    """
    if not waits:
        return {}
    ordered, middle = sorted(waits), _HIGH * len(waits)
    spread = _SURE * math.sqrt(middle * (1 - _HIGH))
    low, high = max(0, math.floor(middle - spread)), min(len(waits) - 1, math.floor(middle + spread))
    return {**quantiles(waits), "p95_least": round(ordered[low], 2), "p95_most": round(ordered[high], 2)}


def _processor(part: Sequence[Minute]) -> dict[str, float]:
    """Time of our processes for an answer, and how many cores everything else on the machine kept busy."""
    if len(part) < 2:
        return {}
    begin, end = part[0], part[-1]
    seconds, answers = end.at_s - begin.at_s, end.answered - begin.answered
    pairs = [(begin.host, end.host), *zip(begin.fronts, end.fronts, strict=True)]
    spent = [after.cpu_s - before.cpu_s for before, after in pairs if before and after]
    if len(spent) < len(pairs) or min(spent) < 0 or not answers:
        return {}
    return {
        "host_ms": round(1000 * spent[0] / answers, 1),
        "fronts_ms": round(1000 * sum(spent[1:]) / answers, 1),
        "elsewhere_cores": round((end.busy_s - begin.busy_s - sum(spent)) / seconds, 2),
    }


def _part_s(minutes: Sequence[Minute]) -> float:
    return min(60 * PART_MINUTES, minutes[-1].at_s / _SHARE) if minutes else 0.0


def _growth(first: Sequence[Held | None], last: Sequence[Held | None]) -> dict[str, float]:
    """Of medians; nothing where there are none."""
    before, after = ([held for held in part if held is not None] for part in (first, last))
    if not before or not after:
        return {}
    memory = [median(held.memory_mb for held in part) for part in (before, after)]
    return {
        "memory_mb": round(memory[1], 1),
        "memory_percent": _percent(*memory),
        "descriptors": median(held.descriptors for held in after) - median(held.descriptors for held in before),
        "threads": median(held.threads for held in after) - median(held.threads for held in before),
    }


def _percent(before: float, after: float) -> float:
    return round(100 * (after / before - 1), 2) if before else 0.0
