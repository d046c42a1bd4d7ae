"""Finds out what a server is: which program, which model, how much it holds, which control tokens and adapters it has.

Asked when an engine connects and by ``doctor``. Every question may go unanswered: what is not known is left open, and
only a server that cannot be reached or refuses us is an error.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from coder_lsp.engine.remote_dialects import Infill, LlamaCpp, Ollama, OpenAi
from coder_lsp.errors import RemoteBusy, RemoteError, RemoteGarbage, RemoteRefused, RemoteRejected, RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coder_lsp.config import RemoteConfig
    from coder_lsp.engine.remote_dialects import Dialect
    from coder_lsp.engine.remote_wire import Wire

LLAMA_CPP, VLLM, SGLANG, TGI, OLLAMA, LLAMA_CPP_PYTHON, OTHER = (
    "llama.cpp",
    "vllm",
    "sglang",
    "tgi",
    "ollama",
    "llama-cpp-python",
    "openai",
)
_OWNERS = {"llamacpp": LLAMA_CPP, "vllm": VLLM, "sglang": SGLANG, "library": OLLAMA, "me": LLAMA_CPP_PYTHON}
"""What each says of itself in its list of models (``owned_by``)."""
_SECONDS = 3.0
_CONTEXT_TOKENS = 4096
"""Taken for granted where a server does not say."""
_LARGEST_SCALE = 1000.0


@dataclass(frozen=True)
class Served:
    """A model in a server's list; ``parent`` is set for an adapter over another one."""

    name: str
    context_tokens: int = 0
    parent: str = ""


@dataclass(frozen=True)
class Lora:
    """An adapter of llama.cpp: its file's stem, the server's number of it, and how strongly it counts by itself."""

    stem: str
    number: int
    scale: float


@dataclass(frozen=True)
class Server:
    """``kind`` is the program, ``model`` what answers. ``loras``: adapters that each request may have another choice
    of. ``context_tokens`` 0: it does not say.
    """

    kind: str
    model: str
    models: tuple[Served, ...] = ()
    version: str = ""
    context_tokens: int = 0
    loras: tuple[Lora, ...] = ()

    def describe(self) -> str:
        """``llama.cpp b9999, serving qwen.gguf``."""
        program = f"{self.kind} {self.version}".strip()
        return f"{program}, serving {self.model}" if self.model else program


def look(wire: Wire, config: RemoteConfig) -> Server:
    """Ask a server what it is.

    :raises RemoteUnreachable, RemoteBusy: it does not answer.
    :raises RemoteRefused: it does not let us in, or has no model of the configured name.
    """
    listed = _models(wire)
    kind = _kind(wire, listed, config.protocol)
    models = tuple(_served(each) for each in listed if isinstance(each.get("id"), str))
    model = _chosen(models, config.model, wire.address.origin)
    context = next((each.context_tokens for each in models if each.name == model), 0)
    props = _quietly(wire, "/props") if kind == LLAMA_CPP else {}
    settings = props.get("default_generation_settings")
    if isinstance(settings, dict) and isinstance(settings.get("n_ctx"), int):
        # Of one slot; the list of models has that of the whole cache.
        context = settings["n_ctx"]
    if kind == TGI:
        total = _quietly(wire, "/info").get("max_total_tokens")
        context = total if isinstance(total, int) else context
    return Server(
        kind=kind,
        model=model,
        models=models,
        version=_version(wire, kind, props),
        context_tokens=context,
        loras=_loras(wire) if kind == LLAMA_CPP else (),
    )


def dialect_for(server: Server, protocol: str, *, known_format: bool) -> Dialect:
    """How to ask it. ``known_format``: the control tokens of its model are known, so that we can write its prompts."""
    if protocol == "infill" or (protocol == "auto" and server.kind == LLAMA_CPP and not known_format):
        return Infill()
    if protocol == "llama.cpp" or (protocol == "auto" and server.kind == LLAMA_CPP):
        return LlamaCpp()
    if protocol == "ollama" or (protocol == "auto" and server.kind == OLLAMA):
        return Ollama(raw=known_format, context_tokens=server.context_tokens or _CONTEXT_TOKENS)
    # llama-cpp-python refuses log-probabilities unless it was started to keep all scores, which costs it its speed.
    return OpenAi(server.kind, logprobs=server.kind != LLAMA_CPP_PYTHON)


def is_control(wire: Wire, server: Server, spelling: str) -> bool | None:
    """Whether the served model reads this text as one token of its own; None where the server cannot be asked."""
    ask = {
        LLAMA_CPP: ("/tokenize", {"content": spelling, "add_special": False, "parse_special": True}),
        VLLM: ("/tokenize", {"model": server.model, "prompt": spelling, "add_special_tokens": False}),
        SGLANG: ("/tokenize", {"model": server.model, "prompt": spelling, "add_special_tokens": False}),
        LLAMA_CPP_PYTHON: ("/extras/tokenize", {"input": spelling}),
    }.get(server.kind)
    if ask is None:
        return None
    try:
        answer = wire.post(*ask, seconds=_SECONDS)
    except (RemoteRefused, RemoteGarbage):
        return None
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(tokens, list):
        return None
    return len(tokens) - _added(wire, server) == 1


