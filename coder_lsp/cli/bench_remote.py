"""``coder-lsp bench remote``: what a server in place of this machine costs, and what happens while it is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import click


@click.command()
@click.option(
    "--url", metavar="URL", help="A server that is there [default: one of llama.cpp, started here on the model]."
)
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--rounds", type=click.IntRange(1, 1000), default=31, show_default=True, help="Rounds of each figure.")
@click.option(
    "--requests",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="Requests while the server is killed and started again.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses places and when the server is killed.")
@click.option(
    "--peer-python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Interpreter that has xllamacpp, llama.cpp's server as a package [default: this one].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON line only.")
def remote(
    *,
    url: str | None,
    model: str | None,
    rounds: int,
    requests: int,
    seed: int,
    peer_python: Path | None,
    as_json: bool,
) -> None:
    """Measure the remote engine beside a plain HTTP client, and how soon the local model stands in for a server.

    Without --url the server is one of our own, and it is killed again and again; a server at an URL is only asked.
    """
    from coder_lsp.app import host_settings, load_config
    from coder_lsp.bench.outage import Amount
    from coder_lsp.bench.remote import measure_remote, report
    from coder_lsp.bench.replay.peers import find_server_python
    from coder_lsp.cli.console import console, emit_json

    config = load_config(model=model)
    python = asyncio.run(find_server_python(peer_python)) if url is None else None
    kind = config.engine.kind if url is None else "auto"
    config = replace(config, remote=replace(config.remote, url=url or ""), engine=replace(config.engine, kind=kind))
    with console(stderr=True).status("remote") as status:
        figures = measure_remote(
            host_settings(config),
            Amount(rounds, requests, seed),
            python,
            lambda text: status.update(f"remote: {text}"),
        )
    if not as_json:
        for line in report(figures):
            click.echo(line)
    emit_json(figures)
