"""The command's frame: lazy verbs, and one line and an exit status for every way to fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from coder_lsp import __version__
from coder_lsp.cli import main as frame
from coder_lsp.errors import CoderLspError, InputError

COMMAND = (sys.executable, "-m", "coder_lsp")


@pytest.fixture
def verb(monkeypatch):
    """Installs a function as the verb ``version`` and runs it; returns the exit status."""

    def run(function, arguments=("version",)) -> int:
        command = click.Command("version", callback=function)
        monkeypatch.setattr(frame.VerbGroup, "get_command", lambda *_: command)
        return frame.run(arguments)

    return run


def raising(error):
    def callback():
        raise error

    return callback


def test_help_names_every_verb_and_imports_none():
    """Expected: all verbs listed, and no verb's module among the loaded ones."""
    program = (
        "import sys\nfrom coder_lsp.cli import main\n"
        "status = main.run(['--help'])\n"
        "loaded = [verb for verb in main.VERBS if 'coder_lsp.cli.' + verb in sys.modules]\n"
        "print('loaded', loaded, file=sys.stderr)\nsys.exit(status)"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert "loaded []" in done.stderr
    words = " ".join(done.stdout.split())
    for verb, summary in frame.VERBS.items():
        assert f"{verb} {summary}" in words


def test_importing_the_frame_loads_nothing_heavy():
    program = "import sys, coder_lsp.cli.main; print(*sys.modules)"
    modules = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True).stdout.split()
    heavy = {"rich", "pygls", "lsprotocol", "huggingface_hub", "llama_cpp", "torch", "tree_sitter", "psutil", "asyncio"}
    assert heavy.isdisjoint(modules)


def test_every_verb_has_a_command_whose_help_begins_as_the_list_says():
    """The list is written by hand so that nothing is imported for it; this is what keeps it true."""
    context = click.Context(frame.cli)
    for verb, summary in frame.VERBS.items():
        command = frame.cli.get_command(context, verb)
        assert command is not None
        assert command.name == verb
        assert command.help
        assert command.get_short_help_str(limit=200).rstrip(".") == summary.rstrip(".")


def test_version_option_and_module_entry_point():
    done = subprocess.run((*COMMAND, "--version"), capture_output=True, text=True, check=True)
    assert done.stdout == f"coder-lsp {__version__}\n"


def test_unknown_verb_is_wrong_usage():
    done = subprocess.run((*COMMAND, "compleet"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "compleet" in done.stderr
    assert "Traceback" not in done.stderr


def test_our_error_is_one_line_and_its_hint(verb, capsys):
    assert verb(raising(CoderLspError("the disk is full", hint="Free 2 GB.\nThen try again."))) == 1
    assert capsys.readouterr().err == "error: the disk is full\n  Free 2 GB.\n  Then try again.\n"


def test_our_error_without_hint_is_one_line(verb, capsys):
    assert verb(raising(InputError("no such line"))) == 2
    assert capsys.readouterr().err == "error: no such line\n"


def test_wrong_usage_inside_a_verb(verb, capsys):
    assert verb(raising(click.UsageError("--a and --b exclude each other"))) == 2
    assert "--a and --b exclude each other" in capsys.readouterr().err


def test_a_verb_ends_with_the_status_it_asks_for(verb):
    assert verb(lambda: click.get_current_context().exit(3)) == 3
    assert verb(lambda: None) == 0


def test_answering_no_is_status_1(verb, capsys):
    assert verb(raising(click.Abort())) == 1
    assert capsys.readouterr().err == "aborted\n"


def test_interrupt_is_status_130_without_traceback():
    """A verb that waits is interrupted by a real SIGINT, sent when it says that it waits."""
    program = (
        "import click, sys, threading\nfrom coder_lsp.cli import main\n"
        "def wait():\n    print('waiting', flush=True)\n    threading.Event().wait()\n"
        "main.VerbGroup.get_command = lambda *_: click.Command('version', callback=wait)\n"
        "sys.exit(main.run(['version']))"
    )
    with subprocess.Popen(
        (sys.executable, "-c", program), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "interrupted"


@pytest.mark.parametrize("lines", [1, 100_000], ids=["at the last flush", "while printing"])
def test_a_reader_that_leaves_is_no_failure_worth_words(lines):
    """Expected: status 1 and nothing on stderr, as `… | head` wants it."""
    program = (
        "import click, sys\nfrom coder_lsp.cli import main\n"
        f"def talk():\n    for _ in range({lines}): print('x' * 100)\n"
        "main.VerbGroup.get_command = lambda *_: click.Command('version', callback=talk)\n"
        "sys.exit(main.run(['version']))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        (sys.executable, "-c", program), stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


def test_help_works_for_every_verb():
    for verb in frame.VERBS:
        result = CliRunner().invoke(frame.cli, [verb, "--help"])
        assert result.exit_code == 0, verb
        assert f"Usage: cli {verb}" in result.output
