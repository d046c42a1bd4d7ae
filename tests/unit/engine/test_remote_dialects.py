"""What each kind of server is asked, and what its lines say. The lines are written after the sources that
``remote_dialects`` names: of vLLM, SGLang, TGI and Ollama none ran here. llama.cpp and llama-cpp-python are real in
``tests/native``.
"""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.engine.remote_dialects import Asked, Event, Infill, LlamaCpp, Ollama, OpenAi
from coder_lsp.errors import RemoteError, RemoteGarbage, RemoteUnreachable

REQUEST = GenerateRequest((1,), max_tokens=12, temperature=0.25, top_k=7, top_p=0.5, seed=-1)
ASKED = Asked(
    REQUEST,
    prompt="<|fim_prefix|>a<|fim_middle|>",
    prefix="a",
    suffix="b",
    middle="c",
    model="m",
    files=(("x.py", "y"),),
    stops=("<1>", "<2>", "<3>", "<4>", "<5>"),
)
KINDS = ("openai", "tgi", "vllm", "sglang", "llama.cpp", "llama-cpp-python")
DIALECTS = [LlamaCpp(), Infill(), *map(OpenAi, KINDS), Ollama(raw=True, context_tokens=1024)]


def sent(message):
    return b"data: " + json.dumps(message).encode()


def line(dialect, message):
    return json.dumps(message).encode() if isinstance(dialect, Ollama) else sent(message)


def choice(**fields):
    return sent({"object": "text_completion", "choices": [{"index": 0, **fields}]})


# What is asked


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_a_body_is_json_and_streams(dialect):
    body = json.loads(json.dumps(dialect.body(ASKED)))
    assert body["stream"] is True


def test_llama_cpp_gets_the_prompt_as_it_is_and_its_cache_is_used():
    body = LlamaCpp().body(Asked(REQUEST, prompt="p", loras=((0, 0.5),)))
    assert (body["prompt"], body["cache_prompt"], body["n_predict"], body["top_k"]) == ("p", True, 12, 7)
    assert body["lora"] == [{"id": 0, "scale": 0.5}]
    assert 0 <= body["seed"] < 2**31


def test_infill_gets_the_parts():
    body = Infill().body(ASKED)
    assert (body["input_prefix"], body["input_suffix"], body["prompt"]) == ("a", "b", "c")
    assert body["input_extra"] == [{"filename": "x.py", "text": "y"}]


@pytest.mark.parametrize("kind", ["openai", "tgi"])
def test_whoever_may_refuse_more_gets_four_stop_strings(kind):
    assert OpenAi(kind).body(ASKED)["stop"] == ["<1>", "<2>", "<3>", "<4>"]


@pytest.mark.parametrize(("kind", "name"), [("vllm", "repetition_penalty"), ("sglang", "repetition_penalty")])
def test_what_a_models_own_defaults_would_change_is_said(kind, name):
    """vLLM and SGLang take what is left out from the model's generation_config.json; Qwen2.5's has 1.05 and more."""
    body = OpenAi(kind).body(Asked(REQUEST, prompt="p"))
    assert (body[name], body["min_p"]) == (1.0, 0.0)


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama-cpp-python"])
def test_whoever_takes_them_gets_all(kind):
    assert OpenAi(kind).body(ASKED)["stop"] == list(ASKED.stops)


def test_tgi_is_not_told_what_it_refuses():
    """ "`top_p` must be > 0.0 and < 1.0"; others have defaults that must be overruled."""
    plain = Asked(GenerateRequest((1,), top_p=1.0))
    assert "top_p" not in OpenAi("tgi").body(plain)
    assert OpenAi("tgi").body(ASKED)["top_p"] == 0.5
    assert OpenAi("vllm").body(plain)["top_p"] == 1.0


