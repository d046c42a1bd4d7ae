"""A workspace for tests of the server: keeps what it is told, indexes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coder_lsp.types import IndexStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.config import Config


class ScriptedWorkspace:
    """``calls`` are the calls in their order; ``fails`` is raised by ``stop``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.status = IndexStatus()
        self.fails: Exception | None = None

    def configure(self, config: Config, /) -> None:
        self.calls.append(("configure", config.model))

    def set_roots(self, roots: Sequence[Path], /) -> None:
        self.calls.append(("roots", *map(str, roots)))

    def opened(self, path: Path, text: str, /) -> None:
        self.calls.append(("opened", str(path), text))

    def changed(self, path: Path, text: str, start_line: int, old_end_line: int, end_line: int, /) -> None:
        self.calls.append(("changed", str(path), text, start_line, old_end_line, end_line))

    def saved(self, path: Path, /) -> None:
        self.calls.append(("saved", str(path)))

    def closed(self, path: Path, /) -> None:
        self.calls.append(("closed", str(path)))

    async def stop(self) -> None:
        self.calls.append(("stop",))
        if self.fails is not None:
            raise self.fails
