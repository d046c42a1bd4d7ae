"""``serve`` with everything real but the model: a :class:`CoderLanguageServer` over scripted completions and host.

A test steers it over the same connection: ``test/script`` sets what completions do, ``test/host`` what status the host
has, ``test/requests`` returns what was asked. What happens inside comes as ``test/event`` notifications, so that a
test waits for it instead of sleeping. The options are those of ``serve``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.serve import serve_with
from coder_lsp.completion.instruct import follow, unfit
from coder_lsp.config import CompletionConfig, Config
from coder_lsp.errors import CoderLspError, ConfigError, HostCrashed, HostUnavailable, ModelNotFound, ModelNotInstalled
from coder_lsp.server.server import CoderLanguageServer
from coder_lsp.types import (
    AskRequest,
    CompletionOutcome,
    CompletionRequest,
    FimRequest,
    FimResult,
    FinishReason,
    HostState,
    HostStatus,
    InstructOutcome,
    InstructRequest,
    PreviewSink,
    PromptPreview,
    Snippet,
    Suggestion,
    TextSink,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coder_lsp.server.feedback import Feedback
    from coder_lsp.server.ports import Workspace


@dataclass(frozen=True)
class Loaded:
    """Settings as the loader gives them."""

    config: Config
    faults: tuple[ConfigError, ...] = ()


def load_settings(*, editor: Mapping[str, Any] | None, workspace_roots: Sequence[Path]) -> Loaded:
    """Three keys, and a fault for every other one."""
    del workspace_roots
    given = dict(editor or {})
    config = Config(
        model=given.pop("model", "scripted"),
        completion=CompletionConfig(
            enabled=given.pop("enabled", True), disabled_languages=tuple(given.pop("disabledLanguages", ()))
        ),
    )
    return Loaded(config, tuple(ConfigError(f"unknown setting {key}") for key in given))


@dataclass
class ScriptedCompletions:
    """Newest wins, like the real service. ``script`` is what ``test/script`` last set."""

    script: dict[str, Any] = field(default_factory=lambda: {"suggestions": []})
    requests: list[CompletionRequest] = field(default_factory=list)
    event: Any = None
    held: asyncio.Future[str] | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: CompletionRequest, /) -> CompletionOutcome:
        self.requests.append(request)
        self.event("asked", cursor=request.cursor)
        script = self.script
        if self.held is not None and not self.held.done():
            self.held.set_result("superseded")
        try:
            if script.get("hold"):
                held = self.held = asyncio.get_running_loop().create_future()
                return CompletionOutcome(reason=await held)
            if script.get("drop"):
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            self.event("cancelled", cursor=request.cursor)
            if script.get("stubborn"):
                await self.release.wait()
            raise
        self._fail(script.get("fail"))
        suggestions = tuple(
            Suggestion(given["text"], request.cursor - given.get("before", 0), request.cursor + given.get("after", 0))
            for given in script.get("suggestions", ())
        )
        if script.get("echo"):
            suggestions = (
                Suggestion(
                    f"<{request.text[: request.cursor]}|{request.text[request.cursor :]}>", *[request.cursor] * 2
                ),
            )
        return CompletionOutcome(suggestions, reason="" if suggestions else "empty", timings_ms={"total": 1.0})

    def configure(self, config: Config, /) -> None:
        self.event("configured", model=config.model, disabled=list(config.completion.disabled_languages))

    async def preview(self, request: CompletionRequest, /) -> PromptPreview | str:
        self._fail(self.script.get("fail"))
        if "refuse" in self.script:
            return str(self.script["refuse"])
        shown = (Snippet("other.py", "x = 1\n", 3, 4, "symbol", 1.23456),)
        return PromptPreview(request.text[: request.cursor] + "|", 5, "# other.py\nx = 1\n", 4, shown)

    def refuses(self, request: InstructRequest, /) -> str:
        return str(self.script["refuse"]) if "refuse" in self.script else unfit(request)

    async def instruct(self, request: InstructRequest, on_preview: PreviewSink | None = None, /) -> InstructOutcome:
        """What the real one makes of an ``answer``, said a character at a time; then holds if it is to."""
        self._fail(self.script.get("fail"))
        if reason := self.refuses(request):
            return InstructOutcome(request.task, start=request.start, end=request.end, reason=reason)
        return await follow(self, request, (), (), on_preview)

    async def ask(self, request: AskRequest, on_text: TextSink | None = None) -> FimResult:
        self.event("instructed", instruction=request.instruction, begun=request.begun)
        said = ""
        for character in self.script.get("answer", ""):
            said += character
            if on_text is not None and not on_text(character):
                return FimResult(said, FinishReason.ENOUGH, "scripted", "scripted")
        try:
            if self.script.get("hold"):
                await self.release.wait()
        except asyncio.CancelledError:
            self.event("cancelled", instruction=request.instruction)
            raise
        return FimResult(said, FinishReason.STOP_TOKEN, "scripted", "scripted")

    async def warm(self, request: FimRequest) -> None:
        """Nothing is made ready."""

    def pause(self, scope: str | None, on: bool, /) -> None:
        self.event("paused", scope=scope, on=on)

    def opened(self, request: CompletionRequest, /) -> None:
        self.event("opened", uri=request.uri)

    def focused(self, request: CompletionRequest, /) -> None:
        self.event("focused", uri=request.uri, cursor=request.cursor)

    def closed(self, document: str, /) -> None:
        self.event("closed", uri=document)

    async def close(self) -> None:
        # stderr, as the connection may be gone by now.
        print("scripted completions: closed", file=sys.stderr, flush=True)

    @staticmethod
    def _fail(how: str | None) -> None:
        if how == "unavailable":
            raise HostUnavailable("no host could be started", hint="run coder-lsp doctor")
        if how == "crash":
            raise HostCrashed("the host went away")
        if how == "bug":
            raise ValueError("def secret_source(): ...")


class ScriptedModels:
    """``pulled`` takes two steps; ``endless`` none until it is stopped; ``unknown`` is refused."""

    event: Any = None

    def installed(self) -> Sequence[str]:
        return ["scripted", "other"]

    def listed(self, served: str, /) -> Sequence[Mapping[str, Any]]:
        return [self._row("scripted", served), {**self._row("pulled", served), "installed": False}]

    async def pull(
        self, name: str, *, offline: bool, allow_unverified: bool, on_event: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        self.event("pull", model=name, offline=offline, unverified=allow_unverified)
        if name == "unknown":
            raise ModelNotFound("no model is called unknown", hint="coder-lsp models list")
        on_event({"event": "begin", "activity": "downloading", "done": 0, "total": 200})
        try:
            if name == "endless":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.event("pull stopped", model=name)
            raise
        on_event({"event": "progress", "done": 100, "total": 200})
        return {**self._row(name, ""), "seconds": 1.5}

    @staticmethod
    def _row(name: str, served: str) -> dict[str, Any]:
        return {
            "name": name,
            "parameters": "0.5B",
            "bytes": 200,
            "licence": "Apache-2.0",
            "template": "qwen",
            "installed": True,
            "verified": True,
            "sha256": "ab",
            "default": name == served,
            "min_memory_gb": 2.0,
            "note": "",
            "fault": "",
            "decode_tokens_per_s": 40.0,
            "speed_by": "measured",
        }


class ScriptedStatistics:
    def figures(self, days: float | None, /) -> Mapping[str, Any]:
        return {
            "overall": {"saved_characters": 12, "days": days},
            "languages": {"emacs_lisp": {"saved_characters": 3}},
            "days": (),
        }

    def page(self, days: float | None, /) -> str:
        return f"<html>{days}</html>"


class ScriptedHost:
    """Does nothing but say that it was asked to; ``missing`` and ``refuses`` are models that fail."""

    def __init__(self) -> None:
        self.status = HostStatus(HostState.STOPPED)
        self.model = ""
        self.event: Any = None

    async def configure(self, config: Config, /) -> None:
        self.event("host", call="configure", model=config.model)
        if config.model == "missing":
            raise ModelNotInstalled("missing is not installed", hint="coder-lsp models pull missing")
        self.model = config.model

    async def start(self) -> None:
        self.event("host", call="start", model=self.model)
        if self.model == "refuses":
            raise HostUnavailable("refuses does not start", hint="choose another model")

    async def restart(self) -> None:
        self.event("host", call="restart")
        if self.status.state is HostState.ERROR:
            raise HostUnavailable("it does not restart", hint="run coder-lsp doctor")

    async def stop(self) -> None:
        # stderr, as the connection may be gone by now.
        print("scripted host: stopped", file=sys.stderr, flush=True)

    async def info(self) -> dict[str, Any]:
        if self.status.state is HostState.ERROR:
            raise HostUnavailable("not there")
        return {"pid": 4711, "model": self.model}


def build(workspace: Workspace | None = None, feedback: Feedback | None = None) -> CoderLanguageServer:
    completions, host, models = ScriptedCompletions(), ScriptedHost(), ScriptedModels()
    server = CoderLanguageServer(
        completions=completions,
        host=host,
        load_settings=load_settings,
        models=models,
        statistics=ScriptedStatistics(),
        workspace=workspace,
        feedback=feedback,
    )

    def event(name: str, **details: Any) -> None:
        server.protocol.notify("test/event", {"event": name, **details})

    completions.event = host.event = models.event = event

    @server.feature("test/script")
    def script(params: Any) -> None:
        completions.script = json.loads(params.json)

    @server.feature("test/release")
    def release(_: Any) -> None:
        completions.release.set()

    @server.feature("test/print")
    def print_something(_: Any) -> None:
        print("printed by mistake", flush=True)

    @server.feature("test/host")
    def set_host(params: Any) -> None:
        given = json.loads(params.json)
        host.status = HostStatus(**{**given, "state": HostState(given["state"])})
        server.host_changed(host.status)

    @server.feature("test/requests")
    def requests(_: Any) -> list[dict[str, Any]]:
        return [dataclasses.asdict(request) for request in completions.requests]

    @server.feature("test/document")
    def document(params: Any) -> str | None:
        found = server.documents.get(params.uri)
        return found.text if found else None

    return server


@click.command()
@click.option("--tcp")
@click.option("--allow-remote", is_flag=True)
@click.option("--socket", "socket_path", type=click.Path(path_type=Path))
@click.option("--log-file", type=click.Path(path_type=Path))
@click.option("--log-level", default="debug")
def main(**options: Any) -> None:
    try:
        sys.exit(serve_with(build, **options))
    except CoderLspError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
