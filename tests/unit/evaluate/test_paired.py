"""Differences in pairs: what was gained and lost, and what chance could have done."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coder_lsp.errors import InputError
from coder_lsp.evaluate import exact
from coder_lsp.evaluate.paired import compare, interval, sign_flip, worse_by_chance


def all_signs(changes):
    """The permutation test as its definition says: every choice of signs."""
    total = abs(sum(changes))
    sums = [
        abs(sum(sign * abs(change) for sign, change in zip(signs, changes, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(changes))
    ]
    return sum(one >= total - 1e-9 for one in sums) / len(sums)


def test_tasks_are_compared_with_themselves():
    """Of five tasks in common two are better and one worse: (2 - 1) / 5."""
    before = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 0, "only before": 1}
    after = {"a": 1, "b": 1, "c": 0, "d": 1, "e": 0, "only after": 1}
    found = compare(before, after, seed=1)
    assert (found.tasks, found.better, found.worse) == (5, 2, 1)
    assert (found.before, found.after) == (0.4, 0.6)
    assert found.difference == pytest.approx(0.2)
    assert found.p_value == 1.0
    assert not found.significant
    low, high = found.interval_95
    assert -1 <= low < 0.2 < high <= 1
    assert found == compare(before, after, seed=1)
    assert found.as_json()["interval_95"] == [round(low, 4), round(high, 4)]


def test_nothing_in_common_is_refused():
    with pytest.raises(InputError, match="no task in common"):
        compare({"a": 1.0}, {"b": 1.0}, seed=1)


def test_what_always_gets_better_is_significant():
    found = compare(dict.fromkeys("abcdefgh", 0.0), dict.fromkeys("abcdefgh", 1.0), seed=1)
    assert found.p_value == pytest.approx(2 / 2**8)
    assert found.significant
    assert found.interval_95 == (1.0, 1.0)


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=10))
def test_of_equal_sizes_it_is_the_binomial_test(changes):
    assert sign_flip(changes, seed=1) == pytest.approx(all_signs(changes))


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 2)), min_size=1, max_size=9))
def test_of_few_differences_every_sign_is_tried(changes):
    assert sign_flip(changes, seed=1) == pytest.approx(all_signs(changes))


def test_of_many_it_is_near_the_truth():
    changes = [0.9, 0.8, -0.2, 0.4, 0.35, -0.6, 0.15, 0.05, 0.7, -0.1, 0.3, -0.45, 0.25, 0.22]
    truth = all_signs(changes)
    # Four standard errors of 10,000 draws.
    assert sign_flip(changes, seed=2) == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / 10_000))
    assert sign_flip(changes, seed=2) == sign_flip(changes, seed=2)


def test_without_a_difference_nothing_is_unlikely():
    assert sign_flip([0.0, 0.0], seed=1) == 1.0
    assert worse_by_chance(0, 0) == 1.0


def test_one_sided():
    """At least three heads of four throws: five of sixteen ways."""
    assert worse_by_chance(1, 3) == 5 / 16
    assert worse_by_chance(3, 1) == 15 / 16
    assert worse_by_chance(0, 10) == 2**-10


def test_the_interval_is_the_one_of_exact_match():
    assert interval is exact.interval
