from __future__ import annotations

import pytest

from coder_lsp.errors import ModelUnsupported
from coder_lsp.optimise.vocabulary import ROWS, choose

LETTERS = [chr(c).encode() for c in range(0x21, 0x7F)]
# "д" is D0 B4, spelled with the printable characters of those bytes; "да" is one token more.
D, A = "Ð´".encode(), "Ð°".encode()
TOKENS = [*LETTERS, b"ab", b"abc", "Ð".encode(), "´".encode(), "°".encode(), D, A, D + A, b"<|fim_prefix|>"]
TYPES = [1] * (len(TOKENS) - 1) + [3]
MERGES = [b"a b", b"ab c", "Ð ´".encode(), "Ð °".encode(), D + b" " + A]


def kept(used=()):
    return {TOKENS[i] for i in choose("gpt2", TOKENS, TYPES, MERGES, used).kept}


def padded(count: int) -> int:
    return min(len(TOKENS), -(-count // ROWS) * ROWS)


def many(*, extra: int) -> tuple[list[bytes], list[int]]:
    """The vocabulary with as many foreign tokens more."""
    foreign = [D + bytes([c]) for c in LETTERS[0] for _ in range(0)] + [
        f"{'Ð´' * (2 + i)}".encode() for i in range(extra)
    ]
    return TOKENS + foreign, TYPES + [1] * extra


def test_latin_letters_bytes_and_control_tokens_stay_and_other_scripts_go():
    tokens, types = many(extra=100)
    result = choose("gpt2", tokens, types, MERGES)
    names = {tokens[i] for i in result.kept}
    assert {b"ab", b"abc", "Ð".encode(), b"<|fim_prefix|>"} <= names
    assert len(result.kept) + result.dropped == len(tokens)
    assert result.dropped >= 100 - ROWS
    assert result.kept == tuple(sorted(result.kept))


def test_tables_keep_a_number_of_rows_that_kernels_like():
    tokens, types = many(extra=100)
    assert len(choose("gpt2", tokens, types, MERGES).kept) % ROWS == 0


def test_what_the_code_has_stays_with_all_that_it_is_merged_from():
    tokens, types = many(extra=400)
    used = tokens.index(D + A)
    names = {tokens[i] for i in choose("gpt2", tokens, types, MERGES, {used}).kept}
    assert {D + A, D, A} <= names


def test_unused_tokens_go_even_if_they_are_spelled_in_latin_letters():
    tokens = [*TOKENS, *(f"[PAD{i}]".encode() for i in range(64))]
    result = choose("gpt2", tokens, [*TYPES, *[5] * 64], MERGES)
    assert result.dropped >= 32


def test_a_vocabulary_that_does_not_fall_back_to_bytes_is_refused():
    with pytest.raises(ModelUnsupported, match="llama"):
        choose("llama", TOKENS, TYPES, MERGES)
