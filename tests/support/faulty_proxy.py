"""A network that misbehaves between a client and a real server, on a free port, as a test says.

``proxy.fault`` is looked at when a connection comes, ``proxy.cut_after`` while an answer passes through.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading

FAULTS = {
    "none": "passes everything on",
    "delay": "waits `seconds` before passing the request on",
    "half-open": "takes the connection and never answers",
    "close": "takes the connection and closes it without a word",
    "cut": "breaks off after `cut_after` bytes of the answer's body",
    "stall": "stops in the middle of the answer and keeps the connection",
    "429": "too many requests, come back in a minute",
    "429-soon": "too many requests, once; then passes on",
    "500": "internal error",
    "503-once": "unavailable, once; then passes on",
    "401": "refuses the key",
    "redirect": "leads to another address",
    "400": "does not take the request, and quotes it",
    "garbage": "answers with bytes that are no HTTP",
    "html": "answers with a page, as a captive portal does",
    "bad-json": "the right kind of answer with broken JSON in it",
    "bad-utf8": "the same with bytes that are no text",
    "endless": "a line that never ends",
    "drip": "passes the answer on a byte at a time, `seconds` between them",
    "pings": "begins an answer and sends nothing but comments from then on",
}


class FaultyProxy:
    """Listens at ``url`` for a server at ``target``, which may change; with ``tls``, an ``ssl.SSLContext``, by TLS.
    ``seen`` collects the heads of requests and ``bodies`` what came with them; ``hung_up`` is set when the client
    closed a connection before the answer was whole.
    """

    def __init__(self, target, tls=None):
        self.target = target
        self._tls = tls
        self.fault = "none"
        self.seconds = 0.0
        self.cut_after = 300
        self.elsewhere = "http://127.0.0.1:9/"
        self.seen = []
        self.bodies = []
        self.hung_up = threading.Event()
        self._once = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready):
        self._stop = asyncio.Event()
        self._tasks = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._connection(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _connection(self, reader, writer):
        """Requests one after the other, as long as the client keeps the connection."""
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.seen.append(head)
            length = next(
                (
                    int(v)
                    for k, _, v in (line.partition(b":") for line in head.split(b"\r\n"))
                    if k.lower() == b"content-length"
                ),
                0,
            )
            body = await reader.readexactly(length)
            self.bodies.append(body)
            if not await self._answer(head + body, reader, writer):
                return

    async def _answer(self, request, reader, writer):
        """One request; False: the connection is to be closed."""
        fault = self.fault
        if fault in {"429-soon", "503-once"}:
            if fault in self._once:
                fault = "none"
            else:
                self._once.add(fault)
        if fault == "delay":
            await asyncio.sleep(self.seconds)
        if fault == "half-open":
            await reader.read()
            return False
        if fault == "close":
            return False
        told = {
            "429": (b"429 Too Many Requests\r\nRetry-After: 60", b'{"error": {"message": "busy"}}'),
            "429-soon": (b"429 Too Many Requests\r\nRetry-After: 0", b"{}"),
            "500": (b"500 Internal Server Error", b'{"error": {"message": "out of memory"}}'),
            "503-once": (b"503 Service Unavailable", b'{"error": "loading"}'),
            "401": (b"401 Unauthorized", b'{"error": "wrong key"}'),
            "400": (b"400 Bad Request", b'{"error": "cannot take ' + request[-400:].replace(b'"', b"'") + b'"}'),
            "redirect": (b"307 Temporary Redirect\r\nLocation: " + self.elsewhere.encode(), b""),
            "html": (b"200 OK\r\nContent-Type: text/html", b"<html><body>Please log in.</body></html>"),
            "bad-json": (b"200 OK\r\nContent-Type: text/event-stream", b'data: {"content": "x", "stop": fal\n\n'),
            "bad-utf8": (
                b"200 OK\r\nContent-Type: text/event-stream",
                b'data: {"content": "\xff\xfe", "stop": false}\n\n',
            ),
        }.get(fault)
        if told is not None:
            status, body = told
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            return True
        if fault == "garbage":
            writer.write(b"\x00\x01\x02 what is this \xff\r\n\r\n")
            await writer.drain()
            return False
        if fault == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
        if fault == "pings":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"8\r\n: ping\n\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        return await self._pass_on(request, fault, reader, writer)

    def _target(self):
        host, _, port = self.target.removeprefix("http://").partition(":")
        return host, int(port)

    async def _pass_on(self, request, fault, reader, writer):
        theirs, ours = await asyncio.open_connection(*self._target())
        try:
            # One answer a connection to the server, so that its end is the answer's.
            ours.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            gone = asyncio.ensure_future(reader.read(1))
            passed = 0
            while True:
                if fault == "drip":
                    # So slow that an answer of some hundred bytes outlasts whoever does not want it.
                    await asyncio.sleep(self.seconds)
                chunk = asyncio.ensure_future(theirs.read(1 if fault == "drip" else 65536))
                await asyncio.wait({chunk, gone}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    chunk.cancel()
                    self.hung_up.set()
                    return False
                data = chunk.result()
                if fault in {"cut", "stall"} and passed + len(data) > self.cut_after:
                    writer.write(data[: max(0, self.cut_after - passed)])
                    await writer.drain()
                    if fault == "stall":
                        await gone
                        self.hung_up.set()
                    return False
                passed += len(data)
                if not data:
                    gone.cancel()
                    return False
                writer.write(data)
                await writer.drain()
        finally:
            ours.close()
