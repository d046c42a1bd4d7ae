"""What every engine does the same way. An engine joins by a factory that makes one which says given pieces of bytes."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace

import pytest
from support.model_server import NEEDS, ModelServer, RemoteSaying, absent

from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.errors import ContextOverflow, EngineError
from coder_lsp.types import FinishReason

OPTIONS = EngineOptions(context_tokens=256, sequences=2, threads=1)
TORCH = replace(OPTIONS, device="cpu")
CODE = "def f(self):\n    return self.x\n"


def llama_saying(models, pieces, loop):
    return LlamaEngine.load(models.chain(*pieces, loop=loop), OPTIONS)


def scripted_saying(models, pieces, loop):
    return ScriptedEngine(b"".join(pieces) * (200 if loop else 1), options=OPTIONS)


def torch_saying(models, pieces, loop):
    pytest.importorskip("torch", reason="torch is not installed")
    from coder_lsp.engine.torch_cuda.engine import TorchEngine

    return TorchEngine.load(models.chain(*pieces, loop=loop), TORCH)


def remote_saying(kind):
    def make(models, pieces, loop):
        # llama-cpp-python takes its time to start, and tells nothing of what it has cached: one serves several tests.
        return RemoteSaying.connect(kind, models.chain(*pieces, loop=loop), shared=kind == "llama-cpp-python")

    return make


@pytest.fixture(scope="module", autouse=True)
def _shared_servers():
    yield
    ModelServer.close_shared()


MAKERS = {
    "llama": llama_saying,
    "scripted": scripted_saying,
    "torch": torch_saying,
    **{f"remote:{kind}": remote_saying(kind) for kind in NEEDS},
}

CELLS = "the cache is the server's own"
TEXT_ALONE = "servers send text, not bytes"
NOT_REMOTE = {
    "test_prefill_returns_what_was_new_and_history_what_is_held": CELLS,
    "test_history_holds_what_was_generated_and_evaluated": CELLS,
    "test_another_place_does_not_push_out_the_first": CELLS,
    "test_reusable_counts_what_some_sequence_holds": CELLS,
    "test_a_sequence_comes_back_from_its_state": CELLS,
    "test_a_state_of_something_else_is_refused": CELLS,
    "test_a_sequence_that_holds_nothing_has_no_state": CELLS,
    "test_forced_bytes_come_first_and_are_not_text[b'\\xc3']": TEXT_ALONE,
    "test_bytes_that_are_no_text_become_replacement_characters": TEXT_ALONE,
}
"""What an engine whose model is elsewhere does not promise."""
UNTOLD = {
    "test_the_end_of_the_context_ends_the_text": "it does not say how much it holds",
    "test_too_long_a_prompt_is_refused_before_anything_is_evaluated": "it does not say how much it holds",
}
"""And what one does not that speaks with llama-cpp-python."""


@pytest.fixture(params=MAKERS)
def saying(request, models):
    """``saying(*pieces)``: an engine that says these after ``<|fim_middle|>``, then ends; with ``loop`` it goes on."""
    kind = request.param.partition(":")[2]
    if kind:
        without = NOT_REMOTE | (UNTOLD if kind == "llama-cpp-python" else {})
        case = request.node.callspec.params.get("forced")
        for name in (request.node.originalname, f"{request.node.originalname}[{case!r}]"):
            if name in without:
                pytest.skip(without[name])
        if missing := absent(kind):
            pytest.skip(missing)
    engines = []

    def saying(*pieces, loop=False):
        engine = MAKERS[request.param](models, list(pieces), loop)
        engines.append(engine)
        return engine

    yield saying
    for engine in engines:
        engine.close()


def prompt(engine, text=CODE):
    return [*engine.tokenize(text), engine.special("<|fim_middle|>")]


def stream(engine, request, enough=lambda text: False, cancel=None):
    """The generation, and the deltas it streamed."""
    deltas = []

    def on_text(delta):
        deltas.append(delta)
        return not enough("".join(deltas))

    return engine.generate(request, on_text, cancel), deltas


def test_text_until_the_end_token(saying):
    engine = saying(b"ret", b"urn ", b"x\n")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine)))
    assert done.text == "return x\n"
    assert done.finish_reason is FinishReason.STOP_TOKEN
    assert "".join(deltas) == done.text
    assert b"".join(map(engine.token_bytes, done.token_ids)) == b"return x\n"
    assert len(done.logprobs) == len(done.token_ids) == done.tokens.generated
    assert set(done.timings_ms) >= {"prompt", "prefill", "decode", "total"}


def test_stop_tokens_end_the_text_before_themselves(saying):
    engine = saying(b"a", b"b", b"c")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), stop_tokens=frozenset(engine.tokenize("b"))))
    assert (done.text, done.finish_reason) == ("a", FinishReason.STOP_TOKEN)


def test_stop_string_across_tokens_is_neither_streamed_nor_in_the_text(saying):
    engine = saying(b"x = 1\n", b"\nd", b"ef", b" g")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine), stop=("never", "\n\ndef")))
    assert (done.text, done.finish_reason) == ("x = 1", FinishReason.STOP_STRING)
    assert "".join(deltas) == "x = 1"


def test_the_earliest_of_several_stop_strings_counts(saying):
    engine = saying(b"ab", b"cdef")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), stop=("de", "bc")))
    assert done.text == "a"


def test_a_stop_string_that_only_begins_is_streamed_in_the_end(saying):
    engine = saying(b"x\n", b"\nd", b"e")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine), stop=("\n\ndef",)))
    assert done.text == "".join(deltas) == "x\n\nde"


def test_streams_whole_code_points(saying):
    engine = saying(b"\xe4\xb8", b"\x96!", b"\xf0\x9f", b"\x98", b"\x80")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine)))
    assert deltas == ["世", "!", "😀"] or deltas == ["世!", "😀"]
    assert done.text == "世!😀"


def test_bytes_that_are_no_text_become_replacement_characters(saying):
    engine = saying(b"a\x80", b"\xc3(", b"\xe4\xb8")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine)))
    assert done.text == "".join(deltas) == b"a\x80\xc3(\xe4\xb8".decode("utf-8", "replace")


def test_the_reader_has_enough(saying):
    engine = saying(b"a\n", b"b\n", b"c\n")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine)), enough=lambda text: "b" in text)
    assert done.finish_reason is FinishReason.ENOUGH
    assert done.text == "".join(deltas)
    assert done.text.startswith("a\nb")
    assert "c" not in done.text


def test_max_tokens(saying):
    engine = saying(b"a", b"b", b"c", loop=True)
    done = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=5))
    assert (done.text, done.finish_reason, done.tokens.generated) == ("abcab", FinishReason.LENGTH, 5)


def test_max_tokens_zero_only_evaluates(saying):
    engine = saying(b"a")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=0))
    assert (done.text, done.finish_reason, done.token_ids) == ("", FinishReason.LENGTH, ())
    assert done.tokens.evaluated == done.tokens.prompt


def test_the_end_of_the_context_ends_the_text(saying):
    engine = saying(b"a", b"b", loop=True)
    done = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=10_000))
    room = engine.options.context_tokens - done.tokens.prompt
    assert done.finish_reason is FinishReason.LENGTH
    assert room <= done.tokens.generated <= room + 1


@pytest.mark.parametrize("forced", [b"x", b"self", "é".encode(), b"\xc3", b"(x", b"\n    "])
def test_forced_bytes_come_first_and_are_not_text(saying, forced):
    engine = saying(b"a", b"b")
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine), forced=forced, max_tokens=12))
    generated = b"".join(map(engine.token_bytes, done.token_ids))
    assert generated.startswith(forced)
    assert done.text == "".join(deltas) == generated.removeprefix(forced).decode("utf-8", "replace")


def test_stop_strings_do_not_look_at_forced_bytes(saying):
    engine = saying(b"a", b"b")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), forced=b"\n\n", stop=("\n\n",), max_tokens=1))
    assert done.finish_reason is not FinishReason.STOP_STRING


def test_deadline_cuts_to_whole_lines(saying):
    engine = saying(b"one\n", b"two", b" more", loop=True)
    seen, began = [], []

    def slow_reader(delta):
        # Past the deadline once the second line has begun, whatever the engine's speed.
        seen.append(delta)
        began.append(time.monotonic())
        while "two" in "".join(seen) and time.monotonic() < began[0] + 0.35:
            pass
        return True

    done = engine.generate(GenerateRequest(tokens=prompt(engine), deadline_ms=300), slow_reader)
    assert done.finish_reason is FinishReason.DEADLINE
    assert done.text.startswith("one")
    assert not done.text.endswith("\n")
    assert "more" not in done.text


def test_deadline_waits_for_a_line_end_but_not_for_twice_as_long(saying):
    engine = saying(b"a", b"b", loop=True)
    started = time.monotonic()

    def slow_reader(_delta):
        while time.monotonic() < started + 0.12:
            pass
        return True

    done = engine.generate(GenerateRequest(tokens=prompt(engine), deadline_ms=40), slow_reader)
    assert done.finish_reason is FinishReason.DEADLINE
    assert done.text.startswith("a")


def test_cancelled_before_it_begins(saying):
    engine = saying(b"a")
    cancel = engine.new_cancel_token()
    cancel.cancel()
    done = engine.generate(GenerateRequest(tokens=prompt(engine)), cancel=cancel)
    assert cancel.cancelled
    assert (done.text, done.finish_reason, done.tokens.evaluated) == ("", FinishReason.CANCELLED, 0)


def test_cancelled_while_decoding_returns_what_there_is(saying):
    engine = saying(b"a", b"b", b"c", loop=True)
    cancel = engine.new_cancel_token()

    def reader(delta):
        if "c" in delta:
            cancel.cancel()
        return True

    done = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=50), reader, cancel)
    assert (done.text, done.finish_reason) == ("abc", FinishReason.CANCELLED)
    after = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=4))
    assert after.text == "abca"


def test_a_prompt_seen_before_evaluates_one_token_at_most(saying):
    engine = saying(b"a")
    tokens = prompt(engine)
    first = engine.generate(GenerateRequest(tokens=tokens, max_tokens=1))
    again = engine.generate(GenerateRequest(tokens=tokens, max_tokens=1))
    assert (first.tokens.reused, first.tokens.evaluated) == (0, first.tokens.prompt)
    assert again.tokens.reused + again.tokens.evaluated == again.tokens.prompt == first.tokens.prompt
    assert again.tokens.evaluated <= 1
    assert again.sequence == first.sequence


def test_one_more_token_evaluates_one_token(saying):
    engine = saying(b"a")
    tokens = prompt(engine)
    engine.prefill(tokens)
    done = engine.generate(GenerateRequest(tokens=[*tokens, *engine.tokenize("a")], max_tokens=1))
    assert done.tokens.evaluated == 1


def test_prefill_returns_what_was_new_and_history_what_is_held(saying):
    engine = saying(b"a")
    tokens = prompt(engine)
    assert engine.prefill(tokens, 1) == len(tokens)
    assert engine.history(1) == tuple(tokens)
    assert engine.history(0) == ()
    assert engine.prefill(tokens, 1) == 0
    assert engine.prefill(tokens[:5], 1) == 0
    assert engine.prefill([*tokens[:5], *engine.tokenize("zz")], 1) == 2
    engine.clear(1)
    assert engine.history(1) == ()


def test_history_holds_what_was_generated_and_evaluated(saying):
    engine = saying(b"a", b"b", b"c")
    tokens = prompt(engine)
    done = engine.generate(GenerateRequest(tokens=tokens, max_tokens=3))
    held = engine.history(done.sequence)
    assert held[: len(tokens)] == tuple(tokens)
    assert held[len(tokens) :] == done.token_ids[: len(held) - len(tokens)]
    assert len(held) >= len(tokens) + 2


def test_another_place_does_not_push_out_the_first(saying):
    engine = saying(b"a")
    one, other = prompt(engine, "first place\n" * 5), prompt(engine, "elsewhere entirely\n" * 4)
    first = engine.generate(GenerateRequest(tokens=one, max_tokens=1))
    second = engine.generate(GenerateRequest(tokens=other, max_tokens=1))
    assert first.sequence != second.sequence
    assert engine.generate(GenerateRequest(tokens=one, max_tokens=1)).tokens.evaluated <= 1
    assert engine.generate(GenerateRequest(tokens=other, max_tokens=1)).tokens.evaluated <= 1


def test_passes_and_guesses_account_for_what_was_generated(saying):
    engine = saying(b"a", b"b", b"c", loop=True)
    for draft in (False, True):
        counts = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=40, draft=draft)).tokens
        assert counts.generated == 40
        assert counts.accepted <= counts.drafted
        assert counts.generated <= counts.passes + counts.accepted + 1
        assert draft or (counts.passes, counts.drafted) == (39, 0)


@pytest.mark.parametrize("sampled", [{}, {"temperature": 1.0, "top_k": 1}])
def test_hints_change_nothing_but_the_work(saying, sampled):
    engine = saying(b"a", b"b", b"c", loop=True)
    hints = [engine.tokenize("abcabcabc"), engine.tokenize("cab"), []]
    done = engine.generate(GenerateRequest(tokens=prompt(engine), max_tokens=30, hints=hints, **sampled))
    assert done.text == "abc" * 10
    assert not sampled or done.tokens.drafted == 0


def test_a_hint_that_is_no_text_is_refused(saying):
    engine = saying(b"a")
    with pytest.raises(EngineError, match="1000000"):
        engine.generate(GenerateRequest(tokens=prompt(engine), hints=[[10**6]]))


UNSURE = {"least_logprob": math.inf}


def test_an_unsure_line_ends_the_text_with_the_line_before(saying):
    engine = saying(b"a", b"b", b"c", b"d\n", b"e", b"f", b"g", b"h\n", b"i", loop=True)
    done, deltas = stream(engine, GenerateRequest(tokens=prompt(engine), **UNSURE))
    assert (done.text, done.finish_reason) == ("abcd", FinishReason.UNSURE)
    assert "".join(deltas).startswith(done.text)


def test_an_unsure_line_that_goes_on_and_on_is_not_waited_for(saying):
    long = [bytes([letter]) for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    engine = saying(b"x\n", *long)
    done = engine.generate(GenerateRequest(tokens=prompt(engine), **UNSURE))
    assert (done.text, done.finish_reason) == ("x", FinishReason.UNSURE)
    assert done.tokens.generated < 20


def test_an_unsure_last_line_is_left_out_too(saying):
    engine = saying(b"x\n", b"a", b"b", b"c", b"d")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), **UNSURE))
    assert (done.text, done.finish_reason) == ("x", FinishReason.UNSURE)


def test_a_first_line_is_kept_however_unsure(saying):
    engine = saying(b"\n", b"a", b"b", b"c", b"d", b"e")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), **UNSURE))
    assert (done.text, done.finish_reason) == ("\nabcde", FinishReason.STOP_TOKEN)


def test_a_line_of_few_tokens_is_not_judged(saying):
    engine = saying(b"x\n", b"a", b"b\n", b"c")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), **UNSURE))
    assert (done.text, done.finish_reason) == ("x\nab\nc", FinishReason.STOP_TOKEN)


def test_forced_bytes_do_not_count_as_unsure(saying):
    engine = saying(b"a\n", b"b\n", loop=True)
    request = GenerateRequest(tokens=prompt(engine), forced=b"qqqqqqqqqqqqqqq\nq", max_tokens=20, **UNSURE)
    assert engine.generate(request).finish_reason is not FinishReason.UNSURE


def test_a_sure_model_is_not_cut(saying):
    engine = saying(b"a", b"b", b"c", b"d\n", b"e", b"f", b"g", b"h\n", b"i")
    done = engine.generate(GenerateRequest(tokens=prompt(engine), least_logprob=-1e9))
    assert (done.text, done.finish_reason) == ("abcd\nefgh\ni", FinishReason.STOP_TOKEN)


def test_reusable_counts_what_some_sequence_holds(saying):
    engine = saying(b"a")
    one, other = prompt(engine, "first place\n"), prompt(engine, "elsewhere entirely\n")
    assert engine.reusable(one) == 0
    engine.prefill(one, 0)
    engine.prefill(other, 1)
    assert engine.reusable(one) == len(one)
    assert engine.reusable([*other, 1]) == len(other)
    assert engine.reusable(one[:4]) == 4
    assert engine.reusable([*other[:5], *one[5:]]) == 5


def test_a_sequence_comes_back_from_its_state(saying):
    engine = saying(b"a", b"b", b"c")
    tokens = prompt(engine)
    plain = engine.generate(GenerateRequest(tokens=tokens, sequence=0))
    held = engine.history(0)
    state = engine.sequence_state(0)
    engine.clear(0)
    assert engine.restore_sequence(1, held, state)
    assert engine.history(1) == held
    again = engine.generate(GenerateRequest(tokens=tokens, sequence=1))
    assert (again.token_ids, again.logprobs) == (plain.token_ids, plain.logprobs)
    assert again.tokens.evaluated == 1


def test_a_state_of_something_else_is_refused(saying):
    engine = saying(b"a")
    tokens = prompt(engine)
    engine.prefill(tokens, 0)
    state = engine.sequence_state(0)
    refused = [
        (tokens[:-1], state),
        ([*tokens[:-1], tokens[0]], state),
        ([*tokens, tokens[0]], state),
        ([-1] * len(tokens), state),
        ([], state),
        (tokens, b""),
        (tokens, state[:-1]),
        (tokens, state + b"x"),
        (tokens, state[:8]),
        (tokens, b"\x00" * len(state)),
        (tokens, state[: len(state) // 2] + b"\xff\x00" + state[len(state) // 2 + 2 :]),
    ]
    for others, damaged in refused:
        assert not engine.restore_sequence(1, others, damaged)
        assert engine.history(1) == ()
    assert engine.restore_sequence(1, tokens, state)
    assert engine.restore_sequence(0, tokens, engine.sequence_state(1))


def test_a_sequence_that_holds_nothing_has_no_state(saying):
    engine = saying(b"a")
    assert engine.sequence_state(0) == b""
    for call in (lambda: engine.sequence_state(2), lambda: engine.restore_sequence(2, [1], b"")):
        with pytest.raises(EngineError, match="no sequence 2"):
            call()


def test_too_long_a_prompt_is_refused_before_anything_is_evaluated(saying):
    engine = saying(b"a")
    room = engine.options.context_tokens
    tokens = engine.tokenize("#") * room
    with pytest.raises(ContextOverflow, match=str(room)):
        engine.generate(GenerateRequest(tokens=tokens))
    with pytest.raises(ContextOverflow):
        engine.prefill([*tokens, tokens[0]])
    assert engine.history(0) == ()
    assert engine.generate(GenerateRequest(tokens=tokens[:-1], max_tokens=1)).tokens.prompt == room - 1


@pytest.mark.parametrize("tokens", [[], [-1], [10**6]])
def test_a_prompt_that_cannot_be_one_is_refused(saying, tokens):
    engine = saying(b"a")
    with pytest.raises(EngineError):
        engine.generate(GenerateRequest(tokens=tokens))


def test_a_sequence_that_is_not_there_is_refused(saying):
    engine = saying(b"a")
    with pytest.raises(EngineError, match="no sequence 2"):
        engine.generate(GenerateRequest(tokens=prompt(engine), sequence=2))


def test_what_a_reader_raises_passes_through_and_the_engine_goes_on(saying):
    engine = saying(b"a", b"b")

    def reader(_delta):
        raise ZeroDivisionError("reader")

    with pytest.raises(ZeroDivisionError, match="reader"):
        engine.generate(GenerateRequest(tokens=prompt(engine)), reader)
    assert engine.generate(GenerateRequest(tokens=prompt(engine))).text == "ab"


def test_an_engine_refuses_to_be_called_by_its_own_reader(saying):
    engine = saying(b"a", b"b")

    def reader(_delta):
        engine.generate(GenerateRequest(tokens=prompt(engine)))
        return True

    with pytest.raises(EngineError, match="own callback"):
        engine.generate(GenerateRequest(tokens=prompt(engine)), reader)
    assert engine.generate(GenerateRequest(tokens=prompt(engine))).text == "ab"


def test_calls_from_several_threads_take_turns(saying):
    engine = saying(b"a", b"b", b"c")
    texts = []

    def work(place):
        tokens = prompt(engine, f"place {place}\n")
        texts.extend(engine.generate(GenerateRequest(tokens=tokens)).text for _ in range(5))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["abc"] * 20


def test_a_foreign_cancel_token_is_refused(saying):
    class Foreign:
        cancelled = False

        def cancel(self):
            """Does nothing."""

    engine = saying(b"a")
    with pytest.raises(EngineError, match="Foreign"):
        engine.generate(GenerateRequest(tokens=prompt(engine)), cancel=Foreign())


def test_a_closed_engine_says_so(saying):
    engine = saying(b"a")
    tokens = prompt(engine)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.generate(GenerateRequest(tokens=tokens))


def test_text_never_becomes_a_control_token(saying):
    engine = saying(b"a")
    tokens = engine.tokenize("<|fim_middle|><|endoftext|>")
    assert b"".join(map(engine.token_bytes, tokens)) == b"<|fim_middle|><|endoftext|>"
    assert engine.special("<|fim_middle|>") not in tokens
    assert not engine.end_tokens & set(tokens)


def test_special_tokens_by_their_exact_spelling(saying):
    engine = saying(b"a")
    assert engine.special("<|fim_middle|>") is not None
    assert engine.token_bytes(engine.special("<|fim_middle|>")) == b""
    assert engine.special("<|fim_middle") is None
    assert engine.special("a") is None
    assert engine.special("<|endoftext|>") in engine.end_tokens
    assert engine.bos is None
