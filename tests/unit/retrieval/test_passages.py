"""Which lines are shown where not all fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.languages import by_id
from coder_lsp.retrieval.passages import Lines, choose, estimated_tokens

PYTHON = by_id("python")


def lines(file: int, *text: str, weight: float = 1.0) -> Lines:
    found = Lines(file, list(text), PYTHON)
    for number in range(len(text)):
        found.weigh(number, weight, "similar")
    return found


def chosen(candidates, known=frozenset(), budget=512.0, **limits):
    found = choose({each.file: each for each in candidates}, known, budget, **{"share": 1.0, "least": 0.0, **limits})
    return {(passage.file, line) for passage in found for line in passage.lines}


def test_lines_are_worth_the_names_they_bring():
    assert chosen([lines(1, "alpha = beta"), lines(2, "gamma = delta")], frozenset({"alpha", "beta"})) == {(2, 0)}


def test_the_same_names_are_shown_once():
    one, twin = lines(1, "alpha(beta, gamma)"), lines(2, "alpha(beta, gamma)", weight=0.9)
    assert chosen([one, twin]) == {(1, 0)}


def test_where_not_all_fits_the_more_relevant_is_shown():
    budget = 10 + estimated_tokens("alpha(beta)") + 1
    assert chosen([lines(1, "alpha(beta)", weight=0.4), lines(2, "gamma(delta)")], budget=budget) == {(2, 0)}


def test_one_file_has_at_most_its_share():
    text = [f"name_{number} = other_{number}" for number in range(60)]
    alone = chosen([lines(1, *text), lines(2, "gamma(delta)", weight=0.01)], budget=200, share=0.5)
    spent = 10 + sum(estimated_tokens(text[line]) for file, line in alone if file == 1)
    assert spent <= 100
    assert (2, 0) in alone


def test_what_is_worth_too_little_is_left_out_whatever_room_there_is():
    assert chosen([lines(1, "alpha(beta)", weight=0.01)], least=0.01) == set()


def test_a_line_counts_as_much_as_its_best_reason():
    found = lines(1, "alpha", weight=0.2)
    found.weigh(0, 0.9, "signature: alpha")
    found.weigh(0, 0.5, "similar")
    assert (found.weights[0], found.sources[0]) == (0.9, "signature: alpha")


@given(
    st.lists(
        st.tuples(st.lists(st.text(alphabet="abcd _(", max_size=30), min_size=1, max_size=20), st.floats(0.01, 1)),
        max_size=5,
    ),
    st.floats(0, 300),
)
def test_the_budget_is_kept_and_nothing_is_taken_twice(files, budget):
    candidates = {number: lines(number, *text, weight=weight) for number, (text, weight) in enumerate(files)}
    found = choose(candidates, frozenset(), budget, share=1.0, least=0.0)
    taken = {(passage.file, line) for passage in found for line in passage.lines}
    cost = 10 * len({file for file, _ in taken})
    cost += sum(estimated_tokens(candidates[file].text[line]) for file, line in taken)
    assert cost <= budget + 1e-6


def test_the_estimate_is_near_what_a_vocabulary_counts():
    """Qwen2.5-Coder makes 14 tokens of this line and its end, DeepSeek-Coder 15."""
    assert estimated_tokens("    return self._cache.tokenize(placement.head)") == pytest.approx(14, abs=3)
