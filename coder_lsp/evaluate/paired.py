"""Two measurements of the same tasks, compared in pairs: what was gained and lost, and whether chance could do that.

The interval is the bootstrap's, over tasks; the probability is that of a sign-flip permutation: if both were equally
good, each task's difference would be as likely to have the other sign.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError
from coder_lsp.evaluate.exact import interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Difference", "compare", "interval", "sign_flip", "worse_by_chance"]

_ROUNDS = 10_000
_EXACT_PAIRS = 12
"""With so few differences all their signs are tried, 4096 at most."""
_SAME = 1e-12


@dataclass(frozen=True)
class Difference:
    """``before`` and ``after`` are means over the tasks that both measured; ``difference`` is after - before."""

    tasks: int
    before: float
    after: float
    better: int
    worse: int
    difference: float
    interval_95: tuple[float, float]
    p_value: float
    """Of a difference as large as this, either way, if both were equally good."""

    @property
    def significant(self) -> bool:
        return self.p_value < 0.05

    def as_json(self) -> dict[str, Any]:
        return {
            "tasks": self.tasks,
            "before": round(self.before, 4),
            "after": round(self.after, 4),
            "better": self.better,
            "worse": self.worse,
            "difference": round(self.difference, 4),
            "interval_95": [round(end, 4) for end in self.interval_95],
            "p_value": round(self.p_value, 5),
        }


def compare(before: Mapping[str, float], after: Mapping[str, float], *, seed: int) -> Difference:
    """Figures by task, before and after; tasks that only one of them has are left out.

    :raises InputError: they have no task in common.
    """
    both = sorted(before.keys() & after.keys())
    if not both:
        raise InputError("the two have no task in common", hint="compare samples of the same task file")
    changes = [float(after[task]) - float(before[task]) for task in both]
    return Difference(
        tasks=len(both),
        before=math.fsum(before[task] for task in both) / len(both),
        after=math.fsum(after[task] for task in both) / len(both),
        better=sum(change > _SAME for change in changes),
        worse=sum(change < -_SAME for change in changes),
        difference=math.fsum(changes) / len(both),
        interval_95=interval(changes, seed=seed),
        p_value=sign_flip(changes, seed=seed),
    )


def sign_flip(changes: Sequence[float], *, seed: int, rounds: int = _ROUNDS) -> float:
    """Share of all choices of signs whose sum is as far from 0 as that of ``changes``.

    Exact where all differences are of one size (then it is McNemar's test) or few; else by so many random choices, the
    given one among them.

    >>> sign_flip([1, 1, 1, 1, 1, 0, 0], seed=1)
    0.0625
    """
    sizes = [abs(change) for change in changes if abs(change) > _SAME]
    if not sizes:
        return 1.0
    total = abs(math.fsum(changes))
    if max(sizes) - min(sizes) < _SAME:
        most = round((len(sizes) + total / sizes[0]) / 2)
        return min(1.0, 2 * _upper_tail(len(sizes), most))
    if len(sizes) <= _EXACT_PAIRS:
        sums = [0.0]
        for size in sizes:
            sums = [one + sign for one in sums for sign in (size, -size)]
        return sum(abs(one) >= total - _SAME * len(sizes) for one in sums) / len(sums)
    chance = random.Random(seed)  # noqa: S311  # a permutation, not a secret
    reached = 0
    everything = math.fsum(sizes)
    for _ in range(rounds):
        bits = chance.getrandbits(len(sizes))
        positive = math.fsum(size for number, size in enumerate(sizes) if bits >> number & 1)
        reached += abs(2 * positive - everything) >= total - _SAME * len(sizes)
    return (reached + 1) / (rounds + 1)


def worse_by_chance(better: int, worse: int) -> float:
    """How likely so many of ``better + worse`` changes are for the worse if both ways are equally likely.

    One-sided: 1 of 4 better and 3 worse has (4 + 1) / 16.
    """
    return _upper_tail(better + worse, worse)


def _upper_tail(throws: int, least: int) -> float:
    """At least so many heads of so many throws of a fair coin."""
    if throws == 0:
        return 1.0
    return float(sum(math.comb(throws, heads) for heads in range(least, throws + 1)) / 2**throws)
