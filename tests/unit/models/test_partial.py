from __future__ import annotations

import contextlib

import pytest
from support.model_files import sha256

from coder_lsp.models.partial import Partial, Piece


@pytest.fixture
def partial(tmp_path):
    return Partial(tmp_path / "work", "m.gguf")


def put(partial: Partial, *pieces: bytes) -> None:
    for piece in pieces:
        with partial.appending(partial.size) as stream:
            stream.write(piece)
        partial.add_piece(Piece(len(piece), sha256(piece)))


def test_bytes_of_another_identity_are_dropped(partial):
    partial.claim("one")
    put(partial, b"abc")
    assert partial.claim("one") == 3
    assert partial.claim("two") == 0


def test_recorded_pieces_are_kept_and_a_half_one_after_them_is_dropped(partial):
    partial.claim("one")
    put(partial, b"aaa", b"bbb")
    with partial.appending(6) as stream:
        stream.write(b"c")
    assert partial.pieces((3, 3, 3)) == 2
    assert partial.path.read_bytes() == b"aaabbb"


def test_a_recorded_piece_that_does_not_read_back_is_dropped_with_all_after_it(partial):
    partial.claim("one")
    put(partial, b"aaa", b"bbb", b"ccc")
    with partial.path.open("r+b") as stream:
        stream.seek(4)
        stream.write(b"X")
    assert partial.pieces((3, 3, 3)) == 1
    assert partial.path.read_bytes() == b"aaa"
    put(partial, b"BBB")
    assert partial.pieces((3, 3, 3)) == 2


def test_bytes_of_another_source_count_up_to_the_last_whole_piece(partial):
    partial.claim("one")
    with partial.appending(0) as stream:
        stream.write(b"aaabbbc")
    assert partial.pieces((3, 3, 3)) == 2
    assert partial.size == 6


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "one"}', '{"identity": "one", "pieces": [{}]}'])
def test_a_damaged_record_means_starting_over(partial, text):
    partial.claim("one")
    put(partial, b"abc")
    (partial.workspace / "part.json").write_text(text)
    assert partial.claim("one") == 0


def test_what_was_written_before_an_error_is_kept(partial):
    partial.claim("one")
    with contextlib.suppress(ConnectionError), partial.appending(0) as stream:
        stream.write(b"abc")
        raise ConnectionError
    assert partial.claim("one") == 3
