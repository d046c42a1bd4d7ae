"""What becomes of suggestions, derived from what a document's changes say, and told by clients that tell."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lsp_client import LspClient, LspError, server_process

from coder_lsp.config import Config, StatsConfig
from coder_lsp.documents.document import Document
from coder_lsp.server.feedback import READ_MS, Feedback
from coder_lsp.stats.events import TIME_STEP_S, Fate
from coder_lsp.stats.store import History, history_path
from coder_lsp.types import (
    CompletionOutcome,
    CompletionRequest,
    FimResult,
    FinishReason,
    Judgement,
    Shape,
    Suggestion,
    TokenCounts,
    Trigger,
)

URI = "file:///home/someone/secret_project/a.py"
READ_S = READ_MS / 1000


class Kept:
    """A recording in memory: the latest row of each key, in the order of their first."""

    def __init__(self):
        self.rows = {}
        self.enabled = None
        self.closed = False

    def enable(self, on):
        self.enabled = on

    def record(self, row):
        self.rows[row.key] = row

    def close(self):
        self.closed = True


class Window:
    """One document being edited, with a clock that the test moves."""

    def __init__(self):
        self.kept = Kept()
        self.settled = []
        self.now = 1000.0
        self.feedback = Feedback(
            self.kept, self.settled.append, clock=lambda: self.now, wall_clock=lambda: 1_700_000_777.0
        )
        self.text = ""
        self.number = 0

    def answer(self, marked, *suggestions, replaces=0, uri=URI, trigger=Trigger.AUTOMATIC, **changes):
        """A suggestion at the ``|`` in ``marked``; returns the id of the answer."""
        cursor = marked.index("|")
        self.text = marked.replace("|", "")
        self.number += 1
        request = CompletionRequest(uri, self.text, cursor, "python", trigger=trigger)
        outcome = CompletionOutcome(
            tuple(Suggestion(text, cursor, cursor + replaces) for text in suggestions), **changes
        )
        self.feedback.answered(str(self.number), request, outcome, 120.0)
        return str(self.number)

    def change(self, text, *, after_s=0.1, uri=URI):
        self.now += after_s
        self.feedback.changed(uri, Document.of(uri, "python", None, text))
        self.text = text

    def type(self, keys, before, after=""):
        """Key by key behind ``before``."""
        for length in range(1, len(keys) + 1):
            self.change(before + keys[:length] + after)

    @property
    def fates(self):
        return [row.fate for row in self.kept.rows.values()]

    @property
    def row(self):
        (row,) = self.kept.rows.values()
        return row


@pytest.fixture
def window():
    return Window()


# Derived from changes.


def test_an_insertion_of_the_whole_is_an_acceptance(window):
    window.answer("x = |\n", "sum(values)")
    window.change("x = sum(values)\n", after_s=0.8)
    assert window.fates == [Fate.ACCEPTED]
    assert (window.row.accepted_characters, window.row.reported, window.row.shown_ms) == (11, False, 800)
    assert window.settled == [True]


def test_an_insertion_of_the_beginning_is_an_acceptance_of_a_part(window):
    window.answer("x = |\n", "sum(values)")
    window.change("x = sum(\n")
    assert window.row.accepted_characters == 4
    window.change("x = sum(values\n")
    assert window.row.accepted_characters == 10
    window.change("x = sum(values2\n", after_s=1)
    assert window.fates == [Fate.ACCEPTED], "what is written behind an accepted part takes nothing back"
    assert window.settled == [True]


def test_something_else_after_time_to_read_is_a_rejection(window):
    window.answer("x = |\n", "sum(values)")
    window.change("x = n\n", after_s=READ_S)
    assert window.fates == [Fate.REJECTED]
    assert window.settled == [False]


def test_something_else_at_once_says_nothing(window):
    window.answer("x = |\n", "sum(values)")
    window.change("x = n\n", after_s=READ_S - 0.01)
    assert window.fates == [Fate.IGNORED]
    assert window.settled == []


def test_typing_along_and_then_something_else_is_a_rejection(window):
    window.answer("x = |\n", "sum(values)")
    window.type("sum", "x = ", "\n")
    assert window.fates == []
    window.change("x = sumo\n", after_s=1)
    assert window.fates == [Fate.REJECTED]


def test_all_of_it_typed_by_hand_is_no_acceptance(window):
    window.answer("x = |\n", "sum(v)")
    window.type("sum(v)", "x = ", "\n")
    assert window.fates == [Fate.TYPED]
    assert window.row.accepted_characters == 0
    assert window.settled == []


def test_only_what_was_not_typed_is_saved(window):
    window.answer("x = |\n", "sum(values)")
    window.type("su", "x = ", "\n")
    window.change("x = sum(values)\n")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 9)


def test_going_back_while_typing_along_ends_nothing(window):
    window.answer("x = |\n", "sum(values)")
    window.type("sum", "x = ", "\n")
    window.change("x = s\n")
    window.change("x = \n")
    assert window.fates == []
    window.change("x = sum(values)\n")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 11)


def test_an_edit_elsewhere_ends_it(window):
    window.answer("import a\nx = |\n", "sum(values)")
    window.change("import b\nx = \n", after_s=2)
    assert window.fates == [Fate.REJECTED]
    window.change("import b\nx = sum(values)\n")
    assert window.fates == [Fate.REJECTED]


@pytest.mark.parametrize(
    ("suggestion", "inserted"),
    [("(a, b)", "()"), ("\n    return x", "\n    "), ("[]", "[]"), ("y", "y"), ("    z", "    ")],
    ids=["a pair of brackets", "an indented new line", "a pair that is all", "one letter that is all", "indentation"],
)
def test_what_an_editor_inserts_for_one_key_is_no_acceptance(window, suggestion, inserted):
    window.answer("f|\n", suggestion)
    window.change(f"f{inserted}\n")
    assert Fate.ACCEPTED not in window.fates


def test_a_suggestion_that_replaces_what_follows(window):
    window.answer("f(|)\n", "a, b)", replaces=1)
    window.type("a", "f(", ")\n")
    assert window.fates == []
    window.change("f(a, b)\n")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 4)


def test_a_line_end_that_the_editor_adds_does_not_matter(window):
    window.answer("def f():\n    |", "return 1")
    window.change("def f():\n    return 1\n")
    assert window.fates == [Fate.ACCEPTED]


def test_an_alternative_that_was_taken_counts(window):
    window.answer("x = |\n", "sum(values)", "max(values)", "0")
    window.change("x = max(values)\n")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 11)


def test_an_acceptance_that_is_undone_was_none(window):
    window.answer("x = |\n", "sum(values)")
    window.change("x = sum(values)\n")
    window.answer("x = sum(values)|\n", "  # all")
    window.change("x = \n")
    accepted, _ = window.kept.rows.values()
    assert (accepted.fate, accepted.accepted_characters) == (Fate.REJECTED, 0)
    assert window.settled[:2] == [True, False]


def test_going_back_much_later_is_no_undoing(window):
    window.answer("x = |\n", "sum(values)")
    window.change("x = sum(values)\n")
    for number in range(3):
        window.change(f"x = sum(values){number}\n")
    window.change("x = \n")
    assert window.fates == [Fate.ACCEPTED]


# One suggestion over several answers.


def test_answers_with_the_rest_of_it_are_the_same_suggestion(window):
    """An editor asks again at each key, and each answer has an id of its own."""
    window.answer("x = |\n", "sum(values)")
    window.change("x = s\n", after_s=0.3)
    window.answer("x = s|\n", "um(values)")
    window.change("x = su\n", after_s=0.3)
    window.answer("x = su|\n", "m(values)")
    window.change("x = sum(values)\n", after_s=0.3)
    assert (window.row.fate, window.row.accepted_characters, window.row.shown_ms) == (Fate.ACCEPTED, 9, 900)


def test_word_by_word_adds_up_over_answers(window):
    window.answer("x = |\n", "sum(values, 0)")
    window.change("x = sum(values,\n")
    window.answer("x = sum(values,|\n", " 0)")
    window.change("x = sum(values, 0)\n")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 14)


def test_an_answer_that_grows_is_the_same_suggestion(window):
    """The first lines come early, the rest with the next answer."""
    window.answer("def f():\n    |", "a = 1")
    window.answer("def f():\n    |", "a = 1\n    return a")
    window.change("def f():\n    a = 1\n    return a")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 18)


def test_another_suggestion_at_the_place_ends_the_one_before(window):
    window.answer("x = |\n", "sum(values)")
    window.now += 5
    window.answer("x = |\n", "max(values)")
    window.change("x = max(values)\n")
    assert window.fates == [Fate.REJECTED, Fate.ACCEPTED]


def test_a_suggestion_behind_an_accepted_one_is_another(window):
    window.answer("x = |\n", "1 + ")
    window.change("x = 1 + \n")
    window.answer("x = 1 + |\n", "2")
    window.change("x = 1 + y\n", after_s=1)
    assert window.fates == [Fate.ACCEPTED, Fate.REJECTED]


def test_an_answer_without_suggestions_changes_nothing(window):
    window.answer("x = |\n", "sum(values)")
    window.answer("x = |\n", reason="paused")
    window.change("x = sum(values)\n")
    assert window.fates == [Fate.ACCEPTED]


# Told by the client.


def test_the_accept_command_counts_all_of_it(window):
    identity = window.answer("x = |\n", "sum(values)")
    window.now += 0.4
    window.feedback.accepted(f"{identity}.0")
    assert (window.row.fate, window.row.accepted_characters, window.row.reported) == (Fate.ACCEPTED, 11, True)
    window.change("x = sum(values)\n")
    assert window.fates == [Fate.ACCEPTED]
    assert window.settled == [True]


def test_the_accept_command_after_the_change_is_the_same_acceptance(window):
    """Neovim and others apply the edit first."""
    for _ in range(2):
        identity = window.answer("x = |\n", "sum(values)")
        window.change("x = sum(values)\n")
        window.feedback.accepted(f"{identity}.0")
    assert [(row.fate, row.accepted_characters, row.reported) for row in window.kept.rows.values()] == [
        (Fate.ACCEPTED, 11, True)
    ] * 2
    assert window.settled == [True, True]


def test_an_acceptance_reported_after_the_change_can_still_be_undone(window):
    window.feedback.accepted("0.0")
    identity = window.answer("x = |\n", "sum(values)")
    window.change("x = sum(values)\n")
    window.feedback.accepted(f"{identity}.0")
    window.change("x = \n")
    assert window.fates == [Fate.REJECTED]


def test_a_client_that_reports_is_believed_and_a_menu_that_inserts_the_same_is_no_acceptance(window):
    window.feedback.accepted("0.0")
    window.answer("self.|\n", "values.sort()")
    window.change("self.values\n", after_s=1)
    assert window.fates == []
    window.change("self.values\nelse", after_s=1)
    assert window.fates == [Fate.REJECTED]


def test_parts_are_counted_in_utf16_units_from_the_beginning(window):
    identity = window.answer("x = |\n", "😀😀 = größe")
    window.feedback.accepted(f"{identity}.0", 4)
    assert window.row.accepted_characters == 2
    window.feedback.accepted(f"{identity}.0", 7)
    assert window.row.accepted_characters == 5
    window.feedback.accepted(f"{identity}.0", 5)
    assert window.row.accepted_characters == 5, "less than before is no news"
    window.feedback.accepted(f"{identity}.0", 99)
    assert window.row.accepted_characters == 10
    assert window.settled == [True]


def test_an_alternative_is_known_by_its_number(window):
    identity = window.answer("x = |\n", "sum(values)", "0")
    window.feedback.accepted(f"{identity}.1")
    assert window.row.accepted_characters == 1


def test_a_late_report_corrects_what_was_derived(window):
    identity = window.answer("x = |\n", "sum(values)")
    window.change("x = SUM(values)\n", after_s=1)
    assert window.fates == [Fate.REJECTED]
    window.feedback.accepted(f"{identity}.0")
    assert (window.row.fate, window.row.accepted_characters) == (Fate.ACCEPTED, 11)


def test_a_dismissal_is_a_rejection_at_once(window):
    identity = window.answer("x = |\n", "sum(values)")
    window.now += 0.1
    window.feedback.rejected(f"{identity}.0")
    window.feedback.rejected(f"{identity}.0")
    assert (window.row.fate, window.row.reported) == (Fate.REJECTED, True)
    assert window.settled == [False]


def test_a_dismissal_of_what_was_accepted_is_none(window):
    identity = window.answer("x = |\n", "sum(values)")
    window.feedback.accepted(f"{identity}.0", 3)
    window.feedback.rejected(f"{identity}.0")
    assert window.fates == [Fate.ACCEPTED]


def test_from_the_first_word_on_what_was_not_shown_does_not_count(window):
    first = window.answer("x = |\n", "sum(values)")
    window.feedback.shown(f"{first}.0")
    window.change("x = 1\n", after_s=1)
    window.answer("x = 1|\n", " + 2")
    window.change("x = 1;\n", after_s=1)
    assert window.fates == [Fate.REJECTED], "the second one was never on screen"
    third = window.answer("y = |\n", "z + 1")
    window.now += 9
    window.feedback.shown(f"{third}.0")
    window.change("y = 2\n", after_s=0.6)
    assert [row.shown_ms for row in window.kept.rows.values()] == [1000, 600]


def test_words_about_what_nobody_knows_are_harmless(window):
    for word in (window.feedback.shown, window.feedback.accepted, window.feedback.rejected):
        for identity in ("", "x", "7.0", "..", "7.x", "7.99999999999"):
            word(identity)
    assert window.kept.rows == {}


# What is kept, and for how long.


def test_a_row_has_numbers_and_the_words_of_fixed_sets(window):
    result = FimResult(
        "sum(values)",
        FinishReason.STOP_TOKEN,
        model="/home/someone/model.gguf",
        tokens=TokenCounts(prompt=100, reused=90, evaluated=10, generated=5),
        timings_ms={"prefill": 12.34, "decode": 56.78},
    )
    window.answer(
        "x = |\n",
        "sum(values)\nmore",
        result=result,
        shape=Shape.BLOCK,
        source="cache",
        judgement=Judgement(True, 0.5, "some words", (1.0, 2.0), 10.0),
    )
    window.change("x = 1\n", after_s=1)
    row = dataclasses.asdict(window.row)
    assert row.pop("key") > 0
    assert row == {
        "at": 1_700_000_777 // TIME_STEP_S * TIME_STEP_S,
        "language": "python",
        "shape": "block",
        "source": "cache",
        "automatic": True,
        "fate": Fate.REJECTED,
        "accepted_characters": 0,
        "reported": False,
        "shown_ms": 1000.0,
        "latency_ms": 120.0,
        "prefill_ms": 12.3,
        "decode_ms": 56.8,
        "characters": 16,
        "lines": 2,
        "prompt_tokens": 100,
        "reused_tokens": 90,
        "evaluated_tokens": 10,
        "generated_tokens": 5,
        "features": (1.0, 2.0),
        "weight": 10.0,
    }


@given(st.text(max_size=60))
def test_a_language_with_an_odd_name_is_another_one(name):
    window = Window()
    request = CompletionRequest(URI, "x", 1, name, trigger=Trigger.INVOKED)
    window.feedback.answered("1", request, CompletionOutcome((Suggestion("yy", 1, 1),), source=name))
    window.feedback.accepted("1.0")
    language = window.row.language
    assert language == "other" or (language == name.lower() and len(language) <= 24 and " " not in language)
    assert window.row.source in {"model", "stream", "cache"}
    assert window.row.automatic is False


def test_no_text_survives_the_end_of_a_suggestion(window):
    for number in range(300):
        window.answer(f"line {number} |secret", "suggested")
        window.change("other", after_s=1)
    held = repr([dataclasses.asdict(each) for each in window.feedback._known.values()])
    assert "secret" not in held.replace("secret_project", "")
    assert "suggested" not in held
    assert len(window.feedback._known) <= 128
    assert len(window.fates) == 300


def test_documents_are_let_go_the_oldest_first(window):
    for number in range(20):
        window.answer("x = |", "sum(values)", uri=f"file:///{number}.py")
        window.now += 1
    assert len(window.feedback._on_screen) == 8
    assert window.fates == [Fate.IGNORED] * 12


def test_a_closed_document_is_let_go(window):
    window.answer("x = |", "sum(values)")
    window.now += 1
    window.feedback.changed(URI, None)
    assert window.fates == [Fate.IGNORED], "leaving a document is no judgement"
    assert not window.feedback._on_screen
    window.change("x = sum(values)")
    assert window.fates == [Fate.IGNORED]


async def test_the_end_settles_what_is_on_screen_and_has_it_written(window):
    window.answer("x = |", "sum(values)")
    window.now += 1
    await window.feedback.close()
    assert window.fates == [Fate.IGNORED]
    assert window.kept.closed


def test_settings_say_whether_anything_is_kept(window):
    window.feedback.configure(Config(stats=StatsConfig(enabled=False)))
    assert window.kept.enabled is False
    window.feedback.configure(Config())
    assert window.kept.enabled is True


def test_without_a_recording_the_session_still_learns_what_is_accepted():
    settled = []
    feedback = Feedback(None, settled.append)
    request = CompletionRequest(URI, "x = ", 4)
    feedback.answered("1", request, CompletionOutcome((Suggestion("sum", 4, 4),)))
    feedback.changed(URI, Document.of(URI, "", None, "x = sum"))
    assert settled == [True]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.text("abc \n(😀", max_size=12)),
        st.tuples(st.just("answer"), st.text("abc \n(😀", max_size=12), st.text("abc \n(😀", min_size=1, max_size=6)),
        st.tuples(st.sampled_from(("accepted", "rejected", "shown", "part")), st.integers(0, 12)),
        st.tuples(st.just("close")),
    ),
    max_size=30,
)


@given(steps, st.integers(0, 3))
def test_whatever_happens_rows_make_sense(todo, replaces):
    window = Window()
    for what, *how in todo:
        window.now += 0.3
        if what == "change":
            window.change(how[0])
        elif what == "answer":
            window.answer(f"|{how[0]}", how[1], replaces=min(replaces, len(how[0])))
        elif what == "part":
            window.feedback.accepted(f"{how[0]}.0", how[0])
        elif what == "close":
            window.feedback.changed(URI, None)
        else:
            getattr(window.feedback, what)(f"{how[0]}.0")
    window.feedback.changed(URI, None)
    for row in window.kept.rows.values():
        assert (row.fate is Fate.ACCEPTED) or row.accepted_characters == 0
        assert row.accepted_characters >= 0
        assert 0 <= row.shown_ms <= 60_000
    assert not window.feedback._on_screen


# Over the wire.


SCRIPT = str(Path(__file__).parents[2] / "support" / "feedback_server.py")


async def ghost(client: LspClient) -> dict:
    params = {
        "textDocument": {"uri": URI},
        "position": {"line": 0, "character": 4},
        "context": {"triggerKind": 2},
    }
    answer = await client.request("textDocument/inlineCompletion", params)
    return answer["items"][0]


async def rows(client: LspClient) -> list[dict]:
    return await client.request("test/rows", {})


@pytest.fixture
async def client():
    async with server_process(SCRIPT) as client:
        await client.initialize({"textDocument": {"inlineCompletion": {}}})
        client.open(URI, "x = \n")
        script = '{"suggestions": [{"text": "sum(values)"}]}'
        client.notify("test/script", {"json": script})
        yield client


async def test_a_client_that_shows_accepts_and_dismisses_over_the_wire(client):
    item = await ghost(client)
    (identity,) = item["command"]["arguments"]
    client.notify("coder-lsp/didShow", {"id": identity})
    accept = {"command": "coder-lsp.accepted", "arguments": [identity, 3]}
    assert await client.request("workspace/executeCommand", accept) is None
    (row,) = await rows(client)
    assert (row["fate"], row["accepted_characters"], row["reported"]) == ("accepted", 3, True)

    client.change(URI, 2, (None, "y = \n"))
    item = await ghost(client)
    client.notify("coder-lsp/didShow", {"id": item["command"]["arguments"][0]})
    client.notify("coder-lsp/didReject", {"id": item["command"]["arguments"][0]})
    assert [row["fate"] for row in await rows(client)] == ["accepted", "rejected"]


async def test_a_client_that_says_nothing_is_understood_by_its_changes(client):
    await ghost(client)
    client.change(URI, 2, (None, "x = sum(values)\n"))
    (row,) = await rows(client)
    assert (row["fate"], row["accepted_characters"], row["reported"]) == ("accepted", 11, False)


async def test_notifications_that_make_no_sense_are_passed_over(client):
    for params in ({}, None, [], {"id": 7}, {"id": None}, {"ids": ["1.0"]}, {"id": "unheard of"}):
        client.notify("coder-lsp/didShow", params)
        client.notify("coder-lsp/didReject", params)
    assert await rows(client) == []


@pytest.mark.parametrize("units", [-1, "3", 1.5, True])
async def test_a_length_that_is_none_is_refused(client, units):
    item = await ghost(client)
    command = {"command": "coder-lsp.accepted", "arguments": [*item["command"]["arguments"], units]}
    with pytest.raises(LspError, match="UTF-16"):
        await client.request("workspace/executeCommand", command)


async def test_an_open_document_that_is_closed_is_settled_when_the_session_ends(tmp_path):
    log = tmp_path / "log"
    async with server_process(SCRIPT, log=log) as client:
        await client.initialize({"textDocument": {"inlineCompletion": {}}})
        client.open(URI, "x = \n")
        client.notify("test/script", {"json": '{"suggestions": [{"text": "sum(values)"}]}'})
        await ghost(client)
        assert await client.end() == 0
    assert "recording closed with 1 rows" in log.read_text()


async def test_a_session_leaves_its_suggestions_on_disk():
    async with server_process(SCRIPT, "stored") as client:
        await client.initialize({"textDocument": {"inlineCompletion": {}}})
        client.open(URI, "x = \n")
        client.notify("test/script", {"json": '{"suggestions": [{"text": "sum(values)"}]}'})
        await ghost(client)
        client.change(URI, 2, (None, "x = sum(values)\n"))
        assert await client.end() == 0
    with closing(History()) as history:
        (row,) = history.read()
    assert (row.fate, row.accepted_characters, row.language) == (Fate.ACCEPTED, 11, "python")
    assert row.latency_ms > 0
    content = b"".join(path.read_bytes() for path in history_path().parent.glob("suggestions*"))
    assert b"sum" not in content
    assert b"secret_project" not in content
