"""Strangers at the host's socket: bytes, frames, greetings and requests of any shape, from clients that stay away.

The host lives through all inputs of a campaign, and after each of them a client that was there before is served as
ever, and nobody else is left. Somebody who reaches the socket is the same user; what comes may still be anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.engine import Check, target
from fuzz.lsp import CANARY, json_values, texts, watched
from hypothesis import strategies as st
from support.scripted_worker import ScriptedWorker

from coder_lsp.host import protocol
from coder_lsp.host.address import hold_lock, read_endpoint
from coder_lsp.host.client import HostClient
from coder_lsp.host.protocol import Hello, HostSettings, to_json
from coder_lsp.host.server import HostServer
from coder_lsp.types import AskRequest, FimRequest, FimResult, FinishReason, PromptPreview, TokenCounts

_PATIENCE_SECONDS = 30.0
_KEY = "0123456789abcdef0123"
_BIG = 1 << 20

FIM, ASK = to_json(FimRequest("file:///a.py", CANARY, "")), to_json(AskRequest("file:///a.py", CANARY))
METHODS = (protocol.HELLO, protocol.COMPLETE, protocol.ASK, protocol.PREVIEW, protocol.INFO, protocol.WARM)
NOTICES = (protocol.CANCEL, protocol.ENOUGH, protocol.WARM, protocol.DELTA, protocol.STATUS, "x")


def changed_one(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**values, name: value}


odd = json_values | st.sampled_from([2**31, 2**63, -1, 1e308, "x" * 70_000, [0] * 5000])
requests = st.builds(changed_one, st.just(FIM), st.sampled_from([*FIM, "more"]), odd) | odd
asks = st.builds(changed_one, st.just(ASK), st.sampled_from([*ASK, "more"]), odd) | odd
hello = to_json(Hello(protocol.PROTOCOL_VERSION, "x"))
steps = st.one_of(
    st.tuples(st.just("bytes"), st.binary(max_size=80)),
    st.tuples(st.just("frame"), st.binary(max_size=40), st.integers(-50, 50) | st.sampled_from([2**20, 2**40])),
    st.tuples(st.just("json"), json_values),
    st.tuples(
        st.just("json"),
        st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]), json_values),
    ),
    st.tuples(st.just("hello"), st.just(hello)),
    st.tuples(st.just("hello"), st.just(hello)),
    st.tuples(st.just("hello"), st.builds(changed_one, st.just(hello), st.sampled_from([*hello, "more"]), odd)),
    st.tuples(
        st.just("request"),
        st.just(protocol.COMPLETE),
        st.fixed_dictionaries({"request": requests}, optional={"stream": odd | st.just(True)}),
    ),
    st.tuples(
        st.just("request"), st.just(protocol.ASK), st.fixed_dictionaries({"request": asks}, optional={"stream": odd})
    ),
    st.tuples(st.just("request"), st.just(protocol.PREVIEW), st.fixed_dictionaries({"request": requests})),
    st.tuples(st.just("request"), st.sampled_from(METHODS) | texts, odd),
    st.tuples(st.just("notice"), st.just(protocol.WARM), st.fixed_dictionaries({"request": requests})),
    st.tuples(
        st.just("notice"), st.sampled_from(NOTICES), odd | st.fixed_dictionaries({"id": st.integers(0, 9) | odd})
    ),
    st.tuples(st.just("flood"), st.integers(1, 40)),
    st.tuples(
        st.just("half"),
    ),
)
clients = st.lists(
    st.lists(steps, max_size=8) | st.lists(steps, max_size=8).map(lambda x: [("hello", hello), *x]),
    min_size=1,
    max_size=4,
)


class Echo(ScriptedWorker):
    """Says back what it was given, much of it if asked for much."""

    def complete(self, request: FimRequest, on_text: Any, cancel: Any) -> FimResult:
        text = request.prefix[-20:] if request.max_tokens < _BIG else "x" * _BIG
        if on_text is not None:
            on_text(text)
        reason = FinishReason.CANCELLED if cancel.cancelled else FinishReason.STOP_TOKEN
        return FimResult(text, reason, "echo", "echo", TokenCounts(), {}, ())

    def ask(self, request: AskRequest, on_text: Any, cancel: Any) -> FimResult:
        return self.complete(FimRequest(request.document, request.instruction, ""), on_text, cancel)

    def preview(self, request: FimRequest) -> Any:
        return PromptPreview(request.prefix, 1)

    def work(self, cancel: Any) -> bool:
        return False

    def warm(self, request: FimRequest) -> None:
        """Nothing is made ready."""


class Stranger:
    """One connection that does what it is told, and reads nothing."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer, self.sent = writer, 0

    def step(self, kind: str, *given: Any) -> None:
        getattr(self, f"do_{kind}")(*given)

    def do_bytes(self, data: bytes) -> None:
        self.writer.write(data)

    def do_frame(self, body: bytes, more: int) -> None:
        self.writer.write(b"Content-Length: %d\r\n\r\n%b" % (max(len(body) + more, 0), body))

    def do_json(self, value: Any) -> None:
        self.do_frame(json.dumps(value).encode(), 0)

    def do_hello(self, params: Any) -> None:
        self.do_request(protocol.HELLO, params)

    def do_request(self, method: str, params: Any) -> None:
        self.sent += 1
        self.do_json({"jsonrpc": "2.0", "id": self.sent, "method": method, "params": params})

    def do_notice(self, method: str, params: Any) -> None:
        self.do_json({"jsonrpc": "2.0", "method": method, "params": params})

    def do_flood(self, count: int) -> None:
        """Ask for megabytes that nobody reads."""
        for _ in range(count):
            self.do_request(protocol.COMPLETE, {"request": {**FIM, "max_tokens": _BIG}, "stream": True})

    def do_half(self) -> None:
        """Nothing more from this side."""
        self.writer.write_eof()


