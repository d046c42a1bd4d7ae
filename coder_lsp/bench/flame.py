"""Where the milliseconds of one request go, from the key in the editor to the text back there.

Measured on the shipped server over stdio: a place it has never seen, which a short prompt answers first, the same with
the full prompt, and the keys that lead to the cursor, of which the median is shown. What each part took is what the
server's own log line of the request tells; what lies between two clocks (pipes, sockets, threads) is the difference.
Suggestions are not reused here and, for the full prompt and the keys, nothing is done ahead: most keys would cost
nothing and show nothing.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from coder_lsp.bench.replay.run import end, server_settings
from coder_lsp.bench.replay.vscode import VsCode, Window
from coder_lsp.engine import hardware
from coder_lsp.errors import HostUnavailable, InputError
from coder_lsp.languages import by_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KEYS = 7
"""Typed up to the cursor, and measured."""
DEMO = Path(__file__).parent.parent / "demo" / "project"
DEMO_FILE = DEMO / "shop" / "inventory.py"

_LINE = re.compile(r"inline id=(?P<id>\S+) .*?\bms=(?P<ms>[\d.]+) (?P<details>.*)")
_STAGE = re.compile(r"\b(\w+)=([\d.]+)(?= |$)")
_TOKENS = re.compile(r"\btokens=(\d+)/(\d+)/(\d+)/(\d+)")
_IN_HOST = ("queue", "prompt", "rollback", "restore", "prefill", "decode")
"""Stages that the host tells, in the order they come; others that it may tell one day are the front's to us."""
_BESIDE = ("delay", "waited")
"""What the front tells besides the time that it worked itself."""
_TITLES = {
    "delay": "waiting for the keys to rest",
    "waited": "waiting for what was asked before",
    "queue": "waiting for the model's thread",
    "prompt": "template and tokens",
    "rollback": "going back in the KV cache",
    "restore": "KV cache from disk",
    "prefill": "reading the prompt",
    "decode": "writing the answer",
    "context": "choosing other files",
}
_COMPLETION = {"reuse": False, "showFilter": "off", "delay": "none", "earlyMs": 0}
"""Every request goes to the model, and is answered when the model has finished."""
KINDS = {"cold": "a place never seen", "full": "there, with the full prompt", "key": "a key typed there"}
"""Requests that are measured, and what they are."""
_BAR = 40
_WIDTH, _ROW, _GAP = 1000, 26, 40


@dataclass(frozen=True)
class Span:
    """A part of the time and the parts of it; what is not told apart is the difference to their sum."""

    name: str
    ms: float
    note: str = ""
    parts: tuple[Span, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ms": round(self.ms, 2),
            **({"note": self.note} if self.note else {}),
            **({"parts": [part.as_dict() for part in self.parts]} if self.parts else {}),
        }


@dataclass(frozen=True)
class FlamePlace:
    """A cursor in a file on disk."""

    root: Path
    path: str
    before: str = field(repr=False)
    after: str = field(repr=False)


