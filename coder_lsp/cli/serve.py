"""``coder-lsp serve``: the language server for one editor, over stdio, a TCP port or a Unix socket.

Composes the server through ``app``, sets up its log and hands it the streams. stdout carries the protocol and nothing
else; the log goes to stderr, which editors keep, or to a file. No log line holds text of a document.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coder_lsp.allocator import give_back_what_is_free
from coder_lsp.errors import InputError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from coder_lsp.server.server import CoderLanguageServer

_LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.option("--stdio", is_flag=True, help="Talk over stdin and stdout; this is the default.")
@click.option("--tcp", metavar="HOST:PORT", help="Wait for one editor on a TCP port; port 0 takes a free one.")
@click.option("--allow-remote", is_flag=True, help="Let --tcp listen where other machines can connect.")
@click.option(
    "--socket", "socket_path", type=click.Path(path_type=Path), help="Wait for one editor on a Unix socket, made 0600."
)
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Append the log to a file.")
@click.option("--log-level", type=click.Choice(_LEVELS), default="info", show_default=True)
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--offline", is_flag=True, help="Forbid any use of the network.")
def serve(
    *,
    stdio: bool,
    tcp: str | None,
    allow_remote: bool,
    socket_path: Path | None,
    log_file: Path | None,
    log_level: str,
    model: str | None,
    offline: bool,
) -> int:
    """Run the language server for an editor.

    It serves the editor that starts it or connects first, and ends with it.
    """
    if stdio + (tcp is not None) + (socket_path is not None) > 1:
        raise click.UsageError("--stdio, --tcp and --socket exclude one another")

    def build() -> CoderLanguageServer:
        from coder_lsp.app import build_server

        return build_server(model=model, offline=offline or None)

    return serve_with(
        build,
        tcp=tcp,
        allow_remote=allow_remote,
        socket_path=socket_path,
        log_file=log_file,
        log_level=log_level,
    )


def serve_with(
    build: Callable[[], CoderLanguageServer],
    *,
    tcp: str | None = None,
    allow_remote: bool = False,
    socket_path: Path | None = None,
    log_file: Path | None = None,
    log_level: str = "info",
) -> int:
    """Serve the server that ``build`` composes; returns the exit status.

    :raises InputError: the address or the log file cannot be used.
    """
    log_file = log_file.absolute() if log_file else None
    configure_logging(log_file, log_level)
    give_back_what_is_free()
    from coder_lsp.server.transport import listen_tcp, listen_unix, take_stdio

    inward = outward = -1
    listener: socket.socket | None = None
    if tcp is not None:
        listener = listen_tcp(tcp, allow_remote=allow_remote)
    elif socket_path is not None:
        listener = listen_unix(socket_path)
    else:
        if sys.stdin.isatty():
            print("this is a language server for an editor; Ctrl-C ends it", file=sys.stderr)
        inward, outward = take_stdio()
    try:
        return asyncio.run(_session(build, listener, inward, outward, log_file))
    finally:
        if socket_path is not None:
            socket_path.unlink(missing_ok=True)


def configure_logging(log_file: Path | None, level: str) -> None:
    """Log to a file of the user's own, or to stderr.

    pygls stays silent: it logs whole messages, and exceptions with the values in them. What goes wrong inside it
    reaches ``CoderLanguageServer.report_server_error``, which logs it without.

    :raises InputError: the file cannot be written.
    """
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler()
    else:
        try:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            handler = logging.FileHandler(log_file, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write the log file {log_file}: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


async def _session(
    build: Callable[[], CoderLanguageServer],
    listener: socket.socket | None,
    inward: int,
    outward: int,
    log_file: Path | None,
) -> int:
    from coder_lsp.server.transport import Streams, accept, address_of, run, stdio_streams

    async def connect() -> Streams:
        if listener is None:
            return await stdio_streams(inward, outward)
        # Said when all is ready for an editor, and for a signal.
        print(f"listening on {address_of(listener)}", file=sys.stderr, flush=True)
        return await accept(listener)

    server = build()
    server.log_file = log_file
    return await run(server, connect())
