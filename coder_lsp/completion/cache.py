"""Finished generations of the open documents, the most recently used ones: nothing is decoded twice.

Bounded in number and in characters. Knows nothing of requests in flight, and keeps no document's text, only what the
model wrote (see :class:`~coder_lsp.completion.stream.Stream`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coder_lsp.completion.gap import Gap
    from coder_lsp.completion.stream import Stream

MOST_STREAMS = 300
MOST_CHARACTERS = 1_000_000


class StreamCache:
    """Least recently used out first."""

    def __init__(self, most_streams: int = MOST_STREAMS, most_characters: int = MOST_CHARACTERS) -> None:
        self._most_streams = most_streams
        self._most_characters = most_characters
        self._streams: OrderedDict[Stream, None] = OrderedDict()
        self.characters = 0

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: Stream) -> None:
        """Keep a finished stream; an older one of the same place goes, unless it says more."""
        for other in [other for other in self._streams if _same_place(other, stream)]:
            if other.wanted > stream.wanted and not other.provisional:
                return
            self._drop(other)
        self._streams[stream] = None
        self.characters += stream.size
        while len(self._streams) > self._most_streams or self.characters > self._most_characters:
            self._drop(next(iter(self._streams)))

    def use(self, stream: Stream) -> None:
        """It served a request."""
        if stream in self._streams:
            self._streams.move_to_end(stream)

    def matching(self, gap: Gap) -> list[tuple[Stream, str]]:
        """Streams whose place leads to ``gap``, the latest first, each with what was typed since."""
        found: list[tuple[Stream, str]] = []
        for stream in reversed(self._streams):
            typed = stream.typed(gap)
            if typed is not None:
                found.append((stream, typed))
        return found

    def forget(self, document: str | None = None) -> None:
        """Drop what belongs to a document, or everything."""
        for stream in [stream for stream in self._streams if document in {None, stream.document}]:
            self._drop(stream)

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream]
        self.characters -= stream.size


def _same_place(one: Stream, other: Stream) -> bool:
    return (one.digest, one.length, one.key) == (other.digest, other.length, other.key)