async def measure_flame(
    place: FlamePlace, model: Path, *, threads: int = 0, note: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The time of one request of each of :data:`KINDS`.

    :raises InputError: there is nothing before the cursor to type.
    :raises HostUnavailable: the server does not come up, or does not tell what a request took.
    """
    line = place.before[place.before.rfind("\n") + 1 :]
    keys = min(KEYS, len(line.lstrip()))
    if not keys:
        raise InputError("there is no text before the cursor on its line", hint="choose a column behind some text")
    machine = hardware.detect()
    settings = server_settings(threads or machine.cores.count) | {"completion": _COMPLETION}
    waiting = settings | {"idle": {"enabled": False}}
    (cold,) = await _typed(place, model, settings, 0, lambda text: note(f"short prompt first: {text}"))
    full, *warm = await _typed(place, model, waiting, keys, lambda text: note(f"full prompt: {text}"))
    median = sorted(warm, key=lambda span: span.ms)[len(warm) // 2]
    return {
        "hardware": machine.line(),
        "model": model.name,
        "keys": len(warm),
        "cold": cold.as_dict(),
        "full": full.as_dict(),
        "key": median.as_dict(),
    }


async def _typed(
    place: FlamePlace, model: Path, settings: dict[str, Any], keys: int, note: Callable[[str], None]
) -> list[Span]:
    """A new server's first request, so many keys before the cursor, and one for each of these keys."""
    head, typed = place.before[: len(place.before) - keys], place.before[len(place.before) - keys :]
    with tempfile.TemporaryDirectory(prefix="clr-", ignore_cleanup_errors=True) as folder:
        window = VsCode("coder-lsp", Window(place.root, Path(folder), settings, str(model), extension=False))
        note("starting the server")
        try:
            await window.start()
            note("a place never seen")
            window.open(place.path, by_path(place.path).id, head, below_line(place.after))
            spans = [await _ask(window)]
            for number, key in enumerate(typed, start=1):
                note(f"key {number} of {keys}")
                window.change(key)
                spans.append(await _ask(window))
        finally:
            await end(window)
    return spans


def request_span(waited_ms: float, line: str) -> Span:
    """The parts of one request by its log line; ``waited_ms`` is what the editor waited.

    :raises HostUnavailable: the line is of no such request.
    """
    found = _LINE.search(line)
    if found is None:
        raise HostUnavailable("the server did not log what the request took", hint="Run `coder-lsp doctor`.")
    handler_ms = float(found["ms"])
    stages = {name: float(value) for name, value in _STAGE.findall(found["details"])}
    tokens = _TOKENS.search(found["details"])
    prompt, reused, evaluated, generated = map(int, tokens.groups()) if tokens else (0, 0, 0, 0)
    front_ms, asked_ms, host_ms = (stages.pop(name, 0.0) for name in ("front", "host", "total"))
    notes = {
        "prefill": f"{evaluated} tokens evaluated, {reused} of {prompt} reused",
        "decode": f"{generated} tokens" + (f", {stages['decode'] / generated:.1f} ms each" if generated else ""),
    }
    in_host = tuple(_stage(name, stages, notes) for name in _IN_HOST if name in stages)
    beside = tuple(_stage(name, stages, notes) for name in _BESIDE if name in stages)
    in_front = tuple(_stage(name, stages, notes) for name in stages if name not in (*_IN_HOST, *_BESIDE))
    host = Span("host", host_ms, parts=(*in_host, _rest("hand-over between threads", host_ms, in_host)))
    asked = Span("asking the host", asked_ms, parts=(_rest("socket, both ends", asked_ms, (host,)), host))
    front = Span("policy", front_ms, parts=(*in_front, _rest("gate, shape, post-processing", front_ms, in_front)))
    parts = (front, *beside, asked) if host_ms else (front, *beside)
    server = Span("server", handler_ms, parts=(*parts, _rest("positions, answer", handler_ms, parts)))
    return Span("request", waited_ms, parts=(_rest("pipes and JSON-RPC, both ends", waited_ms, (server,)), server))


def lines(span: Mapping[str, Any], depth: int = 0, whole_ms: float = 0.0) -> Iterator[str]:
    """A span and its parts as text, one line each, with a bar as long as its share of the whole."""
    whole_ms = whole_ms or span["ms"] or 1.0
    bar = "█" * max(round(_BAR * span["ms"] / whole_ms), 0)
    name = f"{'  ' * depth}{span['name']}"
    yield f"{name:<36}{span['ms']:>10.2f} ms  {bar:<{_BAR}}  {span.get('note', '')}".rstrip()
    for part in span.get("parts", ()):
        yield from lines(part, depth + 1, whole_ms)


def svg(measured: Mapping[str, Any]) -> str:
    """The requests as pictures: time from left to right, parts below what they are parts of."""
    drawn: list[str] = []
    top = _GAP
    for kind, title in KINDS.items():
        placed = list(_placed(measured[kind]))
        scale = _WIDTH / (measured[kind]["ms"] or 1.0)
        drawn.append(f'<text x="4" y="{top - 8}">{title}: {measured[kind]["ms"]:.1f} ms</text>')
        drawn += [_box(span, x=start * scale, y=top + level * _ROW, scale=scale) for level, start, span in placed]
        top += (max(level for level, _, _ in placed) + 1) * _ROW + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" font-family="sans-serif">'
    return "\n".join([head, *drawn, "</svg>\n"])


def below_line(after: str) -> str:
    """What stands behind the cursor while the line is being typed: the lines under it."""
    end_of_line = after.find("\n")
    return after[end_of_line:] if end_of_line >= 0 else ""


async def _ask(window: VsCode) -> Span:
    size = window.log.stat().st_size
    waited_ms = await window.ask()
    for _ in range(100):
        with window.log.open(encoding="utf-8", errors="replace") as log:
            log.seek(size)
            found = [line for line in log if _LINE.search(line)]
        if found:
            return request_span(waited_ms, found[-1])
        await asyncio.sleep(0.01)
    return request_span(waited_ms, "")


def _stage(name: str, stages: Mapping[str, float], notes: Mapping[str, str]) -> Span:
    return Span(_TITLES.get(name, name), stages[name], notes.get(name, ""))


def _rest(name: str, whole_ms: float, parts: tuple[Span, ...]) -> Span:
    """What the parts leave; never less than nothing, as the clocks of two processes differ a little."""
    return Span(name, max(0.0, whole_ms - sum(part.ms for part in parts)))


def _placed(
    span: Mapping[str, Any], level: int = 0, start_ms: float = 0.0
) -> Iterator[tuple[int, float, Mapping[str, Any]]]:
    """A span and its parts, each with its depth and when it begins if the parts follow each other."""
    yield level, start_ms, span
    for part in span.get("parts", ()):
        yield from _placed(part, level + 1, start_ms)
        start_ms += part["ms"]


def _box(span: Mapping[str, Any], *, x: float, y: float, scale: float) -> str:
    width = span["ms"] * scale
    label = escape(f"{span['name']} {span['ms']:.1f} ms")
    note = escape(span.get("note", ""))
    # A text that does not fit is still there for the pointer.
    text = f'<text x="{x + 4:.1f}" y="{y + 17}" font-size="12">{label}</text>' if width > 7 * len(label) else ""
    box = f'<rect x="{x:.1f}" y="{y}" width="{max(width, 0.5):.1f}" height="{_ROW - 2}" fill="#f5b86a" stroke="#fff"/>'
    return f"<g><title>{label} {note}</title>{box}{text}</g>"
