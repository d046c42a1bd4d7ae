"""When the block of other files is made anew, and when it stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.completion.context import JUMP_LINES, PAUSE_S, FrozenContext
from coder_lsp.completion.service import CompletionService
from coder_lsp.config import Config, ContextConfig
from coder_lsp.types import CompletionRequest, Snippet

TEXT = "line\n" * 300


def snippet(*lines: str, path: str = "b.py") -> Snippet:
    return Snippet(path, "\n".join(lines) + "\n", 0, len(lines), "similar", 1.0)


class Source:
    """Gives blocks in turn, the last one for ever; counts how often it is asked."""

    def __init__(self, *blocks: tuple[Snippet, ...]) -> None:
        self.blocks = list(blocks)
        self.asked = 0
        self.true = True
        self.function = ""

    def context(self, request: CompletionRequest, budget: int) -> tuple[Snippet, ...]:
        self.asked += 1
        return self.blocks.pop(0) if len(self.blocks) > 1 else self.blocks[0]

    def holds(self, snippets: tuple[Snippet, ...]) -> bool:
        return self.true

    def scope(self, request: CompletionRequest) -> str:
        return self.function


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


OLD, NEW = (snippet("a", "b", "c", "d"),), (snippet("e", "f", "g", "h"),)


def at(line: int, uri: str = "file:///w/a.py", text: str = TEXT) -> CompletionRequest:
    return CompletionRequest(uri=uri, text=text, cursor=line * 5, language="python", path="a.py", root="/w")


@pytest.fixture
def clock():
    return Clock()


def test_the_block_stays_while_the_user_types(clock):
    source = Source(OLD, NEW)
    frozen = FrozenContext(source, clock)
    for line in range(50, 50 + JUMP_LINES):
        clock.now += 1
        assert frozen.block(at(line), 512) is OLD
    assert source.asked == 1


@pytest.mark.parametrize("how", ["jump", "pause", "switch"])
def test_the_block_is_looked_at_again_where_something_else_may_follow(clock, how):
    source = Source(OLD, NEW) if how != "switch" else Source(OLD, OLD, NEW)
    frozen = FrozenContext(source, clock)
    frozen.block(at(50), 512)
    if how == "pause":
        clock.now += PAUSE_S + 1
    if how == "switch":
        frozen.block(at(50, "file:///w/other.py"), 512)
    assert frozen.block(at(51 + JUMP_LINES if how == "jump" else 50), 512) == NEW


def test_in_another_function_near_by_one_like_it_replaces_the_block(clock):
    alike = (*OLD, replace(snippet("e"), alike=True))
    source = Source(OLD, alike, NEW)
    frozen = FrozenContext(source, clock)
    source.function = "def f():"
    frozen.block(at(50), 512)
    source.function = "def g():"
    assert frozen.block(at(53), 512, waiting=True) is OLD
    assert frozen.block(at(53), 512) == alike
    assert frozen.block(at(54), 512) == alike
    assert source.asked == 2


@pytest.mark.parametrize("fresh", [NEW, (*NEW, replace(snippet("a", "b"), alike=True))])
def test_in_another_function_near_by_the_block_stays_without_a_new_one_like_it(clock, fresh):
    source = Source(OLD, fresh)
    frozen = FrozenContext(source, clock)
    for function in ("def f():", "def g():", "def g():", "", "def g():"):
        source.function = function
        assert frozen.block(at(50), 512) is OLD
    assert source.asked == 2


def test_a_block_that_hardly_differs_does_not_replace_the_old_one(clock):
    source = Source(OLD, (snippet("a", "b", "c", "x"),))
    frozen = FrozenContext(source, clock)
    frozen.block(at(0), 512)
    assert frozen.block(at(200), 512) is OLD
    assert source.asked == 2


def test_a_block_that_is_not_true_any_more_is_replaced_however_little_differs(clock):
    changed = (snippet("a", "b", "c", "renamed"),)
    source = Source(OLD, changed)
    frozen = FrozenContext(source, clock)
    frozen.block(at(0), 512)
    source.true = False
    assert frozen.block(at(200), 512) == changed


def test_blocks_made_while_the_workspace_was_being_read_are_looked_at_again(clock):
    frozen = FrozenContext(Source(OLD, NEW), clock)
    frozen.block(at(0), 512)
    frozen.look_again()
    assert frozen.block(at(0), 512) == NEW


def test_after_a_jump_the_new_place_is_the_one_to_jump_from(clock):
    source = Source(OLD)
    frozen = FrozenContext(source, clock)
    for line in (0, 200, 201, 202):
        frozen.block(at(line), 512)
    assert source.asked == 2


def test_an_empty_block_is_asked_for_again_until_the_workspace_is_known(clock):
    source = Source((), (), OLD)
    frozen = FrozenContext(source, clock)
    assert [frozen.block(at(0), 512) for _ in range(4)] == [(), (), OLD, OLD]
    assert source.asked == 3


def test_another_budget_makes_another_block(clock):
    frozen = FrozenContext(Source(OLD, NEW), clock)
    frozen.block(at(0), 512)
    assert frozen.block(at(0), 256) == NEW


def test_a_request_takes_the_old_block_and_the_new_one_is_made_when_nobody_waits(clock):
    source = Source(OLD, NEW)
    frozen = FrozenContext(source, clock)
    frozen.block(at(0), 512)
    assert [frozen.block(at(line), 512, waiting=True) for line in (200, 201)] == [OLD, OLD]
    assert source.asked == 1
    assert frozen.block(at(201), 512) == NEW


def test_a_request_waits_for_a_new_block_where_the_old_one_is_not_true_any_more(clock):
    source = Source(OLD, NEW)
    frozen = FrozenContext(source, clock)
    frozen.block(at(0), 512)
    source.true = False
    assert frozen.block(at(200), 512, waiting=True) == NEW


async def test_the_model_gets_the_snippets_and_the_outcome_names_them():
    backend = ScriptedBackend("1\n")
    service = CompletionService(backend, Config(), Source(OLD))
    outcome = await service.complete(at(0, text="x = \n"))
    assert backend.requests[0].snippets == OLD == outcome.snippets
    assert "context" in outcome.timings_ms


async def test_a_user_who_switched_it_off_sends_nothing():
    backend, source = ScriptedBackend("1\n"), Source(OLD)
    service = CompletionService(backend, replace(Config(), context=ContextConfig(enabled=False)), source)
    await service.complete(at(0, text="x = \n"))
    assert backend.requests[0].snippets == ()
    assert source.asked == 0


async def test_new_settings_make_the_block_anew():
    backend = ScriptedBackend("1\n")
    service = CompletionService(backend, Config(), Source(OLD, NEW))
    await service.complete(at(0, text="x = \n"))
    service.configure(Config())
    await service.complete(at(0, text="x = \n"))
    assert [request.snippets for request in backend.requests] == [OLD, NEW]
