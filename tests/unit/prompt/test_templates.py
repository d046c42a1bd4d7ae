"""Every family's format, one row each: the exact text with control tokens in place."""

from __future__ import annotations

import pytest
from support.vocabulary import WordVocabulary

from coder_lsp.config import PromptConfig
from coder_lsp.models.catalog import TEMPLATE_NAMES
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import PLAIN, TEMPLATES, Control, bind, by_name
from coder_lsp.types import FimRequest, Snippet

REQUEST = FimRequest(
    document="file:///r/app.py",
    # The anchor is three lines up, at the start; nothing typed since stands before the middle token but "P".
    prefix="one\ntwo\nthree\nfour\nP x",
    suffix="\nS\n",
    language="python",
    path="src/app.py",
    repository="r",
    max_tokens=8,
)
SNIPPETS = (Snippet("lib/util.py", "U\n"),)

# template, specials, BOS, expected without snippets, expected with snippets. P is the head, S the suffix, | the middle.
ROWS = [
    (
        "qwen",
        "<|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|repo_name|> <|file_sep|>",
        None,
        "<|fim_prefix|>one\n<|fim_suffix|>\nS\n<|fim_middle|>two\nthree\nfour\nP",
        (
            "<|repo_name|>r\n<|file_sep|>lib/util.py\nU\n<|file_sep|>src/app.py\n"
            "<|fim_prefix|>one\n<|fim_suffix|>\nS\n<|fim_middle|>two\nthree\nfour\nP"
        ),
    ),
    (
        "deepseek",
        "<｜fim▁begin｜> <｜fim▁hole｜> <｜fim▁end｜>",
        "<｜begin▁of▁sentence｜>",
        "<｜begin▁of▁sentence｜><｜fim▁begin｜>one\n<｜fim▁hole｜>\nS\n<｜fim▁end｜>two\nthree\nfour\nP",
        (
            "<｜begin▁of▁sentence｜><｜fim▁begin｜># lib/util.py\nU\n# src/app.py\none\n"
            "<｜fim▁hole｜>\nS\n<｜fim▁end｜>two\nthree\nfour\nP"
        ),
    ),
    (
        "codellama",
        "▁<PRE> ▁<SUF> ▁<MID> ▁<EOT>",
        "<s>",
        "<s>▁<PRE> one\n▁<SUF>\nS\n▁<MID>two\nthree\nfour\nP",
        "<s>▁<PRE> # lib/util.py\nU\n# src/app.py\none\n▁<SUF>\nS\n▁<MID>two\nthree\nfour\nP",
    ),
    (
        "mellum",
        "<fim_prefix> <fim_suffix> <fim_middle> <filename>",
        None,
        "<fim_suffix>\nS\n<fim_prefix>one\n<fim_middle>two\nthree\nfour\nP",
        (
            "<filename>lib/util.py\nU\n<filename>src/app.py\n"
            "<fim_suffix>\nS\n<fim_prefix>one\n<fim_middle>two\nthree\nfour\nP"
        ),
    ),
    (
        "starcoder2",
        "<fim_prefix> <fim_suffix> <fim_middle> <repo_name> <file_sep>",
        None,
        "<fim_prefix>one\n<fim_suffix>\nS\n<fim_middle>two\nthree\nfour\nP",
        (
            "<repo_name>r<file_sep>lib/util.py\nU\n<file_sep>src/app.py\n"
            "<fim_prefix>one\n<fim_suffix>\nS\n<fim_middle>two\nthree\nfour\nP"
        ),
    ),
    *(
        (
            name,
            "<fim_prefix> <fim_suffix> <fim_middle>",
            None,
            "<fim_prefix>one\n<fim_suffix>\nS\n<fim_middle>two\nthree\nfour\nP",
            "<fim_prefix># lib/util.py\nU\n# src/app.py\none\n<fim_suffix>\nS\n<fim_middle>two\nthree\nfour\nP",
        )
        for name in ("granite", "starcoder")
    ),
    (
        "santacoder",
        "<fim-prefix> <fim-suffix> <fim-middle>",
        None,
        "<fim-prefix>one\n<fim-suffix>\nS\n<fim-middle>two\nthree\nfour\nP",
        "<fim-prefix># lib/util.py\nU\n# src/app.py\none\n<fim-suffix>\nS\n<fim-middle>two\nthree\nfour\nP",
    ),
    (
        "codegemma",
        "<|fim_prefix|> <|fim_suffix|> <|fim_middle|> <|file_separator|>",
        "<bos>",
        "<bos><|fim_prefix|>one\n<|fim_suffix|>\nS\n<|fim_middle|>two\nthree\nfour\nP",
        (
            "<bos>lib/util.py\nU\n<|file_separator|>src/app.py\n"
            "<|fim_prefix|>one\n<|fim_suffix|>\nS\n<|fim_middle|>two\nthree\nfour\nP"
        ),
    ),
    (
        "codestral",
        "[SUFFIX] [PREFIX]",
        "<s>",
        "<s>[SUFFIX]\nS\n[PREFIX]one\ntwo\nthree\nfour\nP",
        "<s>[SUFFIX]\nS\n[PREFIX]+++++ lib/util.py\nU\n\n+++++ src/app.py\none\ntwo\nthree\nfour\nP",
    ),
    (
        "seed",
        "<[fim-suffix]> <[fim-prefix]> <[fim-middle]>",
        None,
        "<[fim-suffix]>\nS\n<[fim-prefix]>one\n<[fim-middle]>two\nthree\nfour\nP",
        "<[fim-suffix]>\nS\n<[fim-prefix]># lib/util.py\nU\n# src/app.py\none\n<[fim-middle]>two\nthree\nfour\nP",
    ),
]


