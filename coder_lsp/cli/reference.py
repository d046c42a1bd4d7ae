"""The reference pages under ``docs/``, made from the commands and settings themselves.

``python -m coder_lsp.cli.reference docs`` writes them (``scripts/docs`` does); a test compares. Formats the commands'
own facts instead of printing their help, whose layout changes between versions of click.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

_MADE = "<!-- Made by scripts/docs; changes here are lost. -->"


def pages() -> dict[str, str]:
    """File name under ``docs/`` -> content."""
    return {"cli.md": cli_page(), "configuration.md": configuration_page()}


def cli_page() -> str:
    """Every command with its arguments and options, in the order of ``coder-lsp --help``."""
    from coder_lsp.cli.main import cli

    preface = (
        "`coder-lsp COMMAND --help` prints the same. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. "
        "Results go to stdout, remarks and errors to stderr."
    )
    parts = [_MADE, "# Commands", preface, *_sections(cli, click.Context(cli, info_name="coder-lsp"))]
    return "\n\n".join(parts) + "\n"


def configuration_page() -> str:
    """Every setting with type, default and meaning."""
    from coder_lsp.configuration import config_reference

    return f"{_MADE}\n\n{config_reference().strip()}\n"


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f"## {inner.command_path}" if context.parent is None else f"### {inner.command_path}"
        yield f"```\n{inner.command_path} {' '.join(command.collect_usage_pieces(inner))}\n```"
        yield _prose(command.help or "")
        options = [row for parameter in command.params if (row := _option(parameter, inner))]
        if options:
            yield "\n".join(options)
        if isinstance(command, click.Group):
            yield from _sections(command, inner)


def _option(parameter: click.Parameter, context: click.Context) -> str:
    record = parameter.get_help_record(context)
    # The usage line has the arguments; only some versions of click have a record of them.
    if record is None or isinstance(parameter, click.Argument):
        return ""
    names, help_text = record
    return f"- `{names}`: {_prose(help_text)}".rstrip(": ")


def _prose(text: str) -> str:
    r"""Paragraphs on a line each. ``\b`` is click's mark for text that is not to be wrapped."""
    paragraphs = text.replace("\b\n", "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


if __name__ == "__main__":
    for file, content in pages().items():
        Path(sys.argv[1], file).write_text(content, encoding="utf-8")
