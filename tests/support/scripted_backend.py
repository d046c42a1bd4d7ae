"""Models that say what the test tells them to, for the front's own logic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from coder_lsp.types import AskRequest, FimRequest, FimResult, FinishReason, PromptKind, PromptPreview, TextSink

PATIENCE_S = 10.0
"""A test that waits longer than this for something has failed."""


class ScriptedBackend:
    """Answers each request with ``texts`` in turn (the last one for ever); waits for ``hold`` first where it is set.

    Work ahead is put down in ``ahead`` and never done.
    """

    def __init__(self, *texts: str, finish: FinishReason = FinishReason.STOP_TOKEN) -> None:
        self.texts = list(texts)
        self.finish = finish
        self.requests: list[FimRequest] = []
        self.questions: list[AskRequest] = []
        self.ahead: list[FimRequest] = []
        self.warmed: list[FimRequest] = []
        self.cancelled = 0
        self.asked = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult:
        if request.idle:
            self.ahead.append(request)
            return FimResult("", FinishReason.CANCELLED)
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

    async def ask(self, request: AskRequest, on_text: TextSink | None = None) -> FimResult:
        self.questions.append(request)
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        said = ""
        for character in text:
            said += character
            if on_text is not None and not on_text(character):
                return FimResult(said, FinishReason.ENOUGH)
        return FimResult(said, self.finish)

    async def warm(self, request: FimRequest) -> None:
        self.warmed.append(request)

    async def preview(self, request: FimRequest) -> PromptPreview:
        return PromptPreview(request.prefix, len(request.prefix), snippets=request.snippets)


@dataclass(eq=False)
class Generation:
    """One request at a :class:`SteppedBackend`; the test writes what the model writes."""

    request: FimRequest
    on_text: TextSink | None
    done: asyncio.Future[FimResult]
    text: str = ""
    cancelled: bool = False
    steps: list[str] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return not self.done.done() and not self.cancelled

    def say(self, text: str) -> bool:
        """Write some more, character by character; False once it is enough, which ends it."""
        for character in text:
            if not self.running:
                break
            self.text += character
            if self.on_text is not None and not self.on_text(character):
                self.end(FinishReason.ENOUGH)
        return self.running

    def end(
        self,
        reason: FinishReason = FinishReason.STOP_TOKEN,
        *,
        alternatives: tuple[str, ...] = (),
        kind: PromptKind = PromptKind.FULL,
        logprobs: tuple[float, ...] = (),
    ) -> None:
        if self.running:
            result = FimResult(self.text, reason, alternatives=alternatives, prompt_kind=kind, logprobs=logprobs)
            self.done.set_result(result)

    def fail(self, error: Exception) -> None:
        self.done.set_exception(error)


class SteppedBackend:
    """Says nothing by itself: the test takes each generation from :meth:`asked` and goes on from there."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []
        self.warmed: list[FimRequest] = []
        self._arrived = asyncio.Event()

    async def complete(self, request: FimRequest, on_text: TextSink | None = None) -> FimResult:
        generation = Generation(request, on_text, asyncio.get_running_loop().create_future())
        self.generations.append(generation)
        self._arrived.set()
        try:
            return await generation.done
        except asyncio.CancelledError:
            generation.cancelled = True
            raise

    async def warm(self, request: FimRequest) -> None:
        self.warmed.append(request)
        self._arrived.set()

    async def asked(self, number: int) -> Generation:
        """The generation of this number, from 1, as soon as it is asked for."""
        await self._until(lambda: len(self.generations) >= number)
        return self.generations[number - 1]

    async def warmed_up(self, number: int) -> FimRequest:
        await self._until(lambda: len(self.warmed) >= number)
        return self.warmed[number - 1]

    async def _until(self, condition) -> None:
        while not condition():
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), PATIENCE_S)


class ManualClock:
    """Time stands still until the test lets it pass."""

    def __init__(self) -> None:
        self._now = 100.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        waker = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, waker))
        await waker

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything that waited for it happen."""
        await settle()
        end = self._now + seconds
        while due := sorted((each for each in self._sleepers if each[0] <= end), key=lambda each: each[0]):
            at, waker = due[0]
            self._sleepers.remove(due[0])
            self._now = max(self._now, at)
            if not waker.done():
                waker.set_result(None)
            await settle()
        self._now = end
        await settle()


async def settle() -> None:
    """Let everything happen that waits for nothing but its turn on the loop."""
    for _ in range(30):
        await asyncio.sleep(0)
