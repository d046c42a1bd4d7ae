"""``coder-lsp remote``: the server that completes in place of this machine, and the key to it."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click


@click.group()
def remote() -> None:
    """Check the server that completes in place of this machine, and keep its key."""


@remote.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(*, as_json: bool) -> None:
    """Say what the configured server is, how far away, and whether its model and adapters fit.

    Exit status: 0 if all is well, 1 if there are problems.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import console, emit_json
    from coder_lsp.cli.doctor import print_finding
    from coder_lsp.doctor.finding import Status, run
    from coder_lsp.doctor.remote import check_remote

    config = load_config()
    found = []
    for finding in run("server", lambda: check_remote(config)):
        found.append(finding)
        if not as_json:
            print_finding(console(), finding)
    problems = [finding for finding in found if finding.status is not Status.OK]
    if as_json:
        emit_json({"ok": not problems, "findings": [asdict(finding) for finding in found]})
    sys.exit(1 if problems else 0)


@remote.group()
def key() -> None:
    """Keep the server's key in the system's keyring. Without one, give it by CODER_LSP_REMOTE_KEY."""


@key.command("set")
def set_key() -> None:
    """Ask for the key, or read it from stdin, and keep it for the server of remote.url."""
    from coder_lsp.engine import remote_key
    from coder_lsp.engine.remote_wire import Address
    from coder_lsp.errors import InputError

    url = _url()
    given = click.prompt("key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not given.strip():
        raise InputError("no key was given", hint="type it, or pipe it in: coder-lsp remote key set < FILE")
    remote_key.keep(url, given.strip())
    click.echo(f"kept for {Address(url).origin}")


@key.command("delete")
def delete_key() -> None:
    """Take the key of the server of remote.url out of the keyring."""
    from coder_lsp.engine import remote_key
    from coder_lsp.engine.remote_wire import Address

    url = _url()
    remote_key.forget(url)
    click.echo(f"deleted for {Address(url).origin}")


@key.command()
def status() -> None:
    """Say where the key comes from; never the key itself. Exit status: 1 if there is none."""
    from coder_lsp.engine import remote_key

    _, where = remote_key.find(_url())
    click.echo(f"from {where}" if where else "there is no key")
    sys.exit(0 if where else 1)


def _url() -> str:
    from coder_lsp.app import load_config
    from coder_lsp.errors import InputError
    from coder_lsp.paths import config_file

    url = load_config().remote.url
    if not url:
        raise InputError("no server is set", hint=f'put this into {config_file()}: [remote] url = "https://…/v1"')
    return url
