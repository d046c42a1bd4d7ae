"""The processes behind the peers, and how they are talked to.

``xllamacpp`` (llama.cpp's server as a package) is no dependency: it is found in this interpreter or in the one named
by ``--peer-python``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from coder_lsp.errors import HostUnavailable, InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOADING_SECONDS = 300.0
_HERE = Path(__file__).parent
_END_SECONDS = 5.0
_CHECK = "import importlib.util, sys; sys.exit(importlib.util.find_spec('xllamacpp') is None)"


async def find_server_python(given: Path | None) -> Path:
    """An interpreter that has ``xllamacpp``: the given one, else this one.

    :raises InputError: it has not.
    """
    python = given or Path(sys.executable)
    there = importlib.util.find_spec("xllamacpp") is not None
    if given is not None:
        try:
            check = await asyncio.create_subprocess_exec(str(given), "-c", _CHECK)
        except OSError as error:
            raise InputError(f"cannot start {given}: {error.strerror}") from error
        there = await check.wait() == 0
    if not there:
        raise InputError(
            f"the llama.cpp server to compare with is not there: {python} has no module xllamacpp",
            hint=f"{python} -m pip install xllamacpp\n"
            "or name another interpreter that has it with --peer-python; --peer none measures without peers",
        )
    return python


@asynccontextmanager
async def infill_server(python: Path, model: Path, threads: int, seed: int, log: Path) -> AsyncIterator[InfillServer]:
    """A llama.cpp server that has loaded the model.

    :raises HostUnavailable: it ended, or did not say its address.
    """
    async with _process([str(python), str(_HERE / "llama_cpp_server.py")], model, threads, seed, log) as (
        process,
        said,
    ):
        yield InfillServer(process.pid, str(said["address"]))


class InfillServer:
    """llama.cpp's server at an address of this machine."""

    def __init__(self, pid: int, address: str) -> None:
        self.pid = pid
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80

    async def infill(self, body: dict[str, Any]) -> dict[str, Any]:
        """``POST /infill``.

        :raises OSError: the server refused it, or ended.
        """
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            content = json.dumps(body).encode()
            head = (
                f"POST /infill HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode() + content)
            answered_head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status = answered_head.split(b"\r\n", 1)[0]
        if b" 200 " not in status + b" ":
            raise ConnectionError(f"the llama.cpp server answered {status.decode(errors='replace')}")
        found: dict[str, Any] = json.loads(answer)
        return found


@asynccontextmanager
async def completion_worker(model: Path, threads: int, seed: int, log: Path) -> AsyncIterator[CompletionWorker]:
    """llama-cpp-python with the model loaded, in a process of its own.

    :raises HostUnavailable: it ended.
    """
    command = [sys.executable, str(_HERE / "llama_cpp_worker.py")]
    async with _process(command, model, threads, seed, log) as (process, _):
        yield CompletionWorker(process)


class CompletionWorker:
    """One request at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """:raises OSError: the process ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return await _line(self._process)


@asynccontextmanager
async def _process(
    command: list[str], model: Path, threads: int, seed: int, log: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A process that loads the model and then says something; it ends with the block."""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            str(model),
            str(threads),
            str(seed),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        try:
            said = await asyncio.wait_for(_line(process), LOADING_SECONDS)
        except (OSError, asyncio.TimeoutError) as error:
            raise HostUnavailable(f"{Path(command[-1]).name} did not come up", hint=_last_words(log)) from error
        yield process, said
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line of JSON; other lines are remarks of libraries."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line.startswith(b"{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise ConnectionError(f"process {process.pid} ended")
