"""Any order of keys, text and time: each request is answered once, with what the model wrote for its place.

The model is a function: behind a beginning of the text it knows it writes the rest, and behind anything else something
else. It says so in pieces whose order with the keys is drawn at random. Each answer is compared with what the rules
make of the same raw text at the same place, and with the answers of a service that reuses nothing.
"""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from support.scripted_backend import ManualClock, ScriptedBackend, SteppedBackend, settle

from coder_lsp.completion.gap import Gap
from coder_lsp.completion.postprocess import examine
from coder_lsp.completion.service import CompletionService
from coder_lsp.config import CompletionConfig, Config, IdleConfig
from coder_lsp.types import CompletionRequest, FinishReason, Shape, Trigger

HEAD, BELOW = "import os\n\n\n", "\n\n\nLAST = 1\n"
KNOWN = (
    "def area(shapes):\n    total = 0.0\n    for shape in shapes:\n        total += shape.area(scale=2)\n\n"
    "    return total\n\n\ndef next_one(a):\n    pass\n"
)
OTHER = "other(1)\n    thing = 2\n"
PLAIN = Config(completion=CompletionConfig(reuse=False, early_ms=0, delay="none"))

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("type"), st.integers(1, 12)),
        st.tuples(st.just("stray"), st.sampled_from("x(\n")),
        st.tuples(st.just("erase"), st.integers(1, 8)),
        st.tuples(st.just("accept"), st.just(0)),
        st.tuples(st.just("invoke"), st.just(0)),
        st.tuples(st.just("say"), st.integers(1, 40)),
        st.tuples(st.just("wait"), st.sampled_from([0.05, 0.3, 1.0])),
        st.tuples(st.just("cancel"), st.just(0)),
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=30,
)


def raw_behind(prefix: str) -> str:
    """What the model writes there."""
    so_far = prefix.removeprefix(HEAD)
    return KNOWN[len(so_far) :] if KNOWN.startswith(so_far) else OTHER


def request_at(typed: str, trigger: Trigger = Trigger.AUTOMATIC) -> CompletionRequest:
    before = HEAD + typed
    return CompletionRequest("file:///w/a.py", before + BELOW, len(before), "python", "a.py", "/w", trigger=trigger)


def say(backend: SteppedBackend, number: int) -> None:
    """The model goes on with what it is at: so many characters for everything that runs."""
    for generation in backend.generations:
        if generation.running:
            raw = raw_behind(generation.request.prefix)
            at = len(generation.text)
            generation.say(raw[at : at + number])
            if generation.running and at + number >= len(raw):
                generation.end(FinishReason.STOP_TOKEN)


async def plain(request: CompletionRequest) -> str:
    service = CompletionService(ScriptedBackend(raw_behind(Gap.of(request).prefix)), PLAIN)
    outcome = await service.complete(request)
    await service.close()
    return outcome.suggestions[0].text if outcome.suggestions else ""


def possible(request: CompletionRequest, shape: Shape) -> set[str]:
    """What the rules make of the raw text at this place: of all of it, and of whole lines of it."""
    gap = Gap.of(request)
    raw = raw_behind(gap.prefix)
    lines = raw.splitlines(keepends=True)
    texts = set()
    for count in range(1, len(lines) + 1):
        part = "".join(lines[:count])
        for settled in (False, True):
            verdict = examine(part, gap.before, gap.after, gap.language, shape, settled=settled)
            if verdict.edit is not None:
                texts.add(verdict.edit.text)
    return texts


async def play(actions: list[tuple[str, object]], *, ahead: bool) -> None:
    backend, clock = SteppedBackend(), ManualClock()
    service = CompletionService(backend, Config(idle=IdleConfig(enabled=ahead)), clock=clock)
    asked: list[tuple[CompletionRequest, asyncio.Task]] = []
    typed = "def area(shapes):\n    "

    def ask(trigger: Trigger = Trigger.AUTOMATIC) -> None:
        request = request_at(typed, trigger)
        asked.append((request, asyncio.ensure_future(service.complete(request))))

    cancelled: set[asyncio.Task] = set()
    for action, value in actions:
        if action == "type":
            assert isinstance(value, int)
            typed += KNOWN[len(typed) : len(typed) + value] if KNOWN.startswith(typed) else "y"
            ask()
        elif action == "stray":
            typed += str(value)
            ask()
        elif action == "erase":
            assert isinstance(value, int)
            typed = typed[: max(0, len(typed) - value)]
            ask()
        elif action == "accept":
            await settle()
            request, latest = asked[-1] if asked else (None, None)
            if latest is not None and latest.done() and not latest.cancelled() and latest.result().suggestions:
                typed = request.text[len(HEAD) : request.cursor] + latest.result().suggestions[0].text
                ask()
        elif action == "invoke":
            ask(Trigger.INVOKED)
        elif action == "say":
            assert isinstance(value, int)
            say(backend, value)
        elif action == "wait":
            assert isinstance(value, float)
            await clock.advance(value)
        elif action == "cancel" and asked:
            asked[-1][1].cancel()
            cancelled.add(asked[-1][1])
        else:
            await settle()

    while not all(task.done() for _, task in asked):
        say(backend, 1000)
        await clock.advance(0.5)
    for request, task in asked:
        if task.cancelled():
            assert task in cancelled
            continue
        outcome = task.result()
        if outcome.reason in {"superseded", "cancelled"}:
            continue
        fresh = await plain(request)
        if outcome.suggestions:
            assert outcome.suggestions[0].text in possible(request, outcome.shape)
        else:
            assert not fresh
    task = asked[-1][1] if asked else None
    assert task is None or task in cancelled or task.result().reason not in {"superseded", "cancelled"}
    await service.close()
    await settle()
    assert not any(generation.running for generation in backend.generations)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@settings(max_examples=150, deadline=None)
@given(ACTIONS)
def test_every_request_is_answered_with_what_was_written_for_its_place(actions):
    asyncio.run(play(actions, ahead=False))


@settings(max_examples=150, deadline=None)
@given(ACTIONS)
def test_work_ahead_changes_no_answer(actions):
    asyncio.run(play(actions, ahead=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(KNOWN) - 30), st.integers(1, 30))
def test_a_line_typed_through_is_the_line_a_fresh_request_would_give(start, count):
    """Where both are one line, reuse cannot be told from asking anew."""

    async def compare() -> None:
        backend = SteppedBackend()
        config = Config(idle=IdleConfig(enabled=False), completion=CompletionConfig(multiline=False))
        service = CompletionService(backend, config, clock=ManualClock())
        first = asyncio.ensure_future(service.complete(request_at(KNOWN[:start])))
        await backend.asked(1)
        say(backend, 1000)
        await first
        second = request_at(KNOWN[: start + count])
        task = asyncio.ensure_future(service.complete(second))
        await settle()
        say(backend, 1000)
        outcome = await task
        fresh = CompletionService(
            ScriptedBackend(raw_behind(Gap.of(second).prefix)),
            Config(completion=CompletionConfig(reuse=False, multiline=False)),
        )
        expected = await fresh.complete(second)
        assert outcome.suggestions == expected.suggestions
        await service.close()
        await fresh.close()

    asyncio.run(compare())
