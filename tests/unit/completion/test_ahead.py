"""Prompts made ready before they are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.scripted_backend import ManualClock, ScriptedBackend

from coder_lsp.completion.ahead import MOVED_S, OPENED_S, SCREEN_LINES, after_accept, first_screen
from coder_lsp.completion.context import JUMP_LINES
from coder_lsp.completion.gap import Gap
from coder_lsp.completion.postprocess import Edit
from coder_lsp.completion.service import CompletionService
from coder_lsp.config import CompletionConfig, Config, IdleConfig
from coder_lsp.types import CompletionRequest, Snippet, Trigger

TEXT = "".join(f"x{number} = {number}\n" for number in range(300))
OLD, NEW = (Snippet("b.py", "old\n"),), (Snippet("b.py", "new\n"),)


def at(line: int, **changes) -> CompletionRequest:
    cursor = len("".join(TEXT.splitlines(keepends=True)[:line])) + 3
    return replace(CompletionRequest("file:///w/a.py", TEXT, cursor, "python", "a.py", "/w"), **changes)


class Workspace:
    def __init__(self) -> None:
        self.snippets = OLD

    def context(self, request, budget):
        return self.snippets

    def holds(self, snippets):
        return True

    def scope(self, request):
        return ""


class Session:
    def __init__(self, config: Config | None = None) -> None:
        self.backend = ScriptedBackend("1\n")
        self.clock = ManualClock()
        self.workspace = Workspace()
        self.service = CompletionService(self.backend, config or Config(), self.workspace, clock=self.clock)

    async def warmed(self, seconds: float = OPENED_S) -> int:
        await self.clock.advance(seconds)
        return len(self.backend.warmed)


@pytest.fixture
async def session():
    opened = Session()
    yield opened
    await opened.service.close()


async def test_a_document_that_was_opened_is_made_ready_up_to_the_end_of_its_first_screen(session):
    session.service.opened(at(0))
    assert await session.warmed() == 1
    assert session.backend.warmed[0].prefix.count("\n") == SCREEN_LINES - 1
    assert session.backend.warmed[0].snippets == OLD
    assert session.backend.requests == []


async def test_of_many_documents_opened_at_once_the_last_one_is(session):
    for name in "abc":
        session.service.opened(at(0, uri=f"file:///w/{name}.py"))
    assert await session.warmed() == 1
    assert session.backend.warmed[0].document == "file:///w/c.py"


@pytest.mark.parametrize(
    "change",
    [
        {"language": "plaintext", "path": "a.txt"},
        {"language": "markdown", "path": "a.md"},
        {"text": " \n", "cursor": 0},
        {"uri": "file:///w/.env", "path": ".env", "language": "shellscript"},
    ],
)
async def test_what_is_no_code_or_secret_is_not(session, change):
    session.service.opened(at(0, **change))
    assert await session.warmed(10) == 0


async def test_where_the_user_goes_is_made_ready_and_small_steps_are_not(session):
    session.service.focused(at(100))
    assert await session.warmed() == 1
    session.service.focused(at(100 + JUMP_LINES))
    assert await session.warmed() == 1
    session.service.focused(at(101 + JUMP_LINES))
    assert await session.warmed() == 2


async def test_documents_opened_behind_the_users_back_are_not_guessed_at(session):
    session.service.focused(at(100))
    session.service.opened(at(0, uri="file:///w/other.py"))
    assert await session.warmed() == 1
    assert session.backend.warmed[0].document == at(0).uri


async def test_a_request_tells_the_backend_by_itself(session):
    session.service.focused(at(100))
    await session.service.complete(at(100))
    session.service.focused(at(101))
    assert await session.warmed(10) == 0


async def test_going_back_to_what_is_remembered_makes_its_place_ready(session):
    """The answer comes from the cache, so the backend knows nothing of it."""
    await session.service.complete(at(10))
    await session.service.complete(at(200))
    assert (await session.service.complete(at(10))).source == "cache"
    assert await session.warmed() == 1
    assert session.backend.warmed[0].prefix == Gap.of(at(10)).prefix


async def test_a_new_block_is_sent_when_nobody_waits(session):
    await session.service.complete(at(10))
    session.workspace.snippets = NEW
    session.service.workspace_read()
    assert await session.warmed() == 1
    assert session.backend.warmed[0].snippets == NEW


async def test_after_a_jump_the_request_has_the_old_block_and_the_warm_up_the_new_one(session):
    await session.service.complete(at(10))
    session.workspace.snippets = NEW
    await session.service.complete(at(200))
    assert session.backend.requests[-1].snippets == OLD
    assert await session.warmed() == 1
    assert session.backend.warmed[0].snippets == NEW


@pytest.mark.parametrize(
    "config", [Config(idle=IdleConfig(enabled=False)), Config(completion=CompletionConfig(enabled=False))]
)
async def test_switched_off_nothing_is_made_ready(config):
    session = Session(config)
    session.service.opened(at(0))
    session.service.focused(at(100))
    assert await session.warmed(10) == 0
    await session.service.close()


async def test_without_work_ahead_a_request_waits_for_the_new_block():
    session = Session(Config(idle=IdleConfig(enabled=False)))
    await session.service.complete(at(10))
    session.workspace.snippets = NEW
    await session.service.complete(at(200))
    assert session.backend.requests[-1].snippets == NEW
    await session.service.close()


async def test_a_closed_document_is_not_made_ready(session):
    await session.service.complete(at(10))
    session.service.focused(at(200))
    session.service.closed("file:///w/a.py")
    assert await session.warmed(MOVED_S) == 0


def test_the_first_screen_of_a_short_document_is_its_end():
    place = first_screen(at(0, text="a = 1\nb = 2\n\n", cursor=0))
    assert place is not None
    assert place.cursor == len("a = 1\nb = 2")


def test_after_an_accept_the_cursor_is_behind_it():
    request = CompletionRequest("file:///a.py", "f()\r\nrest", 2, "python", trigger=Trigger.INVOKED, version=3)
    there = after_accept(Gap.of(request), Edit("a)\r\n    b", 1))
    assert there is not None
    assert (there.text, there.cursor) == ("f(a)\r\n    b\r\nrest", 11)
    assert (there.trigger, there.version) == (Trigger.AUTOMATIC, None)


def test_in_the_middle_of_a_line_nothing_follows_an_accept():
    request = CompletionRequest("file:///a.py", "f(, b)\nrest", 2, "python")
    assert after_accept(Gap.of(request), Edit("a")) is None
