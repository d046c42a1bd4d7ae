"""What becomes of requests while a server dies, hangs or comes back, with the model on this machine behind it.

The shipped ``host.fallback`` between a real server and a real local model. How long it took until that one was asked is
noted where its engine is called. A text counts as answered once if it is the server's, the local model's, or the
server's beginning with what the local model writes behind it; all of it is compared with what each says alone.
"""

from __future__ import annotations

import functools
import random
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from coder_lsp.bench.figures import quantiles
from coder_lsp.bench.relay import PASS, SILENT, STALLED, Relay
from coder_lsp.config import RemoteConfig
from coder_lsp.engine.choose import load_engine
from coder_lsp.errors import CoderLspError
from coder_lsp.host.fallback import FallbackWorker
from coder_lsp.host.loading import connect
from coder_lsp.host.worker import ModelWorker
from coder_lsp.types import FimRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.bench.own_server import OwnServer
    from coder_lsp.engine.base import CancelToken, Engine, GenerateRequest, Generation
    from coder_lsp.host.protocol import HostSettings, Worker
    from coder_lsp.types import TextSink

_MOST_ROUNDS = 7
"""Of outages: each of the killed server's loads a model."""
_NAMES = ("levels", "prices", "orders", "weights", "names", "returns", "shelves", "suppliers")
_ANSWER_TOKENS = 24
_KILL_CHANCE = 0.25
"""That the server is killed under a request, where it answered the one before."""
_MOST_AWAY = 3
"""Requests until a killed server is started again, at most."""
_RESTED_S = 3600.0
"""Longer than any rest between two attempts to connect."""


@dataclass(frozen=True)
class Amount:
    """``rounds`` of each figure, ``requests`` while the server is killed again and again."""

    rounds: int = 31
    requests: int = 100
    seed: int = 1


@dataclass(frozen=True)
class Answered:
    """One request: what the reader was given piece by piece, the result, and when in milliseconds."""

    said: str
    text: str
    engine: str
    first_ms: float
    total_ms: float


def measure_outage(
    settings: HostSettings, server: OwnServer, amount: Amount, note: Callable[[str], object]
) -> dict[str, Any]:
    """``fallback``: times by fault. ``kills``: what became of the requests."""
    note("the local model loads")
    local = replace(settings, remote=RemoteConfig(), engine=replace(settings.engine, kind="auto"))
    loaded = load_engine(Path(settings.model_path), local.engine, None).engine
    noted = _Noted(loaded)
    here = ModelWorker(cast("Engine", noted), local)
    try:
        fallback = {}
        with Relay(server.url) as relay:
            through = replace(settings, remote=replace(settings.remote, url=relay.url))
            for fault in ("refused", "half_open", "stalled"):
                note(f"the server is {fault.replace('_', '-')}")
                outage = _Outage(fault, server, relay, through if fault != "refused" else settings)
                fallback[fault] = _stand_in(outage, here, noted, min(amount.rounds, _MOST_ROUNDS))
        note("the server is killed again and again")
        return {"fallback": fallback, "kills": _count(settings, server, here, amount)}
    finally:
        loaded.close()


def judge(answered: Answered, servers: str, heres: str, rest: Callable[[str], str]) -> str:
    """Whose text it is: ``server``, ``here``, ``both``, ``unlike`` any; or ``lost`` or ``doubled``. ``rest``: what the
    local model writes behind a beginning.
    """
    text = answered.text
    if not answered.said.startswith(text):
        return "doubled" if len(answered.said) > len(text) else "lost"
    # A line that the model is unsure of is streamed and then left out.
    if text and answered.said.removeprefix(text).startswith(text):
        return "doubled"
    if text in {servers, heres}:
        return "server" if text == servers and answered.engine == "remote" else "here"
    if not text:
        return "lost"
    begun = len(_shared(text, servers))
    if heres and text.endswith(heres) and len(text) - len(heres) <= begun:
        return "doubled"
    if begun and rest(text[:begun]).startswith(text[begun:]):
        return "both"
    return "unlike"


def ask(worker: Worker, request: FimRequest) -> Answered:
    """:raises CoderLspError: nobody could."""
    pieces: list[str] = []
    at: list[float] = []

    def on_text(delta: str, /) -> bool:
        pieces.append(delta)
        at.append(time.perf_counter())
        return True

    began = time.perf_counter()
    result = worker.complete(request, on_text, worker.new_cancel_token())
    ended = time.perf_counter()
    return Answered(
        "".join(pieces),
        result.text,
        result.engine,
        ((at[0] if at else ended) - began) * 1000,
        (ended - began) * 1000,
    )


