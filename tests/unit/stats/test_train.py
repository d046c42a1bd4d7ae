"""Training on synthetic users whose behaviour is known: what is learned, kept, refused, and said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.histories import PLAIN, history, odds_of_a_careful_user, row

from coder_lsp.completion.show_filter import INPUTS, UNSURE_LOGPROB, Place, ShowFeatures, ShowFilter
from coder_lsp.stats.events import Fate
from coder_lsp.stats.logistic import auc
from coder_lsp.stats.train import KEEP_ACCEPTED, NEEDED, NEEDED_EACH, train


def shown_share(weights, rows):
    shown = [weights.probability(ShowFeatures.from_values(each.features)) >= weights.threshold for each in rows]
    return sum(shown) / len(shown)


@pytest.fixture(scope="module")
def careful():
    return train(history(2000))


def test_a_user_with_a_rule_is_understood(careful):
    assert careful.weights is not None
    assert careful.reason == "it beats the fixed rule"
    assert careful.held_out == 400
    learned = dict(zip(INPUTS, careful.weights.weights, strict=True))
    assert learned["line_mean_logprob"] + learned["mean_logprob"] > 1.0
    assert learned["place_line_start"] - learned["place_word"] == pytest.approx(1.5, abs=0.7)
    assert next(iter(careful.strongest)) in {"line_mean_logprob", "mean_logprob"}


def test_it_is_nearly_as_good_as_knowing_the_rule(careful):
    """The true odds rank the held-out suggestions best; nothing learned can do better than by chance."""
    import numpy as np

    rows = history(2000)[-400:]
    odds = np.array([odds_of_a_careful_user(ShowFeatures.from_values(each.features)) for each in rows])
    taken = np.array([each.fate is Fate.ACCEPTED for each in rows])
    best = auc(odds, taken, np.ones(len(rows)))
    assert careful.auc == pytest.approx(best, abs=0.02)
    assert careful.auc > 0.8


def test_its_probabilities_are_true(careful):
    assert careful.calibration_error < 0.06
    assert [each.predicted for each in careful.calibration] == sorted(each.predicted for each in careful.calibration)


def test_nineteen_of_twenty_accepted_ones_are_still_shown(careful):
    """On fresh suggestions, enough of them that chance is small."""
    fresh = [each for each in history(5000, seed=21) if each.fate is Fate.ACCEPTED]
    assert shown_share(careful.weights, fresh) == pytest.approx(KEEP_ACCEPTED, abs=0.02)
    assert careful.trained.rejected_held_back > 0.3
    assert careful.trained.rejected_held_back > careful.rule.rejected_held_back


def test_the_shares_hold_for_the_filter_that_is_shipped(careful):
    """The figures come from arrays; the filter judges one by one in plain Python."""
    rows = history(2000)[-400:]
    judge = ShowFilter(careful.weights)
    judged = [judge.judge(ShowFeatures.from_values(each.features)) for each in rows]
    shown = [each.show and each.weight == 1.0 for each in judged]
    assert sum(shown) / len(rows) == pytest.approx(careful.trained.shown)
    kept = [show for show, each in zip(shown, rows, strict=True) if each.fate is Fate.ACCEPTED]
    assert sum(kept) / len(kept) == pytest.approx(careful.trained.accepted_kept)


def test_training_is_repeatable(careful):
    assert train(history(2000)) == careful


def test_a_user_who_follows_no_rule_teaches_nothing():
    """Several of them: a filter that holds back at random must not be taken for a better one."""
    for seed in range(4):
        found = train(history(1200, lambda _: -0.4, seed=seed))
        assert found.weights is None
        assert "hardly better than chance" in found.reason or "hold back" in found.reason
        assert found.auc == pytest.approx(0.5, abs=0.12)


def test_a_user_whom_the_fixed_rule_describes_needs_no_other():
    """He takes exactly what the rule would show."""
    found = train(history(1500, lambda features: 9.0 if features.line_mean_logprob >= UNSURE_LOGPROB else -9.0))
    assert found.rule.accepted_kept > 0.99
    assert found.rule.rejected_held_back > 0.99
    assert found.weights is None


def test_a_user_who_changed_is_judged_by_what_he_does_now():
    before = history(1600)
    after = history(400, lambda features: -odds_of_a_careful_user(features), seed=2)
    found = train([*before, *after])
    assert found.weights is None
    assert found.auc < 0.5


def test_too_little_history_says_how_much_more():
    found = train(history(NEEDED - 30))
    assert found.weights is None
    assert found.usable == NEEDED - 30
    assert "30 more suggestions" in found.reason


def test_both_outcomes_are_needed():
    found = train([row(key, Fate.ACCEPTED) for key in range(500)] + [row(600, Fate.REJECTED)])
    assert f"{NEEDED_EACH - 1} more rejected ones" in found.reason
    latest_all_alike = sorted(history(800), key=lambda each: each.fate is Fate.ACCEPTED)
    assert "nothing to judge" in train(latest_all_alike).reason


def test_what_nobody_read_or_asked_for_or_judged_is_not_learned_from():
    rows = history(300)
    noise = [
        row(10_001, Fate.IGNORED),
        row(10_002, Fate.TYPED),
        row(10_003, automatic=False),
        row(10_004, features=()),
    ]
    assert train([*rows, *noise]).usable == 300


def test_rows_that_stand_for_ten_keep_the_filter_from_closing_further():
    """Trained once more on what the first filter let through, with its one in ten, it must not lose another share.

    Without the weights of those few the second filter would set its threshold among what was left.
    """
    first = train(history(2000))
    judge = ShowFilter(first.weights)
    seen = []
    for each in history(4000, seed=9):
        judgement = judge.judge(ShowFeatures.from_values(each.features))
        if judgement.show:
            seen.append(replace(each, weight=judgement.weight))
    second = train(seen)
    assert second.weights is not None
    fresh = [each for each in history(2000, seed=11) if each.fate is Fate.ACCEPTED]
    assert shown_share(second.weights, fresh) > 0.92


def test_a_place_where_nothing_is_ever_taken_is_held_back():
    def odds(features):
        return -8.0 if features.place == Place.WORD else 1.0

    found = train(history(2000, odds))
    assert found.weights is not None
    judge = ShowFilter(found.weights)
    assert not judge.judge(replace(PLAIN, place=float(Place.WORD))).show
    assert judge.judge(replace(PLAIN, place=float(Place.SPACE))).show
