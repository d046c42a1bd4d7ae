"""Printing: JSON that any pipe carries, and text without escape codes where nobody sees colours."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coder_lsp.cli.console import console, emit_json, harmless
from coder_lsp.types import FinishReason, TokenCounts


@dataclass(frozen=True)
class Outer:
    path: Path
    reason: FinishReason
    tokens: TokenCounts = field(default_factory=TokenCounts)
    names: frozenset[str] = frozenset({"b", "a"})


def test_json_of_our_values(capsys):
    emit_json({"value": Outer(Path("/tmp/x"), FinishReason.ENOUGH)})
    assert json.loads(capsys.readouterr().out) == {
        "value": {
            "path": "/tmp/x",
            "reason": "enough",
            "tokens": dict.fromkeys(("prompt", "reused", "evaluated", "generated", "passes", "drafted", "accepted"), 0),
            "names": ["a", "b"],
        }
    }


def test_json_is_one_ascii_line(capsys):
    emit_json({"text": "naïve\n→"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"text": "naïve\n→"}


def test_json_refuses_what_has_no_form():
    with pytest.raises(TypeError, match="object has no JSON form"):
        emit_json({"x": object()})


def test_console_prints_words_as_they_are(capsys):
    """Brackets are no markup, numbers are not coloured, long lines are not wrapped."""
    text = "[bold]list[0][/bold] " + "word " * 60 + ":smile: 12"
    console().print(text)
    assert capsys.readouterr().out == text + "\n"


def test_no_color_means_no_escape_codes_even_if_forced(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console(color=False).print("ghost", style="bold red")
    assert capsys.readouterr().out == "ghost\n"


def test_stderr_console(capsys):
    console(stderr=True).print("remark")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "remark\n")


def test_a_line_out_of_a_file_gives_the_terminal_no_orders():
    assert harmless("\tx = '\x1b]0;title\x07\r'") == "\tx = '\\x1b]0;title\\x07\\x0d'"
    assert harmless("naïve → 猫") == "naïve → 猫"
