"""A vocabulary made of text alone, for engines that are far away and take prompts as text.

A token is a piece of text, its bytes written as a number, so nothing has to be remembered or asked for: ``tokenize``
costs no round trip. Pieces are about as long as the tokens of code models, so that budgets counted in them come out
right to some ten per cent. Control tokens are numbers below 256, by their spelling.

In the prompt that is sent only control tokens may be read as such. A server tokenises the whole prompt with special
tokens on, so text that happens to spell one (a file about tokenizers, or a hostile one) is broken with a zero-width
space behind its first character: the model sees nearly the same, the server no control token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coder_lsp.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Cut as the tokenizers of code models cut before they merge, words in parts of up to seven letters. Against
# Qwen2.5-Coder's own tokens on six files of Python, C++, TypeScript, Lua and Markdown: 0.96 to 1.03 times as many.
_WORD = r"(?:[A-Za-z]{1,7}|(?:(?![\u2e80-\U0010ffff])[^\W\d_]){1,3}|[^\W\d_])"
"""Other alphabets cost more tokens a letter, and of the scripts of East Asia each letter is one."""
_PIECES = re.compile(r"[^\w\n]?" + _WORD + "|_" + _WORD + r"|\d| ?[^\w\s]{1,3}\n*|_|\n+|[^\S\n]{1,16}|.", re.DOTALL)
_FIRST_TEXT = 256
_MARK = b"\x01"
"""Before the bytes of a piece, so that leading zeros count and no piece is below 256."""
_BREAK = "\u200b"

# What control tokens of known families look like: spellings that are not the template's own must not be read either.
# A family's tokens are easy to tell by their brackets, and a broken one in an ordinary text does no harm.
_CONTROL_LIKE = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|<\[[^\[\]<>\n]{1,40}\]>|<(?:fim|file|repo)[_-][a-z_]{1,30}>|"
    r"<(?:filename|gh_stars|jupyter_[a-z_]+|issue_[a-z_]+|commit_[a-z_]+|reponame|endoftext|empty_output)>|"
    r"</?s>|<(?:unk|pad|bos|eos|start_of_turn|end_of_turn|mask)>|<unused\d+>|<0x[0-9A-Fa-f]{2}>|"
    r"▁?<(?:PRE|SUF|MID|EOT)>|\[/?(?:INST|SUFFIX|PREFIX|MIDDLE|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG)\]"
)


class TextVocabulary:
    """Keeps :class:`coder_lsp.engine.base.Vocabulary`. ``controls`` are the spellings that the model has as tokens,
    ``ends`` those of them that end a text. The server adds a beginning of sequence by itself.
    """

    def __init__(self, controls: Iterable[str], ends: Iterable[str] = ()) -> None:
        self._spellings = tuple(dict.fromkeys(controls))
        if len(self._spellings) > _FIRST_TEXT:
            raise EngineError(f"{len(self._spellings)} control tokens are more than a format has")
        self._ids = {spelling: number for number, spelling in enumerate(self._spellings)}
        self._ends = frozenset(self._ids[spelling] for spelling in ends if spelling in self._ids)
        # The longest first: one may begin with another.
        ordered = sorted(filter(None, self._spellings), key=len, reverse=True)
        self._spelled = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def tokenize(self, text: str) -> list[int]:
        return [token_of(piece.encode("utf-8", "replace")) for piece in _PIECES.findall(text)]

    def special(self, text: str) -> int | None:
        return self._ids.get(text)

    def spelling(self, token: int) -> str | None:
        """Of a control token; None for text."""
        return self._spellings[token] if 0 <= token < len(self._spellings) else None

    def token_bytes(self, token: int) -> bytes:
        """:raises EngineError: no token of this vocabulary."""
        if 0 <= token < len(self._spellings):
            return b""
        data = token.to_bytes((token.bit_length() + 7) // 8, "big") if token >= _FIRST_TEXT else b""
        if not data.startswith(_MARK):
            raise EngineError(f"token {token} is not in the vocabulary of text")
        return data[1:]

    @property
    def bos(self) -> None:
        return None

    @property
    def end_tokens(self) -> frozenset[int]:
        return self._ends

    def pieces(self, tokens: Sequence[int]) -> list[str | int]:
        """A prompt as it is made up: runs of text, and control tokens between them.

        :raises EngineError: a token that is none of this vocabulary.
        """
        parts: list[str | int] = []
        plain = bytearray()
        for token in tokens:
            data = self.token_bytes(token)
            if self.spelling(token) is None:
                plain += data
                continue
            if plain:
                parts.append(plain.decode("utf-8", "replace"))
                plain.clear()
            parts.append(token)
        if plain:
            parts.append(plain.decode("utf-8", "replace"))
        return parts

    def prompt(self, tokens: Sequence[int]) -> str:
        """The text to send: control tokens spelled out, whatever else spells one broken.

        :raises EngineError: a token that is none of this vocabulary.
        """
        return "".join(
            self._spellings[part] if isinstance(part, int) else self.harmless(part) for part in self.pieces(tokens)
        )

    def before_control(self, data: bytes) -> tuple[bytes, bool]:
        """What of an answer's bytes comes before a control token that is spelled in them, and whether there is one."""
        found = self._spelled.search(data.decode("utf-8", "surrogateescape")) if self._spelled else None
        if found is None:
            return data, False
        return found.string[: found.start()].encode("utf-8", "surrogateescape"), True

    def harmless(self, text: str) -> str:
        """Text in which a server finds no control token."""
        text = _CONTROL_LIKE.sub(_broken, text)
        return self._spelled.sub(_broken, text) if self._spelled else text


def token_of(data: bytes) -> int:
    """The token that stands for these bytes of text."""
    return int.from_bytes(_MARK + data, "big")


def _broken(found: re.Match[str]) -> str:
    spelled = found.group()
    return f"{spelled[0]}{_BREAK}{spelled[1:]}"
