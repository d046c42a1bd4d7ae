"""How each kind of server is asked to go on with a text, and what its answer says. No HTTP: bodies out, lines in.

Sources: llama.cpp ``tools/server/README.md`` (``/completion``, ``/infill``); OpenAI API reference, "Completions", with
the extra parameters of vLLM (``entrypoints/openai/completion/protocol.py``) and SGLang, and what TGI does differently
(``router/src/server.rs``, ``validation.rs``); Ollama ``docs/api.md`` (``/api/generate``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from coder_lsp.errors import RemoteGarbage, RemoteUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coder_lsp.engine.base import GenerateRequest

EXTRA, PREFIX, SUFFIX, MIDDLE = "<infill:file>", "<infill:prefix>", "<infill:suffix>", "<infill:middle>"
MARKS = (EXTRA, PREFIX, SUFFIX, MIDDLE)
"""Marks of the pseudo-format for servers that write the prompt themselves (``prompt.templates``); never sent."""
_SEED_MASK = 2**31 - 1
_MOST_STOPS = 4
"""Of OpenAI's interface; TGI refuses more. An answer is searched for all of them anyway."""
_MANY_STOPS = frozenset({"vllm", "sglang", "llama.cpp", "llama-cpp-python"})
_LEAST_LOGPROB = -1e6
_GAVE_UP = frozenset({"abort", "error"})
_KIND = re.compile(r"\w{1,40}")


@dataclass(frozen=True)
class Asked:
    """One request, as text. ``model`` is the server's name for what is to answer, its adapters included; ``loras``
    the server's own numbers of them with their scales, where it takes these a request. ``stops``: spellings of control
    tokens that end a text. ``forced``: what the answer must begin with, if the server can be made to.
    """

    request: GenerateRequest
    prompt: str = ""
    files: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    suffix: str = ""
    middle: str = ""
    model: str = ""
    stops: tuple[str, ...] = ()
    forced: str = ""
    loras: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Event:
    """What one line brings. ``prompt`` tokens, ``cached`` of them not evaluated, come with the last one if at all."""

    data: bytes = b""
    logprob: float = 0.0
    ended: bool = False
    """Nothing follows."""
    by_itself: bool = False
    """The model ended the text; otherwise it was as long as allowed."""
    prompt: int | None = None
    cached: int | None = None


class Dialect(Protocol):
    """One way of asking."""

    name: str
    writes_prompt: bool
    """The server makes the prompt out of prefix, suffix and files."""
    forces: bool
    """Whether ``Asked.forced`` is kept by the server."""
    path: str

    def body(self, asked: Asked) -> dict[str, Any]: ...

    def read(self, line: bytes) -> Event | None:
        """What a line says; None if nothing.

        :raises RemoteGarbage: it is no line of this protocol.
        :raises RemoteUnreachable: the server says that it failed.
        """
        ...


class LlamaCpp:
    """llama.cpp's own completions: prompts as text, grammars, adapters a request."""

    name = "llama.cpp"
    writes_prompt = False
    forces = True
    path = "/completion"

    def body(self, asked: Asked) -> dict[str, Any]:
        return {"prompt": asked.prompt, **_llama_cpp(asked)}

    def read(self, line: bytes) -> Event | None:
        message = _server_sent(line)
        if message is None:
            return None
        content = _text(message, "content")
        logprob = 0.0
        for each in _list(message, "completion_probabilities"):
            logprob = _logprob(each.get("logprob"))
        if not message.get("stop"):
            return Event(content.encode("utf-8", "replace"), logprob)
        timings = message.get("timings")
        timings = timings if isinstance(timings, dict) else {}
        cached, new = _count(timings.get("cache_n")), _count(timings.get("prompt_n"))
        known = cached is not None and new is not None
        return Event(
            content.encode("utf-8", "replace"),
            logprob,
            ended=True,
            by_itself=message.get("stop_type") != "limit",
            prompt=cached + new if known else None,  # type: ignore[operator]
            cached=cached if known else None,
        )


