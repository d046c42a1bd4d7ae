"""TCP and Unix sockets; which addresses and paths are refused."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lsp_client import LIMIT_SECONDS, LspClient, environment, scripted

from coder_lsp.errors import InputError
from coder_lsp.server.transport import listen_tcp, listen_unix

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def listening(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A server process and the address it said it listens on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *scripted("--log-level", "error", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        assert process.stderr is not None
        line = (await asyncio.wait_for(process.stderr.readline(), LIMIT_SECONDS)).decode()
        assert line.startswith("listening on ")
        yield process, line.removeprefix("listening on ").strip()
    finally:
        if process.returncode is None:
            process.kill()
        # Not wait(): what is left in the pipe has to be read as well.
        await process.communicate()


async def exchange(client: LspClient) -> None:
    answer = await client.initialize({"textDocument": {"inlineCompletion": {}}})
    assert answer["serverInfo"]["name"] == "coder-lsp"
    await client.request("shutdown")
    client.notify("exit")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tcp_with_port_zero_says_its_port_and_serves_one_session(host: str) -> None:
    async with listening("--tcp", f"{host}:0") as (process, address):
        where, _, port = address.rpartition(":")
        client = LspClient(*await asyncio.open_connection(where.strip("[]"), int(port)))
        await exchange(client)
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 0
        await client.close()


async def test_a_unix_socket_is_the_users_own_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening("--socket", str(path)) as (process, address):
        assert address == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client = LspClient(*await asyncio.open_unix_connection(str(path)))
        await exchange(client)
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 0
        await client.close()
    assert not path.exists()


async def test_the_server_ends_when_the_connection_does(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening("--socket", str(path)) as (process, _):
        client = LspClient(*await asyncio.open_unix_connection(str(path)))
        await client.initialize()
        await client.close()
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 1


async def test_waiting_for_an_editor_ends_on_a_signal_and_leaves_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening("--socket", str(path)) as (process, _):
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 128 + signal.SIGINT
    assert not path.exists()


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", ":80", "127.0.0.1:x", "127.0.0.1:70000", "no.such.host.invalid:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError):
        listen_tcp(address, allow_remote=True)


def test_an_address_others_can_reach_needs_consent() -> None:
    with pytest.raises(InputError, match="--allow-remote"):
        listen_tcp("0.0.0.0:0", allow_remote=False)
    listen_tcp("0.0.0.0:0", allow_remote=True).close()


def test_a_port_in_use_is_refused() -> None:
    with listen_tcp("127.0.0.1:0", allow_remote=False) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match="cannot listen"):
            listen_tcp(f"127.0.0.1:{port}", allow_remote=False)


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listen_unix(path).close()


def test_a_socket_that_answers_and_a_file_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen_unix(path), pytest.raises(InputError, match="cannot listen"):
        listen_unix(path)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InputError):
        listen_unix(file)
    assert file.read_text() == "mine"
