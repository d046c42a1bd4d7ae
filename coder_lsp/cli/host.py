"""``coder-lsp host``: the model host process, and a look at those that run.

Fronts start it with ``--settings-stdin`` and read one line from it; a person names a model and gets a host in the
foreground. Here is what belongs to the process rather than to the server in it: the lock, the log, its name, what
happens to its standard streams, and that the kernel takes it before the editor when memory runs out.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import importlib
import json
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.allocator import give_back_what_is_free
from coder_lsp.errors import HostUnavailable, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.host.address import Endpoint
    from coder_lsp.host.protocol import HostSettings, WorkerLoader

logger = logging.getLogger(__name__)

_LOG_BYTES = 1_000_000
_LOGS_KEPT = 2
_STDERR_BYTES = 1_000_000
_OOM_SCORE = 500
"""Of 1000, on Linux: half of all memory worse than the host really is."""
_HELLO_SECONDS = 2.0
_END_SECONDS = 5.0


@click.command()
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--status", is_flag=True, help="List the hosts that run.")
@click.option("--stop", is_flag=True, help="End the hosts that run.")
@click.option("--json", "as_json", is_flag=True, help="With --status: print a JSON list.")
@click.option(
    "--settings-stdin", is_flag=True, hidden=True, help="Read the settings from stdin, as a front gives them."
)
@click.option("--transport", type=click.Choice(["unix", "tcp"]), hidden=True, help="How to listen.")
@click.option("--worker", metavar="MODULE:FACTORY", hidden=True, help="Load another worker than the model's.")
def host(
    *,
    model: str | None,
    status: bool,
    stop: bool,
    as_json: bool,
    settings_stdin: bool,
    transport: str | None,
    worker: str | None,
) -> int:
    """Run the model host, which the server starts by itself.

    One host a user and model is shared by all editors. Without options it runs in the foreground until interrupted.
    """
    if status:
        _print_status(asyncio.run(running_hosts()), as_json=as_json)
        return 0
    if stop:
        for endpoint in asyncio.run(stop_hosts()):
            click.echo(f"stopped {endpoint.model} (process {endpoint.pid})")
        return 0
    if settings_stdin:
        return _serve(_settings_from_stdin(), _loader(worker), transport, _say_to_front, _say_busy)
    from coder_lsp.app import host_settings, load_config

    settings = host_settings(load_config(model=model))
    return _serve(settings, _loader(worker), transport, lambda _: _say_to_person(settings), _refuse_second)


async def running_hosts() -> list[dict[str, Any]]:
    """What each host of this user says about itself; one that does not answer has the state ``hangs``, one of a version
    with which this one cannot speak ``another version``.
    """
    from coder_lsp.host.protocol import to_json

    hosts = []
    async for endpoint, client, state in _each_host():
        if client:
            facts = to_json(await client.info())
            facts["clients"] -= 1  # this one
        else:
            facts = {"pid": endpoint.pid, "model": endpoint.model, "state": state}
        hosts.append(facts)
    return hosts


async def stop_hosts() -> list[Endpoint]:
    """End all hosts of this user, by force if they do not end when asked; returns those that ran."""
    from coder_lsp.host.address import kill

    stopped = []
    async for endpoint, client, _ in _each_host():
        asked = False
        if client is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.shutdown(), _END_SECONDS)
                asked = True
        if not (asked and await asyncio.to_thread(_ended, endpoint.pid)):
            await asyncio.to_thread(kill, endpoint)
        stopped.append(endpoint)
    return stopped


async def _each_host() -> Any:
    """(endpoint, connection, state) of every host that runs; without a connection the state says why there is none."""
    from coder_lsp.errors import HostCrashed, HostError
    from coder_lsp.host.address import known_keys, read_endpoint, sweep
    from coder_lsp.host.client import HostClient, HostHangs

    await asyncio.to_thread(sweep)
    for key in known_keys():
        endpoint = read_endpoint(key)
        if endpoint is None:
            continue
        try:
            client = await HostClient.open(endpoint, name="coder-lsp host", hello_seconds=_HELLO_SECONDS)
        except HostHangs:
            yield endpoint, None, "hangs"
        except (OSError, HostCrashed):
            continue  # it ended just now
        except HostError:
            # It refused us, or does not understand: of before an update, or of after it.
            yield endpoint, None, "another version"
        else:
            try:
                yield endpoint, client, ""
            finally:
                await client.close()


def _serve(
    settings: HostSettings,
    load: WorkerLoader,
    transport: str | None,
    listening: Callable[[str], None],
    busy: Callable[[str], int],
) -> int:
    from coder_lsp.host.address import address_key, hold_lock, sweep
    from coder_lsp.host.server import HostServer
    from coder_lsp.host.transport import DEFAULT_TRANSPORT

    os.umask(0o077)
    key = address_key(settings)
    lock = hold_lock(key)
    if lock is None:
        return busy(key)
    _open_log()
    _mark_process()
    give_back_what_is_free()
    for swept in sweep():
        logger.info("removed what a killed host left behind: %s", swept)
    server = HostServer(settings, key, load, transport=transport or DEFAULT_TRANSPORT)
    status = asyncio.run(server.run(lambda: listening(key)))
    if server.stuck:
        # A native call that has not come back: the interpreter's own way out would pull the ground from under it.
        logging.shutdown()
        os._exit(status)
    lock.release()
    return status


def _settings_from_stdin() -> HostSettings:
    from coder_lsp.host.protocol import HostSettings, MalformedMessage, from_json

    try:
        return from_json(HostSettings, json.load(sys.stdin))
    except (ValueError, MalformedMessage) as error:
        raise InputError(f"unreadable settings on stdin: {error}") from error


def _loader(worker: str | None) -> WorkerLoader:
    """How to load the worker. Late: importing the engine is the model thread's business."""
    if worker is not None:
        # Only ever from the command line: whoever writes it could name any program as well.
        module, _, factory = worker.partition(":")
        loader: WorkerLoader = getattr(importlib.import_module(module), factory)
        return loader

    def load(settings: HostSettings, progress: Callable[[float], None] | None) -> Any:
        from coder_lsp.host.loading import load_worker

        return load_worker(settings, progress)

    return load


