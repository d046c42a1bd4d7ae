"""``coder-lsp version``: the versions that decide how this installation behaves, for bug reports."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from coder_lsp import __version__
from coder_lsp.cli.console import emit_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:
    """Print the versions of coder-lsp and what it runs on."""
    versions = installed_versions()
    if as_json:
        emit_json(versions)
        return
    width = max(map(len, versions))
    for name, value in versions.items():
        print(f"{name:<{width}}  {value or 'not installed'}")


def installed_versions() -> dict[str, str | None]:
    """Read from the installed metadata; nothing is imported. None: not installed."""
    return {
        "coder-lsp": __version__,
        "python": platform.python_version(),
        "llama-cpp-python": _version("llama-cpp-python"),
        "pygls": _version("pygls"),
        "platform": platform.platform(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
