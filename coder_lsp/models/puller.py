"""Pulls a model for a program that must not load what downloads: in a process of its own, whose events are read here.

The language server answers keystrokes; ``coder-lsp models pull --json`` does the work beside it. What is downloaded
when the process ends stays, and the next pull goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

from coder_lsp import errors
from coder_lsp.errors import CoderLspError, DownloadError
from coder_lsp.interpreter import module_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

_END_SECONDS = 5.0
_LONGEST_LINE = 1 << 20


async def pull(
    name: str,
    *,
    offline: bool = False,
    allow_unverified: bool = False,
    on_event: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Mapping[str, Any]:
    """Pull a model by its name; returns the row of the installed one, with ``seconds``.

    ``on_event`` gets what ``models pull --json`` prints meanwhile: ``begin``, ``progress``, ``note``. Cancelling the
    awaiting task ends the process.

    :raises CoderLspError: as :func:`coder_lsp.models.pull.pull`.
    """
    flags = ["--offline"] * offline + ["--allow-unverified"] * allow_unverified
    process = await asyncio.create_subprocess_exec(
        *module_command("coder_lsp", "models", "pull", "--json", *flags, "--", name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        # Tracebacks and remarks of libraries; ours come as events.
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_LINE,
    )
    assert process.stdout is not None
    last: Mapping[str, Any] = {}
    try:
        async for line in process.stdout:
            last = _event(line) or last
            if last.get("event") in {"begin", "progress", "note"}:
                on_event(last)
        status = await process.wait()
    finally:
        await _end(process)
    if last.get("event") == "done":
        return {**last["model"], "seconds": last["seconds"]}
    if last.get("event") == "error":
        raise _error(last)
    logger.warning("pulling ended with status %d and without a word", status)
    raise DownloadError(f"pulling {name} ended unexpectedly", hint=f"run: coder-lsp models pull {name}")


def _event(line: bytes) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _error(event: Mapping[str, Any]) -> CoderLspError:
    kind = getattr(errors, str(event.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, CoderLspError)):
        kind = DownloadError
    return kind(str(event.get("message")), hint=str(event.get("hint") or ""))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except asyncio.TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
