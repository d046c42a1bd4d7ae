"""A small LSP client for tests: raw JSON both ways, so that a test can send what no library would and see all of it.

It answers the server's requests by the ``answers`` given (null where there is none) and keeps every message received.
Waiting is on messages, never on time; the limits only end a test that would hang.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coder_lsp
from coder_lsp.server.transport import Streams, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from coder_lsp.server.server import CoderLanguageServer

LIMIT_SECONDS = 30.0

Answer = Callable[[Any], Any]
"""Parameters of a request of the server to the result it gets."""


class LspError(Exception):
    """An error response."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NoAnswer(Exception):
    """Raised by an answer that wants the server's request left open."""


def environment(**variables: str) -> dict[str, str]:
    """This process's, with the package and the tests' support importable, as the code under test sees them."""
    here = [str(Path(coder_lsp.__file__).parents[1]), str(Path(__file__).parents[1])]
    path = os.pathsep.join([*here, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": path, **variables}


class LspClient:
    """One session over a pair of streams."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: dict[str, Answer] | None = None,
        ended: Awaitable[int] | None = None,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._ended = asyncio.ensure_future(ended) if ended is not None else None
        self.answers = answers or {}
        self.received: list[dict[str, Any]] = []
        self._ids = itertools.count(1)
        self._waiting: dict[Any, asyncio.Future[Any]] = {}
        self._news = asyncio.Condition()
        self._taken: set[int] = set()
        self._gone = False
        self.pid = 0
        self._pump = asyncio.ensure_future(self._receive())

    def send(self, message: dict[str, Any]) -> None:
        self.send_body(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def send_body(self, body: bytes) -> None:
        self.writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"method": method, "params": params} if params is not None else {"method": method})

    def start_request(self, method: str, params: Any = None) -> tuple[int, asyncio.Future[Any]]:
        """Send a request; the future gets the result, or :class:`LspError`."""
        identity = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._waiting[identity] = future
        message = {"id": identity, "method": method}
        self.send(message if params is None else {**message, "params": params})
        return identity, future

    async def request(self, method: str, params: Any = None) -> Any:
        return await asyncio.wait_for(self.start_request(method, params)[1], LIMIT_SECONDS)

    def cancel(self, identity: int) -> None:
        self.notify("$/cancelRequest", {"id": identity})

    async def next(self, method: str, where: Callable[[Any], bool] = lambda _: True) -> Any:
        """The parameters of the first message of ``method`` not taken yet; waits for one to come."""

        async with self._news:
            while True:
                for number, message in enumerate(self.received):
                    if number in self._taken or message.get("method") != method:
                        continue
                    if where(message.get("params")):
                        self._taken.add(number)
                        return message.get("params")
                assert not self._gone, f"the server left without sending {method}"
                await asyncio.wait_for(self._news.wait(), LIMIT_SECONDS)

    def all(self, method: str) -> list[Any]:
        """Parameters of every message of ``method`` so far, in their order."""
        return [message.get("params") for message in self.received if message.get("method") == method]

    async def initialize(
        self, capabilities: dict[str, Any] | None = None, *, initialized: bool = True, **params: Any
    ) -> dict[str, Any]:
        """The handshake; returns the answer to ``initialize``."""
        given = {"processId": None, "rootUri": None, "capabilities": capabilities or {}, **params}
        answer = await self.request("initialize", given)
        if initialized:
            self.notify("initialized", {})
        assert isinstance(answer, dict)
        return answer

    def open(self, uri: str, text: str, language: str = "python", version: int = 1) -> None:
        item = {"uri": uri, "languageId": language, "version": version, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def change(self, uri: str, version: int, *changes: tuple[Any, str]) -> None:
        """``changes`` are (range, text); a range is (line, character, line, character), or None for the whole text."""
        events = [{"text": text} if where is None else {"range": span(*where), "text": text} for where, text in changes]
        document = {"uri": uri, "version": version}
        self.notify("textDocument/didChange", {"textDocument": document, "contentChanges": events})

    async def end(self) -> int:
        """Shut down in good order; returns the exit status."""
        await self.request("shutdown")
        self.notify("exit")
        return await self.wait()

    async def wait(self) -> int:
        """Wait until the server is gone; returns its exit status."""
        assert self._ended is not None
        return await asyncio.wait_for(asyncio.shield(self._ended), LIMIT_SECONDS)

    async def close(self) -> None:
        """Hang up, and wait until the server is gone."""
        self.writer.close()
        await asyncio.wait({self._pump, *filter(None, [self._ended])}, timeout=LIMIT_SECONDS)
        self._pump.cancel()

    async def _receive(self) -> None:
        try:
            while True:
                head = await self.reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                message = json.loads(await self.reader.readexactly(length))
                await self._take(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(LspError(0, "the server left"))
            self._gone = True
            async with self._news:
                self._news.notify_all()

    async def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            future = self._waiting.pop(message.get("id"), None)
            if future is not None and not future.done():
                if "error" in message:
                    future.set_exception(LspError(message["error"]["code"], message["error"]["message"]))
                else:
                    future.set_result(message.get("result"))
        elif "id" in message:
            self._answer(message)
        async with self._news:
            self.received.append(message)
            self._news.notify_all()

    def _answer(self, message: dict[str, Any]) -> None:
        answer = self.answers.get(message["method"], lambda _: None)
        try:
            self.send({"id": message["id"], "result": answer(message.get("params"))})
        except LspError as error:
            self.send({"id": message["id"], "error": {"code": error.code, "message": error.message}})
        except NoAnswer:
            pass


def span(start_line: int, start_character: int, end_line: int, end_character: int) -> dict[str, Any]:
    return {
        "start": {"line": start_line, "character": start_character},
        "end": {"line": end_line, "character": end_character},
    }


@asynccontextmanager
async def server_process(
    *arguments: str, answers: dict[str, Answer] | None = None, log: Path | None = None, cwd: Path | None = None
) -> AsyncIterator[LspClient]:
    """``python ARGUMENTS`` as a language server over stdio; its stderr goes to ``log``, else to the test's."""
    with log.open("ab") if log else os.fdopen(os.dup(2), "wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=environment(),
            cwd=cwd,
        )
    assert process.stdout is not None
    assert process.stdin is not None
    client = LspClient(process.stdout, process.stdin, answers, process.wait())
    client.pid = process.pid
    try:
        yield client
    finally:
        await client.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def served(server: CoderLanguageServer, answers: dict[str, Answer] | None = None) -> AsyncIterator[LspClient]:
    """A server on this event loop, over a pair of sockets: all of it but the process, at a tenth of the time."""
    ours, theirs = socket.socketpair()

    async def connect() -> Streams:
        return Streams(*await asyncio.open_connection(sock=theirs))

    running = asyncio.ensure_future(run(server, connect()))
    client = LspClient(*await asyncio.open_connection(sock=ours), answers, running)
    try:
        yield client
    finally:
        await client.close()
        assert running.done(), "the server is still there"


def scripted(*arguments: str) -> Sequence[str]:
    """Arguments that start the scripted server."""
    return ("-m", "support.scripted_server", *arguments)
