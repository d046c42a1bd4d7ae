"""Choosing passages in C++ gives what the slow way in Python gives, to the last bit."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import reference_passages

from coder_lsp.languages import by_id
from coder_lsp.retrieval import _bm25
from coder_lsp.retrieval.passages import Lines, choose

PYTHON = by_id("python")

# Few names, many of them shared, some known or keywords; few weights, so that windows are often worth the same.
NAMES = ["aa", "ab", "ba", "a_b", "_1", "größe", "世界"]
LINE = st.one_of(
    st.lists(st.sampled_from([*NAMES, "a", "世", "1ab", "0x_", "def", "self"]), max_size=5).map(" ".join),
    st.text(alphabet="ab_1 .(é世—「」\u00a0\ud800\t\n", max_size=12),
)
WEIGHT = st.one_of(st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.floats(1e-6, 2))


@st.composite
def files(draw):
    """Candidates of one to five files, given in any order, with gaps between their lines."""
    candidates = {}
    for file in draw(st.lists(st.integers(-2, 9), unique=True, max_size=5)):
        text = draw(st.lists(LINE, min_size=1, max_size=16))
        lines = candidates[file] = Lines(file, text, PYTHON)
        for number in draw(st.lists(st.integers(0, len(text) - 1), max_size=20)):
            lines.weigh(number, draw(WEIGHT), f"reason {number % 3}")
    return candidates


def made_of(**texts):
    candidates = {}
    for file, text in enumerate(texts.values()):
        candidates[file] = Lines(file, text, PYTHON)
        for number in range(len(text)):
            candidates[file].weigh(number, 0.5, "similar")
    return candidates


@settings(max_examples=1000, deadline=None)
@given(
    files(),
    st.frozensets(st.sampled_from(NAMES), max_size=3),
    st.one_of(st.sampled_from([12.0, 15.36, 40.0, 600.0]), st.floats(-1, 200)),
    st.sampled_from([0.0, 0.3, 0.75, 1.0]),
    st.sampled_from([-1.0, 0.0, 0.01, 0.1]),
)
@example({}, frozenset(), 100.0, 1.0, 0.0)
@example(made_of(one=["aa ab", "aa", "ab"] * 3, two=["ab aa"] * 4), frozenset({"ab"}), 40.0, 0.75, 0.0)
@example(made_of(one=["a" * 300, "é" * 300], two=["é" * 300]), frozenset(), 600.0, 1.0, 0.0)
def test_it_chooses_as_the_slow_way_does(candidates, known, budget, share, least):
    limits = {"share": share, "least": least}
    assert choose(candidates, known, budget, **limits) == reference_passages.choose(candidates, known, budget, **limits)


def workspace(seed, count=12):
    """Files like those of a request: names by Zipf's law, weights that fall along a chunk."""
    pick = random.Random(seed)
    candidates = {}
    for file in range(count):
        text = [" ".join(f"name{int(400 * pick.random() ** 3)}" for _ in range(pick.randrange(7))) for _ in range(300)]
        lines = candidates[file] = Lines(file, text, PYTHON)
        for start in pick.sample(range(250), 2):
            weight = pick.random()
            for number in range(start, start + 20):
                lines.weigh(number, weight * 0.97 ** (number - start), "similar")
    return candidates


@pytest.mark.parametrize("seed", range(20))
def test_so_it_does_among_as_many_lines_as_a_request_has(seed):
    candidates = workspace(seed)
    known = frozenset(f"name{number}" for number in range(0, 400, 7))
    found = choose(candidates, known, 589.0, share=0.75, least=0.0)
    assert found == reference_passages.choose(candidates, known, 589.0, share=0.75, least=0.0)
    assert len(found) > 5


def test_threads_choose_at_once():
    candidates = [workspace(seed) for seed in range(4)]
    expected = [choose(each, frozenset(), 589.0, share=0.75, least=0.0) for each in candidates]
    found = [[]] * 4

    def run(number):
        found[number] = [choose(candidates[number], frozenset(), 589.0, share=0.75, least=0.0) for _ in range(20)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[each] * 20 for each in expected]


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_lines_without_number_weight_or_cost_are_refused(missing):
    file = [["text"], [0], [1.0], [5.0]]
    file[missing] = []
    with pytest.raises(ValueError, match="each line needs"):
        _bm25.choose_passages([tuple(file)], "", 100.0, 1.0, 0.0)


def test_lines_that_are_no_text_are_refused():
    with pytest.raises(TypeError, match="strings are expected"):
        _bm25.choose_passages([([b"text"], [0], [1.0], [5.0])], "", 100.0, 1.0, 0.0)
