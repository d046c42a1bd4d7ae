"""The composition root: from settings to wired objects. Nothing else constructs concrete classes across packages."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from coder_lsp.configuration import Loaded, load
from coder_lsp.paths import config_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.completion.service import CompletionService
    from coder_lsp.config import Config
    from coder_lsp.engine.base import EngineOptions
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.server.server import CoderLanguageServer
    from coder_lsp.stats.recorder import Recorder
    from coder_lsp.stats.summary import Summary
    from coder_lsp.types import AdapterChoice, HostStatus, IndexStatus

logger = logging.getLogger(__name__)


def load_settings(
    *,
    model: str | None = None,
    offline: bool | None = None,
    editor: Mapping[str, Any] | None = None,
    workspace_roots: Sequence[Path] = (),
) -> Loaded:
    """Settings with their faults; ``model`` and ``offline`` from a command line win over all other sources."""
    import os
    from dataclasses import replace

    loaded = load(config_file(), os.environ, editor, workspace_roots)
    config = loaded.config
    if model is not None:
        config = replace(config, model=model)
    if offline is not None:
        config = replace(config, offline=offline)
    return replace(loaded, config=config)


def load_config(*, model: str | None = None, offline: bool | None = None) -> Config:
    """Settings for a command; faults go to the log and the defaults of the faulty keys are used."""
    loaded = load_settings(model=model, offline=offline)
    for fault in loaded.faults:
        logger.warning("settings: %s", fault)
    return loaded.config


def host_settings(config: Config) -> HostSettings:
    """What a host process needs to serve the configured model, or to let a server do it.

    :raises ModelError: the model is unknown, not installed, or its record is damaged; and no server completes.
    :raises OfflineError: a server is to complete, and the network is forbidden.
    """
    from coder_lsp.config import RemoteConfig
    from coder_lsp.errors import ModelError, OfflineError
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.models.store import resolve

    remote = config.remote if config.engine.kind in {"auto", "remote"} else RemoteConfig()
    if remote.url and config.offline and not remote.is_here:
        if config.engine.kind == "remote":
            raise OfflineError(
                "the network is forbidden (offline), and engine.kind asks for a server",
                hint="take back offline, or set engine.kind to auto to complete on this machine",
            )
        logger.warning("the network is forbidden (offline): remote.url is not used")
        remote = RemoteConfig()
    path, name, template = "", config.model, None
    try:
        model = resolve(config.model)
        path, name, template = str(model.path), model.name, model.template
    except ModelError as error:
        if not remote.url:
            raise
        logger.info("no model on this machine stands in for the server: %s", error.message)
    return HostSettings(
        model_path=path,
        model_name=name,
        template=template,
        engine=engine_options(config),
        remote=remote,
        prompt=config.prompt,
        idle=config.idle,
        idle_seconds=config.host.idle_seconds,
        orphan_seconds=config.host.orphan_seconds,
    )


def engine_options(config: Config) -> EngineOptions:
    """How a model on this machine is loaded."""
    from coder_lsp.engine.base import EngineOptions

    return EngineOptions(
        context_tokens=config.engine.context_tokens,
        sequences=config.engine.sequences,
        threads=config.engine.threads,
        kv_type=config.engine.kv_type,
        draft=config.engine.draft,
        kind=config.engine.kind,
        device=config.engine.device,
        precision=config.engine.precision,
        quantise=config.engine.quantise,
    )


def adapters_of(tell: Callable[[str], None]) -> Callable[[Config], AdapterChoice]:
    """What a completion service asks which adapters lie over a model; ``tell`` hears of those that cannot be found."""
    from coder_lsp.models.chosen_adapters import ChosenAdapters

    return lambda config: ChosenAdapters(config, tell)


INDEX_SECONDS = 60.0
"""How long a command waits for the index of a folder that was never indexed; what is there by then is used."""


@asynccontextmanager
async def open_session(
    config: Config, on_status: Callable[[HostStatus], None] = lambda _: None, *, roots: Sequence[Path] = ()
) -> AsyncIterator[CompletionService]:
    """A completion service over a real host, for commands: the same path an editor's request takes.

    The folders ``roots`` are indexed first; without any the model sees the document alone.

    :raises ModelError: before anything starts, when the model is not there.
    """
    from coder_lsp.completion.service import CompletionService
    from coder_lsp.host.supervisor import HostSupervisor
    from coder_lsp.retrieval.session import WorkspaceSession

    supervisor = HostSupervisor(host_settings(config), on_status)
    workspace = WorkspaceSession()
    service = CompletionService(supervisor, config, workspace, adapters_of=adapters_of(logger.warning))
    try:
        workspace.configure(config)
        workspace.set_roots(roots)
        await workspace.wait_settled(INDEX_SECONDS)
        yield service
    finally:
        await service.close()
        await workspace.stop()
        await supervisor.stop()


class EditorModels:
    """Keeps :class:`coder_lsp.server.ports.Models`."""

    def installed(self) -> Sequence[str]:
        from coder_lsp.models.store import InstalledModel, installed

        return [found.name for found in installed() if isinstance(found, InstalledModel)]

    def listed(self, served: str) -> Sequence[Mapping[str, Any]]:
        from coder_lsp.host import speeds
        from coder_lsp.models import listing

        rows = listing.rows(served)
        measured = {row["name"]: speed for row in rows if row["path"] and (speed := speeds.recall(row["path"]))}
        known = [(row["bytes"], measured[row["name"]]) for row in rows if row["name"] in measured]
        for row in rows:
            speed = measured.get(row["name"])
            guess = speeds.estimate(row["bytes"], known) if speed is None and row["bytes"] else None
            row["decode_tokens_per_s"] = guess if speed is None else speed
            row["speed_by"] = "measured" if speed is not None else "estimated" if guess is not None else None
        return rows

    async def pull(
        self, name: str, *, offline: bool, allow_unverified: bool, on_event: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        from coder_lsp.models.puller import pull

        return await pull(name, offline=offline, allow_unverified=allow_unverified, on_event=on_event)


class EditorStatistics:
    """Keeps :class:`coder_lsp.server.ports.Statistics`. What ``recorder`` has gathered is written first: who looks
    right after taking a suggestion wants to see it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def figures(self, days: float | None) -> Mapping[str, Any]:
        from dataclasses import asdict

        return asdict(self._summary(days))

    def page(self, days: float | None) -> str:
        from coder_lsp.stats.page import page

        return page(self._summary(days), days)

    def _summary(self, days: float | None) -> Summary:
        from contextlib import closing

        from coder_lsp.stats.store import History
        from coder_lsp.stats.summary import summarise

        self._recorder.flush()
        with closing(History()) as history:
            return summarise(history.read(days=days))


