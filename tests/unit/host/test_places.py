"""Which prompt serves a place, and what is made ready behind it: with an engine that counts, and no model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coder_lsp.config import IdleConfig, PromptConfig
from coder_lsp.engine.base import EngineOptions, RunnerUp
from coder_lsp.engine.scripted import ScriptedEngine
from coder_lsp.host.protocol import HostSettings
from coder_lsp.host.saved import SavedPlaces
from coder_lsp.host.worker import ModelWorker
from coder_lsp.types import FimRequest, FinishReason, PromptKind, Snippet

BUDGETS = PromptConfig(prefix_tokens=2000, suffix_tokens=100, context_tokens=400, ladder_tokens=160)
SETTINGS = HostSettings(model_path="/m.gguf", model_name="scripted-model", prompt=BUDGETS)
LINES = [f"line_{number} = call({number})" for number in range(200)]


def at(line, typed="", document="file:///a.py", **changes):
    """A request at the start of a line of a file, behind what was typed there."""
    prefix = "".join(text + "\n" for text in LINES[:line]) + typed
    suffix = "\n" + "".join(text + "\n" for text in LINES[line:])
    return FimRequest(document, prefix, suffix, language="python", path="a.py", max_tokens=8, **changes)


class Desk:
    """A worker with its engine, and the short names for what tests do with them."""

    def __init__(self, settings=SETTINGS, saved=None, sequences=2, **engine):
        options = EngineOptions(context_tokens=8192, sequences=sequences)
        self.engine = ScriptedEngine("x", options=options, **engine)
        self.worker = ModelWorker(self.engine, settings, saved)

    def ask(self, request):
        return self.worker.complete(request, None, self.worker.new_cancel_token())

    def work(self):
        """All there is to do ahead."""
        while self.worker.work(self.worker.new_cancel_token()):
            pass


def test_the_first_answer_in_a_cold_place_comes_from_a_short_prompt():
    desk = Desk()
    result = desk.ask(at(90))
    assert result.prompt_kind is PromptKind.SHORT
    assert result.tokens.evaluated < 2 * BUDGETS.ladder_tokens


def test_the_full_prompt_takes_over_when_it_is_ready():
    """Ready means that a request evaluates next to nothing of it."""
    desk = Desk()
    desk.ask(at(90))
    desk.work()
    result = desk.ask(at(90, "li"))
    assert result.prompt_kind is PromptKind.FULL
    assert result.tokens.prompt > 1000
    assert result.tokens.evaluated <= 3


def test_keys_in_a_short_prompt_only_append():
    desk = Desk()
    desk.ask(at(90))
    result = desk.ask(at(90, "l"))
    assert result.prompt_kind is PromptKind.SHORT
    assert result.tokens.evaluated <= 3


def test_work_that_is_interrupted_goes_on_where_it_was():
    desk = Desk()
    desk.ask(at(90))
    cancel = desk.worker.new_cancel_token()
    prefill, calls = desk.engine.prefill, []

    def interrupted(tokens, sequence=None, token=None):
        calls.append(len(tokens))
        evaluated = prefill(tokens, sequence, token)
        if len(calls) == 10:
            cancel.cancel()
        return evaluated

    desk.engine.prefill = interrupted
    assert desk.worker.work(cancel)
    done = calls[-1]
    assert desk.ask(at(90, "li")).prompt_kind is PromptKind.SHORT
    desk.work()
    assert min(calls[10:]) > done
    assert desk.ask(at(90, "lin")).prompt_kind is PromptKind.FULL


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, idle=IdleConfig(enabled=False)),
        replace(SETTINGS, prompt=replace(BUDGETS, ladder_tokens=0)),
        replace(SETTINGS, prompt=replace(BUDGETS, anchored=False)),
    ],
)
def test_without_the_ladder_every_request_waits_for_its_full_prompt(settings):
    desk = Desk(settings)
    assert desk.ask(at(90)).prompt_kind is PromptKind.FULL
    assert desk.ask(at(150)).prompt_kind is PromptKind.FULL


def test_nothing_is_done_ahead_when_that_is_switched_off():
    desk = Desk(replace(SETTINGS, idle=IdleConfig(enabled=False)))
    desk.ask(at(90))
    assert not desk.worker.work(desk.worker.new_cancel_token())


def test_who_is_patient_gets_the_full_prompt_and_his_own_snippets():
    desk = Desk()
    old, new = Snippet("b.py", "def old(): ...\n"), Snippet("c.py", "def new(): ...\n")
    assert desk.ask(at(90, patient=True, snippets=(old,))).prompt_kind is PromptKind.FULL
    assert desk.ask(at(90, "l", patient=True, snippets=(new,))).snippets == (0,)


def test_a_small_change_of_place_needs_no_short_prompt():
    desk = Desk()
    desk.ask(at(30))
    desk.work()
    assert desk.ask(at(31)).prompt_kind is PromptKind.FULL


def test_the_anchor_follows_in_the_background():
    """Ten lines typed below it, then quiet: the next request finds it three lines up, evaluated."""
    desk = Desk()
    desk.ask(at(20))
    desk.work()
    typed = "".join(f"new_{number}\n" for number in range(10))
    before = desk.ask(at(20, typed))
    assert before.tokens.evaluated <= len(typed) + 1
    first = desk.engine.requests[-1].tokens
    desk.work()
    after = desk.ask(at(20, typed + "n"))
    assert after.tokens.evaluated <= 3
    assert desk.engine.requests[-1].tokens[: len(first)] != first


def test_while_the_anchor_moves_the_old_prompt_serves():
    desk = Desk()
    desk.ask(at(20))
    desk.work()
    typed = "".join(f"new_{number}\n" for number in range(10))
    desk.ask(at(20, typed))
    cancel = desk.worker.new_cancel_token()
    cancel.cancel()
    assert desk.worker.work(cancel)
    assert desk.ask(at(20, typed + "n")).tokens.evaluated <= 3


def test_a_new_block_of_other_files_is_made_ready_first():
    """The old one serves until then; ``snippets`` names what of the request's own the model saw."""
    desk = Desk()
    old, new = Snippet("b.py", "def old(): ...\n"), Snippet("c.py", "def new(): ...\n")
    desk.ask(at(20, snippets=(old,)))
    desk.work()
    waiting = desk.ask(at(20, "l", snippets=(new,)))
    assert waiting.tokens.evaluated <= 3
    assert waiting.snippets == ()
    desk.work()
    ready = desk.ask(at(20, "li", snippets=(new,)))
    assert ready.tokens.evaluated <= 3
    assert ready.snippets == (0,)


