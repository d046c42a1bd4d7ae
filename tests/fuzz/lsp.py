"""The language server as a target: a session in this process over a pair of sockets, and what its log may not say.

The server is the shipped one, with its framing, its protocol and its documents; completions are scripted, so that an
answer shows what was asked. Each input gets a session of its own: what does harm needs nothing from before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from support.lsp_client import LspClient
from support.scripted_server import build

from coder_lsp.server.server import CoderLanguageServer
from coder_lsp.server.transport import BUFFER_BYTES, Streams, run

PATIENCE_SECONDS = 20.0
"""A server that has not answered by then will not: each answer takes a millisecond."""

CANARY = "canary_Zq7"
"""Stands in every text; no log line may have it."""

ALPHABET = "ab \t(.é€世😀𝒳\u0301\u200d\u2028\x85\x0c\r\n\r\n\ud83d\ude00\x00"
"""Line ends of LSP and of others, what takes one to four bytes and one or two units, halves of characters, NUL."""
texts = st.text(alphabet=ALPHABET, max_size=40).map(lambda text: f"{CANARY}{text}" if text else text)
columns = st.integers(-2, 60) | st.sampled_from([2**31 - 1, 2**32, -(2**31), 2**53])
positions = st.tuples(columns, columns)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=ALPHABET, max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="ab/", max_size=3), inner, max_size=3),
    max_leaves=6,
)


class Watch(logging.Handler):
    """Keeps what the log says and should not: tracebacks, faults of ours, texts of documents."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.harm: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = self.format(record)
        if record.levelno >= logging.ERROR or record.exc_info or CANARY in said or "Traceback" in said:
            self.harm.append(said)


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Everything that is logged meanwhile, of our modules and of asyncio's, at every level."""
    # pygls stays silent, as in coder-lsp serve.
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    watch, loggers = Watch(), [logging.getLogger(name) for name in ("coder_lsp", "asyncio", "concurrent")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(watch)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    try:
        yield watch
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(watch)
            logger.setLevel(level)
            logger.propagate = propagate


class Session:
    """One editor and its server; ``ended`` is set once the server is gone."""

    def __init__(self, server: CoderLanguageServer, client: LspClient, running: asyncio.Future[int]) -> None:
        self.server = server
        self.client = client
        self.running = running

    async def answers(self, *, tries: int = 1, padding: int = 0) -> bool:
        """Whether the server answers a good request: one of ``tries``, each as long as ``padding`` makes it.

        Several where bytes before them may have announced more than came: the server then takes the first ones for it.
        """
        asked = [self.client.start_request("test/requests", {"padding": "." * padding})[1] for _ in range(tries)]
        waiting = {asyncio.ensure_future(asyncio.wait_for(future, PATIENCE_SECONDS)) for future in asked}
        try:
            while waiting:
                done, waiting = await asyncio.wait({*waiting, self.running}, return_when=asyncio.FIRST_COMPLETED)
                # Each is looked at: asyncio complains of an error that nobody saw.
                if None in [one.exception() for one in done if one is not self.running]:
                    return True
                if self.running in done:
                    return False
            return False
        finally:
            for one in waiting - {self.running}:
                one.cancel()
            await asyncio.gather(*(waiting - {self.running}), return_exceptions=True)
            for future in asked:
                # Looked at, or asyncio complains of it.
                future.cancel()


@contextlib.asynccontextmanager
async def session(make: Callable[[], CoderLanguageServer] = build) -> AsyncIterator[Session]:
    """A server with the buffers that it has over stdio, not initialized yet."""
    ours, theirs = socket.socketpair()

    async def connect() -> Streams:
        return Streams(*await asyncio.open_connection(sock=theirs, limit=BUFFER_BYTES))

    server = make()
    running = asyncio.ensure_future(run(server, connect()))
    client = LspClient(*await asyncio.open_connection(sock=ours, limit=1 << 24), None, running)
    try:
        yield Session(server, client, running)
    finally:
        await client.close()
        assert running.done(), "the server is still there"


def drive(steps: Callable[[], Any]) -> Watch:
    """Run a coroutine on a loop of its own, with the log watched."""
    # The scripted server says on stderr what it does.
    with watched() as watch, contextlib.redirect_stderr(io.StringIO()):
        asyncio.run(steps())
    return watch
