"""A cancel from another thread ends a call within a node of the graph, and leaves a cache that is right."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.errors import EngineError
from coder_lsp.types import FinishReason

# What one node may take, with much room for a busy machine; the benchmark measures the real figure.
LIMIT_SECONDS = 1.0


@pytest.fixture
def slow(load, models):
    """An engine whose prompt of 1000 tokens takes long enough to be interrupted, in slices of 32."""
    return load(models.slow, context_tokens=2048, slice_tokens=32)


@pytest.fixture
def tokens(slow):
    return (slow.tokenize("def f(self):\n    return self.x\n") * 200)[:1000]


def cancelled_after(work, cancel, seconds):
    """Run ``work`` in a thread and cancel it after so long; its result, and how long it took from then."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join(seconds)
    cancel.cancel()
    at = time.monotonic()
    thread.join()
    return results[0], time.monotonic() - at


def interrupted(engine, tokens, work):
    """Cancel ``work(cancel)`` at later and later points until it stops in the middle of the prompt."""
    seconds = 0.001
    while True:
        for sequence in range(engine.options.sequences):
            engine.clear(sequence)
        cancel = engine.new_cancel_token()
        result, late = cancelled_after(lambda token=cancel: work(token), cancel, seconds)
        assert late < LIMIT_SECONDS
        held = engine.history(0) or engine.history(1)
        if 0 < len(held) < len(tokens):
            return result, held
        assert len(held) < len(tokens), "the model is too fast for this test"
        seconds *= 1.5


def expected_ids(load, models, tokens):
    return load(models.slow, context_tokens=2048).generate(GenerateRequest(tokens=tokens, max_tokens=6)).token_ids


def test_prefill_cancelled_in_the_middle_keeps_whole_slices(load, models, slow, tokens):
    evaluated, held = interrupted(slow, tokens, lambda cancel: slow.prefill(tokens, cancel=cancel))
    assert held == tuple(tokens[: len(held)])
    assert len(held) == evaluated
    assert len(held) % slow.options.slice_tokens == 0
    done = slow.generate(GenerateRequest(tokens=tokens, max_tokens=6))
    assert done.tokens.reused == len(held)
    assert done.token_ids == expected_ids(load, models, tokens)


def test_generate_cancelled_in_its_prefill_keeps_whole_slices(load, models, slow, tokens):
    request = GenerateRequest(tokens=tokens, max_tokens=6)
    partial, held = interrupted(slow, tokens, lambda cancel: slow.generate(request, cancel=cancel))
    assert (partial.finish_reason, partial.text) == (FinishReason.CANCELLED, "")
    assert partial.tokens.evaluated == len(held)
    done = slow.generate(request)
    assert done.tokens.reused == len(held)
    assert done.token_ids == expected_ids(load, models, tokens)


def test_an_interrupted_roll_back_leaves_the_common_part(load, models, slow, tokens):
    """The prompt changed in its middle: what is behind the change is gone at once, not half replaced."""
    slow.prefill(tokens, 0)
    changed = [*tokens[:300], *reversed(tokens[300:])]
    cancel = slow.new_cancel_token()
    cancel.cancel()
    done = slow.generate(GenerateRequest(tokens=changed, sequence=0), cancel=cancel)
    assert done.finish_reason is FinishReason.CANCELLED
    assert slow.history(0) in (tuple(tokens), tuple(changed[:300]))
    again = slow.generate(GenerateRequest(tokens=tokens, max_tokens=6, sequence=0))
    assert again.token_ids == expected_ids(load, models, tokens)


def test_decode_cancelled_from_another_thread(load, models):
    engine = load(models.chain(b"a", b"b", b"c", loop=True))
    cancel, begun = engine.new_cancel_token(), threading.Event()
    tokens = [*engine.tokenize("x"), engine.special("<|fim_middle|>")]
    results = []

    def on_text(_delta):
        begun.set()
        return True

    request = GenerateRequest(tokens=tokens, max_tokens=400)
    thread = threading.Thread(target=lambda: results.append(engine.generate(request, on_text, cancel)))
    thread.start()
    begun.wait()
    cancel.cancel()
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    done = results[0]
    assert done.finish_reason in (FinishReason.CANCELLED, FinishReason.LENGTH)
    assert done.text
    held = engine.history(done.sequence)
    assert held[len(tokens) :] == done.token_ids[: len(held) - len(tokens)]
    assert engine.generate(GenerateRequest(tokens=tokens, max_tokens=5)).text == "abcab"


def test_a_cancelled_recurrent_state_is_not_reused(load, models):
    """A Mamba's state is overwritten while a slice is evaluated: after an abort nothing of it may be used."""
    engine = load(models.recurrent, slice_tokens=16)
    tokens = engine.tokenize("def f(self):\n    return self.x\n" * 20)
    expected = engine.generate(GenerateRequest(tokens=tokens, max_tokens=6, sequence=0)).token_ids
    for microseconds in range(0, 3000, 200):
        cancel = engine.new_cancel_token()
        cancelled_after(lambda token=cancel: engine.prefill(tokens[:-1], 1, token), cancel, microseconds / 1e6)
        done = engine.generate(GenerateRequest(tokens=tokens, max_tokens=6, sequence=1))
        assert done.token_ids == expected
        engine.clear(1)


def test_a_call_that_waits_for_its_turn_can_be_cancelled(load, models, slow, tokens):
    first, second = slow.new_cancel_token(), slow.new_cancel_token()
    running = threading.Thread(target=slow.prefill, args=(tokens, 0, first))
    running.start()
    request = GenerateRequest(tokens=tokens[:10], sequence=1)
    _, late = cancelled_after(lambda: slow.generate(request, cancel=second), second, 0.0)
    first.cancel()
    running.join()
    assert late < LIMIT_SECONDS


def test_close_ends_what_runs(slow, tokens):
    def prefill():
        with contextlib.suppress(EngineError):
            slow.prefill(tokens)

    running = threading.Thread(target=prefill)
    running.start()
    # Before it began, in its middle or behind its end: close() waits for the turn, and the call for nothing more.
    slow.close()
    running.join(LIMIT_SECONDS)
    assert not running.is_alive()
    with pytest.raises(EngineError, match="closed"):
        slow.tokenize("x")
