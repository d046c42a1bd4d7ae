"""Gaps filled as shipped and plainly, by a backend and an engine that say what they are told to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.config import Config
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.evaluate.ways import Place, Plain, Shipped, first_line
from coder_lsp.prompt.templates import bind
from coder_lsp.types import Snippet

PLACE = Place("t", "a.py", "python", "def f(x):\n    y = x\n", "\n\nf(1)\n", one_line=True)


def plain(reply, **limits):
    engine = ScriptedEngine(reply, options=EngineOptions(context_tokens=4096))
    return engine, Plain(engine, bind(engine, "qwen"), **limits)


async def test_shipped_is_the_path_of_an_editor():
    backend = ScriptedBackend("    return y\n")
    other = (Snippet("b.py", "def g(): ...\n"),)
    written = await Shipped(backend, Config()).fill(replace(PLACE, snippets=other), 48)
    assert written.text.strip() == "return y"
    (request,) = backend.requests
    assert (request.prefix, request.suffix) == (PLACE.prefix, PLACE.suffix)
    assert (request.max_tokens, request.deadline_ms, request.temperature) == (48, 0, 0.0)
    assert request.patient
    assert request.snippets == other


async def test_the_users_wishes_have_nothing_to_do_with_a_task():
    completion = replace(Config().completion, enabled=False, exclude=("*.py",), disabled_languages=("python",))
    written = await Shipped(ScriptedBackend("    return y\n"), replace(Config(), completion=completion)).fill(PLACE, 48)
    assert written.text.strip() == "return y"


async def test_nothing_written_has_its_reason():
    written = await Shipped(ScriptedBackend(""), Config()).fill(PLACE, 48)
    assert written.text == ""
    assert written.reason


async def test_what_is_replaced_behind_the_cursor_is_counted():
    """``print(¦)``: the editor closed the bracket, the model writes it and goes on."""
    place = Place("t", "a.py", "python", "total = add(", ")\n")
    written = await Shipped(ScriptedBackend("1, 2) + 3"), Config()).fill(place, 48)
    assert place.prefix + written.text + place.suffix[written.taken :] == "total = add(1, 2) + 3\n"


async def test_plainly_the_prompt_is_the_bare_template():
    engine, way = plain("    return y\n    more")
    written = await way.fill(PLACE, 32)
    (request,) = engine.requests
    special = engine.special
    assert list(request.tokens) == [
        special("<|fim_prefix|>"),
        *engine.tokenize(PLACE.prefix),
        special("<|fim_suffix|>"),
        *engine.tokenize(PLACE.suffix),
        special("<|fim_middle|>"),
    ]
    assert request.forced == b""
    assert first_line(written.text) == "    return y"
    assert "more" not in written.text, "a second line is not waited for"


async def test_plainly_a_sets_own_texts_are_shown():
    engine, way = plain("\n    return y\n")
    written = await way.fill(replace(PLACE, bare=("BEFORE", "AFTER")), 32)
    text = bytes(token for token in engine.requests[0].tokens if token < 256).decode()
    assert text == "BEFOREAFTER"
    assert first_line(written.text) == "    return y"


async def test_plainly_a_long_file_is_cut_around_the_gap():
    engine, way = plain("x", prefix_tokens=5, suffix_tokens=3)
    await way.fill(PLACE, 32)
    text = bytes(token for token in engine.requests[0].tokens if token < 256).decode()
    assert text == PLACE.prefix[-5:] + PLACE.suffix[:3]


async def test_several_lines_are_written_where_they_are_wanted():
    _, way = plain("    a\n    b\n")
    written = await way.fill(replace(PLACE, one_line=False), 32)
    assert written.text == "    a\n    b\n"


def test_from_left_to_right_a_sequence_holds_context_prefix_and_answer():
    """20 tokens, 6 of them new and 4 of the context: 10 are left for the end of the prefix."""
    engine, way = plain("0123456789")
    written = way.go_on("CONTEXT", "abcdefghijklmnop", sequence_tokens=20, context_tokens=4, max_tokens=6)
    assert bytes(engine.requests[0].tokens).decode() == "CONT" + "ghijklmnop"
    assert (written.text, written.prompt_tokens, written.context_tokens) == ("012345", 14, 4)


def test_from_left_to_right_a_short_prefix_is_whole():
    engine, way = plain("x")
    way.go_on("", "ab", sequence_tokens=20, context_tokens=4, max_tokens=6)
    assert bytes(engine.requests[0].tokens).decode() == "ab"


@pytest.mark.parametrize(("text", "line"), [("\n\n    x = 1  \ny", "    x = 1"), ("  \n", ""), ("x", "x")])
def test_the_first_line_that_says_something(text, line):
    assert first_line(text) == line
