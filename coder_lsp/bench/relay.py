"""A network between an engine and a server that can be told to fail, and sees when somebody hangs up.

Bytes are passed on as they are: it knows of HTTP only where the head of an answer ends. On a free port of this machine,
on a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

PASS, SILENT, STALLED = "pass", "silent", "stalled"
"""Pass all on; take connections and never answer; answer a request's head and nothing of its body."""
_HEAD_END = b"\r\n\r\n"
_CHUNK_BYTES = 65536


class Relay:
    """Listens at ``url``; ``mode`` counts for what comes next. Use it as a context manager."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self.mode = PASS
        self.hung_up = threading.Event()
        """A client closed its connection; :attr:`hung_up_at` says when, on ``time.perf_counter``'s clock."""
        self.hung_up_at = 0.0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="relay", daemon=True)
        self._thread.start()
        ready.wait()

    def close(self) -> None:
        """Drop every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Relay:  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(ready))
        finally:
            self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both ways until either side is gone."""
        theirs, ours = await asyncio.open_connection(self._host, self._port)
        there = asyncio.ensure_future(self._asking(reader, ours))
        back = asyncio.ensure_future(self._answering(theirs, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (there, back):
                each.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            ours.close()

    async def _asking(self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self.mode != SILENT:
                ours.write(data)
                await ours.drain()
        self.hung_up_at = time.perf_counter()
        self.hung_up.set()

    async def _answering(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await theirs.read(_CHUNK_BYTES):
            if self.mode == STALLED:
                head, end, _ = data.partition(_HEAD_END)
                writer.write(head + end)
                await writer.drain()
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()
