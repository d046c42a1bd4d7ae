"""Where a document's prompt is split: the anchor, kept while the user types on.

An ordinary FIM prompt is split at the cursor, so each keystroke changes the middle of the prompt and everything behind
it has to be evaluated again. Here it is split at an *anchor*, a line start a few lines above the cursor:

    [context][head: prefix up to the anchor][suffix][middle token][tail: typed since the anchor]

The tail is the forced beginning of the middle. It is the same conditional distribution the model was trained for (FIM
splits documents at random characters), yet a keystroke only appends tokens. It is also more often right: with the 0.5B
default model 34 of 48 mid-line places, against 13 with the split at the cursor (docs/benchmarks.md).

A placement is kept while the text before the anchor and after the cursor stay what they were and the tail stays short.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.prompt.tokens import TokenCache, first_lines, last_lines

if TYPE_CHECKING:
    from coder_lsp.config import PromptConfig
    from coder_lsp.types import Snippet

CLOSERS = ")]}>\"'`"
"""What editors insert by themselves after the cursor while an opener is typed."""

_TAIL_LINES = 13
"""Lines typed below an anchor before it moves up behind the cursor. Moving it means evaluating head and suffix again, a
second or two on two cores; keeping it costs little quality (docs/benchmarks.md: three lines 34, six lines 30 of 48)."""
_DUE_LINES = 5
"""The same where nobody waits: so many lines later the anchor is moved in the background."""
_TAIL_TOKENS = 320
_LAST_PIECE = re.compile(r"[ \t]?_?[^\W_]*\Z")
_SAME_START = 512
"""Characters of the old head that must still be there for its window to be worth keeping."""
_REWINDOW = 0.7
"""Share of the prefix budget used when the window is cut anew, so that it can grow for a while before the next cut."""


@dataclass(frozen=True)
class Placement:
    """One document's split. ``window`` and ``anchor`` are offsets into the prefix text of the request it was made for.

    ``head`` is ``prefix[window:anchor]``; ``suffix`` the part of the following text that the model sees.
    """

    window: int
    anchor: int
    head: str
    suffix: str
    suffix_is_whole: bool
    snippets: tuple[Snippet, ...] = ()

    def tail(self, prefix: str) -> str:
        """What the middle begins with: the text between the anchor and the cursor."""
        return prefix[self.anchor :]


def place(
    cache: TokenCache,
    config: PromptConfig,
    prefix: str,
    suffix: str,
    *,
    snippets: tuple[Snippet, ...] = (),
    previous: Placement | None = None,
    ahead: bool = False,
) -> Placement:
    """The placement for a request: ``previous`` if it still holds, else a new one that shares what it can with it.

    ``ahead``: nobody waits for it, so a better one is made where :func:`is_due` says so.
    """
    shown = _without_closers(suffix)
    if not config.anchored:
        previous = None
    elif previous is not None and snippets == previous.snippets:
        better = ahead and is_due(config, previous, prefix)
        if not better and _holds(cache, config, previous, prefix, shown):
            return previous
    window = _window(cache, config, prefix, previous)
    anchor = len(prefix) - len(last_piece(prefix))
    if config.anchored:
        anchor = _lines_above(prefix, config.anchor_lines)
    anchor = max(window, anchor)
    end = first_lines(cache, shown, config.suffix_tokens)
    return Placement(
        window=window,
        anchor=anchor,
        head=prefix[window:anchor],
        suffix=shown[:end],
        suffix_is_whole=end == len(shown),
        snippets=snippets,
    )


def holds(cache: TokenCache, config: PromptConfig, placement: Placement, prefix: str, suffix: str) -> bool:
    """Whether a placement still splits this text: what the model was shown of it is there, and the tail is short."""
    return _holds(cache, config, placement, prefix, _without_closers(suffix))


def is_due(config: PromptConfig, placement: Placement, prefix: str) -> bool:
    """Whether so much was typed below the anchor that it is worth moving while nobody waits."""
    return placement.tail(prefix).count("\n") > config.anchor_lines + _DUE_LINES


def last_piece(text: str) -> str:
    """The piece of a word that ``text`` ends with, from its last underscore, with the space before it."""
    found = _LAST_PIECE.search(text)
    return found.group() if found else ""


def _holds(cache: TokenCache, config: PromptConfig, previous: Placement, prefix: str, suffix: str) -> bool:
    if not prefix.startswith(previous.head, previous.window):
        return False
    if len(prefix) < previous.anchor:
        return False
    if not (suffix == previous.suffix if previous.suffix_is_whole else suffix.startswith(previous.suffix)):
        return False
    tail = prefix[previous.anchor :]
    return tail.count("\n") <= config.anchor_lines + _TAIL_LINES and len(cache.tokenize(tail)) <= _TAIL_TOKENS


def _window(cache: TokenCache, config: PromptConfig, prefix: str, previous: Placement | None) -> int:
    """Where the visible prefix begins. It stays put while it can: moving it changes every token of the prompt."""
    budget = config.prefix_tokens
    earliest = last_lines(cache, prefix, budget)
    if previous is not None and prefix.startswith(previous.head[:_SAME_START], previous.window):
        fits = earliest <= previous.window
        worth = previous.window == 0 or previous.window <= last_lines(cache, prefix, budget // 2)
        if fits and worth:
            return previous.window
    return 0 if earliest == 0 else last_lines(cache, prefix, int(budget * _REWINDOW))


def _lines_above(prefix: str, lines: int) -> int:
    """Offset of the start of the line ``lines`` above the last one (0 lines: of the last one itself)."""
    start = prefix.rfind("\n") + 1
    for _ in range(lines):
        if start == 0:
            break
        start = prefix.rfind("\n", 0, start - 1) + 1
    return start


def _without_closers(suffix: str) -> str:
    """The suffix without closers that alone fill the rest of the cursor's line.

    Editors put them there when the opener is typed and take them away when the closer is. Showing them to the model
    would change the suffix, and so cost its evaluation, at each bracket; the model writes the closer itself and
    ``completion.postprocess`` reconciles it with the one in the document.
    """
    end = suffix.find("\n")
    rest = suffix if end < 0 else suffix[:end]
    stripped = rest.lstrip(CLOSERS)
    return suffix[len(rest) - len(stripped) :] if not stripped.strip() else suffix