class Infill(LlamaCpp):
    """The same where the server writes the prompt, in the format its model file tells.

    Its ``prompt`` is meant to come behind the middle token, but is appended to the prefix: the text is split at the
    cursor, and what is typed costs the evaluation of all that follows it.
    """

    name = "infill"
    writes_prompt = True
    path = "/infill"

    def body(self, asked: Asked) -> dict[str, Any]:
        return {
            "input_prefix": asked.prefix,
            "input_suffix": asked.suffix,
            "input_extra": [{"filename": path, "text": text} for path, text in asked.files],
            "prompt": asked.middle,
            **_llama_cpp(asked),
        }


class OpenAi:
    """``/v1/completions``. ``extras`` are parameters that a kind of server takes besides the standard ones."""

    name = "openai"
    writes_prompt = False
    path = "/v1/completions"

    def __init__(self, kind: str = "", *, logprobs: bool = True) -> None:
        self._kind = kind
        self._logprobs = logprobs
        self.forces = kind in {"vllm", "sglang", "llama-cpp-python"}

    def body(self, asked: Asked) -> dict[str, Any]:
        request = asked.request
        body: dict[str, Any] = {
            "model": asked.model,
            "prompt": asked.prompt,
            # None of them takes 0.
            "max_tokens": max(1, request.max_tokens),
            "temperature": request.temperature,
            "seed": request.seed & _SEED_MASK,
            "stream": True,
        }
        if self._kind != "tgi" or request.top_p < 1:
            body["top_p"] = request.top_p  # others have defaults of their own; TGI has none, and refuses 1
        if asked.stops:
            body["stop"] = list(asked.stops if self._kind in _MANY_STOPS else asked.stops[:_MOST_STOPS])
        if self._logprobs:
            body["logprobs"] = 1
        return body | self._extras(asked)

    def read(self, line: bytes) -> Event | None:
        message = _server_sent(line)
        if message is None:
            return None
        usage = message.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        details = usage.get("prompt_tokens_details")
        prompt = _count(usage.get("prompt_tokens"))
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        choices = _list(message, "choices")
        if not choices:
            return Event(prompt=prompt, cached=cached)
        choice = choices[0]
        # TGI says "" as long as it goes on, and spells the token that ended the text.
        reason = _text(choice, "finish_reason")
        if reason in _GAVE_UP:
            raise RemoteUnreachable(f"the server gave up ({reason})")
        text = "" if reason == "eos_token" else _text(choice, "text")
        return Event(
            text.encode("utf-8", "replace"),
            _mean_logprob(choice.get("logprobs")),
            ended=reason != "",
            by_itself=reason not in {"", "length"},
            prompt=prompt,
            cached=cached,
        )

    def _extras(self, asked: Asked) -> dict[str, Any]:
        request = asked.request
        if self._kind in {"vllm", "sglang"}:
            extras: dict[str, Any] = {
                "top_k": request.top_k or -1,
                # Left out, what the model's own generation_config.json says counts: Qwen2.5's penalises repetition.
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                # What ends a text must be seen to be told from text that is merely long.
                "skip_special_tokens": False,
                "stream_options": {"include_usage": True},
            }
            if asked.forced:
                pattern = "".join(map(_escaped, asked.forced)) + r"[\s\S]*"
                extras |= {"structured_outputs": {"regex": pattern}} if self._kind == "vllm" else {"regex": pattern}
            return extras
        if self._kind == "llama-cpp-python":
            grammar = {"grammar": _grammar(asked.forced)} if asked.forced else {}
            return {"top_k": request.top_k, "min_p": 0.0, "repeat_penalty": 1.0, **grammar}
        return {"stream_options": {"include_usage": True}} if self._kind == "llama.cpp" else {}


