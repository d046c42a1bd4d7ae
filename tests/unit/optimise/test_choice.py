from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from coder_lsp.optimise.choice import STEPS, Group, Option, Whole, choose, predicted

WHOLE = Whole(decode_us=100.0, prefill_us=50.0)


def group(name: str, *options: tuple[float, float]) -> Group:
    """Options as (time, harm); the first is the group as it is."""
    return Group(name, (name,), tuple(Option(f"f{i}", time, time / 2, harm) for i, (time, harm) in enumerate(options)))


def formats(groups, budget):
    return [option.format for option in choose(groups, budget, WHOLE).values()]


def test_what_gains_most_for_its_harm_is_taken_first():
    groups = [group("cheap", (10, 0), (5, 0.001)), group("dear", (10, 0), (5, 0.009))]
    assert formats(groups, 0.005) == ["f1", "f0"]
    assert formats(groups, 0.02) == ["f1", "f1"]


def test_nothing_changes_without_a_budget_or_without_a_gain():
    assert formats([group("a", (10, 0), (5, 0.001))], 0.0) == ["f0"]
    assert formats([group("a", (10, 0), (12, 0.0))], 1.0) == ["f0"]


def test_a_free_gain_is_taken_even_without_a_budget():
    assert formats([group("a", (10, 0), (5, 0.0))], 0.0) == ["f1"]


def test_ratios_and_harm_are_those_of_the_chosen():
    groups = [group("a", (40, 0), (20, 0.01))]
    decode, prefill, harm = predicted(groups, choose(groups, 1.0, WHOLE), WHOLE)
    assert (decode, prefill, harm) == (100 / 80, 50 / 40, 0.01)


options = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30)), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(options, min_size=1, max_size=4), st.integers(1, 60))
def test_no_other_choice_within_the_budget_is_faster(rows, budget):
    """Harms in whole units of the budget's steps, so that rounding them up changes nothing."""
    unit = 1 / STEPS
    groups = [
        group(str(i), (40, 0), *((time, harm * STEPS / budget * unit) for time, harm in row))
        for i, row in enumerate(rows)
    ]
    chosen = choose(groups, 1.0, WHOLE)

    def cost(picked):
        return sum(option.decode_us for option in picked)

    # Rounding up may cost one unit a group: compare with what is possible within that much less.
    room = 1.0 - len(groups) * unit
    possible = [
        cost(picked)
        for picked in itertools.product(*(each.options for each in groups))
        if sum(option.harm for option in picked) <= room
    ]
    assert sum(option.harm for option in chosen.values()) <= 1.0 + 1e-9
    assert cost(chosen.values()) <= min(possible) + 1e-9
