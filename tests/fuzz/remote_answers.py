"""What a server may answer: any bytes over a real connection, from the first question about it to the last piece.

Whatever it says, we get text or one of our errors about a server; no control token of the model is in the text, no
answer is longer than was asked for, and nothing hangs.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.engine import Check, target
from fuzz.lsp import json_values, watched
from hypothesis import strategies as st

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.remote import ENDS
from coder_lsp.errors import ConfigError, ContextOverflow, ModelUnsupported, RemoteError
from coder_lsp.host.loading import connect
from coder_lsp.host.protocol import HostSettings
from coder_lsp.prompt.templates import spellings
from coder_lsp.types import FimRequest

_MOST_TOKENS = 8
CONTROLS = sorted({*spellings(), *ENDS})

odd = json_values | st.sampled_from([10**400, -(2**63), 1e308, "x" * 3000, [[]], {"error": 1}])
said = st.sampled_from([" + 1", "\n", "", "é", "\ud83d", "\x00", "return", *CONTROLS]) | st.builds(
    lambda before, control, behind: before + control + behind,
    st.sampled_from(["", "x", "\n"]),
    st.sampled_from(CONTROLS),
    st.sampled_from(["", "y"]),
)
flags = st.booleans() | odd
reasons = st.sampled_from([None, "stop", "length", "eos_token", "error", "abort", ""]) | odd
messages = st.one_of(
    st.fixed_dictionaries(
        {"content": said},
        optional={"stop": flags, "completion_probabilities": odd, "timings": odd, "stop_type": reasons, "error": odd},
    ),
    st.fixed_dictionaries({"response": said}, optional={"done": flags, "done_reason": reasons, "logprobs": odd}),
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries({"text": said | odd}, optional={"finish_reason": reasons, "logprobs": odd}),
                max_size=2,
            )
        },
        optional={"usage": odd},
    ),
    odd,
)
lines = st.one_of(
    messages.map(lambda message: b"data: " + json.dumps(message).encode() + b"\n\n"),
    messages.map(lambda message: json.dumps(message).encode() + b"\n"),
    st.binary(max_size=40).map(lambda some: some + b"\n"),
    st.sampled_from(
        [
            b"data: [DONE]\n\n",
            b": ping\n",
            b"data:" + b"[" * 50_000 + b"\n",
            b"event: x\n",
            b"error: {}\n",
            b"x" * 90_000,
        ]
    ),
)
streams = st.lists(lines, max_size=12) | messages.map(
    lambda message: [b"data: " + json.dumps(message).encode() + b"\n\n"] * 40
)

names = ["data", "id", "owned_by", "max_model_len", "meta", "parent", "version", "tokens", "path", "scale"]
tables = st.dictionaries(
    st.sampled_from(names),
    odd | st.sampled_from(["vllm", "llamacpp", "sglang", "qwen2.5-coder", "starcoder2", 4096, 3, -1]),
    max_size=4,
)
listed = st.fixed_dictionaries(
    {"id": st.sampled_from(["qwen2.5-coder-7b", "m", ""]) | odd},
    optional={"owned_by": st.sampled_from(["vllm", "llamacpp", "sglang", "library", ""]) | odd, "max_model_len": odd},
)
PATHS = ["/v1/models", "/props", "/lora-adapters", "/tokenize", "/version", "/api/version", "/info", "/extras/tokenize"]
PATHS += ["/get_server_info", "/infill"]
told = st.dictionaries(st.sampled_from(PATHS), tables | odd | st.lists(tables, max_size=2), max_size=6)
models = st.fixed_dictionaries({"data": st.lists(listed, min_size=1, max_size=2)})
loras = st.lists(
    st.fixed_dictionaries({"id": st.just(0) | odd, "path": st.just("/a/acme.gguf") | odd}, optional={"scale": odd}),
    min_size=1,
    max_size=2,
)
known = st.fixed_dictionaries(
    {"/v1/models": models},
    optional={
        "/lora-adapters": loras,
        "/tokenize": st.just({"tokens": [5]}),
        "/props": st.fixed_dictionaries(
            {"default_generation_settings": odd}, optional={"build_info": odd, "n_ctx": odd}
        ),
        "/infill": odd,
    },
)
facts = st.builds(lambda first, others: {**others, **first}, known, told) | known | told
heads = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 429 No\r\nRetry-After: 1e999\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: -5\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 999 \xff\xfe\r\nConnection: close\r\n\r\n",
        b"",
        b"\x16\x03\x01 no http at all\r\n\r\n",
    ]
)
protocols = st.sampled_from(["auto", "openai", "llama.cpp", "infill", "ollama"])
servers = st.tuples(protocols, st.sampled_from(["", "qwen", "none"]), facts, heads, streams)


class Server(socketserver.ThreadingTCPServer):
    """Answers facts about itself as it is told, and everything else with a head and lines, then hangs up."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.facts: dict[str, Any] = {}
        self.head = b""
        self.lines: list[bytes] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()

    def handle_error(self, *_: object) -> None:
        """Who hangs up is nothing to print."""


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        method, path = ([*self.rfile.readline().split(), b"", b""])[:2]
        length = 0
        while (header := self.rfile.readline().strip().lower()) != b"":
            if header.startswith(b"content-length:"):
                length = int(header.partition(b":")[2])
        self.rfile.read(length)
        name = path.decode("latin-1")
        if name in self.server.facts:
            body = json.dumps(self.server.facts[name]).encode()
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
            )
        elif method == b"GET":
            self.wfile.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            with contextlib.suppress(OSError):
                self.wfile.write(self.server.head)
                for line in self.server.lines:
                    self.wfile.write(line)


def asked(worker: Any) -> None:
    request = FimRequest("file:///a.py", "def f(x):\n    return x", "\n\nf(2)\n", max_tokens=_MOST_TOKENS)
    shown: list[str] = []
    try:
        result = worker.complete(request, lambda text: shown.append(text) or True, worker.new_cancel_token())
    except (RemoteError, ContextOverflow):
        return
    text = result.text
    assert "".join(shown).startswith(text)
    assert text == text.encode("utf-8", "replace").decode()
    assert not [control for control in worker._engine.controls if control and control in text], text
    assert result.tokens.generated <= _MOST_TOKENS, result.tokens
    assert all(part >= 0 for part in (result.tokens.prompt, result.tokens.reused, result.tokens.evaluated))


@target("remote-answers", servers, share=50, round_inputs=500)
def remote_answers(_: Path) -> Iterator[Check]:
    with Server() as server:

        def check(given: tuple[Any, ...]) -> None:
            protocol, template, server.facts, server.head, server.lines = given
            config = RemoteConfig(
                url=server.url, protocol=protocol, template=template, timeout_ms=2000, connect_ms=2000, retries=0
            )
            with watched() as watch:
                try:
                    worker = connect(HostSettings("", "remote", remote=config))
                except (RemoteError, ConfigError, ModelUnsupported):
                    return
                with contextlib.closing(worker):
                    asked(worker)
                    asked(worker)
            assert not watch.harm, watch.harm

        yield check
