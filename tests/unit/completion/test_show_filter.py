"""The show filter: what it sees, the fixed rule, trained weights, and files it must not trust."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.histories import PLAIN

from coder_lsp.completion.show_filter import (
    FEATURES,
    INPUTS,
    SHOWN_OF_HELD,
    UNSURE_LOGPROB,
    Place,
    RecentAcceptance,
    ShowFeatures,
    ShowFilter,
    Typing,
    Weights,
    inputs,
    load_weights,
    place_of,
    stored_filter,
    weights_path,
)
from coder_lsp.types import (
    CompletionOutcome,
    CompletionRequest,
    FimResult,
    FinishReason,
    Shape,
    Snippet,
    Suggestion,
    TokenCounts,
    Trigger,
)


def request(text="total = |\n", **changes):
    cursor = text.index("|")
    return CompletionRequest("file:///a.py", text.replace("|", ""), cursor, "python", "a.py", **changes)


def outcome(text="sum(values)", logprobs=(-0.1, -0.5, -0.3), **changes):
    result = FimResult(text, FinishReason.STOP_TOKEN, tokens=TokenCounts(generated=len(logprobs)), logprobs=logprobs)
    return CompletionOutcome((Suggestion(text, 8, 8),), result=result, **changes)


def of(text="total = |\n", suggestion="sum(values)", **changes):
    return ShowFeatures.of(request(text), outcome(suggestion), **changes)


def weights(bias=0.0, threshold=0.2, **by_name):
    return Weights(tuple(float(by_name.get(name, 0.0)) for name in INPUTS), bias, threshold, 400, 150, 0.8)


def test_features_of_an_ordinary_suggestion():
    found = of(typing=Typing(20.0, 300.0, 150.0), latency_ms=90.0, acceptance=0.5)
    assert (found.automatic, found.scored, found.tokens, found.lines, found.characters) == (1, 1, 3, 1, 11)
    assert (found.first_logprob, found.line_least_logprob) == (-0.1, -0.5)
    assert found.line_mean_logprob == found.mean_logprob == pytest.approx(-0.3)
    assert (found.since_key_ms, found.pause_ms, found.mean_gap_ms, found.latency_ms) == (20, 300, 150, 90)
    assert (found.place, found.text_behind, found.acceptance) == (Place.OPERATOR, 0, 0.5)


def test_the_first_line_has_its_share_of_the_tokens():
    """Ten of thirty characters are the first line, so two of six tokens are."""
    text = "123456789\n" + "x" * 20
    found = ShowFeatures.of(request(), outcome(text, (-1.0, -2.0, -5.0, -5.0, -5.0, -5.0)))
    assert found.line_mean_logprob == -1.5
    assert found.line_least_logprob == -2.0
    assert found.mean_logprob == pytest.approx(-23 / 6)
    assert found.lines == 2


def test_within_a_word_the_token_that_begins_with_what_was_typed_says_nothing():
    """Its probability is that of the user's own letters: as low as -8.6 where the completion is certain."""
    found = ShowFeatures.of(request("x: Forw|\n"), outcome("ardRef,\n", (-8.6, -0.03, -0.05)))
    assert (found.first_logprob, found.line_least_logprob, found.scored) == (-0.03, -0.05, 1)
    alone = ShowFeatures.of(request("x: Forw|\n"), outcome("ard", (-8.6,)))
    assert (alone.first_logprob, alone.scored) == (0, 0)


def test_a_suggestion_that_begins_with_a_line_break_has_its_first_line_behind_it():
    found = of(suggestion="\n    return 1\n    more()")
    assert found.line_characters == len("return 1")


def test_without_logprobs_nothing_is_said_about_confidence():
    found = ShowFeatures.of(request(), CompletionOutcome((Suggestion("x", 8, 8),)))
    assert (found.scored, found.first_logprob, found.line_mean_logprob, found.least_logprob) == (0, 0, 0, 0)
    assert ShowFilter().judge(found).show


def test_what_stands_nearby_already_is_noticed():
    assert of("total = |\nsum(values)\n").in_suffix == 1
    assert of("sum(values)\ntotal = |\n").in_prefix == 1
    assert of("x)\ntotal = |\nx)\n", "x)").in_suffix == 0, "short lines repeat by chance"


