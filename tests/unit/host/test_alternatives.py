"""Where another text may leave the first one."""

from __future__ import annotations

import pytest

from coder_lsp.engine.base import Generation, RunnerUp
from coder_lsp.host.alternatives import branches
from coder_lsp.types import FinishReason


class Pieces:
    """A vocabulary of the pieces it is asked for."""

    def __init__(self):
        self.known = []

    def token(self, piece):
        if piece not in self.known:
            self.known.append(piece)
        return self.known.index(piece)

    def bytes(self, token):
        piece = self.known[token]
        return piece if isinstance(piece, bytes) else piece.encode()


def others(first, *runners, forced="", logprobs=None):
    """``first``: its pieces; ``runners``: (position, piece, logprob). The texts, and their joint logprobs."""
    pieces = Pieces()
    generation = Generation(
        "".join(first).removeprefix(forced),
        FinishReason.ENOUGH,
        tuple(pieces.token(piece) for piece in first),
        logprobs or (-0.1,) * len(first),
        runners_up=tuple(RunnerUp(at, pieces.token(piece), logprob) for at, piece, logprob in runners),
    )
    found = branches(generation, forced.encode(), pieces.bytes)
    for branch in found:
        said = b"".join(map(pieces.bytes, branch.tokens)).decode()
        assert said == forced + branch.text
    return [(branch.text, round(branch.logprob, 3)) for branch in found]


def texts(*arguments, **options):
    return [text for text, _ in others(*arguments, **options)]


def test_the_likeliest_beginning_comes_first_wherever_it_is():
    found = others(
        ["    ", "if", " not", " self"], (1, "return", -1.5), (2, " len", -1.0), (3, " items", -2.0), (0, "\t", -0.5)
    )
    assert found == [("    if len", -1.2), ("    return", -1.6), ("    if not items", -2.3)]


def test_what_is_unlikely_is_left_out():
    assert texts(["a", "b"], (0, "x", -3.0), (0, "y", -3.5), (1, "z", -3.2)) == ["x"]


@pytest.mark.parametrize(
    ("first", "runner"),
    [
        (["        ", "return"], (0, "       ", -0.5)),
        (["+", " b"], (1, "  ", -0.5)),
        (["return", " items"], (1, " it", -0.5)),
        (["+ ", "b"], (0, "+", -0.5)),
    ],
)
def test_what_would_look_the_same_is_left_out(first, runner):
    assert texts(first, runner) == []


def test_one_way_of_saying_the_same_is_enough():
    assert others(["a", "b"], (0, "x ", -2.0), (0, "x", -1.0)) == [("x", -1.0)]


def test_texts_leave_within_the_first_line_that_says_something():
    assert texts(["\n", "a", "\n", "b"], (1, "x", -1.0), (2, "(", -1.0), (3, "y", -1.0)) == ["\nx", "\na("]


def test_forced_bytes_belong_to_the_tokens_and_not_to_the_text():
    # The healed token is unlikely for itself, which says nothing about what follows it.
    found = others(["ret", "urn", " a"], (2, " b", -1.0), (1, "ry", -0.5), forced="ret", logprobs=(-9.0, -0.1, -0.1))
    assert found == [("ry", -0.5), ("urn b", -1.1)]
    assert others(["return", " a"], (1, " b", -1.0), forced="ret", logprobs=(-9.0, -0.1)) == [("urn b", -1.0)]


def test_a_text_that_ended_may_go_on():
    assert texts(["a"], (1, ".b", -1.0)) == ["a.b"]


def test_a_part_of_a_character_is_no_beginning():
    assert texts(["a"], (0, "é".encode()[:1], -0.5), (0, "é", -1.0)) == ["é"]


def test_nothing_noted_gives_nothing():
    assert texts(["a"]) == []
