"""Figures, differences and examples, and that the page shows them and nothing that could run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coder_lsp.evaluate.exact import NONE
from coder_lsp.evaluate.repo import page, report
from coder_lsp.evaluate.repo.complete import OURS, Sample, Subject
from coder_lsp.evaluate.repo.places import BLOCK, LINE

FACTS = report.Facts("drawing", "main", "f" * 40, 9, {"prose or data": 4, "generated": 1}, seed=1, budget=512)
ONE, OTHER = Subject("one", "one.gguf", "one:1"), Subject("two", "two.gguf", "two:2")
RIGHT = {(NONE, ONE.label): "0011", (OURS, ONE.label): "1101", (NONE, OTHER.label): "0000", (OURS, OTHER.label): "1111"}


def sample(number, kind, recipe, subject, *, exact, similarity=0.5):
    return Sample(
        place=f"{number}:{kind}",
        recipe=recipe,
        subject=subject.label,
        asked="a",
        kind=kind,
        text="<b>right</b>" if exact else "wrong & more",
        written="<b>right</b>",
        exact=exact,
        similarity=1.0 if exact and similarity is not None else similarity,
        identifiers=1.0 if exact else 0.25,
        characters=10,
        saved=10 if exact else 4,
        reason="",
        prompt_tokens=100,
        context_tokens=40 if recipe == OURS else 0,
        ms=100.0 * (number + 1),
    )


def samples(*subjects, **options):
    """Four places, of which the last one is a block."""
    return {
        subject.label: [
            sample(
                number,
                BLOCK if number == 3 else LINE,
                recipe,
                subject,
                exact=RIGHT[recipe, subject.label][number] == "1",
                **options,
            )
            for number in range(4)
            for recipe in (NONE, OURS)
        ]
        for subject in subjects
    }


@pytest.fixture
def places(place):
    kinds = (LINE, LINE, LINE, BLOCK)
    prefix = "".join(f"line_{number} = {number}\n" for number in range(12)) + "x < "
    return [place(kind, "<b>right</b>", prefix=prefix, name=str(number)) for number, kind in enumerate(kinds)]


@pytest.fixture
def table(places):
    return report.written(FACTS, places, [ONE, OTHER], samples(ONE, OTHER))


def test_figures_of_all_and_of_each_kind_that_there_is(table):
    assert table["places"] == {"line": 3, "block": 1, "call": 0}
    one = table["subjects"][0]
    assert list(one["recipes"][OURS]) == ["all", "line", "block"]
    row = one["recipes"][OURS]["all"]
    assert (row["places"], row["suggested"], row["exact"], row["exact_share"]) == (4, 4, 3, 0.75)
    assert (row["similarity"], row["identifiers"]) == (0.875, 0.8125)
    assert (row["characters"], row["saved"], row["saved_share"]) == (40, 34, 0.85)
    assert (row["prompt_tokens"], row["context_tokens"]) == (100.0, 40.0)
    assert row["ms"] == {"p50": 300.0, "p95": 400.0}
    assert one["recipes"][NONE]["line"]["exact"] == 1


def test_context_is_compared_with_none_in_pairs(table):
    """Right 3 of 4 instead of 2: two places won, one lost."""
    found = table["subjects"][0]["context"]
    exact = found["all"]["exact"]
    assert (exact["tasks"], exact["before"], exact["after"]) == (4, 0.5, 0.75)
    assert (exact["better"], exact["worse"], exact["difference"]) == (2, 1, 0.25)
    low, high = exact["interval_95"]
    assert low < 0.25 < high
    assert exact["p_value"] == 1.0
    assert found["all"]["saved"]["difference"] == pytest.approx(0.15)
    assert set(found["all"]) == set(report.MEASURES)
    assert set(found["line"]) == {"exact"}
    assert found["block"]["exact"]["difference"] == 0.0
    assert "against_first" not in table["subjects"][0]


def test_further_subjects_are_compared_with_the_first(table):
    exact = table["subjects"][1]["against_first"]["all"]["exact"]
    assert (exact["before"], exact["after"], exact["better"], exact["worse"]) == (0.75, 1.0, 1, 0)


def test_examples_of_what_was_won_and_lost(table):
    context, other = table["examples"]
    assert (context["before"], context["after"]) == ("without context", "with context")
    assert [one["place"] for one in context["won"]] == ["0:line", "1:line"]
    assert [one["place"] for one in context["lost"]] == ["2:line"]
    assert context["lost"][0]["before"] == "<b>right</b>"
    assert context["lost"][0]["after"] == "wrong & more"
    assert context["won"][0]["before_cursor"].split("\n")[0] == "line_5 = 5", "the last eight lines"
    assert (other["before"], other["after"]) == ("one", "two")
    assert [one["place"] for one in other["won"]] == ["2:line"]
    assert other["lost"] == []


def test_examples_that_came_nearer_stand_behind_those_that_became_right(places):
    none, ours = ([sample(number, LINE, recipe, ONE, exact=False) for number in range(4)] for recipe in (NONE, OURS))
    for number, similarity in enumerate((0.8, 0.4, 1.0, 0.1)):
        ours[number] = replace(ours[number], similarity=similarity, exact=similarity == 1.0)
    for number in range(4):
        none[number] = replace(none[number], place=places[number].id)
        ours[number] = replace(ours[number], place=places[number].id)
    (pair,) = report.written(FACTS, places, [ONE], {ONE.label: none + ours})["examples"]
    assert [(one["place"], one["change"]) for one in pair["won"]] == [
        ("2:line", "wrong → right"),
        ("0:line", "similarity 0.50 → 0.80"),
    ]
    assert [(one["place"], one["change"]) for one in pair["lost"]] == [("3:block", "similarity 0.50 → 0.10")]


def test_how_old_the_commits_are_is_said(places):
    facts = replace(FACTS, first_day="2024-02-01", last_day="2024-03-01")
    table = report.written(facts, places, [ONE], samples(ONE))
    assert "its newest 9 commits (2024-02-01 to 2024-03-01)" in next(report.lines(table))
    assert "newest 9 commits (2024-02-01 to 2024-03-01)" in page.page(table)


def test_without_rapidfuzz_there_is_no_similarity_and_that_is_said(places):
    table = report.written(FACTS, places, [ONE], samples(ONE, similarity=None))
    assert table["subjects"][0]["recipes"][OURS]["all"]["similarity"] is None
    assert "similarity" not in table["subjects"][0]["context"]["all"]
    assert any("rapidfuzz" in remark for remark in report.remarks(table))
    assert "rapidfuzz" in page.page(table)


def test_the_report_in_words(table):
    said = list(report.lines(table))
    assert said[0].startswith("drawing, main at ffffffffffff: 4 places in its newest 9 commits, 512 tokens")
    assert said[1].startswith("few places (3 of kind line, 1 of kind block, 0 of kind call)")
    assert any(line.startswith("with context, all") and " 75.0 %" in line for line in said)
    (difference,) = (line for line in said if line.startswith("context, all: exact") and "2 better" in line)
    assert "+25.0 points (95 %: " in difference
    assert "1 worse of 4" in difference
    assert any(line.startswith("against one, all: exact +25.0 points") for line in said)


def test_the_page_shows_figures_plots_and_code_and_runs_nothing(table):
    shown = page.page(table)
    assert shown.count("<svg") == 4
    assert "line_4 = 4" not in shown
    assert "line_11 = 11\nx &lt; ▏" in shown
    assert "&lt;b&gt;right&lt;/b&gt;" in shown
    assert "<b>right</b>" not in shown
    assert "wrong &amp; more" in shown
    assert "Better with context than without context" in shown
    assert "Worse with context than without context" in shown
    assert "Better two than one" in shown
    assert "Worse two than one" not in shown
    assert "report.py, line 13, line of cccccccccccc: right → wrong" in shown
    for fragment in ("<script", "http://", "https://", "src="):
        assert fragment not in shown.replace("http://www.w3.org/", "")
    assert "50% → 75%" in shown