class Host:
    """A host on a thread with a loop of its own, and the client that was there before."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(self._begin())

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    async def _begin(self) -> None:
        settings = HostSettings("", "fuzz", idle_seconds=0, orphan_seconds=3600)
        self.lock = hold_lock(_KEY)
        assert self.lock is not None
        self.server = HostServer(settings, _KEY, lambda *_: Echo())
        listening = asyncio.Event()
        self.running = asyncio.ensure_future(self.server.run(listening.set))
        await asyncio.wait_for(listening.wait(), _PATIENCE_SECONDS)
        endpoint = read_endpoint(_KEY)
        assert endpoint is not None
        self.path = endpoint.path
        self.client = await HostClient.open(endpoint)

    async def visit(self, strangers: list[Any]) -> None:
        writers = []
        try:
            for steps_of_one in strangers:
                _, writer = await asyncio.open_unix_connection(self.path)
                writers.append(writer)
                stranger = Stranger(writer)
                for kind, *given in steps_of_one:
                    if writer.is_closing():
                        break
                    stranger.step(kind, *given)
                    if kind == "half":
                        break
            await self._served()
        finally:
            for writer in writers:
                # At once: what was not sent yet is not waited for.
                writer.transport.abort()
        await asyncio.wait_for(self._left_alone(), _PATIENCE_SECONDS)

    async def _left_alone(self) -> None:
        # The event is in the host, which knows of no test.
        while (await self.client.info()).clients > 1:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _served(self) -> None:
        said: list[str] = []
        request = FimRequest("file:///b.py", "hello there", "")
        result = await asyncio.wait_for(
            self.client.complete(request, lambda text: said.append(text) or True), _PATIENCE_SECONDS
        )
        assert result.text == "hello there" == "".join(said)
        assert not self.running.done()

    async def _end(self) -> None:
        await self.client.close()
        self.server.stop("the campaign is over")
        assert await asyncio.wait_for(self.running, _PATIENCE_SECONDS) == 0

    def close(self) -> None:
        try:
            self.run(self._end())
        finally:
            self.lock.release()
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(_PATIENCE_SECONDS)
            self.loop.close()


@target("host-socket", clients, share=150)
def host_socket(_: Path) -> Iterator[Check]:
    with watched() as watch, contextlib.closing(Host()) as host:

        def check(strangers: list[Any]) -> None:
            del watch.harm[:]
            host.run(host.visit(strangers))
            assert not watch.harm, watch.harm

        yield check