@pytest.mark.parametrize("forced", ["self", "a.b(*", '"\\', "é世", "\n    ", "]-^{"])
def test_forced_text_is_a_constraint_where_there_are_some(forced):
    asked = Asked(REQUEST, forced=forced)
    pattern = OpenAi("vllm").body(asked)["structured_outputs"]["regex"]
    assert OpenAi("sglang").body(asked)["regex"] == pattern
    assert re.fullmatch(pattern, forced + "\nmore")
    assert not re.fullmatch(pattern, "x" + forced)
    grammar = LlamaCpp().body(asked)["grammar"]
    spelled = re.findall(r"\\U([0-9a-f]{8})", grammar.partition("[")[0])
    assert "".join(chr(int(code, 16)) for code in spelled) == forced
    assert OpenAi("llama-cpp-python").body(asked)["grammar"] == grammar


@pytest.mark.parametrize("kind", ["openai", "tgi"])
def test_elsewhere_nothing_is_said_of_it(kind):
    dialect = OpenAi(kind)
    assert not dialect.forces
    assert dialect.body(Asked(REQUEST, forced="self")) == dialect.body(Asked(REQUEST))


def test_what_ends_a_text_must_be_seen_of_those_that_hide_it():
    for kind in ("vllm", "sglang"):
        assert OpenAi(kind).body(ASKED)["skip_special_tokens"] is False


def test_ollama_gets_our_prompt_raw_or_the_parts():
    raw = Ollama(raw=True, context_tokens=2048)
    assert not raw.writes_prompt
    body = raw.body(ASKED)
    assert (body["prompt"], body["raw"], body["options"]["num_ctx"]) == (ASKED.prompt, True, 2048)
    own = Ollama(raw=False, context_tokens=2048)
    assert own.writes_prompt
    body = own.body(ASKED)
    assert (body["prompt"], body["suffix"]) == ("x.py\ny\nac", "b")
    assert "raw" not in body


# What is answered


def test_vllm_says_text_then_why_it_ended_then_what_it_cost():
    vllm = OpenAi("vllm")
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -1.5], "top_logprobs": [{}, {}], "text_offset": [0, 1]}
    assert vllm.read(choice(text="ab", logprobs=logprobs, finish_reason=None, stop_reason=None)) == Event(b"ab", -1.0)
    assert vllm.read(choice(text="", logprobs=None, finish_reason="stop", stop_reason=7)) == Event(
        ended=True, by_itself=True
    )
    assert vllm.read(choice(text="c", finish_reason="length")) == Event(b"c", ended=True)
    usage = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 16}}
    assert vllm.read(sent({"choices": [], "usage": usage})) == Event(prompt=30, cached=16)
    assert vllm.read(b"data: [DONE]") is None


def test_tgi_has_no_reason_as_long_as_it_goes_on_and_spells_the_end():
    tgi = OpenAi("tgi")
    assert tgi.read(choice(text="a", logprobs=None, finish_reason="")) == Event(b"a")
    assert tgi.read(choice(text="<|endoftext|>", finish_reason="eos_token")) == Event(ended=True, by_itself=True)
    assert tgi.read(choice(text=";", finish_reason="stop_sequence")) == Event(b";", ended=True, by_itself=True)
    assert tgi.read(choice(text="b", finish_reason="length")) == Event(b"b", ended=True)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_who_gives_up_did_not_end_the_text(reason):
    with pytest.raises(RemoteUnreachable, match=reason):
        OpenAi("sglang").read(choice(text="", finish_reason=reason))


def test_llama_cpp_says_why_it_ended_and_what_it_had_cached():
    server = LlamaCpp()
    probability = [{"id": 5, "token": "a", "logprob": -0.25, "top_logprobs": []}]
    assert server.read(sent({"content": "a", "stop": False, "completion_probabilities": probability})) == Event(
        b"a", -0.25
    )
    last = {"content": "", "stop": True, "stop_type": "eos", "timings": {"cache_n": 20, "prompt_n": 3}}
    assert server.read(sent(last)) == Event(ended=True, by_itself=True, prompt=23, cached=20)
    assert server.read(sent({**last, "stop_type": "limit"})).by_itself is False


