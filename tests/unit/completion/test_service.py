"""The path of one request in the front, with a scripted model behind it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.completion.service import CompletionService
from coder_lsp.config import CompletionConfig, Config
from coder_lsp.errors import HostUnavailable
from coder_lsp.types import CompletionRequest, FinishReason, Shape, Suggestion, Trigger


def place(marked: str, **changes) -> CompletionRequest:
    """A request at the ``|`` in ``marked``."""
    before, after = marked.split("|")
    request = CompletionRequest(
        uri="file:///w/a.py", text=before + after, cursor=len(before), language="python", path="a.py", root="/w"
    )
    return replace(request, **changes)


async def test_a_line_is_suggested_at_the_cursor():
    service = CompletionService(ScriptedBackend("b\n\n\nprint(1)"), Config())
    outcome = await service.complete(place("def add(a, b):\n    return a + |\n"))
    assert outcome.suggestions == (Suggestion("b", 30, 30),)
    assert outcome.shape is Shape.LINE
    assert outcome.result.finish_reason is FinishReason.ENOUGH


async def test_a_body_is_suggested_as_a_block_and_ends_with_it():
    service = CompletionService(ScriptedBackend("a = 1\n    return a\n\ndef g():\n    pass"), Config())
    outcome = await service.complete(place("def f():\n    |\n"))
    assert outcome.shape is Shape.BLOCK
    assert [s.text for s in outcome.suggestions] == ["a = 1\n    return a"]


async def test_the_closing_bracket_of_the_editor_is_not_doubled():
    service = CompletionService(ScriptedBackend("a, b)"), Config())
    request = place("x = f(|)\n")
    outcome = await service.complete(request)
    (suggestion,) = outcome.suggestions
    text = request.text[: suggestion.start] + suggestion.text + request.text[suggestion.end :]
    assert text == "x = f(a, b)\n"


async def test_the_model_sees_newlines_and_the_file_keeps_its_own():
    backend = ScriptedBackend("a = 1\n    return a\n")
    service = CompletionService(backend, Config())
    outcome = await service.complete(place("import os\r\n\r\ndef f():\r\n    |\r\n"))
    assert "\r" not in backend.requests[0].prefix + backend.requests[0].suffix
    assert outcome.suggestions[0].text == "a = 1\r\n    return a"


async def test_the_newest_request_wins_and_the_older_one_is_answered():
    backend = ScriptedBackend("1", "2")
    backend.hold = asyncio.Event()
    service = CompletionService(backend, Config())
    first = asyncio.ensure_future(service.complete(place("a = |\n")))
    await backend.asked.wait()
    second = asyncio.ensure_future(service.complete(place("b = |\n")))
    outcome = await first
    assert outcome.suggestions == ()
    assert outcome.reason == "superseded"
    assert backend.cancelled == 1
    backend.hold.set()
    assert (await second).suggestions[0].text == "2"


async def test_cancelling_the_caller_cancels_the_generation():
    """With reuse it goes on for a moment: see test_reuse."""
    backend = ScriptedBackend("1")
    backend.hold = asyncio.Event()
    service = CompletionService(backend, Config(completion=CompletionConfig(reuse=False)))
    caller = asyncio.ensure_future(service.complete(place("a = |\n")))
    await backend.asked.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0)
    assert backend.cancelled == 1
    backend.hold = None
    assert (await service.complete(place("a = |\n"))).suggestions


async def test_a_backend_that_fails_reaches_the_caller():
    class Failing:
        async def complete(self, request, on_text=None):
            raise HostUnavailable("no host", hint="run doctor")

    with pytest.raises(HostUnavailable, match="no host"):
        await CompletionService(Failing(), Config()).complete(place("a = |\n"))


@pytest.mark.parametrize(
    ("scope", "silent", "speaks"),
    [
        (None, place("a = |\n"), None),
        ("python", place("a = |\n"), place("a = |;\n", language="javascript", uri="file:///w/a.js", path="a.js")),
        ("file:///w/a.py", place("a = |\n"), place("a = |\n", uri="file:///w/b.py", path="b.py")),
    ],
)
async def test_a_pause_has_a_scope_and_an_end(scope, silent, speaks):
    service = CompletionService(ScriptedBackend("1"), Config())
    service.pause(scope, True)
    outcome = await service.complete(silent)
    assert outcome.suggestions == ()
    assert outcome.reason.startswith("paused")
    if speaks is not None:
        assert (await service.complete(speaks)).suggestions
    service.pause(scope, False)
    assert (await service.complete(silent)).suggestions


async def test_a_secret_file_is_never_sent():
    backend = ScriptedBackend("hunter2")
    service = CompletionService(backend, Config())
    outcome = await service.complete(place("PASSWORD=|\n", uri="file:///w/.env", path=".env", language=""))
    assert outcome.suggestions == ()
    assert outcome.reason
    assert backend.requests == []


async def test_budgets_follow_shape_trigger_and_request():
    config = Config(completion=CompletionConfig(max_tokens_line=7, max_tokens_block=70, automatic_deadline_ms=1))
    backend = ScriptedBackend("1")
    service = CompletionService(backend, config)
    await service.complete(place("a = |\n"))
    await service.complete(place("def f():\n    |\n"))
    await service.complete(place("def f():\n    |\n", trigger=Trigger.INVOKED, max_tokens=3))
    assert [r.max_tokens for r in backend.requests] == [7, 70, 3]
    assert [r.deadline_ms for r in backend.requests] == [1, 1, config.completion.invoked_deadline_ms]


async def test_settings_hold_from_the_next_request():
    service = CompletionService(ScriptedBackend("1"), Config())
    service.configure(Config(completion=CompletionConfig(enabled=False)))
    assert (await service.complete(place("a = |\n"))).reason == "disabled"


async def test_a_half_finished_last_line_is_left_out():
    backend = ScriptedBackend("a = 1\n    return a + some_na", finish=FinishReason.LENGTH)
    outcome = await CompletionService(backend, Config()).complete(place("def f():\n    |\n"))
    assert outcome.suggestions[0].text == "a = 1"


async def test_the_cells_above_are_seen():
    backend = ScriptedBackend("1")
    await CompletionService(backend, Config()).complete(place("x = |", preceding="import numpy as np\n"))
    assert backend.requests[0].prefix == "import numpy as np\n\nx = "


async def test_what_crosses_to_the_host_is_bounded_and_starts_at_a_line_that_stays():
    backend = ScriptedBackend("1")
    service = CompletionService(backend, Config())
    text = "".join(f"value_{n} = {n}\n" for n in range(20_000))
    starts = set()
    for typed in ("", "x", "x = ", "x = y\n"):
        await service.complete(place(text + typed + "|" + text))
        request = backend.requests[-1]
        assert len(request.prefix) <= 64 * 1024
        assert len(request.suffix) <= 16 * 1024
        assert request.prefix.startswith("value_")
        starts.add(request.prefix[:40])
    assert len(starts) == 1
