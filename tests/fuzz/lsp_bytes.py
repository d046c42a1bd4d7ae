"""Bytes where messages should be: wrong lengths, missing and foreign headers, what is cut, glued, deep or no JSON.

Whatever comes, the server does not go deaf: it answers a good request behind it, and the log quotes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from fuzz.engine import Check, target
from fuzz.lsp import CANARY, Session, drive, json_values, session, texts
from hypothesis import strategies as st

_MOST_EXCESS = 20_000
"""A frame may announce so much more than it has."""
_PADDING = 4096


def message(method: str, text: str) -> bytes:
    document = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": text}
    body = {"jsonrpc": "2.0", "id": len(text), "method": method, "params": {"textDocument": document, "position": {}}}
    return json.dumps(body).encode()


methods = st.sampled_from(["textDocument/didOpen", "textDocument/inlineCompletion", "initialize", "nothing/known", ""])
good = st.builds(message, methods, texts)
bodies = (
    good
    | st.builds(lambda body, at: body[: at % (len(body) + 1)], good, st.integers(0, 1000))
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda value: json.dumps({"jsonrpc": "2.0", "id": 5, **value}).encode(),
        st.dictionaries(
            st.sampled_from(["id", "method", "params", "result", "error", "jsonrpc"]), json_values, max_size=4
        ),
    )
    | st.binary(max_size=60)
    | st.builds(lambda opening, depth: opening * depth, st.sampled_from([b"[", b'{"a":']), st.sampled_from([5, 5000]))
    | st.sampled_from(
        [b"", b"\xff\xfe", b"\xef\xbb\xbf{}", b"NaN", b'{"jsonrpc":"2.0","id":1e999,"method":"x"}', b"1" * 5000]
    )
)
lengths = st.just(0) | st.integers(-80, 80) | st.integers(0, _MOST_EXCESS)
claims = st.sampled_from(
    [
        b"-1",
        b"0",
        b"",
        b"abc",
        b"0x10",
        b"1e3",
        b"12, 12",
        b"+7",
        b"\xd9\xa3",
        b"4294967296",
        b"99999999999999",
        b"9" * 30,
        b"9" * 5000,
    ]
)
names = st.sampled_from([b"Content-Length: ", b"content-length: ", b"CONTENT-LENGTH:", b"Content-Length :  ", b"X: "])
ends = st.sampled_from([b"\r\n", b"\n", b" \r\n"])
kinds = st.sampled_from(
    [b"", b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n", b"X-Y: z\r\n", b"\xff\r\n"]
)


def framed(body: bytes, more: int, name: bytes, end: bytes, before: bytes, behind: bytes) -> bytes:
    return b"%b%b%d%b%b%b%b" % (before, name, max(len(body) + more, 0), end, behind, end, body)


frames = (
    st.builds(framed, bodies, lengths, st.just(b"Content-Length: "), st.just(b"\r\n"), st.just(b""), st.just(b""))
    | st.builds(framed, bodies, lengths, names, ends, kinds, kinds)
    | st.builds(lambda claim, body: b"Content-Length: " + claim + b"\r\n\r\n" + body, claims, bodies)
    | bodies
    | st.binary(max_size=60)
    | st.sampled_from([b"\r\n", b"\n\n\n", b"x" * 100_000, b"x" * 2_000_000, b"\x00" * 70_000 + b"\r\n"])
)


@target("lsp-bytes", st.lists(frames, min_size=1, max_size=5), share=80)
def lsp_bytes(_: Path) -> Iterator[Check]:
    async def talk(chunks: list[bytes]) -> None:
        async with session() as it:
            await it.client.initialize()
            await hurt(it, chunks)

    async def hurt(it: Session, chunks: list[bytes]) -> None:
        for chunk in chunks:
            it.client.writer.write(chunk)
        tries = 2 + len(chunks) * (1 + _MOST_EXCESS // _PADDING)
        assert await it.answers(tries=tries, padding=_PADDING), f"the server left with {it.running.result()}"

    def check(chunks: list[bytes]) -> None:
        watch = drive(lambda: talk(chunks))
        harm = [said for said in watch.harm if CANARY in said or "Traceback" in said]
        assert not harm, harm

    yield check
