"""A terminal in which a test runs an editor: it types keys and reads the screen, as a person would."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pexpect
import pyte

PATIENCE_S = 90.0
"""The real model is loaded within; a test that waits longer has failed."""
POLL_S = 0.05
ROWS, COLUMNS = 40, 110


class Screen(pyte.Screen):
    """pyte's, which knows no private forms of these and would fail on them. Questions are answered, or editors wait."""

    def __init__(self, answer: Callable[[str], object]) -> None:
        super().__init__(COLUMNS, ROWS)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)

    def report_device_status(self, mode: int, **kwargs: bool) -> None:
        if not kwargs:
            super().report_device_status(mode)

    def report_device_attributes(self, mode: int = 0, **kwargs: bool) -> None:
        if not kwargs:
            super().report_device_attributes(mode)

    def select_graphic_rendition(self, *attributes: int, **kwargs: bool) -> None:
        if not kwargs:
            super().select_graphic_rendition(*attributes)


class Terminal:
    """One program in a pseudo terminal. Its output is drawn by pyte as it comes."""

    def __init__(self, command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._child = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(folder),
            env={**environment, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
            dimensions=(ROWS, COLUMNS),
            timeout=PATIENCE_S,
        )
        # Nothing reads while a test waits for something else, so keys need no pause of their own.
        self._child.delaybeforesend = None
        self._screen = Screen(self._child.send)
        self._stream = pyte.ByteStream(self._screen)

    def draw(self) -> None:
        """Take what the program has written; waits for it for a moment at most."""
        try:
            self._stream.feed(self._child.read_nonblocking(65536, timeout=POLL_S))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF as error:
            raise AssertionError(f"the editor ended\n{self.text}") from error

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def type(self, keys: str) -> None:
        self._child.send(keys)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Until ``condition`` holds; fails with what is on screen."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}\n{self.text}"
            self.draw()

    def see(self, text: str) -> None:
        self.wait(lambda: text in self.text, f"{text!r} on screen")

    def close(self) -> None:
        self._child.close(force=True)