def build_server(*, model: str | None = None, offline: bool | None = None) -> CoderLanguageServer:
    """The language server with everything behind it; ``model`` and ``offline`` win over all settings."""
    from coder_lsp.completion.service import CompletionService
    from coder_lsp.completion.show_filter import RecentAcceptance, ShowFilter, stored_filter
    from coder_lsp.config import Config
    from coder_lsp.host.selected import SelectedHost
    from coder_lsp.retrieval.session import WorkspaceSession
    from coder_lsp.server.feedback import Feedback
    from coder_lsp.server.server import CoderLanguageServer
    from coder_lsp.stats.recorder import Recorder
    from coder_lsp.stats.store import History
    from coder_lsp.types import IndexState

    def report(status: HostStatus) -> None:
        server.host_changed(status)

    def report_index(status: IndexStatus) -> None:
        if status.state is IndexState.READY:
            completions.workspace_read()
        server.index_changed(status)

    def notice(text: str) -> None:
        server.index_notice(text)

    def loader(*, editor: Mapping[str, Any] | None, workspace_roots: Sequence[Path]) -> Loaded:
        return load_settings(model=model, offline=offline, editor=editor, workspace_roots=workspace_roots)

    def filter_of(config: Config) -> ShowFilter:
        return stored_filter(config.completion.show_filter)

    host = SelectedHost(host_settings, report)
    workspace = WorkspaceSession(on_status=report_index, on_notice=notice)
    acceptance, recorder = RecentAcceptance(), Recorder(History())
    completions = CompletionService(
        host, Config(), workspace, filter_of=filter_of, adapters_of=adapters_of(notice), acceptance=acceptance
    )
    server = CoderLanguageServer(
        completions=completions,
        host=host,
        load_settings=loader,
        models=EditorModels(),
        workspace=workspace,
        feedback=Feedback(recorder, acceptance.settled),
        statistics=EditorStatistics(recorder),
    )
    return server
