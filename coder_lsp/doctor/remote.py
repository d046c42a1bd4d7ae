"""The server that completes in place of this machine: is it there, what is it, how far away, and does it fit?

Speaks with it as the host does, with the same key and the same limits, and generates nothing.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from coder_lsp.doctor.finding import fail, ok, warn
from coder_lsp.engine import remote_key
from coder_lsp.engine.remote_server import adapter_names, look
from coder_lsp.engine.remote_wire import Address, Wire
from coder_lsp.errors import CoderLspError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.config import Config
    from coder_lsp.doctor.finding import Finding
    from coder_lsp.engine.remote_server import Server

_NAME = "server"
_ROUND_TRIPS = 5
_FAR_MS = 100.0
"""A round trip longer than this is felt at every key."""


def check_remote(config: Config) -> Iterator[Finding]:
    """One finding a question; where the server is not there, the first one says so and the rest is left out."""
    remote = config.remote
    if not remote.url:
        yield ok(_NAME, "none is set: nothing leaves this machine")
        return
    address = Address(remote.url.rstrip("/").removesuffix("/v1"), remote_key.find(remote.url)[0])
    if config.engine.kind in {"llama", "torch"}:
        yield warn(
            _NAME, f"{address.origin} is not used: engine.kind is {config.engine.kind}", "Set engine.kind to auto."
        )
        return
    if config.offline and not remote.is_here:
        yield warn(
            _NAME,
            f"{address.origin} is not used: the network is forbidden (offline)",
            "Take back offline, or remote.url.",
        )
        return
    try:
        wire = Wire(address, remote)
    except CoderLspError as error:
        yield fail(_NAME, error.message, error.hint or "Correct remote.url in your config.toml.")
        return
    try:
        server = look(wire, remote)
        yield ok(_NAME, f"{server.describe()}, at {address.origin}{_context(server)}")
        yield _round_trip(wire)
    except CoderLspError as error:
        stands_in = ", so that the model on this machine completes meanwhile" if remote.fallback else ""
        yield fail(_NAME, f"{error.message}{stands_in}", error.hint or "Is it running, and is remote.url its address?")
        return
    finally:
        wire.close()
    yield from _transport(config)
    yield from _format(config)
    yield from _adapters(config, server)


def _context(server: Server) -> str:
    if not server.context_tokens:
        return ", which does not say how much it holds"
    return f", {server.context_tokens:,} tokens a sequence"


def _round_trip(wire: Wire) -> Finding:
    times = []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        wire.get("/v1/models")
        times.append((time.perf_counter() - began) * 1000)
    median = statistics.median(times)
    text = f"{median:.1f} ms (median of {_ROUND_TRIPS}, {min(times):.1f} to {max(times):.1f})"
    if median > _FAR_MS:
        return warn("round trip", text, "Every suggestion takes that much longer: use a server that is nearer.")
    return ok("round trip", text)


def _transport(config: Config) -> Iterator[Finding]:
    remote = config.remote
    _, where = remote_key.find(remote.url)
    if not remote.url.startswith("https://") and not remote.is_here:
        yield warn(
            "transport",
            "plain http: whoever is on the way can read your code" + (" and the key" if where else ""),
            "Have the server speak TLS and set remote.url to https://… (docs/team-server.md).",
        )
    elif not remote.is_here:
        own = f", with the certificates of {remote.ca_file} besides" if remote.ca_file else ""
        yield ok("transport", f"TLS, certificate checked{own}")
    yield ok("key", f"from {where}" if where else "none is sent")


def _format(config: Config) -> Iterator[Finding]:
    """How prompts are written for the served model, by the very code that will do it."""
    from coder_lsp.app import host_settings
    from coder_lsp.host.loading import connect

    name = "fill-in-the-middle"
    worker = connect(host_settings(config))
    try:
        if worker.notice:
            yield warn(name, worker.notice, "Set remote.template to the format of the model that is served.")
        else:
            yield ok(name, worker.describe_format())
    finally:
        worker.close()


def _adapters(config: Config, server: Server) -> Iterator[Finding]:
    """Whether what the settings lay over the model is there too."""
    from coder_lsp.models import adapters

    served = [lora.stem for lora in server.loras] or [each.name for each in server.models if each.parent]
    for setting in [*config.engine.loras, *(name for _, name in config.adapters)]:
        if not setting.strip():
            continue
        name, _ = adapters.split_scale(setting.strip())
        try:
            names = adapter_names(str(adapters.resolve(name).path))
        except ModelError:
            names = (name,)
        if set(names) & set(served):
            yield ok("adapter", f"{name}: the server has it")
        else:
            yield warn(
                "adapter",
                f"{name}: the server does not have it (it has {', '.join(served) or 'none'}), so that this machine "
                "completes where it is wanted",
                "Serve it under that name (docs/team-server.md), or take it out of engine.loras and [adapters].",
            )
