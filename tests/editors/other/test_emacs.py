"""Emacs: an entry of the list and ghost text with eglot, ghost text with lsp-mode."""

from __future__ import annotations

import subprocess

import pytest
from editors.other.conftest import SUMS, block, program_of

META, TAB, ENTER = "\x1b", "\t", "\r"
SAVE = "\x18\x13"
CONTROL_ENTER = "\x1b[13;5u"


@pytest.fixture
def program() -> str:
    return program_of("CODER_LSP_EMACS", "emacs")


@pytest.fixture
def emacs(program, start, project, tmp_path):
    """Start it with this in its ``init.el``, at the end of a line of sums.py."""

    def _emacs(init: str, line: int, connected: str):
        folder = tmp_path / "emacs.d"
        folder.mkdir()
        # Last, for the first line of a file says how Lisp is read.
        (folder / "init.el").write_text(f"{init}\n(setq inhibit-startup-screen t confirm-kill-processes nil)\n")
        terminal = start(program, "-nw", "--init-directory", str(folder), f"+{line}:1", "sums.py")
        terminal.see(connected)
        terminal.type("\x05")
        return terminal

    return _emacs


def saved(terminal, path, text: str) -> None:
    terminal.type(SAVE)
    terminal.wait(lambda: path.read_text() == text, f"{text!r} on disk")


def test_eglot_puts_the_suggestion_into_the_text(emacs, project, log):
    path = project / "sums.py"
    start = 'def total(numbers):\n    """Return the sum of the numbers."""\n    return '
    path.write_text(f"{start}s\n")
    terminal = emacs(block("Emacs with eglot", "elisp"), 3, "[eglot:")
    terminal.type("u")
    terminal.see("return su")
    terminal.type(f"{META}{TAB}")
    terminal.see("return sum(numbers)")
    saved(terminal, path, f"{start}sum(numbers)\n")
    assert "completion id=" in log.read_text()


def test_settings_of_eglot_reach_the_server(emacs, log):
    """In the form that the guide shows; the server says what it applied."""
    settings = block("Emacs with eglot", "elisp", 1)
    assert "(:multiline :json-false)" in settings
    settings = settings.replace(":multiline", ":enabled")
    terminal = emacs(f"{block('Emacs with eglot', 'elisp')}\n{settings}", 1, "[eglot:")
    terminal.wait(lambda: "settings applied:" in log.read_text(), "settings applied")
    assert "enabled=False" in log.read_text()


def test_eglot_shows_ghost_text_that_is_not_in_the_buffer_until_it_is_taken(emacs, project, log):
    path = project / "sums.py"
    terminal = emacs(block("Ghost text in eglot", "elisp"), 3, "[eglot:")
    terminal.type(" ")
    terminal.see("return a + b")
    # Saving is another command: what it writes is what was typed, and the ghost is gone.
    saved(terminal, path, SUMS.replace("return a\n", "return a \n", 1))
    terminal.wait(lambda: "return a + b" not in terminal.text, "no ghost text")
    terminal.type(f"{META}xcoder-lsp-suggest{ENTER}")
    terminal.see("return a + b")
    terminal.type(TAB)
    saved(terminal, path, SUMS.replace("return a\n", "return a + b\n", 1))
    terminal.wait(lambda: "accepted id=" in log.read_text(), "the server was told")


def test_lsp_mode_shows_ghost_text_and_reports_what_is_taken(program, environment, emacs, project, log):
    where = [
        program,
        "--batch",
        "--eval",
        "(package-initialize)",
        "--eval",
        '(princ (locate-library "lsp-inline-completion"))',
    ]
    found = subprocess.run(where, check=True, capture_output=True, text=True, timeout=60, env=environment)
    if "lsp-inline-completion" not in found.stdout:
        pytest.skip("Emacs has no lsp-mode 10: install the package lsp-mode for all users")
    path = project / "sums.py"
    quiet = "(setq lsp-auto-guess-root t lsp-headerline-breadcrumb-enable nil lsp-warn-no-matched-clients nil)\n"
    terminal = emacs(block("Emacs with lsp-mode", "elisp") + quiet, 3, "LSP[")
    terminal.wait(lambda: "settings applied:" in log.read_text(), "settings applied")
    terminal.type(" ")
    terminal.see("return a + b")
    terminal.type(CONTROL_ENTER)
    terminal.wait(lambda: "accepted id=" in log.read_text(), "the server was told")
    saved(terminal, path, SUMS.replace("return a\n", "return a + b\n", 1))
