"""Guesses the next tokens from text that is there already: the prompt, what was generated, recent suggestions.

What followed where the last tokens stood before is taken to follow again (prompt lookup). How many guesses are offered
depends on how many of the last ones were right. Knows tokens only; the native engine's is ``native/src/drafting.cpp``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LENGTHS = (3, 7, 15)
"""Guesses at a time: with the token before them they fill the steps that the runner has."""
_AGREEING = 2
"""Tokens that must agree before a guess. One agrees everywhere."""
_LONGEST = 16
"""Agreement that is looked for: more does not make a guess better."""
_LOOKED_AT = 8
"""Places compared, the last ones first: a pair such as ``):`` stands in hundreds."""


class Drafter:
    """For one generation. ``never``: tokens that are not guessed, since they end the text or stand for none."""

    def __init__(self, prompt: Sequence[int], hints: Sequence[Sequence[int]], never: Callable[[int], bool]) -> None:
        self._never = never
        self._sources: list[list[int]] = [list(prompt), *(list(hint) for hint in hints)]
        self._places: dict[tuple[int, int], list[tuple[int, int]]] = {}
        # Hints first: the text itself is looked at first, from its end.
        for number in reversed(range(len(self._sources))):
            for end in range(_AGREEING, len(self._sources[number])):
                self._note(number, end)
        self._level = 1
        self._failures = 0
        self._pause = 0

    def append(self, token: int) -> None:
        """What was generated."""
        text = self._sources[0]
        text.append(token)
        # What ends here gets its follower with the next token.
        if len(text) > _AGREEING:
            self._note(0, len(text) - 1)

    def guess(self, most: int) -> list[int]:
        """The tokens guessed to follow; none where that is not worth a step."""
        if self._pause:
            self._pause -= 1
            return []
        text = self._sources[0]
        if len(text) < _AGREEING:
            return []
        best, agreed = None, 0
        for number, end in reversed(self._places.get((text[-2], text[-1]), [])[-_LOOKED_AT:]):
            agreeing = self._agreeing(self._sources[number], end)
            if agreeing > agreed:
                best, agreed = (number, end), agreeing
        if best is None:
            return []
        source, end = self._sources[best[0]], best[1]
        guessed: list[int] = []
        while len(guessed) < min(most, LENGTHS[self._level]):
            at = end + len(guessed)
            # What repeats itself at the end of the text is taken to go on so.
            token = source[at] if at < len(source) else guessed[at - len(source)] if best[0] == 0 else None
            if token is None or self._never(token):
                break
            guessed.append(token)
        return guessed

    def learn(self, guessed: int, right: int) -> None:
        """So many of the guesses were right, from the first on."""
        self._failures = 0 if right else self._failures + 1
        # One failure says little; several in a row say that this text is not of that kind.
        self._pause = 0 if self._failures < 2 else 1 << min(self._failures, 4)
        if right == guessed:
            self._level = min(self._level + 1, len(LENGTHS) - 1)
        elif right * 2 < guessed:
            self._level = max(self._level - 1, 0)

    def _note(self, number: int, end: int) -> None:
        source = self._sources[number]
        self._places.setdefault((source[end - 2], source[end - 1]), []).append((number, end))

    def _agreeing(self, source: list[int], end: int) -> int:
        text = self._sources[0]
        agreeing = 0
        while agreeing < min(end, len(text), _LONGEST) and source[end - 1 - agreeing] == text[-1 - agreeing]:
            agreeing += 1
        return agreeing
