"""``bench.replay.typist``: when keys are pressed and suggestions taken, by a clock that jumps."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import run_virtually

from coder_lsp.bench.replay.buffer import Buffer
from coder_lsp.bench.replay.screen import Screen
from coder_lsp.bench.replay.trace import Key, Visit
from coder_lsp.bench.replay.typist import NOTICE_S, Typist, right_lines

TEXT = "\n    one = 1\n    two = 2\n    return one"


class Scripted:
    """Shows a text a while after the key that completes a given line, and notes when keys come."""

    name = "scripted"

    def __init__(self, answers: dict[str, tuple[float, str]]) -> None:
        self.screen = Screen()
        self.buffer = Buffer()
        self.pressed: list[tuple[float, str]] = []
        self.accepted: list[str] = []
        self.left = False
        self._answers = answers

    async def enter(self, visit: Visit) -> None:
        self.buffer = Buffer(visit.path, visit.before, visit.after)

    def press(self, text: str) -> None:
        self.pressed.append((_now(), text))
        self._insert(text)

    def accept(self, text: str) -> None:
        self.accepted.append(text)
        self._insert(text)

    async def leave(self) -> None:
        self.left = True

    def requests(self) -> list:
        return []

    def _insert(self, text: str) -> None:
        self.screen.typed(text)
        self.buffer.insert(text)
        line = self.buffer.before[self.buffer.before.rfind("\n") + 1 :]
        if line in self._answers:
            after_s, answer = self._answers[line]
            asyncio.get_running_loop().call_later(after_s, self._show, line, answer, _now())

    def _show(self, line: str, answer: str, asked_s: float) -> None:
        now = self.buffer.before[self.buffer.before.rfind("\n") + 1 :]
        if now == line:
            self.screen.show(answer, asked_s)


def visit(text: str = TEXT, pause_s: float = 1.0) -> Visit:
    keys, position = [], 0
    while position < len(text):
        end = position + 1
        while text[position] == "\n" and text[end : end + 1] == " ":
            end += 1
        keys.append(Key(text[position:end], pause_s if text[position] == "\n" and position else 0.2))
        position = end
    return Visit(0, "a.py", "python", "def f():", "\n", tuple(keys), 2.0)


def play(answers: dict[str, tuple[float, str]], patience_s: float = 1.5, pause_s: float = 1.0):
    async def typing():
        subject = Scripted(answers)
        return subject, await Typist(subject, patience_s).type(visit(pause_s=pause_s))

    return run_virtually(typing())


def _now() -> float:
    return asyncio.get_running_loop().time()


def test_without_suggestions_everything_is_typed_as_planned():
    subject, record = play({})
    assert subject.buffer.before == "def f():" + TEXT
    assert record.saved == 0
    assert record.characters == record.keys == len(visit().keys)
    assert record.first_shown_s is None
    assert [stop.waited_s for stop in record.stops] == [None] * 5
    # A line start costs the patience; the key that follows it is not late on top of that.
    times = [at for at, _ in subject.pressed]
    assert times[0] == pytest.approx(2.0)
    assert times[1] - times[0] == pytest.approx(1.5)
    assert times[2] - times[1] == pytest.approx(0.2)
    assert subject.left


def test_a_right_suggestion_is_taken_once_it_is_noticed():
    subject, record = play({"    ": (0.4, "one = 1")})
    assert subject.accepted == ["one = 1"]
    assert record.saved == len("one = 1")
    assert record.first_shown_s == pytest.approx(0.4)
    assert record.stops[0].waited_s == pytest.approx(0.4)
    # Then the end of the line, whose rest is planned.
    assert subject.pressed[1][0] == pytest.approx(2.0 + 0.4 + NOTICE_S + 1.0)


def test_of_a_longer_suggestion_the_right_lines_are_taken():
    subject, record = play({"    ": (0.1, "one = 1\n    two = 2\n    return two")})
    assert subject.accepted[0] == "one = 1\n    two = 2"
    assert record.saved >= len("one = 1") + 1 + len("two = 2")


def test_a_wrong_suggestion_makes_him_type_on():
    subject, record = play({"    ": (0.4, "nothing = 0")})
    assert subject.accepted == []
    assert record.stops[0].waited_s == pytest.approx(0.4)
    assert subject.pressed[1][0] - subject.pressed[0][0] == pytest.approx(0.4 + NOTICE_S)


def test_a_suggestion_after_the_patience_is_not_in_time():
    _, record = play({"    ": (1.6, "one = 1")})
    assert record.stops[0].waited_s is None
    _, record = play({"    ": (1.6, "one = 1")}, patience_s=6.0)
    assert record.stops[0].waited_s == pytest.approx(1.6)
    assert record.saved


def test_a_suggestion_shown_at_the_last_moment_is_still_read():
    subject, record = play({"    ": (1.45, "one = 1")})
    assert record.stops[0].waited_s == pytest.approx(1.45)
    assert subject.accepted[0] == "one = 1"


def test_a_suggestion_in_the_middle_of_a_line_is_taken_between_keys():
    subject, record = play({"    o": (0.01, "ne = 1")})
    assert subject.accepted == ["ne = 1"]
    assert record.saved == len("ne = 1")


def test_a_suggestion_that_comes_too_late_for_one_key_is_taken_after_the_next():
    """It stays on screen while its text is typed, so the moment to notice it goes on."""
    subject, _ = play({"    o": (0.1, "ne = 1")})
    assert subject.accepted == ["e = 1"]


def test_the_next_line_is_taken_in_the_rest_at_a_line_end():
    subject, record = play({"    one = 1": (0.2, "\n    two = 2")})
    assert subject.accepted == ["\n    two = 2"]
    assert [stop.line_start for stop in record.stops] == [True, False, False, True]
    assert record.stops[1].taken == len("\n    two = 2")


def test_short_rests_at_line_ends_are_no_pauses():
    _, record = play({}, pause_s=0.2)
    assert [stop.line_start for stop in record.stops] == [True, True, True]


@pytest.mark.parametrize(
    ("ghost", "ahead", "right"),
    [
        ("a)", "a)\n  b", "a)"),
        ("a)", "a) + 1\n", ""),
        ("a)\n  c", "a)\n  b", "a)"),
        ("a)\n  b\n", "a)\n  b\n  c", "a)\n  b"),
        ("\n  b", "\n  b", "\n  b"),
        ("\n", "\n  b", ""),
        ("a  ", "a\nb", "a"),
        ("", "a", ""),
        ("ab", "a", ""),
        ("a\n\nb", "a\n\nb\nc", "a\n\nb"),
    ],
)
def test_whole_lines_are_right_or_not(ghost, ahead, right):
    assert right_lines(ghost, ahead) == right
