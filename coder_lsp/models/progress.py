"""How a long transfer is shown: a bar on a terminal, a line now and then elsewhere, events for programs.

``pull`` drives the :class:`Progress` protocol and knows nothing of terminals. Everything here goes to stderr except the
JSON events, which are the result of ``--json`` and go to stdout. rich loads only for a terminal.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from coder_lsp.models.files import human

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_SECONDS = 3.0
"""Between two lines where no bar can be drawn."""
EVENT_SECONDS = 0.5


class Progress(Protocol):
    """What a pull tells. ``begin`` may come again, when another source goes on with what there is."""

    def note(self, text: str) -> None:
        """One plain remark."""
        ...

    def begin(self, activity: str, done: int, total: int | None) -> None: ...

    def update(self, done: int) -> None: ...

    def end(self) -> None:
        """The activity is over, for better or worse."""
        ...


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None: ...

    def begin(self, activity: str, done: int, total: int | None) -> None: ...

    def update(self, done: int) -> None: ...

    def end(self) -> None: ...


class Lines:
    """For logs and pipes: a line every few seconds."""

    def __init__(self, stream: TextIO | None = None, seconds: float = LINE_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._seconds = seconds
        self._meter: Meter | None = None
        self._activity = ""
        self._next = 0.0

    def note(self, text: str) -> None:
        self._print(text)

    def begin(self, activity: str, done: int, total: int | None) -> None:
        self._activity = activity
        self._meter = Meter(done, total)
        self._next = time.monotonic() + self._seconds
        size = f" ({human(total)})" if total else ""
        self._print(f"{activity}{size}{f', {human(done)} are here already' if done else ''}")

    def update(self, done: int) -> None:
        if self._meter is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._print(f"{self._activity}: {self._meter.words(done)}")

    def end(self) -> None:
        self._meter = None

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Events:
    """For programs: one JSON object a line on stdout."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._total: int | None = None
        self._next = 0.0

    def note(self, text: str) -> None:
        self._emit({"event": "note", "text": text})

    def begin(self, activity: str, done: int, total: int | None) -> None:
        self._total = total
        self._next = 0.0
        self._emit({"event": "begin", "activity": activity, "done": done, "total": total})

    def update(self, done: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVENT_SECONDS
            self._emit({"event": "progress", "done": done, "total": self._total})

    def end(self) -> None: ...

    def _emit(self, event: dict[str, object]) -> None:
        print(json.dumps(event), file=self._stream, flush=True)


class Bar:
    """For a terminal: bar, bytes, rate and time left, on one line that is erased at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: RichProgress | None = None
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def begin(self, activity: str, done: int, total: int | None) -> None:
        from rich import progress as bars

        self.end()
        self._shown = bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(),
            bars.DownloadColumn(),
            bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._shown.add_task(activity, total=total, completed=done)
        self._shown.start()

    def update(self, done: int) -> None:
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, completed=done)

    def end(self) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


def for_console(console: Console) -> Progress:
    """A bar where one can be drawn, lines elsewhere."""
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


class Meter:
    """Rate and time left, from the beginning of one activity."""

    def __init__(self, done: int, total: int | None) -> None:
        self._first = done
        self._total = total
        self._began = time.monotonic()

    def words(self, done: int) -> str:
        """``123.0 MB of 491.4 MB (25 %), 12.3 MB/s, 0:30 left``."""
        seconds = time.monotonic() - self._began
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        if not self._total:
            return f"{human(done)}, {human(rate)}/s"
        words = f"{human(done)} of {human(self._total)} ({100 * done // self._total} %), {human(rate)}/s"
        if rate > 0:
            left = max(0, round((self._total - done) / rate))
            words += f", {left // 60}:{left % 60:02} left"
        return words
