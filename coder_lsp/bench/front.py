"""What the front costs: start to ``initialize``, memory, and a keystroke's time outside the model.

Plays an editor against the shipped server over stdio, on the configured model. The time outside the model is what the
editor waits for one answer less the prefill and decode that the server's own log line tells for it, so it holds both
pipes, both JSON-RPC ends, policy, post-processing, template and tokeniser.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from coder_lsp.bench.figures import megabytes, quantiles
from coder_lsp.demo.editor import editor
from coder_lsp.errors import HostUnavailable
from coder_lsp.interpreter import module_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from coder_lsp.demo.editor import Editor

STARTS = 9
BEFORE = (Path(__file__).parent.parent / "demo" / "project" / "shop" / "inventory.py").read_text(encoding="utf-8")
TYPED = "\n\ndef total_levels(levels: dict[str, int]) -> int:\n    total = sum(levels.values())\n    return total"
"""Typed key by key at the end of a file of the demo's project; every key asks for a suggestion."""

_LINE = re.compile(r"inline id=\S+ .*? ms=(?P<ms>[\d.]+) (?P<details>.*)")
_STAGE = re.compile(r"(\w+)=([\d.]+)(?= |$)")


async def measure_front(model: str | None = None) -> dict[str, Any]:
    """Figures of the front, times in ms, memory in MB; p50 and p95 over :data:`STARTS` starts and all keystrokes.

    :raises HostUnavailable: the server or the model does not come up.
    """
    starts: list[float] = []
    residents: list[float] = []
    for _ in range(STARTS):
        began = time.perf_counter()
        async with _server(model) as (_, pid, _log):
            starts.append((time.perf_counter() - began) * 1000)
            residents.append(_resident_mb(pid))
    async with _server(model) as (window, pid, log):
        keys = await _keystrokes(window, log)
        residents.append(_resident_mb(pid))
    return {
        "start_to_initialize_ms": quantiles(starts),
        "resident_mb": {"at_start": residents[0], "after_typing": residents[-1]},
        "keystrokes": len(TYPED),
        "keystroke_outside_model_ms": quantiles(keys.outside),
        "keystroke_served_ms": quantiles(keys.served),
        "keystroke_tokens_evaluated": quantiles(keys.evaluated),
    }


@dataclass(frozen=True)
class Keystrokes:
    """On a warm prompt, in ms; a block whose first lines were shown before it ended is in none."""

    outside: list[float]
    """Of those that the model answered: neither reading and writing nor waiting for the next key."""
    served: list[float]
    """Of those that an earlier answer served, all of it."""
    evaluated: list[float]
    """Tokens of the prompt, of those that the model answered."""


async def _keystrokes(window: Editor, log: Path) -> Keystrokes:
    path, text = "inventory.py", BEFORE
    window.show(path, "python", text)
    await window.ready()
    await window.ghost(path, text)
    waited: list[float] = []
    for key in TYPED:
        window.type_text(path, text, key)
        text += key
        began = time.perf_counter()
        await window.ghost(path, text, asked=False)
        waited.append((time.perf_counter() - began) * 1000)
    lines = _requests(log)
    if len(lines) != len(TYPED) + 1:
        raise HostUnavailable(f"the server logged {len(lines)} requests of {len(TYPED) + 1}")
    outside, evaluated, served = [], [], []
    for ms, found in zip(waited, lines[1:], strict=True):
        stages = {name: float(value) for name, value in _STAGE.findall(found["details"])}
        if "source=model" not in found[0]:
            served.append(ms)
        elif stages.get("total", math.inf) <= ms:
            outside.append(ms - stages["prefill"] - stages["decode"] - stages.get("delay", 0.0))
            evaluated.append(float(found["details"].rpartition("tokens=")[2].split("/")[2]))
    return Keystrokes(outside, served, evaluated)


def _requests(log: Path) -> list[re.Match[str]]:
    return [found for found in map(_LINE.search, log.read_text(encoding="utf-8").splitlines()) if found]


@asynccontextmanager
async def _server(model: str | None) -> AsyncIterator[tuple[Editor, int, Path]]:
    with tempfile.TemporaryDirectory(prefix="coder-lsp-bench-") as folder:
        log = Path(folder) / "serve.log"
        command = module_command("coder_lsp", "serve", "--log-level", "info", "--offline")
        if model is not None:
            command += ["--model", model]
        before = set(psutil.Process().children())
        async with editor(command, Path(folder), {}, log) as window:
            (server,) = set(psutil.Process().children()) - before
            yield window, server.pid, log


def _resident_mb(pid: int) -> float:
    return megabytes(psutil.Process(pid).memory_info().rss)
