"""Which worker a host has: the model on this machine, or a server with that model behind it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.remote_dialects import MARKS
from coder_lsp.errors import ConfigError
from coder_lsp.host.worker import ModelWorker
from coder_lsp.prompt import templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.engine.base import LoadProgress
    from coder_lsp.engine.remote import RemoteEngine
    from coder_lsp.host.protocol import HostSettings, Worker

logger = logging.getLogger(__name__)


def load_worker(settings: HostSettings, progress: LoadProgress | None = None) -> Worker:
    """Load what the settings ask for.

    :raises ModelError, EngineError: as :meth:`ModelWorker.load`; of a server, that it cannot be had and nothing else.
    """
    kind, remote = settings.engine.kind, settings.remote
    if kind == "remote" and not remote.url:
        raise ConfigError("engine.kind is remote, but there is no server", hint="set remote.url in your config.toml")
    if kind in {"llama", "torch"} or not remote.url:
        return ModelWorker.load(settings, progress)
    from coder_lsp.host.fallback import FallbackWorker

    # What runs here besides the server is chosen by what there is.
    local = replace(settings, remote=RemoteConfig(), engine=replace(settings.engine, kind="auto"))
    stands_in = remote.fallback and settings.model_path
    return FallbackWorker(
        lambda: connect(settings),
        (lambda: ModelWorker.load(local, None)) if stands_in else None,
        patience_ms=remote.patience_ms,
    )


def connect(settings: HostSettings) -> ModelWorker:
    """The worker of the configured server.

    :raises RemoteError: it cannot be reached, or does not let us in.
    :raises ConfigError: the address or the format is none.
    """
    return remote_worker(connect_engine(settings.remote), settings)


def connect_engine(remote: RemoteConfig) -> RemoteEngine:
    """The engine of that server.

    :raises RemoteError, ConfigError: as :func:`connect`.
    """
    from coder_lsp.engine import remote_key
    from coder_lsp.engine.remote import Formats, RemoteEngine

    if remote.template and templates.by_name(remote.template) is None:
        known = ", ".join(each.name for each in templates.TEMPLATES)
        raise ConfigError(f"remote.template {remote.template!r} is unknown", hint=f"set it to one of: {known}, none")

    def of_model(name: str) -> Sequence[str]:
        found = templates.by_name(remote.template) if remote.template else templates.by_model_name(name)
        return templates.spellings(found) if found is not None else ()

    def fits(spellings: Sequence[str]) -> bool:
        # Who says that there is none wants what stands before the cursor to be gone on with.
        return remote.template == templates.PLAIN.name or templates.fits(spellings)

    key, _ = remote_key.find(remote.url)
    return RemoteEngine.connect(remote, key, Formats(of_model, templates.spellings(), fits))


def remote_worker(engine: RemoteEngine, settings: HostSettings) -> ModelWorker:
    """The worker that asks it, which owns it from here on; prompts in the format of what is served."""
    remote = settings.remote
    try:
        # A hub's name has its owner in front, a file's its folders.
        model = engine.server.model.rpartition("/")[2] or engine.info.path
        if set(MARKS) <= set(engine.controls):
            template: str | None = templates.INFILL.name
        elif remote.template:
            template = remote.template
        else:
            named = templates.by_model_name(engine.server.model)
            template = named.name if named is not None else None
        worker = ModelWorker(engine, replace(settings, model_path="", model_name=model, template=template))
        if template == templates.INFILL.name and remote.template:
            worker.notice = (
                f"{model} has no tokens of the template {remote.template}; the server writes its prompts, "
                "which answers more slowly and less well"
            )
        return worker
    except BaseException:
        engine.close()
        raise
