"""Instructions as models read them, and what of a file is shown with a question."""

from __future__ import annotations

import pytest

from coder_lsp.config import PromptConfig
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.scripted import SPECIAL_TOKENS, ScriptedEngine
from coder_lsp.errors import ContextOverflow
from coder_lsp.prompt.chat import DEEPSEEK_SYSTEM, OTHER_SYSTEM, QWEN_SYSTEM, AskBuilder, chat_format, conversation
from coder_lsp.types import AskRequest, Snippet

DEEPSEEK = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<|EOT|>", "<｜begin▁of▁sentence｜>")


def spelled(engine, tokens, specials):
    """A prompt with its control tokens written out."""
    names = {engine.special(text): text for text in specials}
    return b"".join(names[t].encode() if t in names else engine.token_bytes(t) for t in tokens).decode()


def test_chatml_as_qwen_reads_it():
    engine = ScriptedEngine()
    style = chat_format(engine, "qwen")
    tokens = conversation(engine, style, ["Sort a list."], "```python\n")
    assert spelled(engine, tokens, SPECIAL_TOKENS) == (
        f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n"
        "<|im_start|>user\nSort a list.<|im_end|>\n"
        "<|im_start|>assistant\n```python\n"
    )
    assert engine.special("<|im_end|>") in style.stop_tokens
    assert style.warning == ""


def test_a_conversation_has_turns():
    engine = ScriptedEngine()
    tokens = conversation(engine, chat_format(engine), ["one", "two", "three"])
    assert spelled(engine, tokens, SPECIAL_TOKENS) == (
        f"<|im_start|>system\n{OTHER_SYSTEM}<|im_end|>\n<|im_start|>user\none<|im_end|>\n"
        "<|im_start|>assistant\ntwo<|im_end|>\n<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n"
    )


def test_deepseek_coders_own_format():
    """As in its published script: system line, headings, ``<|EOT|>`` behind a response."""
    engine = ScriptedEngine(special_tokens=DEEPSEEK, bos="<｜begin▁of▁sentence｜>")
    style = chat_format(engine, "deepseek")
    tokens = conversation(engine, style, [" one ", "two", "three"], "so")
    assert spelled(engine, tokens, DEEPSEEK) == (
        f"<｜begin▁of▁sentence｜>{DEEPSEEK_SYSTEM}\n### Instruction:\none\n### Response:\n"
        "two\n<|EOT|>\n### Instruction:\nthree\n### Response:\nso"
    )
    assert engine.special("<|EOT|>") in style.stop_tokens


def test_a_model_without_either_is_asked_in_words_and_the_user_told():
    engine = ScriptedEngine(special_tokens=("<|endoftext|>",))
    style = chat_format(engine)
    assert "not made to follow instructions" in style.warning
    assert spelled(engine, conversation(engine, style, ["x"]), ()).startswith(OTHER_SYSTEM)


def test_text_never_becomes_a_control_token():
    engine = ScriptedEngine()
    tokens = conversation(engine, chat_format(engine), ["a<|im_end|>b"])
    assert tokens.count(engine.special("<|im_end|>")) == 2


def builder(context_tokens=4096, **prompt):
    engine = ScriptedEngine(options=EngineOptions(context_tokens=context_tokens))
    return AskBuilder(engine, chat_format(engine), PromptConfig(**prompt), context_tokens), engine


def built(request, **options):
    it, engine = builder(**options)
    tokens, used = it.build(request)
    return spelled(engine, tokens, SPECIAL_TOKENS), used


def test_what_stays_comes_first():
    """Other files, the file, then the question: a second question evaluates little more than itself."""
    request = AskRequest(
        "u", "Why?", "above\n", "below\n", language="python", path="a.py", snippets=(Snippet("b.py", "b"),)
    )
    text, used = built(request)
    places = [text.index(part) for part in ("# b.py", "above", "below", "Why?")]
    assert places == sorted(places)
    assert used == (0,)


def test_comments_are_those_of_the_language():
    text, _ = built(AskRequest("u", "Why?", "x", language="lua", snippets=(Snippet("b.lua", "b"),)))
    assert "-- b.lua\nb\n" in text


def test_a_long_file_is_cut_around_the_place():
    before = "".join(f"line {n}\n" for n in range(2000))
    after = "".join(f"after {n}\n" for n in range(2000))
    text, _ = built(AskRequest("u", "Why?", before, after, max_tokens=100))
    assert "line 1999\n" in text
    assert "after 0\n" in text
    assert "line 0\n" not in text
    assert "after 1999" not in text
    assert len(text) < 4096 - 100


@pytest.mark.parametrize("context_tokens", [400, 700, 1500, 5000])
def test_prompt_and_answer_fit(context_tokens):
    it, _ = builder(context_tokens)
    snippets = tuple(Snippet(f"{n}.py", "x = 1\n" * 20, score=n) for n in range(8))
    request = AskRequest("u", "Why?", "word " * 3000, "more " * 3000, snippets=snippets, max_tokens=100)
    tokens, _ = it.build(request)
    assert len(tokens) + 100 <= context_tokens


def test_of_other_files_the_best_are_shown_in_the_order_given():
    scores = {"a": 1, "b": 3, "c": 2}
    snippets = tuple(Snippet(f"{name}.py", name * 150, score=score) for name, score in scores.items())
    request = AskRequest("u", "Why?", snippets=snippets, language="python", max_tokens=64)
    assert built(request)[1] == (1, 2)
    assert built(request, context_tokens=800)[1] == (1,)
    assert built(request, context_tokens=64 * 4)[1] == ()


def test_an_instruction_that_is_too_long_is_refused_with_what_helps():
    with pytest.raises(ContextOverflow, match="select less") as raised:
        built(AskRequest("u", "word " * 3000, max_tokens=100), context_tokens=1000)
    assert "1000" in raised.value.message
