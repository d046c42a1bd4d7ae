"""llama.vim's policy: what it asks the llama.cpp server for and when, what it remembers, what it shows.

Re-told from the plugin's source (ggml-org/llama.vim, a1c8e6e of January 2026, ``autoload/llama.vim``), quirks included,
with the names of its functions where a reader may want to compare. It never ends a request that runs: the newest place
is tried again every 100 ms until the server is free. A suggestion that appears starts a second request, for what would
follow it. Knows no HTTP: ``infill`` takes the body of a request and returns that of the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.replay.buffer import Buffer
from coder_lsp.bench.replay.screen import Screen
from coder_lsp.bench.replay.typist import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from coder_lsp.bench.replay.trace import Visit

    Infill = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

# s:default_config
PREFIX_LINES = 256
SUFFIX_LINES = 64
PREDICT_TOKENS = 128
MAX_PROMPT_MS = 500
MAX_PREDICT_MS = 1000
FIRST_PREDICT_MS = 250
MAX_LINE_SUFFIX = 8
CACHE_KEYS = 250
RING_CHUNKS = 16
RING_LINES = 64
RING_SCOPE = 1024
RING_UPDATE_S = 1.0
# Numbers in the code of the plugin.
RETRY_S = 0.1
BUFFER_ENTERED_S = 0.1
CACHE_BACK = 128
STILL_S = 3.0
JUMP_LINES = 32
QUEUED_CHUNKS = 16
_SETTLE_S = 30.0
_FIELDS = ["content", "timings/prompt_n", "timings/predicted_n", "timings/prompt_ms", "timings/predicted_ms"]


@dataclass(frozen=True)
class _Local:
    """``s:fim_ctx_local``."""

    prefix: str
    middle: str
    suffix: str
    indent: int
    line_suffix: str


@dataclass(frozen=True)
class _Chunk:
    lines: list[str]
    path: str


class LlamaVim:
    """``ring_chunks`` 0 switches the ring of recent chunks off. ``seed`` stands for the plugin's rand()."""

    def __init__(self, name: str, root: Path, infill: Infill, *, ring_chunks: int = 0, seed: int = 0) -> None:
        self.name = name
        self.screen = Screen()
        self._root, self._infill, self._ring_chunks = root, infill, ring_chunks
        self._random = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
        self._buffer = Buffer()
        self._cache: OrderedDict[str, str] = OrderedDict()
        self._hint: list[str] | None = None
        """Lines of the suggestion that is up, [""] for one that says nothing; None: none (``s:fim_hint_shown``)."""
        self._job: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._ring_timer: asyncio.TimerHandle | None = None
        self._entered: asyncio.TimerHandle | None = None
        self._key_s = 0.0
        self._indent_last = 0
        self._inserting = False
        self._modified = False
        self._ring: list[_Chunk] = []
        self._queued: list[_Chunk] = []
        self._picked_line = -9999
        self._requests: list[ModelRequest] = []

    async def enter(self, visit: Visit) -> None:
        self._buffer = Buffer(visit.path, visit.before, visit.after)
        self._modified = self._inserting = False
        if self._ring_chunks:
            self._entered = self._loop.call_later(BUFFER_ENTERED_S, self._pick, self._around(), True, True)
            self._update_ring()

    def press(self, text: str) -> None:
        self.screen.typed(text)
        self._buffer.insert(text)
        self._moved()

    def accept(self, text: str) -> None:
        self.press(text)

    async def leave(self) -> None:
        """Leave insert mode, save, wait for what runs: the server works for nobody else meanwhile."""
        self._inserting = False
        self._hide()
        for timer in (self._retry, self._entered):
            if timer is not None:
                timer.cancel()
        self._retry = self._entered = None
        (self._root / self._buffer.path).write_text(self._buffer.text, encoding="utf-8")
        self._modified = False
        self._pick(self._around(), False, True)  # BufWritePost
        self._pick(self._around(), True, True)  # BufLeave
        waiting = {*self._background, *([self._job] if self._job else [])}
        if waiting:
            await asyncio.wait(waiting, timeout=_SETTLE_S)
        if self._ring_timer is not None:
            self._ring_timer.cancel()

    def requests(self) -> list[ModelRequest]:
        done, self._requests = self._requests, []
        return done

    def _moved(self) -> None:
        """CursorMovedI: ``s:on_move``, then ``llama#fim``."""
        self._inserting = self._modified = True
        self._key_s = self._loop.time()
        self._hint = None
        self._try_hint(self._key_s)
        if self._hint is None:
            self.screen.clear()
        self._fim(None, [])

    def _try_hint(self, asked_s: float) -> None:
        """``s:fim_try_hint``: out of the cache, also what was generated up to 128 characters back."""
        if not self._inserting:
            return
        place = (self._buffer.column, self._buffer.line)
        local = self._local(place, [])
        content = self._cached(_key(local.prefix, local.middle, local.suffix))
        if content is None:
            content = self._cached_behind(local)
        if content is None:
            return
        self._render(content, local, asked_s)
        self._fim(place, self._hint or [""])

    def _cached_behind(self, local: _Local) -> str | None:
        typed = local.prefix + local.middle
        found: str | None = None
        best = 0
        for back in range(1, min(CACHE_BACK, len(typed)) + 1):
            content = self._cached(_key(typed[:-back], "", local.suffix))
            if not content or content[:back] != typed[-back:]:
                continue
            rest = content[back:]
            if rest and found is None:
                found = rest
            elif rest and len(rest) > best:
                best = len(rest)
                found = rest
        return found

    def _render(self, text: str, local: _Local, asked_s: float) -> None:
        """``s:fim_render``: without what stands there already; shown unless only white space is left."""
        lines = self._lines()
        y, x = self._buffer.line, self._buffer.column
        current = lines[y]
        content = text.split("\n")
        while content and not content[-1]:
            content.pop()
        content = content or [""]
        if not current.strip():
            lead = min(len(content[0]) - len(content[0].lstrip()), len(current))
            current, content[0] = content[0][:lead], content[0][lead:]
        if _repeats(content, current[:x], local.line_suffix, lines, y):
            content = [""]
        content[-1] += current[x:]
        self._hint = content
        shown = "\n".join(content)
        if shown.strip():
            self.screen.show(shown, asked_s)
        else:
            self.screen.clear()

    def _hide(self) -> None:
        self._hint = None
        self.screen.clear()

    def _fim(self, place: tuple[int, int] | None, previous: Sequence[str]) -> None:
        """``llama#fim``; ``place`` None is wherever the cursor is. ``previous``: a suggestion as if it was inserted."""
        if self._job is not None:
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._loop.call_later(RETRY_S, self._fim, place, previous)
            return
        if not self._inserting:
            return
        x, y = place or (self._buffer.column, self._buffer.line)
        local = self._local((x, y), previous)
        if len(local.line_suffix) > MAX_LINE_SUFFIX:
            return
        keys = [_key(local.prefix, local.middle, local.suffix)]
        trimmed = local.prefix
        for _ in range(3):
            trimmed = trimmed.partition("\n")[2]
            if not trimmed:
                break
            keys.append(_key(trimmed, local.middle, local.suffix))
        if any(self._cached(key) is not None for key in keys):
            return
        self._indent_last = local.indent
        self._forget_similar()
        body = {
            "id_slot": 0,
            "input_prefix": local.prefix,
            "input_suffix": local.suffix,
            "input_extra": self._extra(),
            "prompt": local.middle,
            "n_predict": PREDICT_TOKENS,
            "stop": [],
            "n_indent": local.indent,
            "top_k": 40,
            "top_p": 0.90,
            "samplers": ["top_k", "top_p", "infill"],
            "stream": False,
            "cache_prompt": True,
            "t_max_prompt_ms": MAX_PROMPT_MS,
            "t_max_predict_ms": MAX_PREDICT_MS if previous else FIRST_PREDICT_MS,
            "response_fields": _FIELDS,
        }
        self._job = asyncio.ensure_future(self._respond(body, keys, self._key_s, background=bool(previous)))
        if abs(y - self._picked_line) > JUMP_LINES:
            lines = self._lines()
            self._pick(lines[max(0, y - RING_SCOPE) : max(1, y - PREFIX_LINES + 1)], False, False)
            self._pick(lines[y + SUFFIX_LINES : y + SUFFIX_LINES + RING_LINES + 1], False, False)
            self._picked_line = y

    async def _respond(self, body: dict[str, Any], keys: list[str], asked_s: float, *, background: bool) -> None:
        """``s:fim_on_response`` and ``s:fim_on_exit``."""
        try:
            with suppress(OSError, ValueError):
                answer = await self._infill(body)
                self._note(answer, background=background)
                for key in keys:
                    self._remember(key, str(answer.get("content", "")))
                if not self._hint or not "".join(self._hint).strip():
                    self._try_hint(asked_s)
        finally:
            self._job = None

    def _note(self, answer: dict[str, Any], *, background: bool) -> None:
        evaluated, generated = (int(answer.get(f"timings/{name}", 0)) for name in ("prompt_n", "predicted_n"))
        self._requests.append(ModelRequest(evaluated, generated, background=background))

    def _local(self, place: tuple[int, int], previous: Sequence[str]) -> _Local:
        x, y = place
        lines = self._lines()
        current = lines[y]
        below = lines[y + 1 : y + 1 + SUFFIX_LINES]
        if not previous:
            left, right = current[:x], current[x:]
            above = lines[max(0, y - PREFIX_LINES) : y]
            indent = len(current) - len(current.lstrip())
            if not current.strip():
                # Lines of white space are asked for from their beginning.
                left = right = ""
                indent = 0
        else:
            above = lines[max(0, y - PREFIX_LINES + len(previous) - 1) : y]
            left, right = (current + previous[0] if len(previous) == 1 else previous[-1]), ""
            if len(previous) > 1:
                above = [*above, current + previous[0], *previous[1:-1]]
            indent = self._indent_last
        prefix = "\n".join(above) + "\n"
        suffix = right + "\n" + "\n".join(below) + "\n"
        return _Local(prefix, left, suffix, indent, right)

    def _lines(self) -> list[str]:
        lines = self._buffer.text.split("\n")
        return lines[:-1] if len(lines) > 1 and not lines[-1] else lines

    def _cached(self, key: str) -> str | None:
        if key in self._cache:
            self._cache.move_to_end(key)
        return self._cache.get(key)

    def _remember(self, key: str, content: str) -> None:
        if len(self._cache) > CACHE_KEYS - 1:
            self._cache.popitem(last=False)
        self._cache[key] = content
        self._cache.move_to_end(key)

    def _pick(self, text: list[str], unmodified: bool, evict: bool) -> None:
        """``s:pick_chunk``: queue some lines for the ring."""
        if (unmodified and self._modified) or not self._ring_chunks or len(text) < 3:
            return
        chunk = text
        if len(text) + 1 >= RING_LINES:
            first = self._random.randint(0, max(0, len(text) - RING_LINES // 2))
            chunk = text[first : min(first + RING_LINES // 2, len(text)) + 1]
        if any(each.lines == chunk for each in (*self._ring, *self._queued)):
            return
        for chunks in (self._queued, self._ring):
            for number in range(len(chunks) - 1, -1, -1):
                if _similarity(chunks[number].lines, chunk) > 0.9:
                    if not evict:
                        return
                    del chunks[number]
        if len(self._queued) == QUEUED_CHUNKS:
            del self._queued[0]
        self._queued.append(_Chunk(chunk, self._buffer.path))

    def _update_ring(self) -> None:
        """``s:ring_update``: one queued chunk joins the ring while nobody types, and the server reads it ahead."""
        if self._ring_timer is not None:
            self._ring_timer.cancel()
        self._ring_timer = self._loop.call_later(RING_UPDATE_S, self._update_ring)
        if (self._inserting and self._loop.time() - self._key_s < STILL_S) or not self._queued:
            return
        if len(self._ring) == self._ring_chunks:
            del self._ring[0]
        self._ring.append(self._queued.pop(0))
        body = {
            "id_slot": 0,
            "input_prefix": "",
            "input_suffix": "",
            "input_extra": self._extra(),
            "prompt": "",
            "n_predict": 0,
            "temperature": 0.0,
            "samplers": [],
            "stream": False,
            "cache_prompt": True,
            "t_max_prompt_ms": 1,
            "t_max_predict_ms": 1,
            "response_fields": _FIELDS,
        }
        task = asyncio.ensure_future(self._read_ahead(body))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _read_ahead(self, body: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):
            self._note(await self._infill(body), background=True)

    def _forget_similar(self) -> None:
        """Chunks like the text around the cursor make the model repeat it."""
        around = self._around()
        first = self._random.randint(0, max(0, len(around) - RING_LINES // 2))
        chunk = around[first : min(first + RING_LINES // 2, len(around)) + 1]
        self._ring = [each for each in self._ring if _similarity(each.lines, chunk) <= 0.5]

    def _around(self) -> list[str]:
        y = self._buffer.line
        return self._lines()[max(0, y - RING_LINES // 2) : y + RING_LINES // 2 + 1]

    def _extra(self) -> list[dict[str, str]]:
        return [{"text": "\n".join(chunk.lines) + "\n", "filename": chunk.path} for chunk in self._ring]

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


def _repeats(content: list[str], left: str, right: str, lines: list[str], y: int) -> bool:
    """The suggestion says what stands below the cursor already."""
    if len(content) > 1 and not content[0] and content[1:] == lines[y + 1 : y + len(content)]:
        return True
    if len(content) == 1 and content[0] == right:
        return True
    below = y + 1
    while below < len(lines) - 1 and not lines[below].strip():
        below += 1
    if below >= len(lines) or left + content[0] != lines[below]:
        return False
    if len(content) == 2:
        return below + 1 < len(lines) and lines[below + 1].startswith(content[1])
    return len(content) == 1 or content[1:] == lines[below + 1 : below + len(content)]


def _similarity(one: list[str], other: list[str]) -> float:
    """``s:chunk_sim``: 0 to 1 by words in common."""
    words_of_one, words = (re.split(r"\W+", "\n".join(each)) for each in (one, other))
    known = set(words_of_one)
    total = len(words_of_one) + len(words)
    return 2.0 * sum(word in known for word in words) / total if total else 1.0


def _key(prefix: str, middle: str, suffix: str) -> str:
    return hashlib.sha256(f"{prefix}{middle}Î{suffix}".encode()).hexdigest()
