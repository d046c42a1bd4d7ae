"""A vocabulary that makes tokens of words as it meets them: exact round trips, readable failures, no model."""

from __future__ import annotations

import re

_WORD = re.compile(r" ?\w+|[^\S\n]+(?= )|\n|.", re.DOTALL)
_FIRST_WORD_ID = 100


class WordVocabulary:
    """``special`` spellings get ids 1, 2, …; each new word the next id from 100 on."""

    def __init__(self, specials: tuple[str, ...] = (), bos: str | None = None, end: tuple[str, ...] = ()) -> None:
        self.specials = {spelling: number for number, spelling in enumerate((*specials, *end), start=1)}
        if bos is not None:
            self.specials.setdefault(bos, 99)
        self._bos = bos
        self._end = end
        self._ids: dict[str, int] = {}
        self._words: list[str] = []

    def tokenize(self, text: str) -> list[int]:
        return [self._id(word) for word in _WORD.findall(text)]

    def special(self, text: str) -> int | None:
        return self.specials.get(text)

    def token_bytes(self, token: int) -> bytes:
        return self._words[token - _FIRST_WORD_ID].encode() if token >= _FIRST_WORD_ID else b""

    @property
    def bos(self) -> int | None:
        return self.specials[self._bos] if self._bos is not None else None

    @property
    def end_tokens(self) -> frozenset[int]:
        return frozenset(self.specials[spelling] for spelling in self._end)

    def show(self, tokens: tuple[int, ...] | list[int]) -> str:
        """Tokens as text, control tokens by their spelling."""
        spelled = {number: spelling for spelling, number in self.specials.items()}
        return "".join(spelled.get(t) or self.token_bytes(t).decode() for t in tokens)

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = _FIRST_WORD_ID + len(self._words)
            self._words.append(word)
        return self._ids[word]


class CharacterVocabulary(WordVocabulary):
    """Every character is a token of its own."""

    def tokenize(self, text: str) -> list[int]:
        return [self._id(character) for character in text]
