"""The progress of a work of several stages, each of so many files, bytes or whatever its unit is, on stderr."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_LINE_S = 3.0
"""Between two lines where no bar can be drawn."""


class Shown:
    """Progress: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, remarks: Console) -> None:
        self._remarks = remarks
        self._stage = ""
        self._next = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def tell(self, stage: str, done: int, total: int, unit: str) -> None:
        """Called often; ``total`` is 0 where it is not known."""
        new, self._stage = stage != self._stage, stage
        if self._remarks.is_terminal and not self._remarks.is_dumb_terminal:
            self._draw(stage, done, total, unit, new=new)
        elif new or time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_S
            of = f" of {_amount(total, unit)}" if total else ""
            self._remarks.print(f"{stage}: {_amount(done, unit)}{of}" if done else stage)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _draw(self, stage: str, done: int, total: int, unit: str, *, new: bool) -> None:
        from rich import progress as bars

        if self._bar is None:
            self._bar = bars.Progress(
                bars.TextColumn("{task.description}", markup=False),
                bars.BarColumn(),
                bars.TextColumn("{task.fields[said]}", markup=False),
                bars.TimeElapsedColumn(),
                bars.TimeRemainingColumn(),
                console=self._remarks,
                transient=True,
            )
            self._bar.start()
        if new or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(stage, total=total or None, said="")
        of = f" of {_amount(total, unit)}" if total else ""
        self._bar.update(self._task, completed=done, said=f"{_amount(done, unit)}{of}" if done else "")


def _amount(count: int, unit: str) -> str:
    from coder_lsp.models.files import human

    return human(count) if unit == "bytes" else f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"
