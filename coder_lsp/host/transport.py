"""The sockets between front and host, open to the same user only.

Unix: a socket file (0600 in a 0700 folder), and on both ends the user of the other end is asked of the kernel where it
tells. Elsewhere, and in tests: loopback TCP on a port the system chooses, where the host's record (0600) holds a
random token that the first message must carry. Knows nothing of messages; ``host.rpc`` reads and writes them.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import HostUnavailable
from coder_lsp.host.address import (
    Endpoint,
    hold_lock,
    lock_identity,
    process_start,
    read_endpoint,
    remove_traces,
    socket_path,
    write_endpoint,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from filelock import BaseFileLock

    OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

UNIX = "unix"
TCP = "tcp"
DEFAULT_TRANSPORT = UNIX if hasattr(socket, "AF_UNIX") and sys.platform != "win32" else TCP

_TOKEN_BYTES = 32
_BACKLOG = 64
_LOCAL_PEERCRED = 1
"""macOS, BSD: ``<sys/un.h>``, at level SOL_LOCAL = 0; a ``struct xucred`` begins with version and uid."""


class Listener:
    """A listening host: the endpoint that clients find in its record, and what keeps it findable."""

    def __init__(self, endpoint: Endpoint, server: asyncio.Server, on_connection: OnConnection) -> None:
        self.endpoint = endpoint
        self._servers = [server]
        self._on_connection = on_connection
        self._lock_file = lock_identity(endpoint.key)
        self._lock: BaseFileLock | None = None
        self._socket_file = _identity(endpoint.path)

    def token_fits(self, token: str) -> bool:
        """Whether a caller may speak; where the kernel tells the caller's user there is no token to know."""
        return hmac.compare_digest(token.encode(), self.endpoint.token.encode())

    def close(self) -> None:
        """Listen no more, and remove what clients found it by, unless that is another host's by now."""
        for server in self._servers:
            server.close()
        if lock_identity(self.endpoint.key) in (None, self._lock_file):
            remove_traces(self.endpoint.key)

    async def mend(self) -> str:
        """Put back what somebody removed of lock, record and socket; says what that was, empty if nothing.

        What cleans up temporary folders removes files that nobody wrote to for days. Who is connected does not notice,
        but nobody else would find this host any more, nor could a second one be. An address that another host
        has taken over meanwhile is left to it.

        :raises OSError: it cannot be put back.
        """
        endpoint, missing = self.endpoint, []
        if (found := lock_identity(endpoint.key)) != self._lock_file:
            if found is not None:
                return ""
            lock = hold_lock(endpoint.key)
            if lock is None:
                return ""
            self._lock, self._lock_file = lock, lock_identity(endpoint.key)
            missing.append("lock")
        if endpoint.path and _identity(endpoint.path) != self._socket_file:
            _unlink(endpoint.path)
            server = await asyncio.start_unix_server(
                _same_user_only(self._on_connection), sock=_unix_socket(endpoint.path)
            )
            self._servers.append(server)
            self._socket_file = _identity(endpoint.path)
            missing.append("socket")
        if read_endpoint(endpoint.key) != endpoint:
            write_endpoint(endpoint)
            missing.append("record")
        return ", ".join(missing)


async def listen(key: str, model: str, on_connection: OnConnection, transport: str = DEFAULT_TRANSPORT) -> Listener:
    """Listen and publish the endpoint; for the holder of the lock of this address, whose leftovers are replaced."""
    remove_traces(key)
    if transport == UNIX:
        listening, path, token = _unix_socket(str(socket_path(key))), str(socket_path(key)), ""
        server = await asyncio.start_unix_server(_same_user_only(on_connection), sock=listening)
    else:
        listening, path, token = _loopback_socket(), "", secrets.token_hex(_TOKEN_BYTES)
        server = await asyncio.start_server(on_connection, sock=listening)
    port = 0 if transport == UNIX else int(listening.getsockname()[1])
    endpoint = Endpoint(key, os.getpid(), _own_start(), model, transport, path, port, token)
    write_endpoint(endpoint)
    return Listener(endpoint, server, on_connection)


async def connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection.

    :raises OSError: nobody listens there.
    :raises HostUnavailable: somebody else does.
    """
    if endpoint.transport != UNIX:
        return await asyncio.open_connection("127.0.0.1", endpoint.port)
    reader, writer = await asyncio.open_unix_connection(endpoint.path)
    if not same_user(writer.get_extra_info("socket")):
        writer.close()
        raise HostUnavailable(
            f"the socket {endpoint.path} belongs to another user", hint="set CODER_LSP_HOME to a private folder"
        )
    return reader, writer


def same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end runs as this user. True where the system cannot tell (the folder's mode
    then is what protects the socket).
    """
    uid = _peer_uid(connection)
    return uid is None or uid == os.geteuid()


def _same_user_only(on_connection: OnConnection) -> OnConnection:
    async def checked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if same_user(writer.get_extra_info("socket")):
            await on_connection(reader, writer)
        else:
            writer.close()

    return checked


def _peer_uid(connection: socket.socket) -> int | None:
    system: str = sys.platform
    if system == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, _ = struct.unpack("3i", credentials)
        return int(uid)
    if system == "darwin" or "bsd" in system:
        credentials = connection.getsockopt(0, _LOCAL_PEERCRED, struct.calcsize("2I"))
        _, uid = struct.unpack("2I", credentials)
        return int(uid)
    return None


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _identity(path: str) -> tuple[int, int] | None:
    """Which file that is, None if there is none."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _unix_socket(path: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)  # the file is born 0600; no other thread runs yet
    try:
        listening.bind(path)
    finally:
        os.umask(before)
    listening.listen(_BACKLOG)
    return listening


def _loopback_socket() -> socket.socket:
    listening = socket.socket(socket.AF_INET)
    listening.bind(("127.0.0.1", 0))
    listening.listen(_BACKLOG)
    return listening


def _own_start() -> float:
    """When this process started, to recognise it later by more than its number; 0.0 if nobody says."""
    import psutil

    try:
        return process_start(psutil.Process())
    except psutil.Error:
        return 0.0
