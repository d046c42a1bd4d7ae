"""How the torch engine takes its steps: with guesses, several texts at once, small weights, sizes of CUDA devices."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from support import tiny_gguf

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")
safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from coder_lsp.engine.base import GenerateRequest  # noqa: E402
from coder_lsp.engine.torch_cuda import linear  # noqa: E402
from coder_lsp.errors import EngineError  # noqa: E402

CODE = "def f(self):\n    return self.x\n"


@pytest.fixture
def load(load_torch):
    return load_torch


def says(engine, *adapters, **options):
    engine.adapt(adapters)
    return engine.generate(GenerateRequest(engine.tokenize(CODE * 3), max_tokens=16, draft=False, **options))


def test_guesses_change_no_text(models, load):
    """Hints that are right, half right and wrong; the plain text is the measure."""
    engine = load(models.random)
    for text in (CODE * 3, "x = 1\n" * 8, "return self\n\n"):
        tokens = engine.tokenize(text)
        plain = engine.generate(GenerateRequest(tokens, max_tokens=40, draft=False))
        ids = plain.token_ids
        for hints in ([ids], [ids[:7] + ids[9:]], [ids[::-1]], []):
            engine.clear(plain.sequence)
            found = engine.generate(GenerateRequest(tokens, max_tokens=40, hints=hints))
            assert found.token_ids == ids
            assert found.logprobs == pytest.approx(plain.logprobs, abs=1e-3)
        engine.clear(plain.sequence)


def test_right_guesses_save_passes(models, load):
    engine = load(models.chain(b"a", b"b", b"c", loop=True))
    tokens = [*engine.tokenize(CODE), engine.special("<|fim_middle|>")]
    done = engine.generate(GenerateRequest(tokens, max_tokens=60))
    assert done.text == "abc" * 20
    assert done.tokens.accepted > 40
    assert done.tokens.passes < 20


def test_what_was_guessed_behind_the_end_is_not_held(models, load):
    engine = load(models.chain(b"a", b"b", b"c", b"\n", loop=True))
    tokens = [*engine.tokenize(CODE), engine.special("<|fim_middle|>")]
    done = engine.generate(GenerateRequest(tokens, max_tokens=60, stop=("\nab",)))
    held = engine.history(done.sequence)
    assert held == (*tokens, *done.token_ids)[: len(held)]
    assert engine.generate(GenerateRequest([*tokens, *done.token_ids], max_tokens=4)).tokens.evaluated <= 1


def test_a_close_choice_is_made_alone(models, load, monkeypatch):
    """Where sums in another order could decide, the token is evaluated by itself; here that is everywhere."""
    from coder_lsp.engine.torch_cuda import engine as module

    engine = load(models.random)
    tokens = engine.tokenize(CODE * 3)
    plain = engine.generate(GenerateRequest(tokens, max_tokens=24, draft=False))
    engine.clear(plain.sequence)
    monkeypatch.setattr(module, "CLOSE", dict.fromkeys(module.CLOSE, 1e9))
    found = engine.generate(GenerateRequest(tokens, max_tokens=24, hints=[plain.token_ids]))
    assert (found.token_ids, found.logprobs) == (plain.token_ids, plain.logprobs)
    assert found.tokens.drafted > found.tokens.accepted == 0


# Several at once


def test_texts_at_once_say_what_each_says_alone(models, load):
    """Of different lengths, one by chance, one that is forced, one that ends early."""
    engine = load(models.random, sequences=4)
    requests = [
        GenerateRequest(engine.tokenize(CODE * 3), max_tokens=20),
        GenerateRequest(engine.tokenize("x = 1\n"), max_tokens=9, temperature=1.0, seed=7),
        GenerateRequest(engine.tokenize("return self\n" * 8), max_tokens=20, forced=b"se"),
        GenerateRequest(engine.tokenize("for i in"), max_tokens=1),
    ]
    alone = []
    for number, request in enumerate(requests):
        alone.append(engine.generate(replace(request, sequence=number, draft=False)))
        engine.clear(number)
    deltas = [[] for _ in requests]
    together = engine.generate_many(requests, [lambda delta, to=to: to.append(delta) or True for to in deltas])
    assert [each.token_ids for each in together] == [each.token_ids for each in alone]
    assert [each.text for each in together] == [each.text for each in alone]
    assert ["".join(each) for each in deltas] == [each.text for each in alone]
    assert sorted(each.sequence for each in together) == [0, 1, 2, 3]
    for one, other in zip(together, alone, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)
        held = engine.history(one.sequence)
        assert held == (*requests[together.index(one)].tokens, *one.token_ids)[: len(held)]


def test_what_is_cancelled_of_several_ends_alone(models, load):
    engine = load(models.chain(b"a", b"b", b"c", loop=True))
    tokens = [*engine.tokenize(CODE), engine.special("<|fim_middle|>")]
    requests = [GenerateRequest([*engine.tokenize(text), *tokens], max_tokens=12) for text in ("", "\n")]
    cancel = engine.new_cancel_token()

    def reader(delta):
        if "c" in delta:
            cancel.cancel()
        return True

    first, second = engine.generate_many(requests, [reader, None], [cancel, None])
    assert (first.text, first.finish_reason.value) == ("abc", "cancelled")
    assert (second.text, second.finish_reason.value) == ("abc" * 4, "length")


def test_more_texts_than_sequences_are_refused(models, load):
    engine = load(models.random)
    with pytest.raises(EngineError, match="3 texts at once") as caught:
        engine.generate_many([GenerateRequest([1])] * 3)
    assert "engine.sequences" in caught.value.hint


# Small weights


@pytest.mark.parametrize(("quantise", "share"), [("int8", 0.30), ("int4", 0.20)])
def test_small_weights_take_less(tmp_path, load, quantise, share):
    """``share`` of the bytes of the matrices in single precision."""
    shape = tiny_gguf.Shape(width=256, inner=512)
    path = tiny_gguf.write_random(tmp_path / "wide.gguf", shape=shape)
    whole, small = load(path), load(path, quantise=quantise)
    assert small.options.quantise == quantise
    matrices = {engine: sum(_bytes(block) for block in engine.runner.decoder.blocks) for engine in (whole, small)}
    assert matrices[small] < share * matrices[whole]
    assert says(small).text
    assert quantise in small.reason


def test_eight_bits_say_about_the_same(tmp_path, load):
    path = tiny_gguf.write_random(tmp_path / "wide.gguf", shape=tiny_gguf.Shape(width=256, inner=512))
    expected, found = says(load(path)), says(load(path, quantise="int8"))
    assert found.token_ids[0] == expected.token_ids[0]
    assert found.logprobs[0] == pytest.approx(expected.logprobs[0], abs=0.15)


@pytest.mark.parametrize(("kind", "steps"), [("int8", 254), ("int4", 15)])
def test_small_weights_are_rounded_and_nothing_else(kind, steps):
    """A weight is at most half a step away; the product is that of the rounded weights."""
    torch.manual_seed(0)
    weight, x = torch.randn(24, 512), torch.randn(3, 512)
    small = linear.kernel(weight, kind, torch.float32)
    rounded = small(torch.eye(512)).T
    groups = weight.reshape(24, -1, linear.GROUP if kind == "int4" else 512)
    reach = 2 * groups.abs().amax(2) if kind == "int8" else groups.amax(2) - groups.amin(2)
    step = (reach / steps).repeat_interleave(groups.shape[2], 1)
    assert ((rounded - weight).abs() <= step / 2 + 1e-5).all()
    assert torch.allclose(small(x), x @ rounded.T, atol=1e-4)


def test_four_bits_need_whole_groups():
    """Rows that are none are kept in eight."""
    assert isinstance(linear.kernel(torch.randn(4, 320), "int4", torch.float32), linear.Int8)


def _bytes(module):
    return sum(buffer.numel() * buffer.element_size() for buffer in module.buffers())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_runs_on_the_processor_too(models, load, precision):
    engine = load(models.random, precision=precision)
    assert engine.options.precision == precision
    assert "".join(engine.reason.split()[-1:]) == precision
    assert says(engine).tokens.generated == 16


# What CUDA devices do, as far as a processor can tell


def test_steps_of_fixed_sizes_say_the_same(models, load, monkeypatch):
    """On CUDA steps have 1, 4, 8 or 16 tokens and look at 512, 1,024 … cells, whatever is asked for."""
    engine = load(models.random, context_tokens=1000)
    tokens = engine.tokenize(CODE * 3)
    plain = engine.generate(GenerateRequest(tokens, max_tokens=40, draft=False))
    engine.clear(plain.sequence)
    runner, seen = engine.runner, set()

    def captured(given, sequence, cells):
        seen.add((given.shape[2], cells))
        return runner._plain(given, sequence, cells)

    monkeypatch.setattr(runner, "captures", True)
    monkeypatch.setattr(runner, "_captured", captured)
    monkeypatch.setattr(runner, "wait", lambda: None)
    assert runner.buckets() == [512, 1016]
    for hints in ([], [plain.token_ids], [plain.token_ids[:9] + plain.token_ids[10:]]):
        found = engine.generate(GenerateRequest(tokens, max_tokens=40, hints=hints))
        assert found.token_ids == plain.token_ids
        engine.clear(found.sequence)
    assert {cells for _, cells in seen} == {512}
    assert {1, 8} <= {count for count, _ in seen} <= {1, 4, 8, 16}


def test_the_last_cells_of_a_context_have_room_for_a_whole_step(models, load, monkeypatch):
    """A step is rounded up; behind the context there are cells for what is too much."""
    engine = load(models.chain(b"a", b"b", b"c", loop=True), context_tokens=64)
    tokens = [*engine.tokenize("#" * 40)[:40], engine.special("<|fim_middle|>")]
    runner = engine.runner
    monkeypatch.setattr(runner, "captures", True)
    monkeypatch.setattr(runner, "_captured", runner._plain)
    monkeypatch.setattr(runner, "wait", lambda: None)
    done = engine.generate(GenerateRequest(tokens, max_tokens=100))
    assert done.tokens.generated == 64 - 41
    assert done.text == ("abc" * 10)[:23]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of its own functions
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for the processor needs g++")
def test_a_compiled_step_computes_the_same_and_blocks_share_their_code(tmp_path, load):
    """As CUDA devices get it, but for the processor: one compilation for all blocks and sequences."""
    from torch._dynamo.utils import counters

    from coder_lsp.engine.torch_cuda import runner as module
    from coder_lsp.engine.torch_cuda.decoder import Sight, attend, attend_by_sums

    path = tiny_gguf.write_random(tmp_path / "deep.gguf", shape=tiny_gguf.Shape(layers=4))
    runner = load(path).runner
    runner.slice(0, list(range(30)), 0, last=False)
    runner.slice(1, list(range(50, 80)), 0, last=False)
    block, decide = module.compiled_parts()
    counters.clear()
    with torch.no_grad():
        ids, positions = torch.tensor([[[65]], [[30]]])
        mask = module._mask(positions, 128)
        for sequence in (0, 1):
            where = {"sequence": sequence, "cells": 128}
            stream = runner._blocks(ids, positions, **where, sight=Sight(attend_by_sums, mask), call=block)
            found, _ = decide(runner.decoder, *stream)
            # Written where the cache is, and nowhere else.
            written = [layer[sequence, :, 30].clone() for layer in runner.cache.keys]
            assert all(layer[sequence, :, 31:].abs().sum() == 0 for layer in runner.cache.keys)
            plain = runner._blocks(ids, positions, **where, sight=Sight(attend, mask))
            expected, _ = module._decided(runner.decoder.scores(*plain))
            assert torch.allclose(found, expected, atol=1e-4)
            for layer, cell in zip(runner.cache.keys, written, strict=True):
                assert torch.allclose(layer[sequence, :, 30], cell, atol=1e-4)
    assert counters["stats"]["unique_graphs"] == 2