def test_ollama_says_a_line_a_piece():
    server = Ollama(raw=True, context_tokens=1024)
    piece = {
        "model": "m",
        "response": "é",
        "done": False,
        "logprobs": [{"token": "é", "logprob": -0.5, "bytes": [195]}],
    }
    assert server.read(json.dumps(piece).encode()) == Event("é".encode(), -0.5)
    last = {"response": "", "done": True, "done_reason": "length", "prompt_eval_count": 26, "eval_count": 5}
    assert server.read(json.dumps(last).encode()) == Event(ended=True, by_itself=False, prompt=26)


@pytest.mark.parametrize("comment", [b": keep-alive", b"event: message", b"id: 3", b"retry: 10"])
def test_what_is_no_data_says_nothing(comment):
    assert OpenAi("vllm").read(comment) is None
    assert LlamaCpp().read(comment) is None


@pytest.mark.parametrize(
    "error",
    [
        {"message": "cannot read SECRET", "type": "BadRequestError", "code": 400},
        {"message": "SECRET", "type": "what SECRET did", "code": None},
        "SECRET",
        ["SECRET"],
        True,
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_a_fault_in_the_stream_is_told_without_the_servers_words(dialect, error):
    with pytest.raises(RemoteUnreachable, match="the server failed") as raised:
        dialect.read(line(dialect, {"error": error}))
    assert "SECRET" not in str(raised.value)
    if isinstance(error, dict) and error["code"]:
        assert "(BadRequestError, 400)" in raised.value.message


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
@pytest.mark.parametrize(
    "data",
    [
        *[b"data: {", b"data:", b"data: 1", b'data: "x"', b"data: []", b"<html>", b"\xff\xfe", b"[" * 100_000],
        *[b"data: " + b'{"a":' * 50_000, b"data: " + b"9" * 10_000],
    ],
)
def test_what_is_not_of_the_protocol_is_garbage(dialect, data):
    if isinstance(dialect, Ollama):
        data = data.removeprefix(b"data:").strip()
    with pytest.raises(RemoteGarbage):
        dialect.read(data)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NUMBERS = st.sampled_from([0, -1, 1, 10**400, -(10**400), 1e308, float("nan"), float("inf"), True, None, "1", [], {}])
ANY = st.recursive(LEAVES, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each))
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "text": LEAVES,
        "finish_reason": st.sampled_from([None, "", "stop", "length", "eos_token", "abort", 3, []]),
        "logprobs": ANY
        | st.fixed_dictionaries({"token_logprobs": st.lists(NUMBERS)})
        | st.fixed_dictionaries({"content": st.lists(ANY | st.fixed_dictionaries({"logprob": NUMBERS}))}),
    },
)
LOGPROBS = st.lists(st.fixed_dictionaries({"logprob": NUMBERS}) | ANY, max_size=3)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "content": LEAVES,
        "response": LEAVES,
        "stop": LEAVES,
        "done": LEAVES,
        "stop_type": ANY,
        "done_reason": ANY,
        "error": ANY,
        "completion_probabilities": ANY | LOGPROBS,
        "logprobs": ANY | LOGPROBS,
        "prompt_eval_count": NUMBERS,
        "timings": ANY | st.fixed_dictionaries({"cache_n": NUMBERS, "prompt_n": NUMBERS}),
        "choices": ANY | st.lists(CHOICE, max_size=2),
        "usage": ANY
        | st.fixed_dictionaries(
            {"prompt_tokens": NUMBERS, "prompt_tokens_details": ANY | st.fixed_dictionaries({"cached_tokens": NUMBERS})}
        ),
    },
)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
@given(message=MESSAGE)
def test_whatever_an_object_holds_it_is_an_event_or_our_error(dialect, message):
    try:
        event = dialect.read(line(dialect, message))
    except RemoteError:
        return
    assert isinstance(event, Event)
    assert isinstance(event.data, bytes)
    assert event.ended or not event.by_itself
    assert -1e6 <= event.logprob <= 0.0
    for count in (event.prompt, event.cached):
        assert count is None or (type(count) is int and count >= 0)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
@given(data=st.binary(max_size=64))
def test_whatever_bytes_come_it_is_an_event_or_our_error(dialect, data):
    try:
        event = dialect.read(data)
    except RemoteError:
        return
    assert event is None or isinstance(event, Event)
