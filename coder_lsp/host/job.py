"""One request on its way: what it carries, and how it is answered and logged."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp import errors
from coder_lsp.types import AskRequest, FimRequest, FimResult, FinishReason, HostStatus

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from coder_lsp.engine.base import CancelToken

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One request on its way. ``label`` names it in the log; ``answer`` is resolved exactly once.

    An instruction takes long and gives way to completions: it is broken off, and goes on behind what it had ``said``.
    """

    owner: Hashable
    label: str
    request: FimRequest | AskRequest
    answer: asyncio.Future[FimResult]
    on_text: Callable[[str], None] | None
    """Called on the event loop with each piece of text."""
    on_status: Callable[[HostStatus], None]
    """What the host does for this owner: generating, ready again."""
    enough: bool = False
    """Set when the reader has enough; the worker's thread reads it."""
    arrived: float = field(default_factory=time.perf_counter)
    token: CancelToken | None = None
    said: str = ""
    """What was delivered since it was last begun; of an instruction that gave way, ``before`` came before that."""
    before: str = ""
    gives_way: bool = False
    """Broken off for somebody else, not because nobody wants it."""

    @property
    def idle(self) -> bool:
        """Whether nobody waits for it."""
        return isinstance(self.request, FimRequest) and self.request.idle

    @property
    def is_ask(self) -> bool:
        return isinstance(self.request, AskRequest)

    def sink(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], bool]:
        """For the worker's thread. The loop's queue keeps the pieces in order, and before the result."""

        def on_text(delta: str) -> bool:
            self.said += delta
            if self.on_text is not None:
                loop.call_soon_threadsafe(self.on_text, delta)
            return not self.enough

        return on_text

    def settle(self, outcome: FimResult | errors.CoderLspError) -> None:
        """Answer it, unless it is answered or nobody waits any more."""
        if self.answer.done():
            return
        if isinstance(outcome, FimResult):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)

    def answer_cancelled(self) -> None:
        waited_ms = round((time.perf_counter() - self.arrived) * 1000, 3)
        result = FimResult("", FinishReason.CANCELLED, timings_ms={"queue": waited_ms, "total": waited_ms})
        self.log(result)
        self.settle(result)

    def log(self, result: FimResult) -> None:
        """One line, of numbers only."""
        timings = " ".join(f"{stage}={ms:.0f}" for stage, ms in result.timings_ms.items())
        tokens = " ".join(f"{kind}={count}" for kind, count in dataclasses.asdict(result.tokens).items())
        ahead = " ahead" if self.idle else " ask" if self.is_ask else ""
        logger.info(
            "request %s%s: %s ms: %s tokens: %s", self.label, ahead, result.finish_reason.value, timings, tokens
        )


def stopping_error() -> errors.HostUnavailable:
    return errors.HostUnavailable("the model host is stopping")
