"""Bytes in and out of one session: stdio, a TCP port or a Unix socket; and how a session ends.

stdout belongs to the protocol: :func:`take_stdio` moves it away from file descriptor 1, so that nothing printed by
mistake, in Python or in a C library, gets between two messages. One session a process: the editor that connects first
is served, and when it leaves or dies the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pygls.io_ import StdinAsyncReader, StdoutWriter, run_async

from coder_lsp.errors import InputError
from coder_lsp.server.frames import FrameReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from pathlib import Path

    from coder_lsp.server.server import CoderLanguageServer

logger = logging.getLogger(__name__)

BUFFER_BYTES = 1 << 20
_FLUSH_SECONDS = 2.0
_SILENT = logging.getLogger("pygls.session")


@dataclass(frozen=True)
class Streams:
    """``reader`` and ``writer`` as :func:`pygls.io_.run_async` and pygls' protocol want them."""

    reader: Any
    writer: Any


def take_stdio() -> tuple[int, int]:
    """Private copies of stdin and stdout, which no child inherits; 0 is empty from now on and 1 goes to stderr."""
    inward, outward = os.dup(0), os.dup(1)
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return inward, outward


async def stdio_streams(inward: int, outward: int) -> Streams:
    """Streams over two file descriptors; without threads where the system can wait for them (pipes, sockets)."""
    loop = asyncio.get_running_loop()
    reader: Any
    writer: Any
    if _can_wait(inward):
        reader = asyncio.StreamReader(limit=BUFFER_BYTES)
        source = os.fdopen(inward, "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    else:
        reader = StdinAsyncReader(os.fdopen(inward, "rb"), ThreadPoolExecutor(1, "stdin"))
    if _can_wait(outward):
        sink = os.fdopen(outward, "wb", buffering=0)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
    else:
        writer = StdoutWriter(os.fdopen(outward, "wb"))
    return Streams(reader, writer)


def listen_tcp(address: str, *, allow_remote: bool) -> socket.socket:
    """A listening socket for ``HOST:PORT``; port 0 takes a free one.

    :raises InputError: not an address, or one that other machines reach without ``allow_remote``.
    """
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise InputError(f"not an address: {address}", hint="give HOST:PORT, such as 127.0.0.1:0")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InputError(f"no such host: {host}") from error
    family, kind, protocol, _, where = found[0]
    if not allow_remote and not ipaddress.ip_address(where[0]).is_loopback:
        raise InputError(
            f"{host} can be reached from other machines, and the connection is neither encrypted nor authenticated",
            hint="listen on 127.0.0.1, or say --allow-remote",
        )
    listener = socket.socket(family, kind, protocol)
    return _listening(listener, where, address)


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket that only this user can connect to (0600); a dead socket in its place is replaced.

    :raises InputError: the path is taken, or cannot be used.
    """
    if path.is_socket() and not _answers(path):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    return _listening(listener, str(path), str(path), private=path)


def address_of(listener: socket.socket) -> str:
    """What a client connects to: a path, or ``HOST:PORT``."""
    address = listener.getsockname()
    if isinstance(address, str):
        return address
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def accept(listener: socket.socket) -> Streams:
    """Wait for the editor and listen no longer."""
    listener.setblocking(False)
    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
    listener.close()
    reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER_BYTES)
    return Streams(reader, writer)


async def run(server: CoderLanguageServer, connecting: Awaitable[Streams]) -> int:
    """Serve the editor that connects until ``exit``, the end of its stream, a signal, or the death of its process.

    :returns: the exit status: 0 if the client said ``shutdown`` first, else 1.
    """
    session = asyncio.ensure_future(_session(server, connecting))
    ended = asyncio.ensure_future(server.wait_ended())
    try:
        with _ended_by_signals(server):
            await asyncio.wait({session, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                _log_end(session)
                server.end(0 if server.protocol.was_shut_down else 1)
            return await ended
    finally:
        await server.close()
        await server.protocol.answered()
        session.cancel()
        await asyncio.wait({session})


async def _session(server: CoderLanguageServer, connecting: Awaitable[Streams]) -> None:
    """Take messages until the stream ends; what is still to be sent goes out at the end, however it comes."""
    streams = await connecting
    server.protocol.set_writer(streams.writer)
    try:
        never = threading.Event()
        frames = FrameReader(streams.reader)
        await run_async(never, frames, server.protocol, _SILENT, server.report_server_error)
    finally:
        await server.protocol.answered()
        await _flushed(streams.writer)


def _can_wait(descriptor: int) -> bool:
    """Whether the event loop can wait for a descriptor: not for files, nor for anything on Windows."""
    mode = os.fstat(descriptor).st_mode
    waitable = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    return waitable and sys.platform != "win32"


def _listening(listener: socket.socket, where: Any, name: str, *, private: Path | None = None) -> socket.socket:
    try:
        listener.bind(where)
        if private is not None:
            # Before listen(): nobody can connect in between.
            private.chmod(0o600)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise InputError(f"cannot listen on {name}: {error.strerror or error}") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _ended_by_signals(server: CoderLanguageServer) -> Iterator[None]:
    """SIGTERM and SIGINT end the session in good order."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    handled = sys.platform != "win32" and threading.current_thread() is threading.main_thread()
    if handled:
        for number in signals:
            loop.add_signal_handler(number, server.end, 128 + number)
    try:
        yield
    finally:
        if handled:
            for number in signals:
                loop.remove_signal_handler(number)


def _log_end(session: asyncio.Future[None]) -> None:
    error = session.exception()
    if error is None:
        logger.info("the client closed the connection")
    else:
        # A truncated message: nothing more can be read from this stream.
        logger.warning("the connection broke: %s", type(error).__name__)


async def _flushed(writer: Any) -> None:
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        writer.close()
        if isinstance(writer, asyncio.StreamWriter):
            await asyncio.wait_for(writer.wait_closed(), _FLUSH_SECONDS)