def test_snippets_that_the_model_saw_are_counted():
    result = FimResult("x", FinishReason.STOP_TOKEN, snippets=(0, 2))
    known = CompletionOutcome((Suggestion("x", 8, 8),), result=result, snippets=(Snippet("a", "b"),) * 5)
    assert ShowFeatures.of(request(), known).snippets == 2
    assert ShowFeatures.of(request(), replace(known, result=None)).snippets == 5


@pytest.mark.parametrize(
    ("head", "place"),
    [
        ("", Place.LINE_START),
        ("    ", Place.LINE_START),
        ("retu", Place.WORD),
        ("x = y_", Place.WORD),
        ("größe", Place.WORD),
        ("self.", Place.DOT),
        ("print(", Place.OPENER),
        ("foo( ", Place.OPENER),
        ("def f():", Place.OPENER),
        ("x = ", Place.OPERATOR),
        ("f(a, ", Place.OPERATOR),
        ("return ", Place.SPACE),
        ("f()", Place.OTHER),
    ],
)
def test_places(head, place):
    assert place_of(head) is place


def test_features_are_numbers_and_come_back_from_their_values():
    found = of()
    assert all(type(value) is float and math.isfinite(value) for value in found.values())
    assert found.values() == dataclasses.astuple(found)
    assert ShowFeatures.from_values(found.values()) == found
    with pytest.raises(ValueError, match="features"):
        ShowFeatures.from_values(found.values()[1:])


@given(
    st.text(max_size=40),
    st.text(min_size=1, max_size=40),
    st.lists(st.floats(), max_size=8),
    st.tuples(st.floats(), st.floats(), st.floats()),
    st.floats(),
    st.sampled_from(Trigger),
)
def test_whatever_comes_the_figures_are_finite(before, text, logprobs, typing, latency, trigger):
    asked = CompletionRequest("u", before + "\nrest", len(before), trigger=trigger)
    found = ShowFeatures.of(
        asked, outcome(text, tuple(logprobs)), Typing(*typing), latency_ms=latency, acceptance=latency
    )
    seen = inputs(found)
    assert len(seen) == len(INPUTS)
    assert all(math.isfinite(value) for value in (*found.values(), *seen))
    assert 0.0 <= weights(bias=1e9, first_logprob=-1e9).probability(found) <= 1.0


def test_the_fixed_rule_holds_back_what_the_model_guesses():
    held = ShowFilter().judge(replace(PLAIN, line_mean_logprob=UNSURE_LOGPROB - 0.1))
    assert not held.show
    assert held.reason == "the model is unsure"
    assert held.probability is None
    assert ShowFilter().judge(replace(PLAIN, line_mean_logprob=UNSURE_LOGPROB)).show


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, False),
        ({"characters": 3.0}, True),
        ({"mean_gap_ms": 400.0}, True),
        ({"mean_gap_ms": 0.0}, True),
        ({"place": float(Place.DOT)}, True),
        ({"automatic": 0.0}, True),
    ],
    ids=["two letters in a word", "three", "typed slowly", "speed unknown", "another place", "asked for"],
)
def test_the_fixed_rule_holds_back_letters_that_are_typed_before_they_are_read(changes, shown):
    tiny = replace(PLAIN, characters=2.0, place=float(Place.WORD), mean_gap_ms=120.0)
    assert ShowFilter().judge(replace(tiny, **changes)).show is shown


def test_what_was_asked_for_is_always_shown():
    hopeless = replace(PLAIN, automatic=0.0, line_mean_logprob=-9.0)
    for judge in (ShowFilter(), ShowFilter(weights(bias=-9.0)), ShowFilter(None, "rule")):
        assert judge.judge(hopeless).show


