"""The part of a prompt that shows other files, cut to a budget of tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vocabulary import CharacterVocabulary, WordVocabulary

from coder_lsp.prompt.block import BlockWriter, ContextBlock
from coder_lsp.prompt.templates import TEMPLATES, bind
from coder_lsp.prompt.tokens import TokenCache
from coder_lsp.types import FimRequest, Snippet

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>")
DEEPSEEK = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>")
REQUEST = FimRequest("file:///w/a.py", "p", "s", language="python", path="a.py", repository="shop")
A = Snippet("lib/a.py", "one\ntwo\nthree\n", 0, 3, "similar", 2.0)
B = Snippet("lib/b.py", "four\nfive\n", 5, 7, "similar", 1.0)


def writer(vocabulary, name="qwen"):
    return BlockWriter(TokenCache(vocabulary), bind(vocabulary, name))


def write(snippets, budget, *, specials=QWEN, name="qwen"):
    vocabulary = WordVocabulary(specials)
    block = writer(vocabulary, name).write(replace(REQUEST, snippets=tuple(snippets)), budget)
    return block, vocabulary.show(block.tokens)


def test_all_of_it_where_it_fits():
    block, shown = write([A, B], 512)
    assert shown == (
        "<|repo_name|>shop\n<|file_sep|>lib/a.py\none\ntwo\nthree\n<|file_sep|>lib/b.py\nfour\nfive\n<|file_sep|>a.py\n"
    )
    assert block.used == (0, 1)
    assert block.snippets == (A, B)


def test_families_without_tokens_for_files_head_each_with_a_comment():
    _, shown = write([A], 512, specials=DEEPSEEK, name="deepseek")
    assert shown == "# lib/a.py\none\ntwo\nthree\n# a.py\n"


def test_pieces_of_one_file_stand_under_one_header():
    more = Snippet("lib/a.py", "nine\n", 40, 41, "similar", 0.5)
    _, shown = write([A, more, B], 512)
    assert shown.count("lib/a.py") == 1
    assert "three\nnine\n<|file_sep|>lib/b.py" in shown


def test_what_matters_least_goes_first_and_the_order_stays():
    whole = len(write([B, A], 512)[0].tokens)
    block, shown = write([B, A], whole - 1)
    assert block.used == (0, 1)
    assert "five" not in shown
    assert shown.index("four") < shown.index("one")
    assert write([B, A], whole - 8)[0].used == (1,)


def test_nothing_is_shown_where_not_even_a_line_fits():
    assert write([A, B], 8)[0] == ContextBlock()
    assert write([A], 0)[0] == ContextBlock()
    assert write([], 512)[0] == ContextBlock()


def test_the_block_is_made_once_for_the_same_snippets():
    vocabulary = WordVocabulary(QWEN)
    made = writer(vocabulary)
    request = replace(REQUEST, snippets=(A,))
    assert made.write(request, 512) is made.write(replace(request, prefix="typed on"), 512)
    assert made.write(replace(request, snippets=(B,)), 512) is not made.write(request, 512)


def test_the_text_for_people_spells_control_tokens_out():
    vocabulary = WordVocabulary(QWEN)
    made = writer(vocabulary)
    block = made.write(replace(REQUEST, snippets=(A,)), 512)
    assert made.text(block.tokens) == vocabulary.show(block.tokens)


def test_a_short_line_is_not_shown_without_the_longer_one_before_it():
    text = Snippet("a.py", "one two three four five six\nx\n", 0, 2, "similar", 1.0)
    whole, _ = write([text], 512)
    assert whole.snippets == (text,)
    short, shown = write([text], len(whole.tokens) - 4)
    assert short.snippets == (), shown


@pytest.mark.parametrize("template", [template.name for template in TEMPLATES])
@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.tuples(st.sampled_from(["a.py", "b.py"]), st.text(max_size=60), st.floats(0, 1)), max_size=6),
    budget=st.integers(0, 200),
)
def test_the_budget_is_kept_to_the_token(template, texts, budget):
    controls = [
        spelling
        for known in TEMPLATES
        if known.name == template
        for piece in (*known.layout, *known.repository, *known.snippet, *known.current)
        for spelling in getattr(piece, "spellings", ())[:1]
    ]
    vocabulary = CharacterVocabulary(tuple(dict.fromkeys(controls)))
    snippets = tuple(Snippet(path, text, 0, 1, "", score) for path, text, score in texts)
    block = writer(vocabulary, template).write(replace(REQUEST, snippets=snippets), budget)
    assert len(block.tokens) <= budget
    assert set(block.used) <= set(range(len(snippets)))
    for number, shown in zip(block.used, block.snippets, strict=True):
        assert snippets[number].text.rstrip("\n").startswith(shown.text.rstrip("\n"))
