"""``bench.retrieval_report``: a goal is judged where it applies, and the report has it beside the figure."""

from __future__ import annotations

from coder_lsp.bench.retrieval_report import GOALS, judge, report


def test_every_goal_is_another_figure():
    goals = [sized.goal for sized in GOALS]
    assert len({goal.figure for goal in goals}) == len({goal.title for goal in goals}) == len(GOALS)


def test_a_goal_is_judged_where_it_applies():
    figures = {"files": 20_000, "warm_start": {"searchable_ms": {"p50": 5000}}, "first_index": {"files_per_s": 299.9}}
    goals = {goal["figure"]: goal["met"] for goal in judge(figures)}
    assert goals == {"first_index.files_per_s": False, "warm_start.searchable_ms.p50": None}
    assert {goal["met"] for goal in judge({**figures, "files": 10_000})} == {False}
    figures["first_index"]["files_per_s"] = 300
    assert judge(figures)[0]["met"] is True
    figures["warm_start"]["searchable_ms"]["p50"] = 999
    assert judge(figures)[1]["met"] is True


def test_the_report_has_the_goal_beside_the_figure():
    size = {
        "files": 20_000,
        "written_mb": 1.5,
        "load_average": {"before": 0.1, "after": 0.2},
        "first_index": {"files_per_s": 1234.5, "resident_mb": {"before": 1, "peak": 2}},
        "warm_start": {"searchable_ms": {"p50": 1100}},
    }
    lines = list(report({"hardware": "a machine", "sizes": [{**size, "goals": judge(size)}]}))
    assert lines[0] == "a machine"
    assert any("first index" in line and ">= 300 files/s" in line and line.endswith(" met") for line in lines)
    assert any("until searchable" in line and "up to 10,000" in line and line.endswith("not judged") for line in lines)
    assert any(line.split() == ["resident_mb", "before", "1", "peak", "2"] for line in lines)
