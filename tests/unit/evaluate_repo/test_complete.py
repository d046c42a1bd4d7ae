"""Places completed through the shipped service, by a backend that says what it is told to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.config import Config
from coder_lsp.evaluate import rows
from coder_lsp.evaluate.repo.complete import (
    Sample,
    Subject,
    compared,
    complete,
    saved,
)
from coder_lsp.evaluate.repo.places import BLOCK, CALL, LINE
from coder_lsp.evaluate.repo.workspace import Prepared
from coder_lsp.types import Adapter, FimResult, FinishReason, Snippet

SHOWN = (Snippet("shapes.py", "def area_of(shape, unit_scale):\n", 0, 1, "called", 1.0),)
SUBJECT = Subject("tiny", "tiny.gguf", "tiny:1234")


class KnowsWithContext(ScriptedBackend):
    """Right if it sees another file, wrong without."""

    def __init__(self, right="area_of(each, 2.0)\n", wrong="area(each)\n"):
        super().__init__("")
        self._answers = (wrong, right)

    async def complete(self, request, on_text=None):
        self.texts = [self._answers[bool(request.snippets)]]
        return await super().complete(request, on_text)


@pytest.fixture
def gaps(place):
    return [Prepared(place(LINE, "area_of(each, 2.0)", name=str(number)), SHOWN) for number in range(3)]


async def test_each_place_without_and_with_context(gaps):
    backend, told = KnowsWithContext(), []
    samples = await complete(
        gaps, backend, Config(), SUBJECT, on_sample=lambda _sample, number, total: told.append((number, total))
    )
    assert [(sample.recipe, sample.exact) for sample in samples] == [("none", False), ("ours", True)] * 3
    assert told == [(number, 6) for number in range(1, 7)]
    none, ours = samples[:2]
    assert (none.text, ours.text, ours.written) == ("area(each)", "area_of(each, 2.0)", "area_of(each, 2.0)")
    assert (none.saved, ours.saved, ours.characters) == (0, 17, 17)
    assert ours.identifiers == 1.0
    assert none.identifiers == pytest.approx(0.5), "of area and each, and area_of and each, one is common"
    first, second = backend.requests[:2]
    assert (first.snippets, second.snippets) == ((), SHOWN)
    assert first.document != second.document
    assert (first.prefix, first.suffix) == (gaps[0].place.task.prefix, gaps[0].place.task.suffix)
    assert (first.path, first.repository, first.language) == ("report.py", "drawing", "python")
    assert (first.deadline_ms, first.temperature, first.alternatives, first.patient) == (0, 0.0, 1, True)


async def test_as_much_is_asked_for_as_an_editor_asks_for(place):
    """Half a line is a line, the beginning of a body a block."""
    line = Prepared(place(LINE, "1"), ())
    block = Prepared(place(BLOCK, "result = 1\n    return result", prefix="def total(shapes):\n    "), ())
    backend = ScriptedBackend("result = 1\n    return result\n")
    await complete([line, block], backend, Config(), SUBJECT)
    limits = Config().completion
    assert [request.max_tokens for request in backend.requests] == [limits.max_tokens_line] * 2 + [
        limits.max_tokens_block
    ] * 2


async def test_the_users_exclusions_are_not_asked_a_second_time(gaps):
    completion = replace(Config().completion, enabled=False, exclude=("*.py",), disabled_languages=("python",))
    config = replace(Config(), completion=completion, context=replace(Config().context, enabled=False))
    samples = await complete(gaps[:1], KnowsWithContext(), config, SUBJECT)
    assert [sample.exact for sample in samples] == [False, True]


async def test_the_adapters_of_a_subject_and_no_others(gaps):
    adapter = Adapter("/a.gguf", 0.5, "version")
    backend = KnowsWithContext()
    config = replace(Config(), engine=replace(Config().engine, loras=("another",)))
    await complete(gaps[:1], backend, config, replace(SUBJECT, adapters=(adapter,)))
    assert [request.adapters for request in backend.requests] == [(adapter,)] * 2


async def test_no_suggestion_is_wrong_with_its_reason(gaps):
    class Silent(ScriptedBackend):
        async def complete(self, request, on_text=None):
            return FimResult("", FinishReason.STOP_TOKEN)

    (sample, _) = await complete(gaps[:1], Silent(""), Config(), SUBJECT)
    assert (sample.exact, sample.text, sample.saved) == (False, "", 0)
    assert sample.reason


async def test_what_is_done_is_not_done_again(gaps, tmp_path):
    path = tmp_path / "folder" / "samples.jsonl"

    def keep(sample, *_):
        rows.append(path, sample)

    await complete(gaps[:2], KnowsWithContext(), Config(), SUBJECT, on_sample=keep)
    # Ended while it wrote: the broken line goes, and only that.
    path.write_bytes(path.read_bytes()[:-30])
    done = rows.load(path, Sample)
    assert len(done) == 3
    backend = KnowsWithContext()
    samples = await complete(gaps, backend, Config(), SUBJECT, done=done, on_sample=keep)
    assert len(backend.requests) == 3
    assert rows.load(path, Sample) == samples


@pytest.mark.parametrize(
    ("change", "again"),
    [("nothing", 0), ("context", 1), ("subject", 2), ("budget", 2), ("tokens", 2), ("text", 2), ("threads", 0)],
)
async def test_another_measurement_is_made(gaps, change, again):
    done = await complete(gaps[:1], KnowsWithContext(), Config(), SUBJECT)
    backend, config, subject, one = KnowsWithContext(), Config(), SUBJECT, gaps[0]
    if change == "context":
        one = Prepared(one.place, (replace(SHOWN[0], text="changed\n"),))
    elif change == "subject":
        subject = replace(subject, label="tiny:5678")
    elif change == "budget":
        config = replace(config, prompt=replace(config.prompt, context_tokens=256))
    elif change == "tokens":
        config = replace(config, completion=replace(config.completion, max_tokens_line=7))
    elif change == "text":
        one = Prepared(replace(one.place, task=replace(one.place.task, suffix="\nmore\n")), one.snippets)
    elif change == "threads":
        config = replace(config, engine=replace(config.engine, threads=1))
    await complete([one], backend, config, subject, done=done)
    assert len(backend.requests) == again


@pytest.mark.parametrize(
    ("kind", "prefix", "text", "expected"),
    [
        (LINE, "x = ", "one + two\nthree\n", "one + two"),
        (LINE, "x = ", "\none\n", ""),
        (LINE, "def f():\n    ", "\n    one = 1\n    two = 2", "    one = 1"),
        (LINE, "x = ", "one\r\ntwo", "one"),
        (CALL, "x = f(", "a, (b)) + more(c)", "a, (b))"),
        (CALL, "x = f(", "\n    a,\n    b,\n)\nnext", "\n    a,\n    b,\n)"),
        (CALL, "x = f(", "never closed\nnext", "never closed"),
        (BLOCK, "def f():\n    ", "one = 1\n    return one", "one = 1\n    return one"),
    ],
)
def test_how_much_of_a_suggestion_is_compared(place, kind, prefix, text, expected):
    assert compared(place(kind, "truth", prefix=prefix), text) == expected


@pytest.mark.parametrize(
    ("text", "written", "count"),
    [
        ("a = 1\nb = 2", "a = 1\nb = 2", 6),
        ("a = 1\nb = 3", "a = 1\nb = 2", 3),
        ("a = 1\n\n    b = 2\nc = 3", "a = 1\n  b = 2", 6),
        ("b = 2", "a = 1\nb = 2", 0),
        ("a = 1 + 2", "a = 1", 0),
        ("", "a = 1", 0),
    ],
)
def test_characters_are_saved_in_whole_lines(text, written, count):
    assert saved(text, written) == count
