"""The block of other files for a document, frozen while the user types.

The block stands at the beginning of the prompt, so each change of it means evaluating the whole prompt again, seconds
on a laptop. It is therefore made once for a place and kept, and looked at again after a jump, after another document
was worked on, after a pause, and in another function. A request that finds it due for that takes the old one, as long
as what it shows is still true, and the new one is made when nobody waits; the host goes on with the old prompt until
the new one is evaluated. The old block stays if most of what a new one would show is in it, and in another function
near by unless there is one like it to be shown.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.types import CompletionRequest, ContextSource, Snippet

JUMP_LINES = 40
"""Further from where the block was made, the text around the cursor is another one: the prompt shows some 80 lines."""
PAUSE_S = 20.0
"""A user who has not asked for so long is reading or thinking; what follows may be something else."""
KEPT_SHARE = 0.7
"""A new block that shows less than three new lines in ten is not worth its evaluation."""
_DOCUMENTS = 32


@dataclass
class _Frozen:
    snippets: tuple[Snippet, ...]
    root: str
    budget: int
    line: int
    scope: str
    asked: float
    due: bool = False
    """Something else may be worth showing now."""


class FrozenContext:
    """Blocks by document, over whoever knows the workspace. For one event loop; ``clock`` counts seconds."""

    def __init__(self, source: ContextSource, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._blocks: OrderedDict[str, _Frozen] = OrderedDict()
        self._newest = ""

    def block(self, request: CompletionRequest, budget: int, *, waiting: bool = False) -> tuple[Snippet, ...]:
        """What to show for a request: the frozen block while it holds. ``waiting``: somebody waits for the answer, and
        will not when this is called again; an old block is good enough then.
        """
        now = self._clock()
        line = request.text.count("\n", 0, request.cursor)
        scope = self._source.scope(request)
        frozen = self._blocks.get(request.uri)
        if frozen is None or frozen.budget != budget or frozen.root != request.root:
            frozen = _Frozen(self._source.context(request, budget), request.root, budget, line, scope, now)
            self._blocks[request.uri] = frozen
            if len(self._blocks) > _DOCUMENTS:
                self._blocks.popitem(last=False)
        else:
            frozen.due = frozen.due or self._stale(frozen, request.uri, line, now)
            elsewhere = scope not in {"", frozen.scope}
            if (frozen.due or elsewhere) and not (waiting and self._source.holds(frozen.snippets)):
                self._renew(frozen, self._source.context(request, budget))
                if frozen.due:
                    frozen.line, frozen.due = line, False
                frozen.scope = scope or frozen.scope
        frozen.asked = now
        self._newest = request.uri
        self._blocks.move_to_end(request.uri)
        return frozen.snippets

    def holds(self, snippets: tuple[Snippet, ...]) -> bool:
        """Whether the files still say what these snippets show."""
        return self._source.holds(snippets)

    def forget(self) -> None:
        """Make every block anew; for new settings."""
        self._blocks.clear()

    def look_again(self) -> None:
        """Take every block for stale, because more of the workspace is known now."""
        for frozen in self._blocks.values():
            frozen.asked = -math.inf

    def _renew(self, frozen: _Frozen, fresh: tuple[Snippet, ...]) -> None:
        alike = tuple(snippet for snippet in fresh if snippet.alike)
        if (
            (frozen.due and _shared(fresh, frozen.snippets) < KEPT_SHARE)
            or _shared(alike, frozen.snippets) < KEPT_SHARE
            or not self._source.holds(frozen.snippets)
        ):
            frozen.snippets = fresh

    def _stale(self, frozen: _Frozen, uri: str, line: int, now: float) -> bool:
        if not frozen.snippets:
            # Nothing was found, or nothing was indexed yet: asking again costs milliseconds and no evaluation.
            return True
        return uri != self._newest or abs(line - frozen.line) > JUMP_LINES or now - frozen.asked > PAUSE_S


def _shared(fresh: tuple[Snippet, ...], old: tuple[Snippet, ...]) -> float:
    """Which part of a new block's lines the old one shows."""
    shown = {(snippet.path, line) for snippet in old for line in snippet.text.split("\n")}
    lines = [(snippet.path, line) for snippet in fresh for line in snippet.text.split("\n") if line.strip()]
    return sum(line in shown for line in lines) / len(lines) if lines else 1.0
