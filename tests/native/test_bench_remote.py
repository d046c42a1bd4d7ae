"""``coder-lsp bench remote`` on tiny models: every figure is there, the last line is JSON, and killing is counted."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import tiny_gguf
from support.model_server import ModelServer, absent

from coder_lsp.bench.outage import Answered, judge
from coder_lsp.bench.remote import GOALS
from coder_lsp.cli.bench import bench

if missing := absent("llama.cpp"):
    pytest.skip(missing, allow_module_level=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Says text, and holds a file of code whose every byte is a token."""
    path = tmp_path_factory.mktemp("remote") / "roomy.gguf"
    tiny_gguf.write_random(path, ascii_only=True, shape=tiny_gguf.Shape(context=8192))
    return path


def run(*arguments):
    done = CliRunner().invoke(bench, ["remote", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    *table, last = done.stdout.strip().splitlines()
    return table, json.loads(last)


def test_every_figure_is_there_and_no_request_is_lost_or_doubled(model):
    table, figures = run("--model", str(model), "--rounds", "3", "--requests", "30")
    assert "llama.cpp" in figures["server"]
    for client in ("plain", "engine"):
        assert 0 < figures["clients"][client]["first_ms"] <= figures["clients"][client]["total_ms"]
    assert set(figures["overhead"]) == {"first_ms", "total_ms"}
    assert figures["round_trip_ms"]["p50"] > 0
    assert figures["keystroke"]["keys"] == 3
    assert figures["cancel"]["cancels"] > 0
    assert {"returned_ms", "connection_closed_ms", "server_idle_ms"} < set(figures["cancel"])
    for fault in ("refused", "half_open", "stalled"):
        times = figures["fallback"][fault]
        assert 0 < times["begin_ms"]["p50"] < times["first_text_ms"]["p50"] <= times["total_ms"]["p50"]
    kills = figures["kills"]
    assert kills["kills"] > 0
    assert kills["server"] > 0
    assert (kills["lost"], kills["doubled"], kills["unlike"]) == (0, 0, 0)
    assert kills["server"] + kills["here"] + kills["both"] == kills["requests"] == 30
    assert [each["figure"] for each in figures["goals"]] == [goal.figure for goal in GOALS]
    assert any(line.split()[:2] == ["refused:", "local"] for line in table)


def test_a_server_that_is_there_is_asked_and_never_killed(model):
    server = ModelServer("llama.cpp", model, context=8192)
    try:
        _, figures = run("--url", f"{server.url}/v1", "--model", str(model), "--rounds", "2", "--json")
        assert server.url in figures["server"]
        assert "fallback" not in figures
        assert "kills" not in figures
        assert figures["cancel"]["connection_closed_ms"]["p50"] > 0
        assert server.process.poll() is None
    finally:
        server.close()


THEIRS, OURS = "one two three", "uno dos"


@pytest.mark.parametrize(
    ("said", "text", "engine", "verdict"),
    [
        (THEIRS, THEIRS, "remote", "server"),
        (OURS, OURS, "llama", "here"),
        ("one drei vier", "one drei vier", "llama", "both"),
        ("one uno dos", "one uno dos", "llama", "doubled"),
        (THEIRS + OURS, THEIRS + OURS, "llama", "doubled"),
        (THEIRS + THEIRS, THEIRS, "remote", "doubled"),
        (f"{THEIRS}\nfour", THEIRS, "remote", "server"),
        ("one one two three", THEIRS, "remote", "doubled"),
        ("on", THEIRS, "remote", "lost"),
        ("", "", "remote", "lost"),
        ("quatre", "quatre", "llama", "unlike"),
    ],
)
def test_a_text_is_told_from_a_lost_or_doubled_one(said, text, engine, verdict):
    answered = Answered(said, text, engine, 1.0, 2.0)
    assert judge(answered, THEIRS, OURS, lambda begun: {"one ": "drei vier fünf"}.get(begun, "?")) == verdict