class _Noted:
    """An engine that notes when it was asked. Closing is its owner's: workers come and go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked_at: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(
        self, request: GenerateRequest, on_text: TextSink | None = None, cancel: CancelToken | None = None
    ) -> Generation:
        self.asked_at.append(time.perf_counter())
        return self._engine.generate(request, on_text, cancel)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Outage:
    """One way to be away, and back."""

    fault: str
    server: OwnServer
    relay: Relay
    settings: HostSettings

    def begin(self) -> None:
        if self.fault == "refused":
            self.server.kill()
        else:
            self.relay.mode = SILENT if self.fault == "half_open" else STALLED

    def end(self) -> None:
        if self.fault == "refused":
            self.server.restart()
        else:
            self.relay.mode = PASS


def _stand_in(outage: _Outage, here: ModelWorker, noted: _Noted, rounds: int) -> dict[str, Any]:
    """For the first request of an outage and the one behind it, on a place that both have read."""
    request = _request(_NAMES[0])
    ask(here, request)
    begins: list[float] = []
    nexts: list[float] = []
    firsts, totals = [], []
    for _ in range(rounds):
        worker = FallbackWorker(
            lambda: connect(outage.settings), lambda: here, patience_ms=outage.settings.remote.patience_ms
        )
        try:
            ask(worker, request)
            outage.begin()
            for into in (begins, nexts):
                noted.asked_at.clear()
                began = time.perf_counter()
                answered = ask(worker, request)
                into.append((noted.asked_at[0] - began) * 1000)
                if into is begins:
                    firsts.append(answered.first_ms)
                    totals.append(answered.total_ms)
        finally:
            outage.end()
            worker.close()
    return {
        "begin_ms": quantiles(begins),
        "first_text_ms": quantiles(firsts),
        "total_ms": quantiles(totals),
        "next_begin_ms": quantiles(nexts),
    }


def _count(settings: HostSettings, server: OwnServer, here: ModelWorker, amount: Amount) -> dict[str, Any]:
    choose = random.Random(amount.seed)  # noqa: S311  (reproducible inputs, not secrets)
    places = {name: _request(name) for name in _NAMES}
    alone = connect(settings)
    try:
        undisturbed = {name: ask(alone, request) for name, request in places.items()}
    finally:
        alone.close()
    heres = {name: ask(here, request).text for name, request in places.items()}
    longest_s = max(each.total_ms for each in undisturbed.values()) / 1000
    clock = _Clock()
    worker = FallbackWorker(
        lambda: connect(settings), lambda: here, patience_ms=settings.remote.patience_ms, clock=clock
    )
    counts = dict.fromkeys(("server", "here", "both", "unlike", "lost", "doubled"), 0)
    kills, away = 0, 0
    last = ""
    try:
        for _ in range(amount.requests):
            name = choose.choice(_NAMES)
            killer = None
            if away:
                away -= 1
                if not away:
                    server.restart()
                    clock.skip(_RESTED_S)
            elif last == "remote" and choose.random() < _KILL_CHANCE:
                killer = threading.Timer(choose.random() * longest_s, server.kill)
                killer.start()
            try:
                answered = ask(worker, places[name])
            except CoderLspError:
                counts["lost"] += 1
                last = ""
            else:
                last = answered.engine
                behind = functools.partial(_behind, here, places[name])
                counts[judge(answered, undisturbed[name].text, heres[name], behind)] += 1
            if killer is not None:
                killer.join()
                kills += 1
                away = choose.randint(1, _MOST_AWAY)
    finally:
        worker.close()
    return {"requests": amount.requests, "kills": kills, **counts}


class _Clock:
    """The time, and more where a rest is not waited for."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


def _behind(here: ModelWorker, request: FimRequest, begun: str) -> str:
    return ask(here, replace(request, prefix=request.prefix + begun)).text


def _shared(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]


def _request(name: str) -> FimRequest:
    # Short, so that a server that comes back with an empty cache answers before this machine is asked.
    prefix = f"def total_{name}({name}: dict[str, int]) -> int:\n    "
    return FimRequest(
        f"file:///{name}.py", prefix, "\n", "python", f"{name}.py", max_tokens=_ANSWER_TOKENS, patient=True
    )
