"""What is found out of a server by what it says of itself. vLLM, SGLang, TGI and Ollama did not run here: these are
stand-ins with the JSON that their sources and documents show, as ``support.told_server`` says.
"""

from __future__ import annotations

import json

import pytest
from support.told_server import ToldServer

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.base import GenerateRequest
from coder_lsp.engine.remote import Formats, RemoteEngine
from coder_lsp.engine.remote_server import dialect_for, is_control, look
from coder_lsp.engine.remote_wire import Address, Wire
from coder_lsp.errors import ModelNotFound, ModelUnsupported, RemoteRefused
from coder_lsp.types import Adapter, FinishReason

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>")


def tokens(body):
    """One token a control token, one a letter of anything else."""
    text = body.get("prompt") or body.get("input") or body.get("content") or ""
    return {"tokens": [1] if text in FIM else [2] * len(text), "count": 1}


def said(**choice):
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


MODEL = "Qwen/Qwen2.5-Coder-7B"
VLLM = {
    "/v1/models": {
        "object": "list",
        "data": [
            {"id": MODEL, "object": "model", "owned_by": "vllm", "root": MODEL, "parent": None, "max_model_len": 8192},
            {"id": "acme", "object": "model", "owned_by": "vllm", "root": "/loras/acme", "parent": MODEL},
        ],
    },
    "/version": {"version": "0.11.0"},
    "/tokenize": tokens,
    "/v1/completions": [
        said(text="self", finish_reason=None),
        said(text=".x", finish_reason=None),
        said(text="", finish_reason="stop"),
        b'data: {"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}}\n\n',
        b"data: [DONE]\n\n",
    ],
}
SGLANG = {
    "/v1/models": {"data": [{"id": MODEL, "owned_by": "sglang", "root": MODEL, "max_model_len": 4096}]},
    "/get_server_info": {"version": "0.5.3", "model_path": MODEL},
    "/tokenize": tokens,
}
TGI = {
    "/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}]},
    "/info": {"model_id": MODEL, "version": "3.3.6", "max_input_tokens": 4095, "max_total_tokens": 4096},
    "/v1/completions": [
        said(text="self", finish_reason=""),
        said(text="<|endoftext|>", finish_reason="eos_token"),
        b"data: [DONE]\n\n",
    ],
}
OLLAMA = {
    "/v1/models": {"data": [{"id": "qwen2.5-coder:1.5b", "object": "model", "owned_by": "library"}]},
    "/api/version": {"version": "0.12.11"},
    "/api/generate": [
        b'{"model": "qwen2.5-coder:1.5b", "response": "self", "done": false}\n',
        b'{"response": "", "done": true, "done_reason": "stop", "prompt_eval_count": 9}\n',
    ],
}
OTHER = {"/v1/models": {"data": [{"id": "gpt", "owned_by": "somebody"}]}}


@pytest.fixture
def served():
    """``served(answers)``: a stand-in that gives them."""
    servers = []

    def served(answers):
        servers.append(ToldServer(dict(answers)))
        return servers[-1]

    yield served
    for server in servers:
        server.close()


def found(server, **settings):
    config = RemoteConfig(url=server.url, **settings)
    wire = Wire(Address(config.url), config)
    try:
        return look(wire, config)
    finally:
        wire.close()


@pytest.fixture
def connect(served):
    """``connect(answers)``: an engine on a stand-in, and the stand-in."""
    engines = []

    def connect(answers, spellings=FIM, **settings):
        server = served(answers)
        config = RemoteConfig(url=f"{server.url}/v1", **settings)
        engines.append(RemoteEngine.connect(config, "", Formats(lambda name: spellings, FIM)))
        return engines[-1], server

    yield connect
    for engine in engines:
        engine.close()


@pytest.mark.parametrize(
    ("answers", "described", "context", "dialect"),
    [
        (VLLM, f"vllm 0.11.0, serving {MODEL}", 8192, "openai"),
        (SGLANG, f"sglang 0.5.3, serving {MODEL}", 4096, "openai"),
        (TGI, f"tgi 3.3.6, serving {MODEL}", 4096, "openai"),
        (OLLAMA, "ollama 0.12.11, serving qwen2.5-coder:1.5b", 0, "ollama"),
        (OTHER, "openai, serving gpt", 0, "openai"),
        ({}, "openai", 0, "openai"),
    ],
)
def test_what_a_server_is(served, answers, described, context, dialect):
    server = found(served(answers))
    assert (server.describe(), server.context_tokens) == (described, context)
    assert dialect_for(server, "auto", known_format=True).name == dialect


def test_a_configured_protocol_is_believed(served):
    assert found(served(OTHER), protocol="ollama").kind == "ollama"
    assert dialect_for(found(served(VLLM)), "ollama", known_format=True).name == "ollama"


def test_the_first_model_that_is_no_adapter_answers_or_the_configured_one(served):
    listed = {"/v1/models": {"data": list(reversed(VLLM["/v1/models"]["data"]))}}
    assert found(served(listed)).model == MODEL
    assert found(served(listed), model="acme").model == "acme"
    with pytest.raises(RemoteRefused, match="no model 'gpt-9'") as raised:
        found(served(listed), model="gpt-9")
    assert MODEL in raised.value.hint


