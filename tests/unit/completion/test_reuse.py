"""Nothing is decoded twice: what requests read from generations of others, step by step."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from support.scripted_backend import PATIENCE_S, ManualClock, SteppedBackend, settle

from coder_lsp.completion.ahead import SUGGESTED_S
from coder_lsp.completion.service import ABANDONED_S, CompletionService
from coder_lsp.completion.show_filter import ShowFilter
from coder_lsp.config import CompletionConfig, Config, IdleConfig
from coder_lsp.errors import HostCrashed
from coder_lsp.types import CompletionRequest, FinishReason, PromptKind, Shape, Trigger

QUIET = Config(idle=IdleConfig(enabled=False))
"""Without work ahead, so that a test sees only what its requests do."""
BODY = "def f():\n    |\n"
RAW = "a = one(1)\n    b = two(2)\n\n    return a + b\n\n\ndef g():\n"


def at(marked: str, **changes) -> CompletionRequest:
    before, after = marked.split("|")
    request = CompletionRequest("file:///w/a.py", before + after, len(before), "python", "a.py", "/w")
    return replace(request, **changes)


def typed(marked: str, more: str, **changes) -> CompletionRequest:
    return at(marked.replace("|", more + "|"), **changes)


class Window:
    """A service over a model that the test plays."""

    def __init__(self, config: Config) -> None:
        self.backend = SteppedBackend()
        self.clock = ManualClock()
        self.service = CompletionService(self.backend, config, clock=self.clock)
        self.running: list[asyncio.Task] = []

    def ask(self, request: CompletionRequest) -> asyncio.Task:
        task = asyncio.ensure_future(self.service.complete(request))
        self.running.append(task)
        return task

    async def answer(self, request: CompletionRequest):
        return await asyncio.wait_for(self.ask(request), PATIENCE_S)

    async def finished(self, request: CompletionRequest, raw: str, reason=FinishReason.STOP_TOKEN, **more):
        """The answer to a request for which the model writes ``raw``."""
        task, number = self.ask(request), len(self.backend.generations) + 1
        generation = await self.backend.asked(number)
        generation.say(raw)
        generation.end(reason, **more)
        return await asyncio.wait_for(task, PATIENCE_S)

    @property
    def asked(self) -> int:
        return len(self.backend.generations)


@asynccontextmanager
async def window(config: Config = QUIET):
    """Closes the service at the end; nothing may be left running then."""
    opened = Window(config)
    before = asyncio.all_tasks()
    yield opened
    await opened.service.close()
    await settle()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
    assert not any(generation.running for generation in opened.backend.generations)


def text(outcome) -> str:
    assert outcome.suggestions, outcome.reason
    return outcome.suggestions[0].text


async def test_what_is_typed_through_is_served_from_what_is_finished():
    async with window() as w:
        whole = text(await w.finished(at(BODY), RAW))
        for end in (1, 4, len("a = one(1)"), len("a = one(1)\n    "), len("a = one(1)\n    b = t")):
            outcome = await w.answer(typed(BODY, whole[:end]))
            assert whole[:end] + text(outcome) == whole
            assert (outcome.source, outcome.shape) == ("cache", Shape.BLOCK)
        assert w.asked == 1


async def test_going_back_to_where_it_was_asked_is_served():
    async with window() as w:
        first = await w.finished(at("x = |\n"), "foo(1)\n")
        await w.finished(typed("x = |\n", "b"), "ar\n")
        again = await w.answer(at("x = |\n"))
        assert (text(again), again.source, w.asked) == (text(first), "cache", 2)


async def test_a_suggestion_that_is_used_up_is_asked_for_anew():
    async with window() as w:
        await w.finished(at("x = |\n"), "foo(1)\n")
        assert text(await w.finished(typed("x = |\n", "foo(1)"), "\ny = 2\n")) == "\ny = 2"
        assert w.asked == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("def f", "def h"),
        lambda text: text + "more = 1\n",
        lambda text: "import os\n" + text,
    ],
    ids=["above", "below", "far above"],
)
async def test_an_edit_elsewhere_invalidates(change):
    async with window() as w:
        await w.finished(at(BODY), RAW)
        changed = change(typed(BODY, "a").text[: typed(BODY, "a").cursor] + "|\n")
        assert (await w.finished(at(changed), "bc\n")).source == "model"
        assert w.asked == 2


async def test_closers_that_the_editor_inserts_make_no_difference():
    async with window() as w:
        await w.finished(at("x = f|\n"), "(a, g(b))\n")
        for marked, rest in [
            ("x = f(|)\n", "a, g(b)"),
            ("x = f(a, g(|))\n", "b"),
            ("x = f(a, g(b)|)\n", None),
        ]:
            if rest is not None:
                outcome = await w.answer(at(marked))
                request = at(marked)
                edit = outcome.suggestions[0]
                assert request.text[: edit.start] + edit.text + request.text[edit.end :] == "x = f(a, g(b))\n"
        assert w.asked == 1


async def test_a_pair_opened_over_lines_by_the_editor_makes_no_difference():
    async with window() as w:
        js = {"language": "javascript", "path": "a.js"}
        await w.finished(at("function f() {|}\nrest();\n", **js), "\n    return 1;\n}\n")
        outcome = await w.answer(at("function f() {\n    |\n}\nrest();\n", **js))
        assert (text(outcome), outcome.source) == ("return 1;", "cache")


async def test_closers_that_appear_below_are_not_doubled():
    async with window() as w:
        js = {"language": "javascript", "path": "a.js"}
        whole = text(await w.finished(at("a();\n|\nrest();\n", **js), "if (x) {\n    y();\n}\nz();\nrest();\n"))
        assert whole == "if (x) {\n    y();\n}\nz();"
        assert text(await w.answer(at("a();\nif (x) {\n    |\n}\nrest();\n", **js))) == "y();"
        assert w.asked == 1


async def test_the_indentation_of_the_editor_agrees_whatever_it_is_made_of():
    async with window() as w:
        marked = "if a:\n\tb()\n|\n"
        whole = text(await w.finished(at(marked), "if c:\n    d()\n    e()\n"))
        assert whole == "if c:\n\td()\n\te()"
        for part in ("if c:\n\t", "if c:\n\td", "if c:\n\td()\n\t"):
            assert part + text(await w.answer(typed(marked, part))) == whole
        assert w.asked == 1


async def test_line_breaks_of_the_document_agree():
    async with window() as w:
        marked = "def f():\r\n    |\r\n"
        whole = text(await w.finished(at(marked), "a = 1\n    return a\n"))
        assert whole == "a = 1\r\n    return a"
        assert text(await w.answer(typed(marked, "a = 1\r\n    "))) == "return a"
        assert w.asked == 1


async def test_half_a_line_at_the_end_is_never_shown_alone():
    async with window() as w:
        whole = text(await w.finished(at(BODY), "a = 1\n    b = some_na", FinishReason.LENGTH))
        assert whole == "a = 1"
        outcome = await w.finished(typed(BODY, "a = 1"), "\n    b = some_name\n")
        assert (text(outcome), w.asked) == ("\n    b = some_name", 2)


class TestRunning:
    """Requests behind a request whose text is still being written."""

    async def test_typing_on_reads_the_same_stream(self):
        async with window() as w:
            first = w.ask(at(BODY))
            generation = await w.backend.asked(1)
            generation.say("a = o")
            second = w.ask(typed(BODY, "a ="))
            assert (await first).reason == "superseded"
            generation.say(RAW[len("a = o") :])
            outcome = await second
            assert "a =" + text(outcome) == RAW.partition("\n\n\n")[0]
            assert (outcome.source, w.asked) == ("stream", 1)
            assert not generation.cancelled

    async def test_typing_ahead_of_it_waits_for_it(self):
        async with window() as w:
            w.ask(at(BODY))
            generation = await w.backend.asked(1)
            generation.say("a")
            second = w.ask(typed(BODY, "a = one("))
            await settle()
            generation.say(RAW[1:])
            assert text(await second).startswith("1)\n    b")
            assert w.asked == 1

    async def test_typing_something_else_ends_it_and_asks_at_once(self):
        async with window() as w:
            w.ask(at(BODY))
            generation = await w.backend.asked(1)
            generation.say("a = o")
            second = w.ask(typed(BODY, "b"))
            other = await w.backend.asked(2)
            assert generation.cancelled
            other.say(" = 2\n")
            other.end()
            assert (await second).source == "model"

    async def test_what_turns_out_to_disagree_ends_it_and_asks_at_once(self):
        async with window() as w:
            w.ask(at(BODY))
            generation = await w.backend.asked(1)
            second = w.ask(typed(BODY, "ab"))
            await settle()
            assert (w.asked, generation.cancelled) == (1, False)
            generation.say("a = ")
            other = await w.backend.asked(2)
            assert generation.cancelled
            other.say("c\n")
            other.end()
            assert text(await second) == "c"

    async def test_what_ends_short_of_the_typing_is_asked_anew(self):
        async with window() as w:
            w.ask(at("x = |\n"))
            generation = await w.backend.asked(1)
            second = w.ask(typed("x = |\n", "foo + b"))
            generation.say("foo")
            generation.end()
            (await w.backend.asked(2)).say("ar\n")
            assert text(await second) == "ar"

    async def test_an_abandoned_request_leaves_its_stream_to_the_next_for_a_moment(self):
        """Editors cancel the request of the last key, and ask for the next one at once."""
        async with window() as w:
            first = w.ask(at(BODY))
            generation = await w.backend.asked(1)
            first.cancel()
            await w.clock.advance(ABANDONED_S / 2)
            second = w.ask(typed(BODY, "a"))
            await w.clock.advance(ABANDONED_S)
            generation.say(RAW)
            assert (await second).source == "stream"
            assert first.cancelled()

    async def test_an_abandoned_stream_that_nobody_wants_is_cancelled(self):
        async with window() as w:
            first = w.ask(at(BODY))
            generation = await w.backend.asked(1)
            first.cancel()
            await w.clock.advance(ABANDONED_S)
            assert generation.cancelled

    async def test_asking_by_hand_does_not_read_what_came_by_itself(self):
        async with window() as w:
            w.ask(at("x = |\n"))
            generation = await w.backend.asked(1)
            w.ask(at("x = |\n", trigger=Trigger.INVOKED))
            by_hand = await w.backend.asked(2)
            assert by_hand.request.alternatives == QUIET.completion.alternatives
            await settle()
            assert generation.cancelled

    async def test_a_host_that_went_away_is_reported_to_who_waits(self):
        async with window() as w:
            w.ask(at(BODY))
            generation = await w.backend.asked(1)
            second = w.ask(typed(BODY, "a"))
            await settle()
            generation.fail(HostCrashed("gone"))
            with pytest.raises(HostCrashed):
                await second
            assert (await w.finished(typed(BODY, "a"), "b\n")).source == "model"


class TestEarly:
    """Whole lines first."""

    async def test_whole_lines_are_answered_in_time_and_the_rest_when_they_are_accepted(self):
        async with window() as w:
            first = w.ask(at(BODY))
            generation = await w.backend.asked(1)
            generation.say("a = one(1)\n    b = t")
            await settle()
            assert not first.done()
            await w.clock.advance(0.6)
            outcome = await first
            assert (text(outcome), outcome.result) == ("a = one(1)", None)
            second = w.ask(typed(BODY, "a = one(1)"))
            generation.say("wo(2)\n\n    return a + b\n\n\ndef g():\n")
            assert text(await second) == "\n    b = two(2)\n\n    return a + b"
            assert w.asked == 1

    async def test_the_first_line_is_answered_as_soon_as_it_is_whole(self):
        async with window() as w:
            first = w.ask(at(BODY))
            generation = await w.backend.asked(1)
            generation.say("a = ")
            await w.clock.advance(5)
            assert not first.done()
            generation.say("one(1)\n")
            assert text(await first) == "a = one(1)"

    async def test_whole_lines_on_screen_stay_there_while_they_are_typed(self):
        """The time counts from where the model was asked, not from each key."""
        async with window() as w:
            first = w.ask(at(BODY))
            generation = await w.backend.asked(1)
            generation.say("a = one(1)\n    b = t")
            await w.clock.advance(0.6)
            await first
            for part in ("a", "a =", "a = o"):
                outcome = await w.answer(typed(BODY, part))
                assert part + text(outcome) == "a = one(1)"
                assert (outcome.source, outcome.timings_ms.keys() & {"waited", "host"}) == ("stream", set())

    async def test_a_line_is_answered_when_it_ends(self):
        async with window() as w:
            first = w.ask(at("x = |\n"))
            (await w.backend.asked(1)).say("foo\n")
            assert text(await first) == "foo"

    @pytest.mark.parametrize("how", ["invoked", "off"])
    async def test_not_where_it_was_asked_for_or_switched_off(self, how):
        off = replace(QUIET, completion=CompletionConfig(early_ms=0))
        async with window(off if how == "off" else QUIET) as w:
            trigger = Trigger.INVOKED if how == "invoked" else Trigger.AUTOMATIC
            first = w.ask(at(BODY, trigger=trigger))
            generation = await w.backend.asked(1)
            generation.say("a = one(1)\n    b")
            await w.clock.advance(60)
            assert not first.done()
            generation.end()
            assert text(await first) == "a = one(1)\n    b"


class TestAhead:
    """What follows a suggestion is there when it is accepted."""

    async def test_the_continuation_is_asked_while_the_suggestion_shows(self):
        async with window(Config()) as w:
            await w.finished(at("x = |\n"), "foo(1)\n")
            await w.clock.advance(SUGGESTED_S)
            ahead = await w.backend.asked(2)
            assert (ahead.request.idle, ahead.request.prefix) == (True, "x = foo(1)")
            ahead.say("\ny = bar(2)\n")
            ahead.end()
            await settle()
            accepted = await w.answer(at("x = foo(1)|\n"))
            assert (text(accepted), accepted.source) == ("\ny = bar(2)", "cache")
            entered = await w.answer(at("x = foo(1)\n|\n"))
            assert (text(entered), entered.source) == ("y = bar(2)", "cache")
            assert [generation.request.idle for generation in w.backend.generations] == [False, True]

    async def test_it_goes_on_while_the_suggestion_is_typed(self):
        async with window(Config()) as w:
            await w.finished(at("x = |\n"), "foo(1)\n")
            await w.clock.advance(SUGGESTED_S)
            ahead = await w.backend.asked(2)
            for part in ("f", "foo(", "fo"):
                await w.answer(typed("x = |\n", part))
                await w.clock.advance(1)
            assert ahead.running
            assert w.asked == 2

    async def test_it_ends_when_something_else_is_typed(self):
        async with window(Config()) as w:
            await w.finished(at("x = |\n"), "foo(1)\n")
            await w.clock.advance(SUGGESTED_S)
            ahead = await w.backend.asked(2)
            w.ask(typed("x = |\n", "b"))
            await w.backend.asked(3)
            assert ahead.cancelled

    async def test_who_accepts_before_it_has_begun_is_served_at_once(self):
        async with window(Config()) as w:
            await w.finished(at("x = |\n"), "foo(1)\n")
            await w.clock.advance(SUGGESTED_S)
            ahead = await w.backend.asked(2)
            w.ask(at("x = foo(1)|\n"))
            real = await w.backend.asked(3)
            assert ahead.cancelled
            assert not real.request.idle

    async def test_who_accepts_while_it_runs_reads_it_and_asks_when_it_is_pushed_aside(self):
        async with window(Config()) as w:
            await w.finished(at("x = |\n"), "foo(1)\n")
            await w.clock.advance(SUGGESTED_S)
            ahead = await w.backend.asked(2)
            ahead.say("\ny")
            accepted = w.ask(at("x = foo(1)|\n"))
            await settle()
            assert w.asked == 2
            ahead.end(FinishReason.CANCELLED)
            (await w.backend.asked(3)).say("\ny = 2\n")
            assert text(await accepted) == "\ny = 2"

    @pytest.mark.parametrize(
        ("marked", "raw", "reason"),
        [
            ("f(|, b)\n", "a", FinishReason.STOP_TOKEN),
            ("x = |\n", "foo(1) + ba", FinishReason.LENGTH),
            ("x = |\n", "", FinishReason.STOP_TOKEN),
        ],
        ids=["in the middle of a line", "half a line", "no suggestion"],
    )
    async def test_not_where_nothing_can_follow(self, marked, raw, reason):
        async with window(Config()) as w:
            await w.finished(at(marked), raw, reason)
            await w.clock.advance(1)
            assert w.asked == 1

    async def test_not_behind_a_provisional_answer(self):
        """The whole prompt comes first then."""
        async with window(Config()) as w:
            await w.finished(at("x = |\n"), "foo(1)", kind=PromptKind.SHORT)
            await w.clock.advance(1)
            assert w.asked == 1

    @pytest.mark.parametrize("config", [QUIET, Config(completion=CompletionConfig(reuse=False))])
    async def test_switched_off_nothing_is_asked_ahead(self, config):
        async with window(config) as w:
            await w.finished(at("x = |\n"), "foo(1)\n")
            await w.clock.advance(10)
            assert w.asked == 1


async def test_without_reuse_every_request_is_asked_and_overtaken_ones_end():
    async with window(Config(completion=CompletionConfig(reuse=False))) as w:
        w.ask(at(BODY))
        generation = await w.backend.asked(1)
        generation.say("a = ")
        second = w.ask(typed(BODY, "a"))
        await w.backend.asked(2)
        assert generation.cancelled
        second.cancel()
        await settle()
        assert w.backend.generations[1].cancelled


async def test_a_provisional_answer_serves_the_typing_and_is_asked_again_at_its_place():
    async with window() as w:
        await w.finished(at("x = |\n"), "foo(1)\n", kind=PromptKind.SHORT)
        # The stop rule ended it, so the kind is of no consequence here; end it by the model instead.
        await w.finished(at("y = |\n"), "foo(1)", kind=PromptKind.SHORT)
        assert (await w.answer(typed("y = |\n", "fo"))).source == "cache"
        assert (await w.finished(at("y = |\n"), "bar(2)")).source == "model"
        assert text(await w.answer(at("y = |\n"))) == "bar(2)"


async def test_alternatives_come_best_first_and_once():
    async with window() as w:
        request = at("x = |\n", trigger=Trigger.INVOKED)
        outcome = await w.finished(request, "foo(1)", alternatives=("bar(2)", "foo(1)", "", "baz"))
        assert [each.text for each in outcome.suggestions] == ["foo(1)", "bar(2)", "baz"]
        again = await w.answer(request)
        assert (again.suggestions, again.source) == (outcome.suggestions, "cache")
        assert text(await w.answer(typed("x = |\n", "ba"))) == "r(2)"
        assert w.asked == 1


async def test_nothing_is_kept_of_a_closed_document():
    async with window() as w:
        await w.finished(at(BODY), RAW)
        running = w.ask(at("x = |\n"))
        await w.backend.asked(2)
        w.service.closed("file:///w/a.py")
        assert (await running).suggestions == ()
        await settle()
        assert w.backend.generations[1].cancelled
        w.ask(at(BODY))
        await w.backend.asked(3)


async def test_new_settings_ask_anew_and_who_waits_is_answered():
    async with window() as w:
        await w.finished(at(BODY), RAW)
        waiting = w.ask(at("x = |\n"))
        generation = await w.backend.asked(2)
        w.service.configure(QUIET)
        generation.say("1\n")
        assert text(await waiting) == "1"
        for number, marked in enumerate([BODY, "x = |\n"], 3):
            w.ask(at(marked))
            await w.backend.asked(number)


async def test_an_empty_answer_is_kept_where_asking_again_would_bring_nothing_else():
    async with window() as w:
        assert not (await w.finished(at("x = |\n"), "")).suggestions
        assert (await w.answer(at("x = |\n"))).source == "cache"
        assert not (await w.finished(at("y = |\n"), "", FinishReason.DEADLINE)).suggestions
        assert text(await w.finished(at("y = |\n"), "1\n")) == "1"


class TestFilter:
    """What is likely to be a nuisance is held back, and what is on screen stays."""

    UNSURE, SURE = (-3.0, -3.0), (-0.1, -0.1)

    @staticmethod
    def open(w: Window) -> None:
        w.service = CompletionService(w.backend, QUIET, clock=w.clock, filter_of=lambda _: ShowFilter(None, "rule"))

    async def test_a_poor_suggestion_is_held_back_with_the_reason(self):
        async with window() as w:
            self.open(w)
            outcome = await w.finished(at("x = |\n"), "foo(1)", logprobs=self.UNSURE)
            assert outcome.suggestions == ()
            assert outcome.reason == "filtered: the model is unsure"
            assert not outcome.judgement.show
            assert not (await w.answer(typed("x = |\n", "f"))).suggestions
            assert w.asked == 1

    async def test_what_was_shown_is_not_judged_again_while_it_is_typed(self):
        async with window() as w:
            self.open(w)
            assert (await w.finished(at("x = |\n"), "foo(1)", logprobs=self.SURE)).judgement.show
            outcome = await w.answer(typed("x = |\n", "f"))
            assert (text(outcome), outcome.judgement) == ("oo(1)", None)

    async def test_what_was_asked_for_is_shown(self):
        async with window() as w:
            self.open(w)
            request = at("x = |\n", trigger=Trigger.INVOKED)
            assert text(await w.finished(request, "foo(1)", logprobs=self.UNSURE)) == "foo(1)"


async def test_a_burst_of_keys_at_a_slow_model_is_one_request():
    async with window() as w:
        for number in range(6):
            w.ask(at(f"x{number} = |\n"))
            await w.clock.advance(0.1)
        asked = w.asked
        for number in range(6, 9):
            last = w.ask(at(f"x{number} = |\n"))
            await w.clock.advance(0.05)
        await w.clock.advance(0.15)
        assert w.asked == asked + 1
        w.backend.generations[-1].say("1\n")
        assert (await last).timings_ms["delay"] >= 0
        assert w.backend.generations[-1].request.prefix == "x8 = "