@pytest.mark.parametrize(("name", "specials", "bos", "alone", "with_snippets"), ROWS, ids=[row[0] for row in ROWS])
def test_the_prompt_has_the_familys_exact_layout(name, specials, bos, alone, with_snippets):
    vocabulary = WordVocabulary(tuple(specials.split()), bos=bos)
    builder = PromptBuilder(vocabulary, bind(vocabulary, name), PromptConfig(), 4096)

    prompt = builder.build(REQUEST)
    assert vocabulary.show(prompt.tokens) == alone
    assert prompt.forced == b" x"

    prompt = builder.build(
        FimRequest(**{**REQUEST.__dict__, "snippets": SNIPPETS}),
    )
    assert vocabulary.show(prompt.tokens) == with_snippets


def test_the_catalogue_speaks_of_the_same_templates():
    """Models and prompts are peers and import nothing of each other; this holds their names together."""
    assert {t.name for t in (*TEMPLATES, PLAIN)} == TEMPLATE_NAMES


def test_every_template_has_a_row():
    assert sorted(row[0] for row in ROWS) == sorted(t.name for t in TEMPLATES)


@pytest.mark.parametrize(("name", "specials", "bos"), [row[:3] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_family_is_found_from_vocabulary_and_architecture(name, specials, bos):
    vocabulary = WordVocabulary(tuple(specials.split()), bos=bos)
    template = by_name(name)
    assert template is not None
    found = bind(vocabulary, None, template.architectures[-1])
    # Granite's file format is StarCoder's to the letter; either name gives the same prompt.
    assert found.template.layout == template.layout
    assert found.warning == ""


@pytest.mark.parametrize(("name", "specials", "bos"), [row[:3] for row in ROWS], ids=[row[0] for row in ROWS])
def test_all_control_tokens_of_the_format_stop_a_middle(name, specials, bos):
    vocabulary = WordVocabulary(tuple(specials.split()), bos=bos, end=("<end>",))
    bound = bind(vocabulary, name)
    for piece in bound.template.layout:
        if isinstance(piece, Control):
            assert bound.ids[piece] in bound.stop_tokens
    assert vocabulary.special("<end>") in bound.stop_tokens


def test_a_model_without_fim_tokens_continues_left_to_right_and_says_so():
    vocabulary = WordVocabulary(bos="<s>")
    bound = bind(vocabulary, None, "llama")
    assert bound.template is PLAIN
    assert "left to right" in bound.warning
    prompt = PromptBuilder(vocabulary, bound, PromptConfig(), 4096).build(REQUEST)
    assert vocabulary.show(prompt.tokens) == "<s>one\ntwo\nthree\nfour\nP"


def test_a_template_whose_tokens_the_vocabulary_lacks_is_not_used():
    vocabulary = WordVocabulary(("<|fim_prefix|>", "<|fim_suffix|>"))
    bound = bind(vocabulary, "qwen", "qwen2")
    assert bound.template is PLAIN
    assert "<|fim_middle|>" in bound.warning


def test_an_unknown_template_name_is_answered_with_the_known_ones():
    bound = bind(WordVocabulary(), "gwen")
    assert "gwen" in bound.warning
    assert "qwen" in bound.warning


def test_snippets_are_left_out_where_the_tokens_that_introduce_them_are_missing():
    vocabulary = WordVocabulary(("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"))
    builder = PromptBuilder(vocabulary, bind(vocabulary, "qwen"), PromptConfig(), 4096)
    prompt = builder.build(FimRequest(**{**REQUEST.__dict__, "snippets": SNIPPETS}))
    assert "util" not in vocabulary.show(prompt.tokens)


def test_snippets_over_the_budget_are_left_out_whole():
    vocabulary = WordVocabulary(tuple(ROWS[0][1].split()))
    builder = PromptBuilder(vocabulary, bind(vocabulary, "qwen"), PromptConfig(context_tokens=20), 4096)
    long = Snippet("long.py", "word " * 30)
    prompt = builder.build(FimRequest(**{**REQUEST.__dict__, "snippets": (long, *SNIPPETS)}))
    shown = vocabulary.show(prompt.tokens)
    assert "long.py" not in shown
    assert "lib/util.py" in shown
