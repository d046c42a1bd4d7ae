"""Goals of measurements as data: a figure by its name, the limit it is to keep, and whether it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class Goal:
    """A figure by its dotted name, and the limit it is to keep."""

    figure: str
    limit: float
    title: str
    unit: str = ""
    least: bool = False
    """The limit is the least there should be; otherwise the most."""
    ratio: bool = False
    """The figure is looked up among the ratios to a peer."""

    def judge(self, value: float) -> dict[str, Any]:
        """The goal with what was reached, and whether that is enough."""
        met = value >= self.limit if self.least else value <= self.limit
        return {**asdict(self), "value": value, "met": met}


def look_up(figures: dict[str, Any], figure: str) -> float | None:
    """The number of that dotted name, None if it was not measured."""
    found: Any = figures
    for name in figure.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, (int, float)) else None


def rows(judged: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    """Each goal for people: what, the figure, the limit, the verdict. One with ``met`` None is not judged."""
    verdicts = {True: "met", False: "MISSED", None: "not judged"}
    for goal in judged:
        unit = " ×" if goal["ratio"] else f" {goal['unit']}".rstrip()
        bound = f"{'>=' if goal['least'] else '<='} {goal['limit']:,g}{unit}"
        yield [goal["title"], f"{goal['value']:,g}{unit}", bound, verdicts[goal["met"]]]
