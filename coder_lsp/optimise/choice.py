"""Which format each group of matrices gets: the fastest set of formats whose harm stays within a budget.

Plain arithmetic on figures that others measured. Harm is a divergence of predictions (nats a token) and adds up: small
errors in different matrices are independent, and the divergence grows with their squares. That makes it a knapsack with
one choice a group, solved exactly up to the rounding of harms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEPS = 2000
"""The budget is divided into so many units and harms are rounded up to them: 30 groups lose 1.5 % of it at most."""


@dataclass(frozen=True)
class Option:
    """A group in one format: time for one token decoded and for one token of a prompt, and the harm it does."""

    format: str
    decode_us: float
    prefill_us: float
    harm: float


@dataclass(frozen=True)
class Group:
    """Matrices that get one format. The first option is the group as it is, which does no harm."""

    name: str
    matrices: tuple[str, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Whole:
    """What a token costs in the whole model as it is, in microseconds: decoded, and in a prompt."""

    decode_us: float
    prefill_us: float


def choose(groups: Sequence[Group], budget: float, whole: Whole) -> dict[str, Option]:
    """An option for each group, by name: together the cheapest of those that harm no more than ``budget``.

    The cost is the sum of two shares of the whole: a tenth of decoding is worth a tenth of reading prompts.
    """
    # best[u]: least cost with at most u units of harm, over the groups so far; taken[g][u]: the option that gave it.
    best = [0.0] * (STEPS + 1)
    taken: list[list[int]] = []
    for group in groups:
        costs = [_cost(option, whole) for option in group.options]
        units = [_units(option.harm, budget) for option in group.options]
        following, choices = [], []
        for room in range(STEPS + 1):
            fitting = [
                (best[room - u] + cost, i) for i, (cost, u) in enumerate(zip(costs, units, strict=True)) if u <= room
            ]
            cost, number = min(fitting)
            following.append(cost)
            choices.append(number)
        best = following
        taken.append(choices)
    room = STEPS
    chosen: dict[str, Option] = {}
    for group, choices in zip(reversed(groups), reversed(taken), strict=True):
        option = group.options[choices[room]]
        chosen[group.name] = option
        room -= _units(option.harm, budget)
    return {group.name: chosen[group.name] for group in groups}


def predicted(groups: Sequence[Group], chosen: Mapping[str, Option], whole: Whole) -> tuple[float, float, float]:
    """How many times faster decoding and prompts become, and the harm, if the figures hold."""
    decode = whole.decode_us + sum(chosen[g.name].decode_us - g.options[0].decode_us for g in groups)
    prefill = whole.prefill_us + sum(chosen[g.name].prefill_us - g.options[0].prefill_us for g in groups)
    harm = sum(chosen[g.name].harm for g in groups)
    return whole.decode_us / max(decode, 1e-9), whole.prefill_us / max(prefill, 1e-9), harm


def _cost(option: Option, whole: Whole) -> float:
    return option.decode_us / whole.decode_us + option.prefill_us / whole.prefill_us


def _units(harm: float, budget: float) -> int:
    if harm <= 0:
        return 0
    return math.ceil(harm / budget * STEPS) if budget > 0 else STEPS + 1
