"""Everything the model writes for one window: what runs, what runs ahead, and what is finished.

At most one generation runs that a user waits for, and one that nobody waits for yet. A new request either can use one
of them or ends it; what ends by itself is kept in the cache until its document is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.completion.cache import StreamCache
from coder_lsp.completion.stream import end_all
from coder_lsp.types import FinishReason

if TYPE_CHECKING:
    from coder_lsp.completion.gap import Gap
    from coder_lsp.completion.stream import Stream
    from coder_lsp.types import FimBackend

_TRY_AGAIN = (FinishReason.CANCELLED, FinishReason.DEADLINE, FinishReason.LENGTH)
"""If one of these left nothing visible, asking again may bring something."""


class Generations:
    """For one event loop. Call :meth:`close` at the end."""

    def __init__(self, backend: FimBackend) -> None:
        self.keep = True
        """Whether what is finished is remembered."""
        self._backend = backend
        self._live: Stream | None = None
        self._ahead: Stream | None = None
        self._cache = StreamCache()
        self._running: set[Stream] = set()
        """Those that have not let go of the backend yet, cancelled ones included."""

    def matching(self, gap: Gap) -> list[tuple[Stream, str]]:
        """Streams that lead to ``gap``, those to be tried first first, each with what was typed since it was asked."""
        found = self._cache.matching(gap)
        for stream in (self._live, self._ahead):
            typed = stream.typed(gap) if stream is not None else None
            if stream is not None and typed is not None and stream.rests(typed):
                found.append((stream, typed))
        return found

    def knows(self, gap: Gap) -> bool:
        """Whether this very place was asked about, or is being."""
        return any(not typed and not stream.provisional for stream, typed in self.matching(gap))

    def start(self, stream: Stream) -> None:
        """Have a stream generated in place of what ran before. Work ahead gives way to what is waited for."""
        self.cancel(self._ahead)
        if stream.idle:
            self._ahead = stream
        else:
            self.cancel(self._live)
            self._live = stream
        self._running.add(stream)
        stream.start(self._backend, self._ended)

    def used(self, stream: Stream) -> None:
        self._cache.use(stream)

    def release(self, gap: Gap | None = None) -> None:
        """End what a request at ``gap`` (None: nobody) cannot use, now or when its user has typed on."""
        useful = () if gap is None else {stream for stream, _ in self.matching(gap)}
        if self._live not in useful:
            self.cancel(self._live)
        if self._ahead is not None and self._ahead not in useful and not (gap and self._ahead.is_on_the_way(gap)):
            self.cancel(self._ahead)

    def cancel(self, stream: Stream | None) -> None:
        """End a stream; what it wrote is forgotten."""
        if stream is None:
            return
        self._let_go(stream)
        stream.cancel()

    def forget(self, document: str) -> None:
        """A document was closed."""
        for stream in (self._live, self._ahead):
            if stream is not None and stream.document == document:
                self.cancel(stream)
        self._cache.forget(document)

    def start_afresh(self) -> None:
        """From now on everything is asked anew; who waits for an answer still gets it."""
        self.cancel(self._ahead)
        self._live = None
        self._cache.forget()

    async def close(self) -> None:
        """End everything, and wait until the backend is let go of."""
        self.start_afresh()
        await end_all(list(self._running))

    def _ended(self, stream: Stream) -> None:
        self._running.discard(stream)
        wanted = stream in {self._live, self._ahead}
        self._let_go(stream)
        if wanted and self.keep and stream.result is not None:
            empty = not any(map(str.strip, (stream.text, *stream.result.alternatives)))
            if stream.result.finish_reason is not FinishReason.CANCELLED and not (
                empty and stream.result.finish_reason in _TRY_AGAIN
            ):
                self._cache.add(stream)

    def _let_go(self, stream: Stream) -> None:
        if stream is self._live:
            self._live = None
        if stream is self._ahead:
            self._ahead = None
