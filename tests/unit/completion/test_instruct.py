"""Instructions: what is asked of the model, and what its answer means for the file."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.completion.instruct import OUTLINE, comment_above, follow, question
from coder_lsp.completion.service import CompletionService
from coder_lsp.config import CompletionConfig, Config
from coder_lsp.types import Adapter, FinishReason, InstructRequest, Snippet, Task

FILE = """import math


def area(r):
    # the area of a circle

def half(x):
    return x / 2
"""


def at(mark, task=Task.GENERATE, text=FILE, upto=None, **options):
    """About the text from ``mark`` (its end, for a cursor) to ``upto``."""
    start = text.index(mark) + (0 if upto else len(mark))
    end = text.index(upto) + len(upto) if upto else start
    return InstructRequest("file:///a.py", text, start, end, task, language="python", path="a.py", **options)


HALF = {"mark": "def half", "upto": "x / 2\n"}


async def done(request, *answers, **backend):
    return await follow(ScriptedBackend(*answers, **backend), request)


def applied(request, outcome):
    return request.text[: outcome.start] + outcome.text + request.text[outcome.end :]


async def test_code_goes_below_the_comment_that_asks_for_it():
    request = at("of a circle")
    outcome = await done(request, "return math.pi * r ** 2\n```\nThis computes the area.")
    assert applied(request, outcome) == FILE.replace("of a circle\n", "of a circle\n    return math.pi * r ** 2\n")


async def test_a_blank_line_is_filled():
    text = FILE.replace("# the area of a circle\n", "# the area of a circle\n    \n")
    request = at("of a circle\n    ", text=text)
    outcome = await done(request, "return math.pi * r ** 2\n```")
    assert "circle\n    return math.pi * r ** 2\n" in applied(request, outcome)


async def test_behind_a_head_code_is_one_level_deeper():
    text = "def f(x):\n"
    request = at("def f(x):", text=text, instruction="return the double")
    assert applied(request, await done(request, "return 2 * x\n```")) == "def f(x):\n    return 2 * x\n"


async def test_a_function_asked_for_in_another_one_goes_beside_it():
    request = at("x / 2", instruction="a function that doubles")
    outcome = await done(request, "def double(x):\n    return 2 * x\n```")
    assert applied(request, outcome) == FILE.replace("x / 2", "x / 2\n\n\ndef double(x):\n    return 2 * x")


async def test_whole_lines_are_rewritten_in_their_indentation():
    text = "class A:\n    def f(self):\n        return 1\n    x = 2\n"
    request = at("def f", Task.REWRITE, text, upto="return 1\n", instruction="return 2")
    outcome = await done(request, "def f(self):\n    return 2\n```")
    assert applied(request, outcome) == text.replace("return 1", "return 2")


async def test_a_part_of_a_line_is_rewritten_in_place():
    request = at("x / 2", Task.REWRITE, upto="x / 2", instruction="use a shift")
    outcome = await done(request, "x >> 1\n```")
    assert applied(request, outcome) == FILE.replace("x / 2", "x >> 1")


async def test_line_ends_of_windows_stay_where_they_are():
    text = "def f(x):\r\n    # double\r\n\r\ny = 1\r\n"
    request = at("# double", text=text)
    outcome = await done(request, "return 2 * x\n```")
    assert applied(request, outcome) == text.replace("# double", "# double\n    return 2 * x")


async def test_an_explanation_is_the_answer_as_it_is():
    request = at(task=Task.EXPLAIN, **HALF)
    outcome = await done(request, " It halves.\n```py\nx\n```\nThat is all. ")
    assert outcome.text == "It halves.\n```py\nx\n```\nThat is all."
    assert outcome.reason == ""


async def test_tests_are_a_text_of_their_own():
    outcome = await done(at(task=Task.TESTS, **HALF), "    def test_half():\n        assert half(2) == 1\n```")
    assert outcome.text == "def test_half():\n    assert half(2) == 1"


async def test_with_an_outline_the_code_is_what_comes_behind_it():
    request = at("of a circle", outline=True)
    outcome = await done(request, "1. Take pi.\n2. Multiply.\n```python\nreturn math.pi * r * r\n```\nDone.")
    assert outcome.text == "\n    return math.pi * r * r"


async def test_previews_grow_by_whole_lines_and_end_with_the_outcome():
    seen = []
    request = at("of a circle")
    backend = ScriptedBackend("a = 1\nb = 2\nreturn a\n```\nwords")
    outcome = await follow(backend, request, on_preview=seen.append)
    texts = [each.text for each in seen]
    assert texts[-1] == outcome.text == "\n    a = 1\n    b = 2\n    return a"
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert {(each.start, each.end) for each in seen} == {(outcome.start, outcome.end)}
    assert [each.result is not None for each in seen].count(True) == 1


async def test_the_model_is_stopped_when_its_code_is_complete():
    outcome = await done(at("of a circle"), "return 1\n```\nAnd now for something else" * 3)
    assert outcome.result.finish_reason is FinishReason.ENOUGH
    assert "something" not in outcome.result.text


async def test_nothing_written_has_a_reason():
    outcome = await done(at("of a circle"), "\n```\n")
    assert (outcome.text, outcome.reason) == ("", "the model wrote nothing")


def test_the_question_says_what_is_wanted_and_shows_the_place():
    asked = question(at("x / 2", Task.REWRITE, upto="x / 2", instruction="use a shift"))
    assert "use a shift" in asked.instruction
    assert "```python\nx / 2\n```" in asked.instruction
    assert (asked.before + "x / 2" + asked.after, asked.begun) == (FILE, "```python\n")


def test_the_outline_is_asked_for_in_the_papers_words():
    asked = question(at("of a circle", outline=True))
    assert asked.instruction.endswith(OUTLINE)
    assert asked.begun == ""
    assert asked.max_tokens > question(at("of a circle")).max_tokens


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("# sum of\n# the items\n", "python", "sum of the items"),
        ("x = 1\n// the rest", "javascript", "the rest"),
        ("x = 1\n", "python", ""),
        ("", "python", ""),
        ("    -- all of it\n    ", "lua", "all of it"),
    ],
)
def test_a_comment_above_is_an_instruction(text, language, said):
    assert comment_above(text, len(text), language) == said


@pytest.mark.parametrize("column", [0, 4, 10, 24])
def test_on_a_comments_line_the_whole_of_it_counts_wherever_the_cursor_is(column):
    assert comment_above("x = 1\n    # return the sum\ny = 2\n", 6 + min(column, 20), "python") == "return the sum"


def test_code_on_the_cursors_line_has_no_comment_above():
    assert comment_above("# return the sum\nx = 1\n", 19, "python") == ""


class Workspace:
    """One snippet for every place."""

    SHOWN = (Snippet("b.py", "x = 1\n"),)

    def context(self, request, budget):
        del request, budget
        return self.SHOWN

    def holds(self, snippets):
        del snippets
        return True

    def scope(self, request):
        del request
        return ""


def service(*answers, **completion):
    backend = ScriptedBackend(*answers)
    config = Config(completion=CompletionConfig(**completion))
    adapters = (Adapter("/a.gguf"),)
    return CompletionService(backend, config, Workspace(), adapters_of=lambda _: lambda _: adapters), backend


async def test_the_service_shows_other_files_and_lays_adapters_over_the_model():
    completions, backend = service("return 1\n```")
    outcome = await completions.instruct(at("of a circle"))
    (asked,) = backend.questions
    assert (asked.snippets, asked.adapters) == (Workspace.SHOWN, (Adapter("/a.gguf"),))
    assert outcome.snippets == Workspace.SHOWN


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(at("of a circle"), path=".env"), "looks like a secret"),
        (replace(at("of a circle"), path="mine/a.py"), "excluded"),
        (at("x / 2", Task.REWRITE, upto="x / 2"), "no instruction was given"),
        (at("x / 2", Task.EXPLAIN), "nothing is selected"),
        (at("x / 2"), "no instruction was given, and no comment stands above the cursor"),
    ],
)
async def test_what_cannot_be_is_not_asked(request_, reason):
    completions, backend = service("x\n```", exclude=("mine/",))
    outcome = await completions.instruct(request_)
    assert (outcome.reason, backend.questions) == (reason, [])


async def test_who_asks_by_name_is_answered_while_suggestions_are_paused():
    completions, _ = service("return 1\n```", enabled=False)
    completions.pause(None, on=True)
    assert (await completions.instruct(at("of a circle"))).reason == ""


async def test_what_nobody_would_see_is_left_out():
    completions, _ = service("return 1  # \u202eeurt\x1b[2J\n```", "It\u2066 is\x1b]0;x\x07 one.")
    assert (await completions.instruct(at("of a circle"))).text.strip() == "return 1  # eurt[2J"
    assert (await completions.instruct(at("x / 2", Task.EXPLAIN, upto="x / 2"))).text == "It is]0;x one."
