"""Which tokens a code model can do without.

Every token costs a row of the output layer at each step. Models for many human languages spend a third of their
vocabulary on scripts that code hardly has. What is kept: control tokens, single bytes, pieces of characters, every
token in Latin letters and symbols, and whatever occurs in the code at hand, with all that these are merged from. So
text in Latin letters has the same tokens as before, and any other text falls back to smaller tokens, down to bytes.
Byte-level BPE only: there a token left out has smaller ones that spell it. Knows spellings and merges, no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from coder_lsp.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

NORMAL, UNUSED = 1, 5
"""Types of tokens in a GGUF file."""
ROWS = 32
"""Rows of a table come in multiples of this: rearranged weights take eight at a time, and threads share them."""

_KEPT_BLOCKS = ((0x0000, 0x024F), (0x2000, 0x2BFF), (0x3000, 0x303F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF))
"""Latin letters; punctuation, arrows, mathematics, box drawing and other symbols; the byte order mark."""


@dataclass(frozen=True)
class Trimmed:
    """Tokens to keep, ascending; ``dropped`` says how many go."""

    kept: tuple[int, ...]
    dropped: int


def choose(
    model: str,
    tokens: Sequence[bytes],
    types: Sequence[int],
    merges: Sequence[bytes],
    used: Collection[int] = (),
) -> Trimmed:
    """Tokens to keep of a vocabulary as a GGUF stores it; ``used`` are tokens that occur in the user's code.

    :raises ModelUnsupported: not byte-level BPE.
    """
    if model != "gpt2" or not merges:
        raise ModelUnsupported(
            f"the vocabulary is of the kind {model or 'none'!r}: only byte-level BPE falls back to bytes",
            hint="leave the vocabulary as it is: --keep-vocabulary",
        )
    number = {token: i for i, token in enumerate(tokens)}
    parts: dict[bytes, tuple[bytes, bytes]] = {}
    for merge in merges:
        left, _, right = merge.partition(b" ")
        # The first merge that makes a token is the one that is used.
        parts.setdefault(left + right, (left, right))
    wanted = [
        i
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind not in {NORMAL, UNUSED} or (kind == NORMAL and (i in used or _stays(token)))
    ]
    kept = set(wanted)
    while wanted:
        for part in parts.get(tokens[wanted.pop()], ()):
            there = number.get(part)
            if there is not None and there not in kept:
                kept.add(there)
                wanted.append(there)
    # Padding is made of tokens that are there anyway, the first ones to be left out.
    spare = (i for i in range(len(tokens)) if i not in kept)
    while len(kept) % ROWS and (padding := next(spare, None)) is not None:
        kept.add(padding)
    return Trimmed(tuple(sorted(kept)), len(tokens) - len(kept))


def _stays(token: bytes) -> bool:
    data = _bytes(token)
    if data is None:
        return True  # not spelled as bytes: nothing to go by
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return True  # part of a character: what the others fall back to
    return len(data) == 1 or all(any(low <= ord(c) <= high for low, high in _KEPT_BLOCKS) for c in text)


def _bytes(token: bytes) -> bytes | None:
    table = _alphabet()
    try:
        return bytes(table[character] for character in token.decode("utf-8"))
    except (KeyError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=1)
def _alphabet() -> dict[str, int]:
    """Byte-level BPE writes each byte as a printable character: itself, or one from U+0100 on (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(0x100 + i): byte for i, byte in enumerate(others)}
