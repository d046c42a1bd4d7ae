"""One request on its way through the service, and where its time goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.types import Shape

if TYPE_CHECKING:
    from coder_lsp.completion.gap import Gap
    from coder_lsp.completion.stream import Stream


@dataclass
class Job:
    """``arrived`` and ``asked`` are the service's clock, in seconds; ``wanted`` is how many suggestions."""

    gap: Gap
    arrived: float
    invoked: bool
    wanted: int = 1
    candidates: list[tuple[Stream, str]] = field(default_factory=list)
    """Streams that may answer it, each with what was typed since it was asked; those to be tried first first."""
    asked: float | None = None
    """When the model was asked, while it works on it."""
    _began: float = field(default_factory=time.perf_counter)
    _ms: dict[str, float] = field(default_factory=dict)

    def may_read(self, stream: Stream, typed: str, asked_shape: Shape | None) -> bool:
        """Whether a stream that leads here may answer. ``asked_shape``: what the user asks for by hand; where he does
        not (None), he gets what was begun, so that a block into which he types stays one.
        """
        if stream.running and stream.idle and not stream.text:
            return False  # the backend has not begun, and lets it wait for others
        if not stream.running and not typed and stream.provisional:
            return False
        return stream.wanted >= self.wanted and not (asked_shape is Shape.BLOCK and stream.shape is Shape.LINE)

    def spend(self, stage: str, since: float) -> None:
        """Count the time from ``since`` (``time.perf_counter``) until now."""
        self._ms[stage] = self._ms.get(stage, 0.0) + 1000 * (time.perf_counter() - since)

    def timings_ms(self) -> dict[str, float]:
        """``front`` is all that was not spent waiting: for the burst of keys to end (``delay``), for an own request
        (``host``) or a shared one (``waited``). ``context`` is a part of it.
        """
        elsewhere = sum(ms for stage, ms in self._ms.items() if stage != "context")
        front = 1000 * (time.perf_counter() - self._began) - elsewhere
        return {stage: round(ms, 3) for stage, ms in {"front": front, **self._ms}.items()}
