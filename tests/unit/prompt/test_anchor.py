"""The anchor stays while the user types, so that keystrokes only append tokens; and moves when it must."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vocabulary import CharacterVocabulary, WordVocabulary

from coder_lsp.config import PromptConfig
from coder_lsp.errors import ContextOverflow
from coder_lsp.prompt.anchor import place
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind
from coder_lsp.prompt.tokens import TokenCache, first_lines, last_lines
from coder_lsp.types import FimRequest, Snippet

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>")
CONFIG = PromptConfig()


@pytest.fixture
def cache():
    return TokenCache(WordVocabulary())


def test_the_anchor_is_a_line_start_three_lines_above(cache):
    placement = place(cache, CONFIG, "a\nb\nc\nd\ne = f(", "\n")
    assert placement.head == "a\n"
    assert placement.tail("a\nb\nc\nd\ne = f(") == "b\nc\nd\ne = f("


@pytest.mark.parametrize(("lines", "head"), [(0, "a\nb\nc\n"), (1, "a\nb\n"), (2, "a\n"), (3, ""), (9, "")])
def test_the_depth_is_a_setting_and_ends_at_the_top_of_the_file(cache, lines, head):
    assert place(cache, PromptConfig(anchor_lines=lines), "a\nb\nc\nd", "").head == head


def test_a_keystroke_keeps_the_placement_and_only_appends_tokens():
    vocabulary = WordVocabulary(QWEN)
    builder = PromptBuilder(vocabulary, bind(vocabulary, "qwen"), CONFIG, 4096)
    prefix = "import os\n\ndef f():\n    x = 1\n    y = 2\n    "
    before = None
    for typed in ("ret", "return ", "return x", "return x + y\n    ", "return x + y\n    z"):
        prompt = builder.build(
            FimRequest("u", prefix + typed, "\n\nprint(f())\n", max_tokens=8), before and before.placement
        )
        if before is not None:
            assert prompt.placement is before.placement
            # All but the last evaluated token (the one before the healed one may have been re-cut) are there already.
            assert prompt.tokens[: len(before.tokens) - 1] == before.tokens[:-1]
        before = prompt


def test_brackets_the_editor_closes_by_itself_do_not_change_the_prompt(cache):
    previous = place(cache, CONFIG, "a\nb = f", "\nc\n")
    assert place(cache, CONFIG, "a\nb = f(", ")\nc\n", previous=previous) is previous
    assert place(cache, CONFIG, "a\nb = f('", "')\nc\n", previous=previous) is previous
    assert place(cache, CONFIG, "a\nb = f('x')", "\nc\n", previous=previous) is previous


def test_code_after_the_cursor_is_shown_with_its_brackets(cache):
    assert place(cache, CONFIG, "a = f(", ") + 1\n").suffix == ") + 1\n"


@pytest.mark.parametrize(
    ("prefix", "suffix", "why"),
    [
        ("A\nb\nc\nd\ne", "\nz\n", "text before the anchor changed"),
        ("a\nb\nc\nd\ne", "\nZ\n", "text after the cursor changed"),
        ("a\nb\n", "\nz\n", "the cursor went above the anchor"),
        ("a\nb\nc\nd\ne" + "\nx" * 20, "\nz\n", "too many lines were typed"),
        ("a\nb\nc\nd\ne" + " word" * 400, "\nz\n", "too many tokens were typed"),
    ],
)
def test_a_placement_that_no_longer_holds_is_made_anew(cache, prefix, suffix, why):
    previous = place(cache, CONFIG, "a\nb\nc\nd\ne\nf", "\nz\n")
    assert previous.head == "a\nb\n"
    if why == "the cursor went above the anchor":
        prefix = "a\n"
    assert place(cache, CONFIG, prefix, suffix, previous=previous) is not previous, why


def test_other_snippets_make_a_new_placement(cache):
    previous = place(cache, CONFIG, "a\nb", "\n")
    assert place(cache, CONFIG, "a\nb", "\n", snippets=(Snippet("x", "y"),), previous=previous) is not previous


def test_the_window_moves_in_steps_not_with_every_line(cache):
    config = PromptConfig(prefix_tokens=100)
    prefix = "".join(f"line {n}\n" for n in range(200))
    placement, windows = None, []
    for n in range(60):
        prefix += f"more {n}\n"
        placement = place(cache, config, prefix, "", previous=placement)
        windows.append(placement.window)
        assert len(cache.tokenize(prefix[placement.window :])) <= 100 + 16 * 4
    assert len(set(windows)) <= 8


def test_a_jump_up_does_not_keep_a_window_that_shows_next_to_nothing(cache):
    config = PromptConfig(prefix_tokens=100)
    text = "".join(f"line {n}\n" for n in range(300))
    bottom = place(cache, config, text, "")
    just_inside = text[: bottom.window + 30]
    placement = place(cache, config, just_inside, text[bottom.window + 30 :], previous=bottom)
    assert len(cache.tokenize(just_inside[placement.window :])) >= 50


@given(st.lists(st.text("ab \n", max_size=12), max_size=30).map("\n".join), st.integers(1, 60))
def test_cuts_stand_at_line_starts_and_keep_the_nearest_text(text, budget):
    cache = TokenCache(WordVocabulary())
    start = last_lines(cache, text, budget)
    assert start == 0 or text[start - 1] == "\n" or "\n" not in text[start:-1]
    assert sum(cache.count(line) for line in text[start:].splitlines(keepends=True)) <= budget
    end = first_lines(cache, text, budget)
    assert end == len(text) or text[end - 1 : end] == "\n" or "\n" not in text[:end]
    assert sum(cache.count(line) for line in text[:end].splitlines(keepends=True)) <= budget


def test_one_endless_line_is_cut_to_what_is_nearest(cache):
    text = "x " * 5000
    assert 0 < len(text) - last_lines(cache, text, 50) <= 200
    assert 0 < first_lines(cache, text, 50) <= 200


def test_text_that_spells_control_tokens_stays_text():
    vocabulary = WordVocabulary(QWEN)
    builder = PromptBuilder(vocabulary, bind(vocabulary, "qwen"), CONFIG, 4096)
    prompt = builder.build(FimRequest("u", "s = '<|fim_middle|>'\nx", "<|fim_suffix|>", max_tokens=8))
    ids = [t for t in prompt.tokens if t in vocabulary.specials.values()]
    assert ids == [vocabulary.special(s) for s in QWEN[:3]]


def test_a_prompt_that_cannot_fit_says_what_to_change():
    vocabulary = WordVocabulary(QWEN)
    builder = PromptBuilder(vocabulary, bind(vocabulary, "qwen"), CONFIG, context_tokens=64)
    with pytest.raises(ContextOverflow, match="64") as caught:
        builder.build(FimRequest("u", "x = y\n" * 100, "", max_tokens=8))
    assert "context_tokens" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "forced"),
    [
        ("x = seen_resp", "_resp"),
        ("        retu", " retu"),
        ("f(naïv", "naïv"),
        ("x = 1 + ", " "),
        ("x.", "."),
        ("x\n", "\n"),
        ("if x == '_", "_"),
        ("abcdefghijklmnop", "klmnop"),
    ],
)
def test_the_last_piece_of_a_word_is_owed_not_evaluated(typed, forced):
    """Pins "seen_respons" + "_headers": backing over one token left a half word that no vocabulary continues."""
    vocabulary = CharacterVocabulary()
    prompt = PromptBuilder(vocabulary, bind(vocabulary, "none"), CONFIG, 4096).build(FimRequest("u", typed, ""))
    assert prompt.forced.decode() == forced
    assert vocabulary.show(prompt.tokens) == typed.removesuffix(forced)


def test_an_empty_file_is_a_prompt_too():
    vocabulary = WordVocabulary()
    builder = PromptBuilder(vocabulary, bind(vocabulary, "none"), CONFIG, 4096)
    prompt = builder.build(FimRequest("u", "", "", max_tokens=8))
    assert prompt.forced == b""
    assert len(prompt.tokens) == 1