def test_trained_weights_decide_by_their_threshold():
    """Probability 1 / (1 + exp(-(1 + 2 * mean logprob)))."""
    trained = ShowFilter(weights(bias=1.0, threshold=0.3, line_mean_logprob=2.0))
    good = trained.judge(replace(PLAIN, line_mean_logprob=-0.5))
    assert (good.show, good.probability, good.weight) == (True, 0.5, 1.0)
    poor = trained.judge(replace(PLAIN, line_mean_logprob=-1.5))
    assert not poor.show
    assert poor.probability == pytest.approx(1 / (1 + math.exp(2)))
    assert poor.features == replace(PLAIN, line_mean_logprob=-1.5).values()


def test_modes():
    hopeless = replace(PLAIN, line_mean_logprob=-9.0)
    sure_of_nothing = weights(bias=-9.0)
    assert not ShowFilter(sure_of_nothing).judge(PLAIN).show
    assert ShowFilter(sure_of_nothing, "rule").judge(PLAIN).show
    assert not ShowFilter(None, "rule").judge(hopeless).show
    assert ShowFilter(sure_of_nothing, "off").judge(hopeless).show


def test_the_stored_filter_is_for_the_setting_that_wants_it():
    weights_path().write_text(weights(bias=-9.0).to_json())
    assert not stored_filter("auto").judge(PLAIN).show
    assert stored_filter("rule").judge(PLAIN).show
    assert stored_filter("off").judge(PLAIN).show


def test_one_of_ten_is_shown_all_the_same_and_counts_for_ten():
    """A filter that never shows what it holds back could never learn that it was wrong."""
    judge = ShowFilter(weights(bias=-9.0))
    judged = [judge.judge(PLAIN) for _ in range(3 * SHOWN_OF_HELD)]
    shown = [each for each in judged if each.show]
    assert len(shown) == 3
    assert {each.weight for each in shown} == {float(SHOWN_OF_HELD)}
    assert not judged[0].show


def test_weights_survive_their_file(caplog):
    trained = weights(bias=0.25, threshold=0.125, mean_logprob=1.5)
    weights_path().write_text(trained.to_json())
    with caplog.at_level(logging.WARNING):
        assert load_weights() == trained
    assert caplog.messages == []


def test_without_a_file_there_is_no_word_about_it(caplog):
    assert load_weights() is None
    assert caplog.messages == []


def changed(**keys):
    return json.dumps({**json.loads(weights().to_json()), **keys})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        "{}",
        changed(feature_version=0),
        changed(weights={}),
        changed(weights=dict.fromkeys(reversed(INPUTS), 0.0)),
        changed(weights={**dict.fromkeys(INPUTS, 0.0), INPUTS[0]: "1"}),
        changed(weights=dict.fromkeys(INPUTS, math.nan)),
        changed(weights=dict.fromkeys(INPUTS, True)),
        changed(bias=None),
        changed(threshold=1.5),
        changed(threshold=-0.1),
        changed(rows=math.inf),
    ],
)
def test_a_file_that_cannot_be_trusted_means_the_fixed_rule_and_one_line_in_the_log(content, caplog):
    weights_path().write_text(content)
    with caplog.at_level(logging.WARNING):
        assert load_weights() is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"show_filter=rule: {weights_path()} is not used: ")


def test_bytes_that_are_no_text_mean_the_fixed_rule(caplog):
    weights_path().write_bytes(b"\xff\xfe{")
    assert load_weights() is None
    assert "damaged" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="folders open as files there")
def test_a_folder_in_its_place_means_the_fixed_rule(caplog):
    weights_path().mkdir()
    assert load_weights() is None
    assert "not used" in caplog.text


def test_recent_acceptance_begins_with_what_is_usual_and_follows_the_session():
    recent = RecentAcceptance()
    assert recent.share == pytest.approx(0.3)
    for _ in range(5):
        recent.settled(True)
    assert recent.share == pytest.approx((5 + 1.5) / 10)
    for _ in range(20):
        recent.settled(False)
    assert recent.share == pytest.approx(1.5 / 25)


def test_every_feature_is_used():
    """Whatever is stored is learned from, except what is the same for all that are judged."""
    for name in set(FEATURES) - {"automatic", "place", "language"}:
        assert name in INPUTS or f"log_{name}" in INPUTS, name
    block = ShowFeatures.of(request(), outcome(shape=Shape.BLOCK))
    assert dict(zip(INPUTS, inputs(block), strict=True))["block"] == 1.0
