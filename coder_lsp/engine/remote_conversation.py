"""What is said on the wire for one generation: the question, the events of its answer, and hanging up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from coder_lsp.errors import RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.engine.remote_dialects import Asked, Dialect, Event
    from coder_lsp.engine.remote_wire import Lines, Wire
    from coder_lsp.engine.turns import EventCancel


class Conversation:
    """What is said on the wire for one generation: one question, or a second one behind forced bytes."""

    def __init__(self, wire: Wire, dialect: Dialect, cancel: EventCancel, timeout_ms: int) -> None:
        self._wire = wire
        self._timeout_ms = timeout_ms
        self._dialect = dialect
        self._cancel = cancel
        self._lines: Lines | None = None
        self.first_at: float | None = None
        """When the first text came, or the answer ended without any."""
        self.too_long = False
        """The text was as long as the server was told, and did not end by itself."""
        self.prompt: int | None = None
        self.cached: int | None = None

    def __enter__(self) -> Conversation:  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    @property
    def cancelled(self) -> bool:
        return self._cancel.cancelled

    def hang_up(self) -> None:
        """Close the connection, whoever waits for what comes of it."""
        lines = self._lines
        if lines is not None:
            lines.close()

    def ask(self, asked: Asked) -> Iterator[Event]:
        """:raises RemoteError: as :meth:`coder_lsp.engine.remote_wire.Lines.__iter__`; or the answer breaks off."""
        self._lines = lines = self._wire.stream(self._dialect.path, self._dialect.body(asked))
        if self.cancelled:
            # It came while the question was put, and had nobody to hang up on.
            lines.close()
        ended = False
        last = time.monotonic()
        for line in lines:
            event = self._dialect.read(line)
            if event is not None and (event.data or event.ended):
                last = time.monotonic()
                self.first_at = self.first_at or last
            elif (time.monotonic() - last) * 1e3 > self._timeout_ms:
                # Signs of life are no answer: one that gives nothing else is as silent as one that says nothing.
                raise RemoteUnreachable(f"{self._wire.address.origin} said nothing for {self._timeout_ms} ms")
            if event is None:
                continue
            self.prompt = event.prompt if event.prompt is not None else self.prompt
            self.cached = event.cached if event.cached is not None else self.cached
            if event.ended:
                ended = True
                self.too_long = not event.by_itself
            yield event
        if not ended and not lines.closed:
            raise RemoteUnreachable(f"{self._wire.address.origin} broke off in the middle of an answer")
