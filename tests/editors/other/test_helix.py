"""Helix: the suggestion is an entry of its completion menu."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from editors.other.conftest import SUMS, block, program_of

ESCAPE, ENTER, TAB = "\x1b", "\r", "\t"


@pytest.fixture
def program() -> str:
    return program_of("CODER_LSP_HELIX", "hx", "helix")


@pytest.fixture
def helix(program, start, environment, log):
    folder = Path(environment["XDG_CONFIG_HOME"]) / "helix"

    def _helix(*arguments: str, more: str = ""):
        folder.mkdir()
        (folder / "languages.toml").write_text(block("Helix", "toml") + more)
        terminal = start(program, *arguments)
        terminal.see("NOR")
        # Helix asks a server nothing before it has said hello.
        terminal.wait(lambda: "settings applied:" in log.read_text(), "the server is there")
        return terminal

    return _helix


WORDS = '''def count_words(text):
    """Return a dictionary that says how often each word is in the text."""
    counts = {}
'''


def leave_insert(terminal) -> None:
    terminal.type(ESCAPE)
    # Or the next key would count as one with Alt.
    terminal.see("NOR")


def save(terminal, path: Path, text: str) -> None:
    terminal.type(f":w{ENTER}")
    terminal.wait(lambda: path.read_text() == text, f"{text!r} on disk")


def test_two_suggestions_are_taken_from_the_menu_and_saved(helix, project, log):
    """The second shows that server and editor still mean the same text after Helix tried the first one out in it."""
    path = project / "sums.py"
    terminal = helix("sums.py:3")
    text = SUMS
    for line, operator in ((3, "+"), (8, "-")):
        terminal.type(f":{line}{ENTER}A ")
        terminal.see(f"{operator} b")
        assert path.read_text() == text
        terminal.type(TAB)
        terminal.see(f"return a {operator} b")
        terminal.type(ENTER)
        leave_insert(terminal)
        text = "\n".join(
            [*text.splitlines()[: line - 1], f"    return a {operator} b", *text.splitlines()[line:], ""],
        )
        save(terminal, path, text)
    assert "completion id=" in log.read_text()


def test_settings_of_the_configuration_reach_the_server(helix, log):
    """In the place that the guide names; the server says what it applied."""
    table = block("Helix", "toml", 1).splitlines()[0]
    helix("sums.py", more=f"{table}\ncompletion = {{ enabled = false }}\n")
    assert "enabled=False" in log.read_text()


def test_a_block_keeps_its_indentation(helix, project, log):
    path = project / "words.py"
    path.write_text(WORDS)
    table = block("Helix", "toml", 1).splitlines()[0]
    more = 'completion = { early_ms = 0, invoked_deadline_ms = 0, alternatives = 1, show_filter = "off" }'
    terminal = helix("words.py:3", more=f"{table}\n{more}\n")
    terminal.type("A\n\x18")
    terminal.wait(lambda: "completion id=" in log.read_text(), "an answer")
    terminal.wait(lambda: terminal.text.count("text.split()") == 1, "an entry of the menu")
    terminal.type(TAB)
    terminal.see("for word in")
    terminal.type(ENTER)
    leave_insert(terminal)
    terminal.type(f":w{ENTER}")
    terminal.wait(lambda: path.read_text() != WORDS, "the file saved")
    ast.parse(path.read_text())
