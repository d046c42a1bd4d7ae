"""``bench.replay``'s figures, ratios, goals and table, of records made by hand; the log of the host read back."""

from __future__ import annotations

import sys

import pytest

from coder_lsp.bench import goals
from coder_lsp.bench.replay import plot, report
from coder_lsp.bench.replay.screen import Shown
from coder_lsp.bench.replay.summary import OURS, PEER, Replayed, figures, judge, ratios
from coder_lsp.bench.replay.typist import ModelRequest, Stop, VisitRecord
from coder_lsp.bench.replay.vscode import parse_request
from coder_lsp.errors import InputError


def replayed(waited_ms: float, evaluated: int, saved: int) -> Replayed:
    visit = VisitRecord(100, returning=False, saved=saved, accepted=2, keys=100 - saved + 2, elapsed_s=20.0)
    visit.stops = [Stop(True, 1.5, 0.2), Stop(True, 1.5, None), Stop(False, 0.5, 0.0), Stop(False, 0.5, None)]
    visit.first_shown_s = waited_ms / 1000
    back = VisitRecord(100, returning=True, keys=100, elapsed_s=20.0)
    requests = [
        ModelRequest(evaluated, 10, passes=5, drafted=8, accepted=4),
        ModelRequest(evaluated, 0, cancelled=True),
        ModelRequest(1000, 3, background=True),
    ]
    return Replayed([visit, back], [Shown(1.0, 1.0 + waited_ms / 1000, 10, 1)], requests, cpu_s=12.5)


def test_figures_of_a_subject():
    found = figures(replayed(100.0, 4, saved=30))
    assert found["keystroke_to_shown_ms"] == {"p50": 100.0, "p95": 100.0}
    assert found["characters"] == {"all": 200, "saved": 30, "share": 0.15}
    assert found["line_starts"] == {"all": 2, "with_suggestion": 1, "share": 0.5}
    assert found["pauses"] == {"all": 4, "with_suggestion": 2, "share": 0.5}
    assert found["cold_jump_ms"] == {"p50": 100.0, "p95": 100.0, "count": 1, "never": 0}
    assert found["prompt_tokens_per_request"] == {"p50": 4, "p95": 4, "mean": 4.0}
    assert (found["requests"], found["cancelled"]) == (2, 1)
    assert found["ahead"] == {"requests": 1, "prompt_tokens": 1000, "decoded_tokens": 3}
    # 8 tokens over 172 keys, most of which asked nothing.
    assert found["fresh_prompt_tokens_per_key"] == {"median": 0.0, "mean": 0.0}
    assert found["decoding"] == {"passes": 5, "tokens_per_pass": 2.0, "drafted": 8, "drafts_right_share": 0.5}
    assert found["suggestions"] == {"shown": 1, "accepted": 2}


def test_a_cold_jump_that_never_got_one_counts_as_long_as_it_took():
    never = VisitRecord(100, returning=False, keys=100, elapsed_s=20.0)
    assert figures(Replayed([never]))["cold_jump_ms"] == {"p50": 20_000, "p95": 20_000, "count": 1, "never": 1}


def test_a_subject_that_did_nothing_has_figures():
    found = figures(Replayed())
    assert found["characters"] == {"all": 0, "saved": 0, "share": None}
    assert "keystroke_to_shown_ms" not in found


def test_ratios_are_to_the_peer_and_goals_are_judged_by_them():
    ours, theirs = figures(replayed(100.0, 4, saved=60)), figures(replayed(4000.0, 260, saved=0))
    found = ratios(ours, theirs)
    assert found["keystroke_to_shown_ms.p50"] == 0.025
    assert found["prompt_tokens_per_request.p50"] == pytest.approx(4 / 260, abs=1e-4)
    # The peer saved nothing, so there is no ratio.
    assert "characters.share" not in found
    judged = {goal["figure"]: goal["met"] for goal in judge({OURS: ours, PEER: theirs})}
    assert judged["keystroke_to_shown_ms.p50"]
    assert judged["characters.share"]
    assert not judged["line_starts.share"]


def test_without_the_peer_only_what_needs_no_ratio_is_judged():
    judged = [goal["figure"] for goal in judge({OURS: figures(replayed(100.0, 4, saved=60))})]
    assert "characters.share" in judged
    assert "keystroke_to_shown_ms.p50" not in judged
    assert judge({PEER: figures(replayed(100.0, 4, saved=60))}) == []


def section() -> dict:
    subjects = {OURS: figures(replayed(100.0, 4, saved=60)), PEER: figures(replayed(4000.0, 260, saved=0))}
    return {
        "project": "shop",
        "patience_s": 1.5,
        "visits": 2,
        "characters": 200,
        "subjects": subjects,
        "ratios": {OURS: ratios(subjects[OURS], subjects[PEER])},
        "goals": judge(subjects),
        "samples": {OURS: {"shown_ms": [100.0]}, PEER: {"shown_ms": []}},
    }


def test_the_table_has_a_row_a_figure_and_the_ratio_beside_ours():
    rows = {row[0]: row[1:] for row in report.rows(section())}
    assert rows["keystroke to shown, p50 (ms)"] == ["100  (0.025 ×)", "4,000"]
    assert rows["characters saved"] == ["30.0%", "0.0%"]
    assert ["characters saved", "0.3", ">= 0.25", "met"] in list(goals.rows(section()["goals"]))
    assert report.title(section()) == "shop: 2 places, 200 characters, patience 1.5 s"


def test_a_plot_without_matplotlib_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="needs matplotlib") as refused:
        plot.require()
    assert "coder-lsp[eval]" in refused.value.hint


def test_a_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    plot.draw({"hardware": "a machine", "sections": [section(), section()]}, tmp_path / "replay.svg")
    assert "<svg" in (tmp_path / "replay.svg").read_text()


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (
            "request 1/7: stop_token ms: all=3 tokens: prompt=70 evaluated=2 generated=9 passes=5 drafted=8 accepted=4",
            ModelRequest(2, 9, prompt=70, passes=5, drafted=8, accepted=4),
        ),
        (
            "request 1/8: cancelled ms: queue=0 tokens: prompt=700 reused=600 evaluated=64 generated=0",
            ModelRequest(64, 0, cancelled=True, prompt=700),
        ),
        (
            "request 1/9 idle: length ms: total=900 tokens: prompt=700 reused=0 evaluated=700 generated=1",
            ModelRequest(700, 1, background=True, prompt=700),
        ),
        ("made ready: tokens=960 evaluated=300 sequence=1", ModelRequest(300, 0, background=True)),
        # Cancelled while it waited: the model never heard of it.
        ("request 2/1: cancelled ms: queue=3 total=3 tokens: prompt=0 reused=0 evaluated=0 generated=0", None),
        ("model x is ready, engine llama", None),
    ],
)
def test_the_hosts_log_says_what_the_model_did(line, request_):
    assert parse_request(f"2026-01-01 00:00:00,000 1 INFO coder_lsp.host.jobs: {line}") == request_