class Ollama:
    """``/api/generate``. ``raw``: our prompt, in the model's format; otherwise its own, of prefix and suffix."""

    name = "ollama"
    forces = False
    path = "/api/generate"

    def __init__(self, *, raw: bool, context_tokens: int) -> None:
        self.writes_prompt = not raw
        self._raw = raw
        self._context_tokens = context_tokens

    def body(self, asked: Asked) -> dict[str, Any]:
        request = asked.request
        text: dict[str, Any] = {"prompt": asked.prompt, "raw": True}
        if not self._raw:
            files = "".join(f"{path}\n{text}\n" for path, text in asked.files)
            text = {"prompt": files + asked.prefix + asked.middle, "suffix": asked.suffix}
        options: dict[str, Any] = {
            "num_predict": max(1, request.max_tokens),
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "seed": request.seed & _SEED_MASK,
            "num_ctx": self._context_tokens,
            **({"stop": list(asked.stops)} if asked.stops else {}),
        }
        return {"model": asked.model, "stream": True, "logprobs": True, "options": options, **text}

    def read(self, line: bytes) -> Event | None:
        message = _object(line)
        done = message.get("done") is True
        logprobs = [_logprob(each.get("logprob")) for each in _list(message, "logprobs")]
        return Event(
            _text(message, "response").encode("utf-8", "replace"),
            sum(logprobs) / len(logprobs) if logprobs else 0.0,
            ended=done,
            by_itself=done and message.get("done_reason") != "length",
            prompt=_count(message.get("prompt_eval_count")),
        )


def _llama_cpp(asked: Asked) -> dict[str, Any]:
    request = asked.request
    body: dict[str, Any] = {
        "n_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "min_p": 0.0,
        "samplers": ["temperature", "top_k", "top_p"],
        "seed": request.seed & _SEED_MASK,
        "cache_prompt": True,
        "n_probs": 1,
        "stream": True,
    }
    if asked.forced:
        body["grammar"] = _grammar(asked.forced)
    if asked.loras:
        body["lora"] = [{"id": number, "scale": scale} for number, scale in asked.loras]
    return body


def _grammar(forced: str) -> str:
    """GBNF: these characters, then any."""
    escaped = "".join(f"\\U{ord(character):08x}" for character in forced)
    return f'root ::= "{escaped}" [\\U00000000-\\U0010ffff]*'


def _escaped(character: str) -> str:
    """One character in a regular expression that any engine reads the same way."""
    return character if character.isalnum() and character.isascii() else f"\\u{ord(character):04x}"


def _server_sent(line: bytes) -> Mapping[str, Any] | None:
    """The object of a ``data:`` line (WHATWG HTML, server-sent events); None for other lines and the end mark."""
    if not line.startswith(b"data:"):
        if line.startswith((b":", b"event:", b"id:", b"retry:")):
            return None
        if line.startswith(b"error:"):  # llama.cpp before 2025
            line = b"data: {" + b'"error":' + line.removeprefix(b"error:") + b"}"
        else:
            raise _garbage()
    data = line.removeprefix(b"data:").strip()
    return None if data == b"[DONE]" else _object(data)


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise _garbage() from None
    if not isinstance(message, dict):
        raise _garbage()
    if message.get("error"):
        said = message["error"]
        # Its kind alone: the server's own words may quote the prompt, and this is logged.
        kinds = [said.get(key) for key in ("type", "code")] if isinstance(said, dict) else []
        named = ", ".join(str(kind) for kind in kinds if _KIND.fullmatch(str(kind)) and kind is not None)
        raise RemoteUnreachable(f"the server failed{f' ({named})' if named else ''}")
    return message


def _text(message: Mapping[str, Any], key: str) -> str:
    text = message.get(key, "")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise _garbage()
    return text


def _list(message: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = message.get(key)
    if found is None:
        return ()
    if not (isinstance(found, list) and all(isinstance(each, dict) for each in found)):
        raise _garbage()
    return found


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _logprob(value: Any) -> float:
    """0 for what is none: a model can be no surer."""
    return float(value) if isinstance(value, int | float) and _LEAST_LOGPROB <= value <= 0 else 0.0


def _mean_logprob(logprobs: Any) -> float:
    """Of the tokens of one chunk, as OpenAI lists them or as llama.cpp does."""
    if not isinstance(logprobs, dict):
        return 0.0
    found = logprobs.get("token_logprobs")
    if not isinstance(found, list):
        content = logprobs.get("content")
        found = [each.get("logprob") for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    known = [_logprob(each) for each in found if each is not None]
    return sum(known) / len(known) if known else 0.0


def _garbage() -> RemoteGarbage:
    return RemoteGarbage(
        "the server does not speak the expected protocol", hint="check remote.protocol: coder-lsp remote check"
    )
