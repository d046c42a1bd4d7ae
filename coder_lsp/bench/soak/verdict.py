"""From minutes to a verdict: what grew between the first part of a run and the last, and whether that is too much.

The first part begins when things have been warm for a while: a cold start reads, loads and grows, as it should.
"""

from __future__ import annotations

import itertools
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

GOALS = (
    Goal("front.memory_percent", 2, "memory of a front, last part against first", "%"),
    Goal("host.memory_percent", 2, "memory of the host, last part against first", "%"),
    Goal("front.descriptors", 0, "descriptors of a front, more in the last part"),
    Goal("host.descriptors", 0, "descriptors of the host, more in the last part"),
    Goal("front.threads", 0, "threads of a front, more in the last part"),
    Goal("host.threads", 0, "threads of the host, more in the last part"),
    Goal("requests.lost", 0, "requests without an answer"),
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


@dataclass(frozen=True)
class Requests:
    """Of all windows. ``failed``: answered by an error other than having been cancelled."""

    asked: int
    answered: int
    cancelled: int
    failed: int
    doubled: int
    lost: int


def verdict(minutes: Sequence[Minute], requests: Requests) -> dict[str, Any]:
    """Figures of a run, and its goals with what was reached; a figure that could not be had is not judged."""
    first, last = parts(minutes)
    windows = range(max((len(minute.fronts) for minute in minutes), default=0))
    fronts = [_growth([minute.fronts[n] for minute in first], [minute.fronts[n] for minute in last]) for n in windows]
    host = _growth([minute.host for minute in first], [minute.host for minute in last])
    pids = [minute.host_pid for minute in minutes if minute.host_pid]
    waits = [[wait for minute in part for wait in minute.waited_ms] for part in (first, last)]
    shown: dict[str, Any] = {
        "first_ms": quantiles(waits[0]),
        "last_ms": quantiles(waits[1]),
        "count": sum(map(len, waits)),
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