def test_a_place_that_was_warmed_answers_from_the_full_prompt():
    desk = Desk()
    desk.worker.warm(at(90))
    desk.work()
    result = desk.ask(at(90, "l"))
    assert result.prompt_kind is PromptKind.FULL
    assert result.tokens.evaluated <= 3


def test_a_warmed_place_has_a_short_prompt_first():
    """It answers at once while the full one is far from ready."""
    desk = Desk()
    desk.worker.warm(at(90))
    assert desk.worker.work(desk.worker.new_cancel_token())
    result = desk.ask(at(90, "l"))
    assert result.prompt_kind is PromptKind.SHORT
    assert result.tokens.evaluated <= 3


def test_the_document_alone_answers_before_the_block_of_other_files_is_there():
    snippets = (Snippet("b.py", "\n".join(f"other_{number} = {number}" for number in range(20))),)
    desk = Desk(sequences=3)
    kinds = []
    desk.ask(at(90, snippets=snippets))
    while desk.worker.work(desk.worker.new_cancel_token()):
        result = desk.ask(at(90, "l", snippets=snippets))
        assert result.tokens.evaluated <= 3
        kinds.append(result.prompt_kind)
    assert list(dict.fromkeys(kinds)) == [PromptKind.FILE, PromptKind.FULL]
    assert result.snippets == (0,)


@pytest.mark.parametrize("line", [20, 180])
def test_a_jump_within_a_document_is_made_ready_too(line):
    desk = Desk()
    desk.ask(at(90))
    desk.work()
    desk.worker.warm(at(line))
    desk.work()
    result = desk.ask(at(line, "l"))
    assert result.prompt_kind is PromptKind.FULL
    assert result.tokens.evaluated <= 3


def test_going_back_to_another_document_finds_it_evaluated():
    desk = Desk(sequences=4)
    for document in ("file:///a.py", "file:///b.py"):
        desk.ask(at(90, document=document, snippets=(Snippet("z.py", f"{document}\n"),)))
        desk.work()
    back = at(90, "l", document="file:///a.py", snippets=(Snippet("z.py", "file:///a.py\n"),))
    result = desk.ask(back)
    assert result.prompt_kind is PromptKind.FULL
    assert result.tokens.evaluated <= 3


def test_a_prompt_that_fits_nowhere_is_tried_once():
    desk = Desk()
    desk.ask(at(90))
    desk.worker.warm(replace(at(91), max_tokens=9000))
    assert desk.worker.work(desk.worker.new_cancel_token())
    assert not desk.worker.work(desk.worker.new_cancel_token())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "places" / "model"


def test_the_next_session_goes_on_from_disk(folder):
    first = Desk(saved=SavedPlaces(folder, 4))
    first.ask(at(90))
    first.work()
    first.worker.close()
    second = Desk(saved=SavedPlaces(folder, 4))
    result = second.ask(at(90, "l"))
    assert result.prompt_kind is PromptKind.FULL
    assert result.tokens.evaluated <= 4


def test_a_place_whose_text_changed_is_used_as_far_as_it_is_the_same(folder):
    first = Desk(saved=SavedPlaces(folder, 4))
    first.ask(at(90))
    first.work()
    first.worker.close()
    second = Desk(saved=SavedPlaces(folder, 4))
    second.worker.warm(at(70))
    second.work()
    assert second.ask(at(70, "l")).tokens.evaluated <= 3


def test_a_place_is_written_when_the_user_is_elsewhere(folder):
    desk = Desk(saved=SavedPlaces(folder, 4), sequences=4)
    desk.ask(at(90))
    desk.work()
    assert list(folder.glob("*")) == []
    desk.ask(at(10, document="file:///b.py"))
    desk.work()
    assert len(list(folder.glob("*.kv"))) == 1


def test_the_alternatives_leave_the_first_text_and_share_its_prompt():
    desk = Desk()
    desk.ask(at(2))
    forced = desk.engine.requests.pop().forced
    begun = len(forced)
    others = ((1, "x", -1.0), (0, "y", -2.0), (0, "z", -9.0))
    desk.engine.runners_up = tuple(RunnerUp(begun + at, ord(text), logprob) for at, text, logprob in others)
    desk.engine.reply = lambda request: "abc" if len(desk.engine.requests) == 1 else "d"
    result = desk.ask(replace(at(2), alternatives=3))
    assert result.finish_reason is FinishReason.STOP_TOKEN
    assert (result.text, result.alternatives) == ("abc", ("axd", "yd"))
    first, *branched = desk.engine.requests
    assert [bytes(asked.tokens[len(first.tokens) :]) for asked in branched] == [forced + b"ax", forced + b"y"]
    assert all(list(asked.tokens[: len(first.tokens)]) == list(first.tokens) for asked in branched)


def test_one_text_notes_no_others():
    desk = Desk()
    desk.ask(at(2))
    assert desk.engine.requests[0].branching == 0
