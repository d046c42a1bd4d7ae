"""The torch engine on a CUDA device, against itself on the processor. Random weights, nothing but torch needed.

``scripts/gpu-check`` runs these where pytest, and anything that is compiled here, is missing: plain functions, no
fixtures.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import replace

try:
    import pytest

    pytestmark = [pytest.mark.gpu]
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device", allow_module_level=True)
except ImportError:
    import torch

from coder_lsp.bench.random_model import SHAPES, PlainVocabulary, RandomSource
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.torch_cuda import device
from coder_lsp.engine.torch_cuda.engine import TorchEngine
from coder_lsp.errors import OutOfMemory
from coder_lsp.types import FinishReason

OPTIONS = EngineOptions(context_tokens=2048, sequences=3, precision="f32")
PROMPT = list(range(5, 505, 3)) * 2


def engine_on(where, shape="tiny", **changes):
    """Weights are drawn on the processor, so that they are the same everywhere."""
    options = replace(OPTIONS, device=where, **changes)
    place = device.choose(options)
    return TorchEngine.of(RandomSource(SHAPES[shape], "cpu"), PlainVocabulary(), options, place)


def says(engine, tokens=PROMPT, **options):
    options.setdefault("max_tokens", 48)
    return engine.generate(GenerateRequest(tokens, **options))


def close_to(found, expected, apart=0.01):
    return len(found) == len(expected) and all(abs(a - b) < apart for a, b in zip(found, expected, strict=True))


def test_a_device_says_what_the_processor_says():
    with closing(engine_on("cuda:0")) as cuda, closing(engine_on("cpu")) as cpu:
        for tokens in (PROMPT, PROMPT[:7], PROMPT * 4):
            found, expected = says(cuda, tokens, draft=False), says(cpu, tokens, draft=False)
            assert found.token_ids == expected.token_ids
            assert close_to(found.logprobs, expected.logprobs)


def test_compiled_captured_and_plain_steps_say_the_same():
    with closing(engine_on("cuda:0")) as engine:
        assert engine.runner.captures
        compiled = engine.runner.compiles
        first = says(engine, draft=False)
        engine.clear(first.sequence)
        engine.runner.compiles = False
        engine.runner._graphs.clear()
        captured = says(engine, draft=False)
        engine.clear(captured.sequence)
        engine.runner._captured = engine.runner._plain
        plain = says(engine, draft=False)
        assert first.token_ids == captured.token_ids == plain.token_ids
        assert compiled, "steps were not compiled here: the log has the reason"


def test_guesses_change_no_text_in_half_precision():
    for precision in ("bf16", "fp16"):
        with closing(engine_on("cuda:0", precision=precision)) as engine:
            plain = says(engine, draft=False)
            for hints in ([plain.token_ids], [plain.token_ids[:9] + plain.token_ids[10:]], []):
                engine.clear(plain.sequence)
                assert says(engine, hints=hints).token_ids == plain.token_ids


def test_texts_at_once_say_what_each_says_alone():
    with closing(engine_on("cuda:0")) as engine:
        prompts = [PROMPT, PROMPT[3:60], PROMPT[100:107]]
        alone = []
        for sequence, tokens in enumerate(prompts):
            alone.append(says(engine, tokens, draft=False, sequence=sequence).token_ids)
            engine.clear(sequence)
        together = engine.generate_many([GenerateRequest(tokens, max_tokens=48) for tokens in prompts])
        assert [each.token_ids for each in together] == alone


def test_going_back_needs_nothing_but_going_on():
    with closing(engine_on("cuda:0")) as engine:
        first = says(engine, PROMPT[:100], draft=False)
        says(engine, [*PROMPT[:60], 9, 8, 7], draft=False, sequence=first.sequence)
        again = says(engine, PROMPT[:100], draft=False, sequence=first.sequence)
        assert again.tokens.reused == 60
        assert again.token_ids == first.token_ids


def test_a_sequence_comes_back_from_its_state():
    with closing(engine_on("cuda:0", precision="bf16")) as engine:
        first = says(engine, draft=False, sequence=0)
        held, state = engine.history(0), engine.sequence_state(0)
        engine.clear(0)
        assert engine.restore_sequence(1, held, state)
        assert says(engine, draft=False, sequence=1).token_ids == first.token_ids


def test_an_adapter_reaches_captured_steps():
    """Laid over, exchanged in place and taken off, between replays of graphs."""
    with closing(engine_on("cuda:0")) as engine, closing(engine_on("cpu")) as cpu:
        random = torch.Generator().manual_seed(0)
        shape = SHAPES["tiny"]

        def factors():
            return torch.randn(8, shape.width, generator=random) * 0.3, torch.randn(shape.width, 8, generator=random)

        sets = [{"blk.0.attn_output": factors()}, {"blk.1.attn_output": factors()}, {}]
        for each in (*sets, sets[0]):
            for one in (engine, cpu):
                lay(one, each)
            assert says(engine, draft=False).token_ids == says(cpu, draft=False).token_ids


def lay(engine, factors):
    """As ``adapt`` does, out of memory."""
    adapters = engine._adapters
    adapters._read = {("memory", ""): factors}
    moved = adapters.lay([Laid()] if factors else [])
    if moved:
        engine.runner.forget_graphs()
    engine.runner.rank = adapters.rank
    for sequence in range(engine.options.sequences):
        engine.clear(sequence)


class Laid:
    """Looks like an adapter."""

    path, version, scale = "memory", "", 1.0


def test_small_weights_say_about_the_same():
    with closing(engine_on("cuda:0", "small", precision="bf16")) as whole:
        expected = says(whole, draft=False, max_tokens=4)
    for quantise, apart in (("int8", 0.5), ("int4", 4.0)):
        with closing(engine_on("cuda:0", "small", precision="bf16", quantise=quantise)) as engine:
            found = says(engine, draft=False, max_tokens=4)
            assert abs(found.logprobs[0] - expected.logprobs[0]) < apart


def test_a_cancel_frees_the_device_at_once():
    with closing(engine_on("cuda:0", "small", precision="bf16")) as engine:
        says(engine, max_tokens=4)
        late = []
        for number in range(8):
            for sequence in range(3):
                engine.clear(sequence)
            cancel, ended = engine.new_cancel_token(), []

            def generate(cancel=cancel, ended=ended):
                request = GenerateRequest(PROMPT * 5, max_tokens=300, draft=False)
                ended.append((engine.generate(request, cancel=cancel).finish_reason, time.perf_counter()))

            thread = threading.Thread(target=generate)
            thread.start()
            thread.join(0.003 * number)
            at = time.perf_counter()
            cancel.cancel()
            thread.join()
            reason, free_at = ended[0]
            if reason is FinishReason.CANCELLED:
                late.append((free_at - at) * 1000)
        assert late
        assert max(late) < 50, late


def test_what_does_not_fit_is_refused_with_the_figures():
    refused = None
    try:
        engine_on("cuda:0", sequences=10_000_000)
    except OutOfMemory as error:
        refused = error
    assert refused is not None
    assert "GiB are free" in refused.message
    assert "engine.sequences" in refused.hint


def test_the_reason_names_the_device():
    with closing(engine_on("auto")) as engine:
        assert engine.reason.startswith("cuda:")
        assert "GiB free" in engine.reason
