"""``coder-lsp bench engine`` on a tiny model: every figure is there, and the last line is JSON."""

from __future__ import annotations

import json

from click.testing import CliRunner

from coder_lsp.bench.engine import BenchOptions, code_tokens, measure_engine
from coder_lsp.cli.bench import bench

SMALL = BenchOptions(rounds=2, prompt_tokens=80, decode_tokens=8, cancels=4, cancel_prompt_tokens=600, loads=1)


def test_every_figure_is_there(models):
    notes = []
    figures = measure_engine(models.slow, SMALL, notes.append)
    assert figures["one_more_token_evaluates"] == 1
    assert figures["prefill"]["tokens"] == 80
    assert figures["decode"]["tokens"] == 7
    assert (
        figures["prefill"]["ratio"]["min"] <= figures["prefill"]["ratio"]["p50"] <= figures["prefill"]["ratio"]["max"]
    )
    assert set(figures["cancel"]["to_free_ms"]) == {"p50", "p95"}
    assert figures["load_ms"]["p50"] > 0
    assert figures["hardware"]
    assert notes
    json.dumps(figures)


def test_inputs_are_the_same_for_the_same_seed(engine):
    assert code_tokens(engine, 50, 1) == code_tokens(engine, 50, 1) != code_tokens(engine, 50, 2)
    assert len(code_tokens(engine, 300, 1)) == 300


def test_the_last_line_is_json(models):
    arguments = ["engine", "--model", str(models.slow), "--rounds", "1", "--cancels", "2", "--no-front"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0, done.output
    *table, last = done.stdout.strip().splitlines()
    assert json.loads(last)["engine"]["file"] == models.slow.name
    assert any(line.split()[:1] == ["decode.ratio"] for line in table)
    only = CliRunner().invoke(bench, [*arguments, "--json"])
    assert json.loads(only.stdout)["engine"]["rounds"] == 1
