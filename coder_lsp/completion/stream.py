"""One generation that requests share: what was asked, the text so far, and whether more is coming.

A request does not own its generation. It reads a :class:`Stream`, and when the next key overtakes it, the next request
may read the same one on, from where the typing has got to. A finished stream is what the cache keeps; it holds
digests in place of the document's text then. Who starts, keeps and cancels streams is ``completion.generations``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from coder_lsp.completion.gap import Gap, fingerprint
from coder_lsp.completion.indentation import fix_indentation
from coder_lsp.completion.postprocess import StopRule, ending
from coder_lsp.completion.typed import Rest, follow
from coder_lsp.types import FinishReason, PromptKind, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.types import FimBackend, FimRequest, FimResult, Snippet

_TAIL_CHARACTERS = 64
"""Compared before anything is hashed."""
_TRUNCATED = (FinishReason.LENGTH, FinishReason.DEADLINE)

_Versions = tuple[str, str, str, str]
"""A text as the model wrote it, the same in the file's own indentation, and both as far as they are kept."""


class Stream:
    """What is being generated for ``gap``, or was. Started once, by :meth:`start`; ``began`` says when, in seconds."""

    def __init__(self, gap: Gap, shape: Shape, request: FimRequest, began: float = 0.0) -> None:
        self.began = began
        self.shape = shape
        self.idle = request.idle
        self.wanted = request.alternatives
        self.snippets: tuple[Snippet, ...] = request.snippets
        self.text = ""
        """Exactly what the model wrote, from the gap's cursor on."""
        self.result: FimResult | None = None
        self.fault: Exception | None = None
        self.full = False
        """The gap is filled: what the backend still sends is not looked at, and its result is about to come."""
        self.shown = False
        """Some of it was on the user's screen."""
        self.document = gap.request.uri
        self.key = gap.key
        self.length = len(gap.prefix)
        self.digest = fingerprint(gap.prefix)
        self._behind = fingerprint(gap.suffix)
        self._tail = gap.prefix[-_TAIL_CHARACTERS:]
        self._request: FimRequest | None = request
        self._gap: Gap | None = gap
        self._rule = StopRule(gap.before, gap.after, gap.language, shape)
        self._versions: list[_Versions] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._request is not None

    @property
    def failed(self) -> bool:
        """It ended without anything to show for it."""
        return not self.running and (self.result is None or self.result.finish_reason is FinishReason.CANCELLED)

    @property
    def truncated(self) -> bool:
        """Out of tokens or time: the last line may be half a line."""
        return self.result is not None and self.result.finish_reason in _TRUNCATED

    @property
    def provisional(self) -> bool:
        """Written without the whole document in sight; worth asking again at the same place."""
        return self.result is not None and self.result.prompt_kind is PromptKind.SHORT

    @property
    def size(self) -> int:
        """Characters it keeps."""
        return sum(len(text) for versions in self._versions for text in versions)

    def start(self, backend: FimBackend, on_end: Callable[[Stream], None]) -> None:
        """Have it generated; ``on_end`` is called once, whatever becomes of it."""

        def ended(_: asyncio.Task[None]) -> None:
            # A cancelled task has the traceback of where it was, and that has us: a circle, which would keep the texts.
            self._task = None
            self._end()
            on_end(self)

        self._task = asyncio.ensure_future(self._generate(backend))
        # Also called where the task is cancelled before its first step.
        self._task.add_done_callback(ended)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    async def changed(self) -> None:
        """Return when there is more text, or no more will come."""
        if self.running:
            await self._changed.wait()

    def typed(self, gap: Gap) -> str | None:
        """What leads from where this was asked to ``gap``; None if that is not behind it in the same text."""
        if gap.key != self.key or len(gap.prefix) < self.length:
            return None
        if not gap.prefix.endswith(self._tail, 0, self.length):
            return None
        if fingerprint(gap.prefix[: self.length]) != self.digest:
            return None
        return gap.prefix[self.length :]

    def settles(self, gap: Gap) -> bool:
        """Whether it is decided where a block ends that leads to ``gap``: the text below is what it was, to the letter.

        A block into which the user types would else come and go, as each place has its own idea of it: behind an
        opening bracket on, a block is what the brackets hold.
        """
        return self.shape is Shape.BLOCK and self._behind == fingerprint(gap.suffix)

    def rests(self, typed: str, *, settled: bool = False) -> list[Rest]:
        """What is left behind ``typed`` of each text that agrees with it, best first.

        ``settled``: without what a finished block does not keep. What the user sees has the file's own indentation,
        so his typing may agree with that form alone.
        """
        if self._versions:
            pairs = [each[2:] if settled else each[:2] for each in self._versions]
            rests = [follow(one, typed) or follow(other, typed) for one, other in pairs]
        else:
            rests = [follow(self.text, typed)]
            if rests[0] is None and self._gap is not None:
                rests = [follow(_fitted(self.text, self._gap), typed)]
        return [rest for rest in rests if rest is not None]

    def is_on_the_way(self, gap: Gap) -> bool:
        """Whether whoever types on from ``gap`` may come to where this was asked."""
        return self._gap is not None and gap.key == self.key and self._gap.prefix.startswith(gap.prefix)

    async def _generate(self, backend: FimBackend) -> None:
        assert self._request is not None
        try:
            result = await backend.complete(self._request, self._feed)
        except Exception as error:  # noqa: BLE001  (raised again where somebody waits for it)
            self.fault = error
            return
        self.result = result
        self.text = result.text

    def _feed(self, delta: str) -> bool:
        self.text += delta
        self.full = not self._rule.feed(delta)
        self._tell()
        return not self.full

    def _end(self) -> None:
        gap, self._gap, self._request = self._gap, None, None
        if gap is not None and self.result is not None:
            for text in (self.text, *self.result.alternatives):
                kept = text
                if self.shape is Shape.BLOCK:
                    rule = StopRule(gap.before, gap.after, gap.language, self.shape)
                    kept, _ = ending(rule, text, truncated=self.truncated)
                self._versions.append((text, _fitted(text, gap), kept, _fitted(kept, gap)))
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _fitted(text: str, gap: Gap) -> str:
    return fix_indentation(text, gap.before, gap.language)


async def end_all(streams: list[Stream]) -> None:
    """Cancel them and wait until each of them has let go of the backend."""
    for stream in streams:
        stream.cancel()
    for stream in streams:
        await stream.ended()
