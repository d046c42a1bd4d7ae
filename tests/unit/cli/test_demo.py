"""``coder-lsp demo`` where it cannot begin, and what it prints of a place. With the real model: ``tests/e2e``."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from coder_lsp.cli import demo as verb
from coder_lsp.config import DEFAULT_MODEL
from coder_lsp.demo.connect import editors_folder, how_to_connect
from coder_lsp.models.store import InstalledModel

PLACE = verb.Shown(
    "A title", "shop/x.py", 2, 5, before="a\nb = ", ghost="c", after="\nd", first_ms=120.4, keystroke_ms=7
)


def run(*arguments):
    return subprocess.run(
        (sys.executable, "-m", "coder_lsp", "demo", *arguments), capture_output=True, text=True, check=False
    )


def printed(place, **terminal):
    file = io.StringIO()
    verb._print_place(Console(file=file, width=200, **terminal), place, "1/6")
    return file.getvalue()


def test_without_model_and_network_it_says_so_in_one_line():
    done = run("--offline")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    first = next(line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert DEFAULT_MODEL in first
    assert "offline" in first


def test_another_model_is_not_pulled_unasked():
    """They may be many gigabytes."""
    done = run("--model", "qwen2.5-coder-7b-instruct")
    assert done.returncode == 1
    assert "coder-lsp models pull qwen2.5-coder-7b-instruct" in done.stderr


def test_a_place_on_paper():
    assert printed(PLACE).splitlines() == [
        "",
        "1/6  A title  shop/x.py:2",
        "  1 | a",
        "  2 | b = «c»",
        "  3 | d",
        "      suggestion after 120 ms; after one more keystroke 7 ms",
    ]


def test_a_place_in_colour_has_no_marks():
    shown = printed(PLACE, force_terminal=True, color_system="standard")
    assert "\x1b[" in shown
    assert "«" not in shown


def test_a_place_without_suggestion_says_so():
    shown = printed(verb.Shown("T", "x.py", 1, 1, before="a", ghost="", after="", first_ms=80))
    assert "no suggestion after 80 ms" in shown


@pytest.mark.parametrize(
    ("verified", "words"), [(True, "digest verified"), (False, "digest WRONG"), (None, "digest unverified")]
)
def test_totals(verified, words):
    """Medians of what was answered, the model and its digest, the whole time."""
    file = io.StringIO()
    silent = verb.Shown("T", "x.py", 1, 1, before="a", ghost="", after="", first_ms=9999)
    model = InstalledModel("some-model", Path("m.gguf"), None, None, None)
    verb._print_totals(Console(file=file, width=200), [PLACE, silent], model, verified=verified, total_seconds=12.34)
    assert (
        file.getvalue().splitlines()[1] == "Suggestions at 1 of 2 places; median 120 ms, 7 ms after one more keystroke"
    )
    assert f"some-model, {words}" in file.getvalue()
    assert "12.3 s" in file.getvalue()


@pytest.mark.parametrize("words", ['require("coder_lsp")', "languages.toml", "npm run package", "server.path"])
def test_the_last_page_names_editors_and_the_command(words):
    page = how_to_connect("/opt/x/coder-lsp", Path("/src/editors"))
    assert words in page
    assert page.count("/opt/x/coder-lsp") == 3
    assert page.count("/src/editors") == 2


def test_the_last_page_names_the_plugins_of_this_checkout():
    folder = editors_folder()
    assert folder is not None
    assert (folder / "vscode" / "package.json").exists()


def test_without_a_checkout_the_last_page_says_where_the_plugins_are():
    assert "repository" in how_to_connect("coder-lsp", None)
