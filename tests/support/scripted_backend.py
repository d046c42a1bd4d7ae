"""A model that says what the test tells it to, piece by piece, for the front's own logic."""

from __future__ import annotations

import asyncio

from coder_lsp.types import FimRequest, FimResult, FinishReason, TextSink


class ScriptedBackend:
    """Answers each request with ``texts`` in turn (the last one for ever); waits for ``hold`` first where it is set."""

    def __init__(self, *texts: str, finish: FinishReason = FinishReason.STOP_TOKEN) -> None:
        self.texts = list(texts)
        self.finish = finish
        self.requests: list[FimRequest] = []
        self.cancelled = 0
        self.asked = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult:
        self.requests.append(request)
        self.asked.set()
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        said = ""
        for character in text:
            said += character
            if on_text is not None and not on_text(character):
                return FimResult(said, FinishReason.ENOUGH)
        return FimResult(said, self.finish)
