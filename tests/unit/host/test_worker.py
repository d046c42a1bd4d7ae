"""From request to result with a scripted engine: what is evaluated, what is remembered, what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coder_lsp.config import PromptConfig
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import ContextOverflow
from coder_lsp.host.protocol import HostSettings
from coder_lsp.host.worker import ModelWorker
from coder_lsp.types import FimRequest, FinishReason, Snippet

SETTINGS = HostSettings(model_path="/m.gguf", model_name="scripted-model")
REQUEST = FimRequest("file:///a.py", "one\ntwo\nthree\nfour\nretu", "\nafter\n", max_tokens=16)


def worker(reply, settings=SETTINGS, **engine) -> tuple[ModelWorker, ScriptedEngine]:
    scripted = ScriptedEngine(reply, **engine)
    return ModelWorker(scripted, settings), scripted


def test_the_text_begins_at_the_cursor_not_at_the_healed_word():
    it, engine = worker("rn x")
    result = it.complete(REQUEST, None, it.new_cancel_token())
    assert engine.requests[0].forced == b"retu"
    assert result.text == "rn x"
    assert result.model == "scripted-model"
    assert result.engine == "scripted"
    assert result.finish_reason is FinishReason.STOP_TOKEN
    assert {"prompt", "prefill", "decode", "total"} <= result.timings_ms.keys()


def test_a_keystroke_evaluates_one_token():
    it, _ = worker("x")
    it.complete(REQUEST, None, it.new_cancel_token())
    typed = replace(REQUEST, prefix=REQUEST.prefix + "r")
    result = it.complete(typed, None, it.new_cancel_token())
    assert result.tokens.evaluated == 1
    assert result.tokens.reused == result.tokens.prompt - 1


def test_each_document_keeps_its_own_anchor():
    it, engine = worker("x")
    other = replace(REQUEST, document="file:///b.py", prefix="b\n" * 30 + "x")
    for request in (REQUEST, other, replace(REQUEST, prefix=REQUEST.prefix + "\nmore\nlines\nand"), REQUEST):
        it.complete(request, None, it.new_cancel_token())
    first, _, grown, again = (bytes(t for t in r.tokens if t < 256) for r in engine.requests)
    assert grown.startswith(first[:-3])
    assert again == first


def test_requests_carry_their_limits_to_the_engine():
    it, engine = worker("x")
    it.complete(
        replace(REQUEST, stop=("\n",), deadline_ms=5, temperature=0.5, seed=3, top_k=7, top_p=0.5),
        None,
        it.new_cancel_token(),
    )
    asked = engine.requests[0]
    assert (asked.stop, asked.deadline_ms, asked.temperature) == (("\n",), 5, 0.5)
    assert (asked.seed, asked.top_k, asked.top_p) == (3, 7, 0.5)
    assert engine.special("<|fim_middle|>") in asked.stop_tokens


def test_the_stream_reaches_the_reader_and_ends_when_it_has_enough():
    it, _ = worker("abcdef")
    seen = []

    def sink(delta):
        seen.append(delta)
        return len(seen) < 3

    result = it.complete(REQUEST, sink, it.new_cancel_token())
    assert result.finish_reason is FinishReason.ENOUGH
    assert "".join(seen) == result.text


def test_a_cancelled_request_is_a_result():
    it, _ = worker("abc")
    cancel = it.new_cancel_token()
    cancel.cancel()
    assert it.complete(REQUEST, None, cancel).finish_reason is FinishReason.CANCELLED


def test_a_context_too_small_for_the_budgets_is_told():
    it, _ = worker("x", replace(SETTINGS, prompt=PromptConfig()), options=EngineOptions(context_tokens=24))
    with pytest.raises(ContextOverflow, match="24"):
        it.complete(replace(REQUEST, prefix="word " * 50), None, it.new_cancel_token())


def test_a_model_without_fim_tokens_says_what_it_cannot_do():
    it, _ = worker("x", special_tokens=("<|endoftext|>",))
    assert "left to right" in it.notice


def test_a_preview_is_the_prompt_with_its_block_and_evaluates_nothing():
    snippet = Snippet("other.py", "def helper():\n", 0, 1, "symbol", 2.0)
    it, engine = worker("x")
    shown = it.preview(replace(REQUEST, snippets=(snippet,)))
    assert engine.requests == []
    assert shown.context.startswith("<|repo_name|>")
    assert "<|file_sep|>other.py\ndef helper():\n" in shown.context
    assert shown.prompt.startswith(shown.context + "<|fim_prefix|>")
    assert "<|fim_suffix|>" in shown.prompt
    assert shown.prompt.endswith("four\nretu"), "what is owed before anything new is a part of it"
    assert [each.path for each in shown.snippets] == ["other.py"]
    assert 0 < shown.context_tokens < shown.tokens