def _say_to_front(key: str) -> None:
    from coder_lsp.host.launch import LISTENING

    # The front may be gone by now; others may come.
    with contextlib.suppress(OSError):
        print(LISTENING, key, flush=True)
    _let_go_of_streams()


def _say_busy(key: str) -> int:
    from coder_lsp.host.launch import BUSY

    print(BUSY, key, flush=True)
    return 0


def _say_to_person(settings: HostSettings) -> None:
    from coder_lsp.host.address import log_path

    click.echo(f"the host of {settings.model_name} listens; its log is {log_path()}; end it with Ctrl-C", err=True)


def _refuse_second(key: str) -> int:
    from coder_lsp.host.address import read_endpoint

    endpoint = read_endpoint(key)
    process = f" (process {endpoint.pid})" if endpoint else ""
    raise HostUnavailable(
        f"a host for this model and these settings runs already{process}", hint="coder-lsp host --stop"
    )


def _let_go_of_streams() -> None:
    """Nobody reads the front's pipes when the front has ended. What a native crash says goes to a file of its own."""
    from coder_lsp.host.address import log_path

    path = log_path().with_suffix(".stderr")
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        if path.exists() and path.stat().st_size > _STDERR_BYTES:
            path.unlink()
        errors = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        errors = os.dup(nothing)
    for source, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(errors)
    # Frames only, no values: where a crash in native code came from.
    faulthandler.enable()


def _open_log() -> None:
    from coder_lsp.host.address import log_path

    handler: logging.Handler
    try:
        handler = logging.handlers.RotatingFileHandler(
            log_path(), maxBytes=_LOG_BYTES, backupCount=_LOGS_KEPT, encoding="utf-8"
        )
    except OSError:
        # A home on read-only media, a full disk: better a host without a log than none.
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for library in ("pygls", "httpx2", "httpcore2"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _mark_process() -> None:
    """On Linux: the name that ``top`` shows, and the order in which the kernel ends processes without memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("coder-lsp-host")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def _ended(pid: int) -> bool:
    import psutil

    try:
        psutil.Process(pid).wait(timeout=_END_SECONDS)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def _print_status(hosts: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        from coder_lsp.cli.console import emit_json

        emit_json(hosts)
        return
    if not hosts:
        click.echo("no model host runs")
    for facts in hosts:
        line = f"{facts['pid']:>8}  {facts['model']}  {facts['state']}"
        if "rss_bytes" in facts:
            memory = f"{facts['rss_bytes'] / 2**20:,.0f} MiB"
            line += f"  {memory}  {facts['clients']} clients  up {facts['uptime_seconds']:,.0f} s"
            if facts["adapters"]:
                line += f"  with {', '.join(_adapter_words(each) for each in facts['adapters'])}"
        click.echo(line)


def _adapter_words(adapter: dict[str, Any]) -> str:
    """``acme x 0.5``: its name in the store, else its path, and how strongly it counts."""
    from coder_lsp.models.adapters import name_of

    name = name_of(Path(adapter["path"]))
    return name if adapter["scale"] == 1.0 else f"{name} x {adapter['scale']:g}"
