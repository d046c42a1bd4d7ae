"""Tokens made of text: nothing is lost, nothing in a text becomes a control token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.engine.text_vocabulary import TextVocabulary, token_of
from coder_lsp.errors import EngineError
from coder_lsp.prompt.templates import TEMPLATES, Control

CONTROLS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>", "<|fim|>")
VOCABULARY = TextVocabulary(CONTROLS, ["<|endoftext|>"])


@given(st.text())
def test_pieces_put_together_are_the_text(text):
    tokens = VOCABULARY.tokenize(text)
    assert b"".join(map(VOCABULARY.token_bytes, tokens)) == text.encode("utf-8", "replace")
    assert all(VOCABULARY.spelling(token) is None for token in tokens)


@given(st.binary(min_size=1))
def test_any_bytes_have_a_token(data):
    assert VOCABULARY.token_bytes(token_of(data)) == data


@given(st.lists(st.one_of(st.sampled_from([*CONTROLS, "<", "|", "fim_", "prefix|>", "<|"]), st.text(max_size=5))))
def test_no_text_spells_a_control_token_in_a_prompt(parts):
    """However it is cut into pieces: what is joined is what must be harmless."""
    tokens = [token for part in parts for token in VOCABULARY.tokenize(part)]
    assert not any(control in VOCABULARY.prompt(tokens) for control in CONTROLS)


def test_a_control_token_is_spelled_and_ordinary_text_is_left_alone():
    text = "if a<b|c: x = d<|e\n"
    middle = VOCABULARY.special("<|fim_middle|>")
    assert VOCABULARY.prompt([*VOCABULARY.tokenize(text), middle]) == text + "<|fim_middle|>"


@pytest.mark.parametrize(
    "spelling",
    sorted({each for t in TEMPLATES for p in (*t.layout, *t.stops) if isinstance(p, Control) for each in p.spellings}),
)
def test_control_tokens_of_other_formats_are_broken_too(spelling):
    """A server may serve another model than was thought."""
    assert spelling not in TextVocabulary([]).harmless(f"x = {spelling!r}")


def test_there_is_a_token_for_each_spelling_and_no_other():
    assert len({VOCABULARY.special(spelling) for spelling in CONTROLS}) == len(CONTROLS)
    assert VOCABULARY.special("<|fim_prefix") is None
    assert VOCABULARY.token_bytes(VOCABULARY.special("<|fim|>")) == b""
    assert VOCABULARY.end_tokens == {VOCABULARY.special("<|endoftext|>")}


@pytest.mark.parametrize("token", [-1, len(CONTROLS), 255, 256 * 2, 10**6])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(EngineError, match=str(token)):
        VOCABULARY.token_bytes(token)


def test_a_prompt_is_taken_apart_as_it_was_made():
    prefix, suffix = VOCABULARY.special("<|fim_prefix|>"), VOCABULARY.special("<|fim_suffix|>")
    tokens = [prefix, *VOCABULARY.tokenize("def f():\n    x"), suffix, *VOCABULARY.tokenize("\n")]
    assert VOCABULARY.pieces(tokens) == [prefix, "def f():\n    x", suffix, "\n"]


def test_an_answer_ends_before_a_spelled_control_token():
    assert VOCABULARY.before_control(b"x = 1<|endoftext|>y") == (b"x = 1", True)
    assert VOCABULARY.before_control(b"x \xff<1") == (b"x \xff<1", False)
