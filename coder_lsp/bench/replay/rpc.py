"""A JSON-RPC client over a process's pipes, with nothing in it that could be mistaken for the server's time.

The demo's editor is built on pygls, which turns every message into objects; on two cores that would be measured too.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import HostUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[str, Any], Any]
    Heard = Callable[[str, Any], None]

_CANCELLED = (-32800, -32802)
"""``RequestCancelled`` and ``ServerCancelled``."""


class Rpc:
    """``answer`` replies to the server's requests, ``heard`` gets its notifications."""

    def __init__(self, process: asyncio.subprocess.Process, answer: Answer, heard: Heard) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._writer, self._reader = process.stdin, process.stdout
        self._answer, self._heard = answer, heard
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self.answered = self.cancelled = self.failed = self.unexpected = 0
        """Answers so far: all that were waited for; of these, errors; those that nobody waited for (any more)."""
        self._reading = asyncio.create_task(self._read())

    @property
    def asked(self) -> int:
        """Requests so far."""
        return self._number

    @property
    def open(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def ask(self, method: str, params: Any) -> tuple[int, asyncio.Future[Any]]:
        """The request's number and its answer, which may be :exc:`HostUnavailable`."""
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        self._send({"id": self._number, "method": method, "params": params})
        return self._number, answer

    def cancel(self, number: int) -> None:
        """Tell the server that nobody waits for a request any more; it answers all the same."""
        self.notify("$/cancelRequest", {"id": number})

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        self._fail("the connection was closed")

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(b":", 1) for line in head.strip().split(b"\r\n"))
                self._take(json.loads(await self._reader.readexactly(int(fields[b"content-length"]))))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._fail("the language server ended")

    def _take(self, message: dict[str, Any]) -> None:
        number, method = message.get("id"), message.get("method")
        if method is None:
            waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
            self.answered += waiting is not None
            self.unexpected += waiting is None
            if waiting is not None and "error" in message:
                cancelled = message["error"].get("code") in _CANCELLED
                self.cancelled += cancelled
                self.failed += not cancelled
            if waiting is not None and not waiting.done():
                if "error" in message:
                    waiting.set_exception(HostUnavailable(f"the server refused: {message['error'].get('message')}"))
                    # Cancelled requests are answered so, and nobody looks at those.
                    waiting.exception()
                else:
                    waiting.set_result(message.get("result"))
        elif number is None:
            self._heard(method, message.get("params"))
        else:
            self._send({"id": number, "result": self._answer(method, message.get("params"))})

    def _fail(self, fact: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(HostUnavailable(fact, hint="Run `coder-lsp doctor`."))
                waiting.exception()
        self._waiting.clear()
