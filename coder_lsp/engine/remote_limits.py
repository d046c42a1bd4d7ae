"""When not to ask a server: it failed a moment ago, or it was asked often enough."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from coder_lsp.errors import RemoteBusy, RemoteError, RemoteRefused, RemoteResting, RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_FAILURES = 3
_FIRST_REST_S = 2.0
_LONGEST_REST_S = 60.0


class Breaker:
    """Opens when a server cannot be reached, refuses us, or failed three times running; one request at a time tries
    again after a rest, which doubles up to a minute. Nobody else waits for a server that is not there.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rest = _FIRST_REST_S
        self._until: float | None = None
        self._trying = False
        self.last: RemoteError | None = None
        """What opened it; None while closed."""

    @property
    def open(self) -> bool:
        return self._until is not None

    def enter(self) -> None:
        """:raises RemoteResting: it is open, and the next try is not due."""
        with self._lock:
            if self._until is None:
                return
            left = self._until - self._clock()
            if left > 0 or self._trying:
                said = self.last.message if self.last else "the server failed"
                raise RemoteResting(f"{said}; asked again in {max(left, 0):.0f} s")
            self._trying = True

    def succeeded(self) -> None:
        with self._lock:
            self._failures, self._rest, self._until, self._trying, self.last = 0, _FIRST_REST_S, None, False, None

    def left(self) -> None:
        """A request ended that tells nothing: cancelled before anything came."""
        with self._lock:
            self._trying = False

    def failed(self, error: RemoteError) -> None:
        with self._lock:
            self._failures += 1
            again = self._trying
            self._trying = False
            at_once = isinstance(error, RemoteRefused) or _is_absent(error)
            if again or at_once or self._failures >= _FAILURES:
                if again:
                    self._rest = min(self._rest * 2, _LONGEST_REST_S)
                self._until = self._clock() + self._rest
                self.last = error


class RateLimit:
    """``per_minute`` requests in any minute on average, a quarter of them at once; 0: any number."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, per_minute / 4)
        self._left = self._most
        self._clock = clock
        self._at = clock()
        self._lock = threading.Lock()

    def enter(self) -> None:
        """:raises RemoteBusy: that would be more than allowed."""
        if self._rate <= 0:
            return
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left < 1:
                raise RemoteBusy(
                    f"the limit of {self._rate * 60:g} requests in a minute is reached", hint="raise remote.per_minute"
                )
            self._left -= 1


def _is_absent(error: RemoteError) -> bool:
    """Whether there is nobody: waiting for that again and again helps nobody."""
    return isinstance(error, RemoteUnreachable) and (
        "cannot be reached" in error.message or "did not take the connection" in error.message
    )
