"""Messages are found again behind bytes that are none. Before, one wrong length made the server deaf for good."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.lsp_client import scripted, server_process

from coder_lsp.server.frames import MAX_MESSAGE_BYTES, FrameReader

GOOD = b"Content-Length: 2\r\n\r\n{}"


async def bodies(data: bytes, limit: int = 1 << 16) -> list[bytes]:
    """What pygls' loop would take out of a stream."""
    stream = asyncio.StreamReader(limit=limit)
    stream.feed_data(data)
    stream.feed_eof()
    reader, found = FrameReader(stream), []
    while line := await reader.readline():
        name, length = line.split(b": ")
        assert name == b"Content-Length"
        assert await reader.readline() == b"\r\n"
        found.append(await reader.readexactly(int(length)))
    return found


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"Content-Length: 1\r\n\r\n[]",
        b'{"a": 1}',
        b"[1, 2]\r\n",
        b"Content-Length: 999\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: -5\r\n\r\n[]",
        b"Content-Length: many\r\n\r\n[]",
        b"Content-Length: %d\r\n\r\n" % (MAX_MESSAGE_BYTES + 1),
        b"Content-Length: %b\r\n\r\n" % (b"9" * 5000),
        b"\x00\xff\r\n\n\n",
        b"x" * 200_000 + b"\r\n",
    ],
    ids=range(12),
)
async def test_a_message_is_found_behind_anything(before: bytes) -> None:
    assert (await bodies(before + GOOD))[-1] == b"{}"


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n",
        b"Content-Type: x\r\nContent-Length: 2\r\n\r\n",
        b"content-length:2\r\n\r\n",
        b"CONTENT-LENGTH : 002\n\n",
    ],
)
async def test_headers_of_other_spellings_are_understood(header: bytes) -> None:
    """As in HTTP, whose headers LSP's are."""
    assert await bodies(header + b"{}" + GOOD) == [b"{}", b"{}"]


async def test_what_was_passed_over_is_counted_and_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await bodies(b"secret" + GOOD + GOOD)
    assert [record.getMessage() for record in caplog.records] == ["no messages, passed over: 6 bytes or more"]


async def test_a_session_goes_on_after_a_length_that_was_too_small() -> None:
    """Over real stdio. The rest of the body is glued to the next header, and to all that follow it."""
    async with server_process(*scripted()) as client:
        await client.initialize()
        client.writer.write(b'Content-Length: 5\r\n\r\n{"jsonrpc": "2.0", "method": "initialized"}')
        assert await client.end() == 0
