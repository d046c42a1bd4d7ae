"""The ``coder-lsp`` command: finds the verb, runs it, and turns every failure into one line and an exit status.

A verb lives in the module of its name and is imported when it is used, so that ``serve`` answers an editor quickly and
``--help`` loads nothing. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from coder_lsp import __version__
from coder_lsp.cli.console import print_error
from coder_lsp.errors import CoderLspError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "serve": "Run the language server for an editor.",
    "host": "Run the model host, which the server starts by itself.",
    "complete": "Complete FILE at a place and print what would be shown as ghost text.",
    "ask": "Have the model follow INSTRUCTION about lines of FILE.",
    "context": "Print what of other files a model would see at a place of FILE.",
    "index": "Index a folder, by the rules and into the database that editors use.",
    "demo": "Complete several places of a bundled project with the real model.",
    "models": "List, pull, add, verify, remove and choose models.",
    "remote": "Check the server that completes in place of this machine, and keep its key.",
    "train": "Fine-tune a model on your own repositories, on this machine.",
    "bench": "Measure speed and memory.",
    "eval": "Measure on tasks with a known answer.",
    "stats": "Show what became of suggestions: how many were accepted, what they saved, how quick they were.",
    "doctor": "Check the installation and say how to fix what is wrong.",
    "version": "Print the versions of coder-lsp and what it runs on.",
}
"""Every verb with what ``--help`` says about it."""
_MODULES = {"eval": "evaluate"}
"""Verbs that no module is called after: it would be named like a builtin."""


class VerbGroup(click.Group):
    """A group whose commands are imported by name, from ``coder_lsp.cli``, when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's)
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"coder_lsp.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="coder-lsp", message="%(prog)s %(version)s")
def cli() -> None:
    """Local-first code completion: a language server and its model, on your machine."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments), prog_name="coder-lsp", standalone_mode=False
        )
        sys.stdout.flush()
    except CoderLspError as error:
        print_error(error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        # click wraps an interrupt; what is left is an answer of "no" to a question.
        interrupted = isinstance(abort.__cause__, KeyboardInterrupt)
        print("interrupted" if interrupted else "aborted", file=sys.stderr)
        return 128 + signal.SIGINT if interrupted else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # `coder-lsp models list | head` is no failure worth words; click sees most of these and ends with 1 as well.
        # What is still buffered must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return result if isinstance(result, int) else 0
