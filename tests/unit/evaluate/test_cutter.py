"""The cut of a block: exact by a vocabulary, near by estimate."""

from __future__ import annotations

import pytest
from support.vocabulary import WordVocabulary

from coder_lsp.evaluate.cutter import EstimatingCutter, ModelCutter
from coder_lsp.prompt.templates import bind
from coder_lsp.types import FimRequest, Snippet

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>", "<|endoftext|>")
SNIPPETS = (
    Snippet("a.py", "def one():\n    return first_name\n", 0, 2, "similar", 1.0),
    Snippet("b.py", "def two():\n    return second_name\n", 4, 6, "similar", 2.0),
)
REQUEST = FimRequest("main.py", "x", "y", language="python", path="main.py", repository="shop", snippets=SNIPPETS)


@pytest.fixture
def exact():
    vocabulary = WordVocabulary((*QWEN, "<|im_start|>", "<|im_end|>", "<|fim_pad|>"))
    return ModelCutter("words", vocabulary, bind(vocabulary, "qwen"))


def test_all_is_shown_where_there_is_room(exact):
    cut = exact.snippets(REQUEST, 1000)
    assert cut.snippets == SNIPPETS
    assert cut.text.startswith("<|repo_name|>shop\n<|file_sep|>a.py\ndef one():")
    assert 0 < cut.tokens <= 1000


@pytest.mark.parametrize("budget", [0, 5, 20, 30, 40, 50])
def test_a_budget_is_kept_and_the_best_stays_longest(exact, budget):
    cut = exact.snippets(REQUEST, budget)
    assert cut.tokens <= budget
    if cut.snippets:
        assert "b.py" in {snippet.path for snippet in cut.snippets}


def test_what_is_searched_for_names_has_no_control_tokens(exact):
    cut = exact.snippets(REQUEST, 1000)
    assert "file_sep" in cut.text
    assert "file_sep" not in cut.content
    assert "second_name" in cut.content
    assert "b.py" in cut.content


def test_a_text_is_cut_at_the_token(exact):
    assert exact.text("one two three", 2).text == "one two"
    assert exact.text("one two three", 3).tokens == 3


def test_half_a_character_is_left_out():
    class Bytes(WordVocabulary):
        def tokenize(self, text):
            return list(text.encode())

        def token_bytes(self, token):
            return bytes([token])

    vocabulary = Bytes(QWEN)
    assert ModelCutter("bytes", vocabulary, bind(vocabulary, None)).text("aé", 2).text == "a"


def test_an_estimate_keeps_its_budget_and_the_best():
    cutter = EstimatingCutter()
    assert not cutter.exact
    whole = cutter.snippets(REQUEST, 1000)
    assert whole.snippets == SNIPPETS
    assert whole.text == "a.py\n" + SNIPPETS[0].text + "\nb.py\n" + SNIPPETS[1].text
    assert [snippet.path for snippet in cutter.snippets(REQUEST, whole.tokens - 1).snippets] == ["b.py"]
    assert cutter.snippets(REQUEST, 3).snippets == ()


def test_an_estimate_cuts_a_text_at_a_line():
    cut = EstimatingCutter().text("word " * 4 + "\n" + "word " * 400 + "\n", 20)
    assert cut.text == "word word word word \n"
    assert 0 < cut.tokens <= 20