@pytest.mark.parametrize(
    "listed", [{"data": None}, {"data": [1, None, {"id": 3}]}, [], "x", {"data": [{"id": "m", "meta": 3}]}]
)
def test_a_list_that_is_none_is_no_list(served, listed):
    assert found(served({"/v1/models": listed})).kind == "openai"


@pytest.mark.parametrize(("answers", "known"), [(VLLM, True), (SGLANG, True), (TGI, None), (OLLAMA, None)])
def test_who_can_be_asked_for_control_tokens_is(served, answers, known):
    server = served(answers)
    config = RemoteConfig(url=server.url)
    wire = Wire(Address(config.url), config)
    try:
        there = look(wire, config)
        assert is_control(wire, there, "<|fim_middle|>") is known
        assert is_control(wire, there, "<fim_middle>") is (None if known is None else False)
    finally:
        wire.close()


def test_vllm_completes_what_it_is_sent(connect):
    engine, server = connect(VLLM)
    prompt = [engine.special("<|fim_prefix|>"), *engine.tokenize("a <|fim_suffix|>"), engine.special("<|fim_middle|>")]
    done = engine.generate(GenerateRequest(prompt, top_p=1.0))
    assert (done.text, done.finish_reason) == ("self.x", FinishReason.STOP_TOKEN)
    assert (done.tokens.prompt, done.tokens.reused) == (9, 8)
    path, body = server.asked[-1]
    assert (path, body["model"]) == ("/v1/completions", MODEL)
    assert body["prompt"] == "<|fim_prefix|>a <\u200b|fim_suffix|><|fim_middle|>"
    assert "<|endoftext|>" in body["stop"]


def test_an_adapter_is_a_model_of_vllm(connect, tmp_path):
    engine, server = connect(VLLM)
    engine.adapt([Adapter(str(tmp_path / "acme" / "adapter.gguf"))])
    engine.generate(GenerateRequest(engine.tokenize("a")))
    assert server.asked[-1][1]["model"] == "acme"
    engine.adapt([])
    engine.generate(GenerateRequest(engine.tokenize("a")))
    assert server.asked[-1][1]["model"] == MODEL
    with pytest.raises(ModelUnsupported, match="one adapter"):
        engine.adapt([Adapter(str(tmp_path / "acme.gguf"), 0.5)])
    with pytest.raises(ModelNotFound, match="no adapter 'other'") as raised:
        engine.adapt([Adapter(str(tmp_path / "other.gguf"))])
    assert "acme" in raised.value.hint


def test_a_vllm_that_does_not_know_the_constraint_is_asked_again_behind_the_forced_bytes(connect):
    def complete(body):
        if body["prompt"].endswith("sup"):
            return [said(text="er()", finish_reason="stop")]
        return VLLM["/v1/completions"]

    engine, server = connect({**VLLM, "/v1/completions": complete})
    done = engine.generate(GenerateRequest([engine.special("<|fim_middle|>")], forced=b"sup"))
    assert done.text == "er()"
    first, second = (body for path, body in server.asked if path == "/v1/completions")
    assert "structured_outputs" in first
    assert "structured_outputs" not in second
    assert second["prompt"] == "<|fim_middle|>sup"


def test_one_that_keeps_it_is_asked_once(connect):
    engine, server = connect(VLLM)
    done = engine.generate(GenerateRequest([engine.special("<|fim_middle|>")], forced=b"sel"))
    assert done.text == "f.x"
    assert [path for path, _ in server.asked].count("/v1/completions") == 1


def test_tgi_ends_its_text_by_a_token_that_is_no_text(connect):
    engine, server = connect(TGI, spellings=())
    done = engine.generate(GenerateRequest(engine.tokenize("a"), top_p=1.0))
    assert (done.text, done.finish_reason) == ("self", FinishReason.STOP_TOKEN)
    assert "top_p" not in server.asked[-1][1]


def test_ollama_completes_raw_where_the_format_is_known_and_by_parts_where_not(connect):
    engine, server = connect(OLLAMA)
    assert engine.generate(GenerateRequest([engine.special("<|fim_middle|>")])).text == "self"
    assert server.asked[-1][1]["raw"] is True
    engine, server = connect(OLLAMA, spellings=())
    assert engine.dialect.writes_prompt
    prefix, suffix, middle = map(engine.special, ("<infill:prefix>", "<infill:suffix>", "<infill:middle>"))
    asked = [prefix, *engine.tokenize("before"), suffix, *engine.tokenize("after"), middle, *engine.tokenize("typed")]
    assert engine.generate(GenerateRequest(asked)).text == "self"
    body = server.asked[-1][1]
    assert (body["prompt"], body["suffix"]) == ("beforetyped", "after")


def test_requests_share_a_connection(connect):
    engine, server = connect(VLLM)
    for text in ("a", "ab", "abc"):
        engine.generate(GenerateRequest(engine.tokenize(text)))
    assert server.connections == 1


@pytest.mark.parametrize("scale", ["strong", [], None, 10**400, float("nan"), -1e9], ids=lambda scale: str(scale)[:8])
def test_a_scale_that_is_none_counts_nothing(served, scale):
    """A text ended the look at a server with a ValueError, a number of 400 digits with an OverflowError."""
    server = served(
        {
            "/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp"}]},
            "/lora-adapters": [json.dumps([{"id": 0, "path": "/a/acme.gguf", "scale": scale}]).encode()],
        }
    )
    assert [(lora.stem, lora.scale) for lora in found(server).loras] == [("acme", 0.0)]