def writes_prompts(wire: Wire, server: Server) -> bool:
    """Whether it makes a prompt of the text before and after a gap by itself. llama.cpp does for models whose files
    name the tokens for it; Ollama for those whose template has a place for it, which each answer shows anew.
    """
    if server.kind != LLAMA_CPP:
        return server.kind == OLLAMA
    try:
        wire.post("/infill", {"input_prefix": "", "input_suffix": "", "prompt": "", "n_predict": 0}, seconds=_SECONDS)
    except (RemoteRefused, RemoteRejected, RemoteGarbage):
        return False
    return True


def adapter_names(path: str) -> tuple[str, ...]:
    """What an adapter's file may be called on a server: its own name, and that of its folder in the store."""
    pure = PurePath(path)
    return tuple(dict.fromkeys(name for name in (pure.stem, pure.parent.name) if name))


def _models(wire: Wire) -> list[Mapping[str, Any]]:
    """What the server lists; empty where it has no such list."""
    try:
        answer = wire.get("/v1/models", seconds=_SECONDS)
    except RemoteRefused as error:
        if "refuses the key" in error.message or "redirects" in error.message or "certificate" in error.message:
            raise
        return []
    except RemoteGarbage:
        return []
    data = answer.get("data") if isinstance(answer, dict) else None
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _kind(wire: Wire, listed: list[Mapping[str, Any]], protocol: str) -> str:
    if protocol in {"llama.cpp", "infill"}:
        return LLAMA_CPP
    if protocol == "ollama":
        return OLLAMA
    for each in listed:
        if (kind := _OWNERS.get(str(each.get("owned_by", "")).lower())) is not None:
            return kind
    for path, key, kind in (
        ("/api/version", "version", OLLAMA),
        ("/props", "default_generation_settings", LLAMA_CPP),
        ("/info", "model_id", TGI),
        ("/get_server_info", "model_path", SGLANG),
    ):
        if key in _quietly(wire, path):
            return kind
    return OTHER


def _version(wire: Wire, kind: str, props: Mapping[str, Any]) -> str:
    if kind == LLAMA_CPP:
        found = props.get("build_info")
    else:
        path = {VLLM: "/version", OLLAMA: "/api/version", SGLANG: "/get_server_info", TGI: "/info"}.get(kind)
        found = _quietly(wire, path).get("version") if path else None
    return found[:40] if isinstance(found, str) else ""


def _loras(wire: Wire) -> tuple[Lora, ...]:
    try:
        listed = wire.get("/lora-adapters", seconds=_SECONDS)
    except RemoteError:
        return ()
    if not isinstance(listed, list):
        return ()
    return tuple(
        Lora(PurePath(each["path"]).stem, each["id"], _scale(each.get("scale")))
        for each in listed
        if isinstance(each, dict) and isinstance(each.get("path"), str) and isinstance(each.get("id"), int)
    )


def _scale(value: Any) -> float:
    """0 for what is none, and for what nobody lays an adapter on with."""
    return float(value) if isinstance(value, int | float) and -_LARGEST_SCALE <= value <= _LARGEST_SCALE else 0.0


def _served(row: Mapping[str, Any]) -> Served:
    meta = row.get("meta")
    context = row.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else 0)
    parent = row.get("parent")
    return Served(
        row["id"], context if isinstance(context, int) else 0, parent if isinstance(parent, str) and parent else ""
    )


def _chosen(models: tuple[Served, ...], wanted: str, origin: str) -> str:
    names = [each.name for each in models]
    if not wanted:
        return next((each.name for each in models if not each.parent), names[0] if names else "")
    if names and wanted not in names and f"{wanted}:latest" not in names:
        shown = ", ".join(names[:8])
        raise RemoteRefused(f"{origin} serves no model {wanted!r}", hint=f"set remote.model to one of: {shown}")
    return wanted


def _added(wire: Wire, server: Server) -> int:
    """Tokens that a server adds in front of any text it tokenises."""
    if server.kind != LLAMA_CPP_PYTHON:
        return 0
    with contextlib.suppress(RemoteError):
        answer = wire.post("/extras/tokenize", {"input": ""}, seconds=_SECONDS)
        if isinstance(answer, dict) and isinstance(answer.get("tokens"), list):
            return len(answer["tokens"])
    return 0


def _quietly(wire: Wire, path: str) -> Mapping[str, Any]:
    """The answer if it is an object; empty where the server has nothing of that kind.

    :raises RemoteUnreachable, RemoteBusy: it does not answer at all.
    """
    try:
        answer = wire.get(path, seconds=_SECONDS)
    except (RemoteUnreachable, RemoteBusy):
        raise
    except RemoteError:
        return {}
    return answer if isinstance(answer, dict) else {}
