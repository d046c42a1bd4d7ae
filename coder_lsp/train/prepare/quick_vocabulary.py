"""A vocabulary that remembers the pieces it has tokenised: five times as quick on code, with the same tokens.

Byte-level BPE cuts a text into pieces by an expression and merges only inside of them, and code has the same pieces
again and again. Which expression a vocabulary has is not asked but tried: of those in use one is taken if cutting a
sample first changes none of its tokens. What is beyond printable ASCII goes the long way, with its neighbours up to the
nearest blank behind a visible character: no expression has a piece across that place. So does all that is asked of a
vocabulary that none fits (SentencePiece). Whatever is cut, the tokens of the pieces spell the text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coder_lsp.engine.base import Vocabulary

_PIECES_KEPT = 300_000
"""Some 60 MB. Code of one project has fewer."""
_MARKS = r" ?[^\sA-Za-z0-9]+"
_BLANKS = r"\s+(?!\S)|\s+"
_EXPRESSIONS = tuple(
    re.compile(expression, re.ASCII)
    for expression in (
        # Qwen, and with digits in threes Llama 3.
        rf"'(?i:s|t|re|ve|m|ll|d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]|{_MARKS}[\r\n]*|\s*[\r\n]+|{_BLANKS}",
        rf"'(?i:s|t|re|ve|m|ll|d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{{1,3}}|{_MARKS}[\r\n]*|\s*[\r\n]+|{_BLANKS}",
        # GPT-2, and with single digits StarCoder, Granite and SmolLM.
        rf"'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[0-9]+|{_MARKS}|{_BLANKS}",
        rf"[0-9]|'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+|{_MARKS}|{_BLANKS}",
        # DeepSeek-Coder: line ends and digits are pieces of their own.
        r"[\r\n]|\s?[A-Za-z]+|\s?[!-/:-@\[-`{-~]+|[0-9]|\s+(?!\S)|\s+",
    )
)
_ODD = re.compile(r"[^\t\n -~]+")
"""Anything but what the expressions were tried on."""
_BORDER = re.compile(r"(?<=[!-~])(?=[ \t])")
_WORD = 64
"""Characters looked back for a border at first, and of odd pieces that are remembered: more than words have."""
_DENSE = 24
"""With an odd stretch for less than so many characters (Chinese, Japanese) the vocabulary is asked at once."""


class _Pieces(dict[str, list[int]]):
    """Tokens of pieces; those that are not there yet are asked for. Looking up all of a text is one call into C."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._tokenize = vocabulary.tokenize

    def __missing__(self, piece: str) -> list[int]:
        ids = self[piece] = self._tokenize(piece)
        return ids

    def tokens(self, pieces: Iterable[str]) -> Iterator[int]:
        return chain.from_iterable(map(self.__getitem__, pieces))


class QuickVocabulary:
    """See the module. Not for several threads at once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._pieces = _Pieces(vocabulary)
        self._expression = next((one for one in _EXPRESSIONS if self._fits(one)), None)

    @property
    def is_quick(self) -> bool:
        """Whether an expression was found."""
        return self._expression is not None

    def tokenize(self, text: str) -> list[int]:
        if self._expression is None:
            return self._vocabulary.tokenize(text)
        if not text.isascii() and len(_ODD.findall(text)) * _DENSE > len(text):
            return self._vocabulary.tokenize(text)
        if len(self._pieces) > _PIECES_KEPT:
            self._pieces.clear()
        found: list[int] = []
        done = 0
        for start, end in _odd_spans(text):
            found += self._pieces.tokens(self._expression.findall(text, done, start))
            odd = text[start:end]
            found += self._pieces[odd] if len(odd) < _WORD else self._vocabulary.tokenize(odd)
            done = end
        found += self._pieces.tokens(self._expression.findall(text, done))
        return found

    def special(self, text: str) -> int | None:
        return self._vocabulary.special(text)

    def token_bytes(self, token: int) -> bytes:
        return self._vocabulary.token_bytes(token)

    @property
    def bos(self) -> int | None:
        return self._vocabulary.bos

    @property
    def end_tokens(self) -> frozenset[int]:
        return self._vocabulary.end_tokens

    def _fits(self, expression: re.Pattern[str]) -> bool:
        for text in _samples():
            pieces = expression.findall(text)
            if "".join(pieces) != text:
                return False
            if [token for piece in pieces for token in self._vocabulary.tokenize(piece)] != self._vocabulary.tokenize(
                text
            ):
                return False
        return True


def _odd_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the stretches that no expression was tried on, each from border to border."""
    end = 0
    while odd := _ODD.search(text, end):
        start = _border_before(text, end, odd.start())
        behind = _BORDER.search(text, odd.end())
        end = behind.start() if behind else len(text)
        yield start, end


def _border_before(text: str, low: int, place: int) -> int:
    """The last border from ``low``, which is one, up to ``place``."""
    reach = _WORD
    while True:
        first = max(low, place - reach)
        borders = [found.start() for found in _BORDER.finditer(text, first, place)]
        if borders or first == low:
            return borders[-1] if borders else low
        reach *= 4


@lru_cache(maxsize=1)
def _samples() -> tuple[str, ...]:
    """Texts in which the expressions differ, and some code: our own."""
    odd = (
        "x  =  1\n\n\n   \n\t\ty = 'don't'  # 1234567 a1b2 I'LL we'Re\n    \n  z\t \n \t\n",
        "a.b->c::d(*e, &f) {\n};\n\n  //--- ###\n !x ?y  ...\n\n\n",
        "   leading\n trailing   \n\n \n  both  \n$var @attr #tag _under __dunder__ x_1 1_000 0xFF 3.14e-10\n",
        "if(a){b;}else{c;}\n\treturn\n\"s\\n\" 'c' `t`  \t  mixed \t tabs\n",
    )
    folder = Path(__file__).parent
    package = folder.parents[1]
    own = (folder / "quick_vocabulary.py", package / "workspace" / "git.py", package / "language_table.py")
    code = (path.read_text(encoding="utf-8") for path in own)
    return (*odd, *(re.sub(r"[^\t\n -~]", "?", text) for text in code))
