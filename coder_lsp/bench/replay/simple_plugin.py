"""The way a simple plugin does it: when the keys rest for a moment, complete what is around the cursor.

No request is ended once it runs; when it is done, the newest place is asked for. An answer to a place that the cursor
has left is dropped. ``complete`` is llama-cpp-python's ``create_completion`` in a process of its own.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.replay.buffer import Buffer
from coder_lsp.bench.replay.screen import Screen
from coder_lsp.bench.replay.typist import ModelRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from coder_lsp.bench.replay.trace import Visit

    Complete = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

DEBOUNCE_S = 0.15
"""Of llm.nvim; other plugins wait up to 350 ms."""
BEFORE_CHARACTERS = 6000
AFTER_CHARACTERS = 2000
"""Some 2,700 tokens in all, so that context and answer fit into 4,096."""
MAX_TOKENS = 64
_SETTLE_S = 60.0


class SimplePlugin:
    """Ghost text that agrees with what is typed stays, which the editor sees to."""

    def __init__(self, name: str, root: Path, complete: Complete) -> None:
        self.name = name
        self.screen = Screen()
        self._root, self._complete = root, complete
        self._buffer = Buffer()
        self._key_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._again = False
        self._here = False
        self._requests: list[ModelRequest] = []

    async def enter(self, visit: Visit) -> None:
        self._buffer = Buffer(visit.path, visit.before, visit.after)
        self._here = True

    def press(self, text: str) -> None:
        self.screen.typed(text)
        self._buffer.insert(text)
        loop = asyncio.get_running_loop()
        self._key_s = loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(DEBOUNCE_S, self._ask)

    def accept(self, text: str) -> None:
        self.press(text)

    async def leave(self) -> None:
        self._here = self._again = False
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=_SETTLE_S)
        self.screen.clear()
        (self._root / self._buffer.path).write_text(self._buffer.text, encoding="utf-8")

    def requests(self) -> list[ModelRequest]:
        done, self._requests = self._requests, []
        return done

    def _ask(self) -> None:
        if self.screen.ghost:
            return
        if self._running is not None:
            self._again = True
            return
        self._running = asyncio.ensure_future(self._run(self._buffer.before, self._key_s))

    async def _run(self, before: str, asked_s: float) -> None:
        request = {
            "prompt": before[-BEFORE_CHARACTERS:],
            "suffix": self._buffer.after[:AFTER_CHARACTERS],
            "max_tokens": MAX_TOKENS,
        }
        try:
            with suppress(OSError, ValueError):
                answer = await self._complete(request)
                self._requests.append(ModelRequest(int(answer["evaluated"]), int(answer["generated"])))
                if self._here and before == self._buffer.before and answer["text"].strip():
                    self.screen.show(answer["text"], asked_s)
        finally:
            self._running = None
            if self._again:
                self._again = False
                self._ask()
