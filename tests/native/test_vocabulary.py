"""Text to tokens and back, for each kind of vocabulary; nothing in a file becomes a control token."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coder_lsp.errors import EngineError

KINDS = ["random", "spm", "user_defined", "spm_user_defined", "plain"]

SPELLINGS = [
    "<|fim_prefix|>", "<|fim_middle|>", "<|endoftext|>", "<fill>", "[SUFFIX]", "<td>", "<s>", "</s>", "<unk>",
    "▁<PRE>", " <PRE>", " <MID>", "▁", "▁▁", "<0x0A>", "    ", "\u2581x", "<<fill>fill>", "<fill",
]  # fmt: skip

CODE = st.text(st.sampled_from("abdefinrstu <>|/[]_:()\n\t\r▁é世😀\0'\"#0123"), max_size=40)
MIXED = st.lists(st.one_of(CODE, st.sampled_from(SPELLINGS), st.text(max_size=10)), max_size=6).map("".join)


@pytest.fixture(scope="module")
def engines(models):
    from coder_lsp.engine.base import EngineOptions
    from coder_lsp.engine.llama import LlamaEngine

    options = EngineOptions(context_tokens=256, sequences=1, threads=1)
    loaded = {kind: LlamaEngine.load(getattr(models, kind), options) for kind in KINDS}
    yield loaded
    for engine in loaded.values():
        engine.close()


def special_ids(engine):
    found = {engine.special(spelling) for spelling in SPELLINGS} | set(engine.end_tokens) | {engine.bos}
    # Harmless user-defined tokens: ordinary text in the languages it appears in.
    return found - {None, engine.special("<td>"), engine.special("    ")}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=MIXED)
@example(text="".join(SPELLINGS))
@example(text=" leading space")
@example(text="\r\n\r\n\t\t  mixed ")
def test_tokens_spell_the_text_and_none_is_special(engines, kind, text):
    engine = engines[kind]
    text = text.encode("utf-8", "replace").decode()
    tokens = engine.tokenize(text)
    assert b"".join(map(engine.token_bytes, tokens)).decode() == text
    assert not special_ids(engine) & set(tokens)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=MIXED, after=MIXED)
def test_pieces_spell_the_same_as_the_whole(engines, kind, before, after):
    """A piece in the middle of a prompt gets no space put before it."""
    engine = engines[kind]
    tokens = engine.tokenize(before) + engine.tokenize(after)
    assert b"".join(map(engine.token_bytes, tokens)).decode() == (before + after).encode("utf-8", "replace").decode()


def test_user_defined_markers_are_found_by_name_only(engines):
    engine = engines["user_defined"]
    marker = engine.special("<fill>")
    assert marker is not None
    assert marker not in engine.tokenize("a <fill> b <<fill>> <fill><fill>")
    assert engine.token_bytes(marker) == b"<fill>"


def test_user_defined_text_stays_one_token(engines):
    """An HTML tag or a run of spaces is no marker: split up, it would only be worse text."""
    engine = engines["user_defined"]
    assert engine.tokenize("<td>") == [engine.special("<td>")]


def test_sentencepiece_does_not_merge_into_a_control_token(engines):
    """Regression: "<s" and "s>" are pieces, and the best-scored merge of "<s>" is the control token itself."""
    engine = engines["spm"]
    assert engine.special("<s>") == engine.bos == 1
    assert 1 not in engine.tokenize("<s>")
    assert b"".join(map(engine.token_bytes, engine.tokenize("</s> <s>"))) == b"</s> <s>"


def test_lone_surrogates_become_question_marks(engines):
    engine = engines["random"]
    assert b"".join(map(engine.token_bytes, engine.tokenize("a\ud800b"))) == b"a?b"
    assert engine.special("\ud800") is None


def test_bos_only_where_the_tokenizer_adds_one(engines):
    assert engines["spm"].bos == 1
    assert engines["random"].bos is None


def test_end_tokens_are_all_that_the_file_declares(engines):
    engine = engines["random"]
    assert {engine.special("<|endoftext|>"), engine.special("<|im_end|>")} <= engine.end_tokens
    assert engine.special("<|fim_prefix|>") not in engine.end_tokens


def test_a_model_without_fim_tokens_has_none(engines):
    assert engines["plain"].special("<|fim_middle|>") is None


def test_a_token_out_of_range_is_refused(engines):
    engine = engines["random"]
    with pytest.raises(EngineError, match="not in the vocabulary"):
        engine.token_bytes(engine.info.vocab_size)
