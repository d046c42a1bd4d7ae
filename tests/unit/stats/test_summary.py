"""The figures of the report."""

from __future__ import annotations

import time

from support.histories import AT, row

from coder_lsp.stats.events import Fate
from coder_lsp.stats.summary import figures, summarise


def test_figures_overall_and_by_language_the_most_shown_first():
    rows = [
        row(1, accepted_characters=30, latency_ms=100),
        row(2, Fate.REJECTED, latency_ms=300),
        row(3, Fate.IGNORED, latency_ms=200),
        row(4, Fate.TYPED, latency_ms=400),
        row(5, Fate.ACCEPTED, language="go", accepted_characters=12, latency_ms=1000),
    ]
    summary = summarise(rows)
    assert list(summary.languages) == ["python", "go"]
    overall = summary.overall
    assert (overall.shown, overall.accepted, overall.rejected, overall.ignored, overall.typed) == (5, 2, 1, 1, 1)
    assert overall.acceptance == 0.5, "two of the four that could be read"
    assert overall.saved_characters == 42
    assert (overall.latency_p50_ms, overall.latency_p95_ms) == (300, 1000)
    assert summary.languages["go"].acceptance == 1.0
    assert summary.languages["python"].latency_p95_ms == 400


def test_nothing_shown_has_no_rates():
    nothing = figures([])
    assert (nothing.shown, nothing.acceptance, nothing.latency_p50_ms) == (0, None, None)
    assert figures([row(1, Fate.IGNORED)]).acceptance is None


def test_days_are_those_of_the_users_calendar_in_order():
    rows = [row(1, at=AT), row(2, Fate.REJECTED, at=AT - 86_400), row(3, at=AT - 86_400)]
    before, today = summarise(rows).days
    assert before.date < today.date == time.strftime("%Y-%m-%d", time.localtime(AT))
    assert (before.figures.shown, before.figures.rejected, today.figures.shown) == (2, 1, 1)
