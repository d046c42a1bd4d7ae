"""``bench.drafting`` and ``bench.gaps``: which prompts are asked, and what their answers come to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from support.vocabulary import WordVocabulary

from coder_lsp.bench.drafting import AUTOMATIC, EAGER, OFF, OFF_AGAIN, WAYS, Answer, Outcome, figures, report
from coder_lsp.bench.gaps import CURSORS, build_questions, choose_gaps
from coder_lsp.config import PromptConfig
from coder_lsp.engine.base import RunnerUp
from coder_lsp.errors import InputError
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind

PLAIN = Answer((1, 2, 3), "a b c", "length", (-0.5, -0.25, -1.0), (RunnerUp(0, 7, -2.0),), passes=3, decode_ms=100.0)


@pytest.fixture
def code(tmp_path):
    """Two modules of distinct lines, and a copy of one of them elsewhere."""
    text = "".join(f"    value_{number} = compute_{number}(value_{number - 1})\n" for number in range(60))
    for folder, head in (("one", "def first():\n"), ("one", "def second():\n"), ("two", "def first():\n")):
        path = tmp_path / folder / f"{head[4:-4]}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(head + text)
    return [tmp_path / "one", tmp_path / "two"]


@pytest.fixture
def builder():
    vocabulary = WordVocabulary(("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"))
    return PromptBuilder(vocabulary, bind(vocabulary, "qwen"), PromptConfig(), 4096)


def outcome(**changed: Answer) -> Outcome:
    return Outcome("a.py:1:1", 300, {**dict.fromkeys(WAYS, PLAIN), **changed})


def test_gaps_are_the_same_for_a_seed(code):
    gaps = choose_gaps(code, 10, seed=3)
    assert gaps == choose_gaps(code, 10, seed=3)
    assert gaps != choose_gaps(code, 10, seed=4)


def test_a_gap_is_lines_of_its_file_with_cursors_inside(code):
    gaps = choose_gaps(code[:1], 40, seed=1)
    for gap in gaps:
        assert gap.before + gap.text + gap.after == (code[0] / gap.path).read_text()
        assert 1 <= gap.text.count("\n") + 1 <= 12
        assert len(gap.cursors) == CURSORS
        assert list(gap.cursors) == sorted(set(gap.cursors))
        assert gap.cursors[0] >= 0
        assert gap.cursors[-1] <= len(gap.text)
    assert len({gap.text.count("\n") for gap in gaps}) > 6


def test_prompts_are_distinct_even_in_copies_of_a_file(code, builder):
    gap = next(gap for gap in choose_gaps(code[:1], 10, seed=1) if gap.path == "first.py")
    with pytest.raises(InputError, match=rf"only {CURSORS} of {CURSORS + 1}"):
        build_questions(builder, [gap, replace(gap, path="copy.py")], CURSORS + 1, 48)


def test_prompts_of_a_gap_share_all_but_what_was_typed(code, builder):
    questions = build_questions(builder, choose_gaps(code, 5, seed=1), 2 * CURSORS, 48)
    assert len({(each.prompt.tokens, each.prompt.forced) for each in questions}) == 2 * CURSORS
    for first in (0, CURSORS):
        assert len({each.prompt.frame.tokens for each in questions[first : first + CURSORS]}) == 1


def test_a_place_is_told_as_editors_count_it(code, builder):
    gap = choose_gaps(code, 1, seed=1)[0]
    question = build_questions(builder, [gap], 1, 48)[0]
    path, line, column = question.place.split(":")
    lines = (code[0] / path).read_text().split("\n")
    assert lines[int(line) - 1][: int(column) - 1] == (gap.before + gap.text[: gap.cursors[0]]).split("\n")[-1]


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, tokens=(1, 2, 4)),
        replace(PLAIN, text="a b"),
        replace(PLAIN, finish="stop_token"),
        replace(PLAIN, logprobs=(-0.5, -0.25, math.nextafter(-1.0, 0.0))),
        replace(PLAIN, runners_up=(RunnerUp(0, 8, -2.0),)),
        replace(PLAIN, runners_up=(RunnerUp(0, 7, -2.5),)),
    ],
)
def test_any_difference_is_a_divergence(other):
    found = figures([outcome(), outcome(**{EAGER: other})])
    assert found["diverged"] == 1
    assert found["diverged_at"] == ["a.py:1:1 eager"]
    assert found["goals"][0]["met"] is False


def test_what_an_answer_took_is_no_divergence():
    found = figures([outcome(**{AUTOMATIC: replace(PLAIN, passes=1, guessed=4, accepted=2, decode_ms=40.0)})])
    assert (found["diverged"], found["diverged_at"]) == (0, [])


def test_passes_and_times_against_no_guessing():
    quick = replace(PLAIN, passes=1, guessed=4, accepted=2, decode_ms=50.0)
    slow = replace(PLAIN, decode_ms=112.0)
    found = figures([outcome(**{AUTOMATIC: quick}), outcome(**{AUTOMATIC: slow, OFF_AGAIN: quick})])
    assert found[OFF]["tokens_per_pass"] == 1.0
    assert found[AUTOMATIC]["tokens_per_pass"] == 1.5
    assert (found[AUTOMATIC]["guessed"], found[AUTOMATIC]["accepted"]) == (4, 2)
    assert found[AUTOMATIC]["decode_ms"] == 162.0
    assert found[AUTOMATIC]["to_off"] == {"total": 0.81, "p50": 1.12, "p95": 1.12, "slower": 0.5}
    assert found[OFF_AGAIN]["to_off"]["total"] == 0.75
    assert [goal["met"] for goal in found["goals"]] == [True, True, True]


def test_answers_without_a_pass_count_for_exactness_alone():
    nothing = Answer((), "", "stop_token", (), decode_ms=0.01)
    found = figures([outcome(), Outcome("b.py:2:1", 20, dict.fromkeys(WAYS, nothing))])
    assert (found["prompts"], found["tokens"], found[OFF]["passes"]) == (2, 3, 3)
    assert found["finish"] == {"length": 1, "stop_token": 1}
    assert found["prompt_tokens"] == {"min": 20, "median": 160, "max": 300}
    only = figures([Outcome("b.py:2:1", 20, dict.fromkeys(WAYS, nothing))])
    assert [goal["figure"] for goal in only["goals"]] == ["diverged"]


def test_the_report_has_each_way_and_each_goal():
    head = {"hardware": "a machine", "model": "a model", "seed": 1, "new_tokens": 48}
    lines = list(report({**head, **figures([outcome(**{EAGER: replace(PLAIN, text="")})])}))
    assert lines[0] == "a machine"
    assert "  diverged: a.py:1:1 eager" in lines
    for way in WAYS:
        assert any(line.startswith(way.replace("_", " ") + " ") for line in lines)
    assert sum(line.endswith(("met", "MISSED")) for line in lines) == 3
