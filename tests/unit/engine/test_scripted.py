"""What only the scripted engine does: being slow, failing, remembering what it was asked. The rest is the contract."""

from __future__ import annotations

import threading
import time

import pytest

from coder_lsp.engine.base import Engine, GenerateRequest
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import EngineError, OutOfMemory
from coder_lsp.types import FinishReason


def request(engine, **options):
    return GenerateRequest(tokens=[*engine.tokenize("x = "), engine.special("<|fim_middle|>")], **options)


def test_it_is_an_engine():
    engine: Engine = ScriptedEngine("1")
    assert engine.generate(request(engine)).text == "1"


def test_the_reply_can_depend_on_the_request():
    engine = ScriptedEngine(lambda asked: f"{len(asked.tokens)} tokens")
    assert engine.generate(request(engine)).text == "5 tokens"
    assert [len(asked.tokens) for asked in engine.requests] == [5]


def test_it_fails_as_told_and_only_then():
    engine = ScriptedEngine("abc", fail_with=OutOfMemory("full"), fail_after=2)
    seen = []
    with pytest.raises(OutOfMemory, match="full"):
        engine.generate(request(engine), lambda delta: seen.append(delta) is None)
    assert seen == ["a", "b"]
    assert engine.generate(request(engine, max_tokens=2)).text == "ab"


def test_a_slow_one_is_cancelled_at_once():
    engine = ScriptedEngine("abc", decode_seconds=60)
    cancel = engine.new_cancel_token()
    done = []
    thread = threading.Thread(target=lambda: done.append(engine.generate(request(engine), None, cancel)))
    began = time.monotonic()
    thread.start()
    cancel.cancel()
    thread.join()
    assert time.monotonic() - began < 30
    assert done[0].finish_reason is FinishReason.CANCELLED


def test_it_takes_its_time():
    engine = ScriptedEngine("ab", decode_seconds=0.01, prefill_seconds=0.01)
    done = engine.generate(request(engine))
    assert done.timings_ms["prefill"] >= 50
    assert done.timings_ms["decode"] >= 20


def test_other_special_tokens_and_a_bos():
    engine = ScriptedEngine("", special_tokens=("<s>", "<fim_prefix>"), bos="<s>")
    assert engine.bos == engine.special("<s>") == 256
    assert engine.special("<|fim_prefix|>") is None
    with pytest.raises(EngineError):
        engine.token_bytes(258)
