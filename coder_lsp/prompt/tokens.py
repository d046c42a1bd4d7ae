"""Token counts and ids of text, remembered: the parts of a prompt hardly change from one keystroke to the next."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coder_lsp.engine.base import Vocabulary

_LINES_KEPT = 4_000
"""Lines whose token count is remembered: those around the cursor in a few dozen places, half a megabyte."""
_TEXTS_KEPT = 64
"""Whole segments (prefix window, suffix, snippets) whose ids are remembered."""


class TokenCache:
    """A vocabulary with a memory. Not for several threads at once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._texts: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Ids of a segment, special tokens off."""
        ids = self._texts.get(text)
        if ids is None:
            ids = tuple(self.vocabulary.tokenize(text))
            self._texts[text] = ids
            if len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        else:
            self._texts.move_to_end(text)
        return ids

    def count(self, line: str) -> int:
        """Tokens of one line taken alone. Lines never merge into fewer tokens by more than one across a line end."""
        count = self._counts.get(line)
        if count is None:
            count = len(self.vocabulary.tokenize(line)) if line else 0
            self._counts[line] = count
            if len(self._counts) > _LINES_KEPT:
                self._counts.popitem(last=False)
        return count


def last_lines(cache: TokenCache, text: str, budget: int) -> int:
    """Offset at which the longest run of whole last lines with at most ``budget`` tokens begins.

    The last line is kept even when it alone is over the budget, cut to the characters that fit: a prompt without the
    text right before the cursor would be of no use.
    """
    used = 0
    start = len(text)
    first = True
    while start > 0:
        line_start = text.rfind("\n", 0, start - 1) + 1
        line = text[line_start:start]
        used += cache.count(line)
        if used > budget:
            if first:
                return start - _fitting_tail(cache, line, budget)
            break
        start = line_start
        first = False
    return start


def first_lines(cache: TokenCache, text: str, budget: int) -> int:
    """Offset at which the longest run of whole first lines with at most ``budget`` tokens ends."""
    used = 0
    end = 0
    while end < len(text):
        newline = text.find("\n", end)
        line_end = len(text) if newline < 0 else newline + 1
        line = text[end:line_end]
        used += cache.count(line)
        if used > budget:
            # A first line that alone is too long is cut; it is the rest of the line after the cursor.
            return _fitting_head(cache, line, budget) if end == 0 else end
        end = line_end
    return end


def _fitting_tail(cache: TokenCache, line: str, budget: int) -> int:
    return _fitting(lambda n: cache.vocabulary.tokenize(line[len(line) - n :]), len(line), budget)


def _fitting_head(cache: TokenCache, line: str, budget: int) -> int:
    return _fitting(lambda n: cache.vocabulary.tokenize(line[:n]), len(line), budget)


def _fitting(ids_of: object, length: int, budget: int) -> int:
    """Largest number of characters (by halving, so within 25 %) whose tokens fit ``budget``."""
    assert callable(ids_of)
    # No vocabulary in use averages more than 16 characters a token, so longer pieces need not be tried.
    n = min(length, budget * 16)
    while n > 1 and len(ids_of(n)) > budget:
        n = n * 3 // 4
    return n
