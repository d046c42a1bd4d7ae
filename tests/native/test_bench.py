"""``coder-lsp bench engine`` on a tiny model: every figure is there, and the last line is JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support import tiny_gguf

from coder_lsp.bench import processor
from coder_lsp.bench.engine import BenchOptions, code_tokens, measure_engine
from coder_lsp.bench.roofline import Work
from coder_lsp.cli.bench import bench
from coder_lsp.errors import EngineError
from coder_lsp.optimise import _requantise as native

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
    for stage in ("prefill", "decode"):
        bound = figures["roofline"][stage]["bound_tokens_per_s"]
        assert figures["roofline"][stage]["share"] == pytest.approx(figures[stage]["tokens_per_s"] / bound, abs=1e-3)
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


def test_what_a_token_asks_is_counted_from_the_file(models):
    """Two layers of 64 wide: 4 matrices of attention with 2 of 4 heads shared, 3 of 96 wide; an output of its own."""
    layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96
    vocabulary = len(tiny_gguf.bpe_tokens().texts)
    weights = 2 * layer + 64 * vocabulary
    expected = Work(4 * weights, weights, cell_bytes=2 * (32 + 32) * 2, cell_products=2 * 2 * 64)
    assert processor.work_of(models.random, 2.0) == expected


def test_memory_is_read_and_products_are_computed(models):
    machine = processor.machine_for(models.random, threads=2)
    assert 1e8 < machine.bytes_per_s < 1e13
    assert 1e7 < machine.flops_per_s < 1e15
    for wrong in ({"size": 1 << 20, "threads": 0}, {"size": 8, "threads": 2}):
        with pytest.raises(EngineError, match="nothing to read"):
            native.read_bandwidth(seconds=0.01, **wrong)


def test_the_other_engines_are_measured_by_the_same_verb(models, monkeypatch):
    """What they measure is shown in tests of their own, and takes its time."""
    pytest.importorskip("torch")
    asked = []

    def measure(subject, options, amount, note):
        asked.append((subject, options.device, amount.rounds))
        return {"engine": "torch"}

    monkeypatch.setattr("coder_lsp.bench.torch_engine.measure_torch", measure)
    arguments = ["engine", "--engine", "torch", "--model", str(models.random), "--rounds", "3", "--json"]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0, done.output
    assert (json.loads(done.stdout), asked) == ({"engine": "torch"}, [(models.random, "auto", 3)])
