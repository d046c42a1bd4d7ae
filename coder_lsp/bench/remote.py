"""What the remote engine costs beside a plain HTTP client, and how soon this machine stands in for a server.

A real llama.cpp server with the configured model, on this machine, so that no network hides what is ours
(``bench.own_server``); or any server at an address. The plain client is ``httpx2`` and nothing else: it sends the very
bytes that the engine sends and reads the answer to its end. Both take turns, the order changing by the round, on a
prompt that the server has read already, so that as little as may be is the server's.
"""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from coder_lsp.bench import goals
from coder_lsp.bench.figures import quantiles
from coder_lsp.bench.front import BEFORE, TYPED
from coder_lsp.bench.outage import Amount, measure_outage
from coder_lsp.bench.own_server import OwnServer
from coder_lsp.bench.relay import Relay
from coder_lsp.engine import hardware, remote_key
from coder_lsp.engine.base import GenerateRequest
from coder_lsp.errors import RemoteGarbage
from coder_lsp.host.loading import connect_engine, remote_worker
from coder_lsp.types import FimRequest, FinishReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from coder_lsp.engine.remote import RemoteEngine
    from coder_lsp.engine.remote_dialects import Asked, Dialect, Event
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.host.worker import ModelWorker

GOALS = (
    goals.Goal("overhead.first_ms", 5, "first piece, later than by a plain client", "ms"),
    goals.Goal("overhead.total_ms", 5, "whole answer, later than by a plain client", "ms"),
    goals.Goal("fallback.refused.begin_ms.p50", 300, "local model begins: server killed", "ms"),
    goals.Goal("fallback.half_open.begin_ms.p50", 300, "local model begins: server half-open", "ms"),
    goals.Goal("fallback.stalled.begin_ms.p50", 300, "local model begins: server stalled", "ms"),
    goals.Goal("kills.lost", 0, "requests without an answer"),
    goals.Goal("kills.doubled", 0, "requests with text shown twice"),
)
_ANSWER_TOKENS = 8
"""Of both clients: enough that an answer comes in pieces, few enough that decoding hides nothing."""
_LONG_TOKENS = 400
"""Of an answer that is cancelled."""
_READING_MS = 300_000
"""For the first request, whose prompt is read whole, perhaps on a machine that has other work; it is not measured."""
_LOOK_S = 0.002
"""Between two looks whether the server is still at work."""
_GIVE_UP_S = 5.0


def measure_remote(
    settings: HostSettings, amount: Amount, python: Path | None, note: Callable[[str], object]
) -> dict[str, Any]:
    """Figures of the server that ``settings`` name; of one of our own, run by ``python``, where they name none. Only
    such a one is killed, so that of another the parts that need this are left out.

    :raises RemoteError, HostUnavailable: the server does not answer, or does not come up.
    """
    machine = hardware.detect()
    figures: dict[str, Any] = {"hardware": machine.line(), "rounds": amount.rounds}
    if settings.remote.url:
        figures |= _measure_ways(settings, amount, note)
    else:
        assert python is not None
        note("the server loads the model")
        # The clients, who would have a machine of their own, have a core: what they take counts, not a fight for it.
        with OwnServer(python, Path(settings.model_path), max(1, machine.cores.count - 1)) as server:
            settings = replace(settings, remote=replace(settings.remote, url=server.url))
            figures |= _measure_ways(settings, amount, note)
            figures |= measure_outage(settings, server, amount, note)
    figures["goals"] = [
        goal.judge(value) for goal in GOALS if (value := goals.look_up(figures, goal.figure)) is not None
    ]
    return figures


def report(figures: dict[str, Any]) -> Iterator[str]:
    """The figures for people, the goals last."""
    yield figures["hardware"]
    yield f"{figures['server']}; medians of {figures['rounds']} rounds, in ms"
    rows: list[tuple[str, object]] = []
    for who, times in figures["clients"].items():
        rows.append((f"{who}: first piece", times["first_ms"]))
        rows.append((f"{who}: whole answer", times["total_ms"]))
    rows += [
        ("overhead, of the pairs: first piece", figures["overhead"]["first_ms"]),
        ("overhead, of the pairs: whole answer", figures["overhead"]["total_ms"]),
        ("round trip of the smallest request", figures["round_trip_ms"]["p50"]),
        ("a key on a warm prompt: first piece", figures["keystroke"]["first_ms"]["p50"]),
        ("a key on a warm prompt: whole answer", figures["keystroke"]["total_ms"]["p50"]),
    ]
    for what, times in figures["cancel"].items():
        if isinstance(times, dict):
            rows.append((f"cancelled: {what.removesuffix('_ms').replace('_', ' ')}", times["p50"]))
    for fault, times in figures.get("fallback", {}).items():
        rows += [
            (f"{fault}: local model begins", times["begin_ms"]["p50"]),
            (f"{fault}: its first text", times["first_text_ms"]["p50"]),
            (f"{fault}: begins for the next request", times["next_begin_ms"]["p50"]),
        ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"  {name:<{width}}  {value:>8}"
    if (kills := figures.get("kills")) is not None:
        yield (
            f"{kills['requests']} requests, server killed {kills['kills']} times: answered by the server "
            f"{kills['server']}, here {kills['here']}, begun there and finished here {kills['both']}, "
            f"otherwise {kills['unlike']}; lost {kills['lost']}, doubled {kills['doubled']}"
        )
    for row in goals.rows(figures["goals"]):
        yield "  ".join(row)


def _measure_ways(settings: HostSettings, amount: Amount, note: Callable[[str], object]) -> dict[str, Any]:
    """What needs a server that works."""
    settings = replace(settings, remote=replace(settings.remote, timeout_ms=_READING_MS))
    engine = connect_engine(settings.remote)
    worker = remote_worker(engine, settings)
    try:
        note("a plain client and the engine")
        figures = {"server": engine.reason, **_beside_plain(worker, engine, settings, amount.rounds)}
        note("round trips")
        figures["round_trip_ms"] = _round_trips(engine, amount.rounds)
        note("keystrokes")
        figures["keystroke"] = _keystrokes(worker, amount.rounds)
    finally:
        worker.close()
    note("cancelling")
    return {**figures, "cancel": _cancels(settings, amount.rounds)}


class _Recorded:
    """A dialect that remembers the first question it was made to put."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.name, self.writes_prompt, self.forces, self.path = (
            dialect.name,
            dialect.writes_prompt,
            dialect.forces,
            dialect.path,
        )
        self.asked: Asked | None = None

    def body(self, asked: Asked) -> dict[str, Any]:
        self.asked = self.asked or asked
        return self._dialect.body(asked)

    def read(self, line: bytes) -> Event | None:
        return self._dialect.read(line)


def _beside_plain(worker: ModelWorker, engine: RemoteEngine, settings: HostSettings, rounds: int) -> dict[str, Any]:
    """Times of both clients, and the medians of their differences in the same round."""
    dialect = engine.dialect
    engine.dialect = recorded = _Recorded(dialect)
    try:
        worker.complete(_request(BEFORE + TYPED), None, worker.new_cancel_token())
    finally:
        engine.dialect = dialect
    assert recorded.asked is not None
    request = replace(recorded.asked.request, max_tokens=_ANSWER_TOKENS)
    body = dialect.body(replace(recorded.asked, request=request))
    key, _ = remote_key.find(settings.remote.url)
    headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}
    url = settings.remote.url.rstrip("/").removesuffix("/v1") + dialect.path
    certificates = settings.remote.ca_file
    context = httpx2.create_ssl_context()
    if certificates:
        context.load_verify_locations(cafile=certificates)
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "engine": []}
    with httpx2.Client(
        headers=headers, verify=context, timeout=_READING_MS / 1000, trust_env=not settings.remote.is_here
    ) as client:
        clients: dict[str, Callable[[], tuple[float, float]]] = {
            "plain": lambda: _plainly_again(client, url, body, dialect, len(request.forced)),
            "engine": lambda: _timed(engine, request),
        }
        for measure in clients.values():
            measure()
        for number in range(rounds):
            for name in list(clients) if number % 2 else reversed(list(clients)):
                times[name].append(clients[name]())
    pairs = list(zip(times["engine"], times["plain"], strict=True))
    return {
        "clients": {
            name: {"first_ms": _median(first for first, _ in each), "total_ms": _median(total for _, total in each)}
            for name, each in times.items()
        },
        "overhead": {
            "first_ms": _median(ours[0] - plain[0] for ours, plain in pairs),
            "total_ms": _median(ours[1] - plain[1] for ours, plain in pairs),
        },
    }


def _plainly_again(
    client: httpx2.Client, url: str, body: dict[str, Any], dialect: Dialect, forced: int
) -> tuple[float, float]:
    """Once more where the server closed a connection that was kept just as it was used, as the engine would."""
    try:
        return _plainly(client, url, body, dialect, forced)
    except httpx2.RemoteProtocolError:
        return _plainly(client, url, body, dialect, forced)


def _plainly(
    client: httpx2.Client, url: str, body: dict[str, Any], dialect: Dialect, forced: int
) -> tuple[float, float]:
    """Milliseconds to the first text behind the ``forced`` bytes, which nobody is shown, and to the end.

    :raises RemoteGarbage: the server does not answer what the engine was answered.
    """
    began = time.perf_counter()
    first = 0.0
    said = 0
    with client.stream("POST", url, json=body) as answer:
        if answer.status_code != httpx2.codes.OK:
            raise RemoteGarbage(f"the server answers {answer.status_code} to a plain client")
        for line in answer.iter_lines():
            event = dialect.read(line.encode()) if line else None
            said += len(event.data) if event is not None else 0
            if said > forced and not first:
                first = time.perf_counter()
    ended = time.perf_counter()
    return ((first or ended) - began) * 1000, (ended - began) * 1000


def _timed(engine: RemoteEngine, request: GenerateRequest) -> tuple[float, float]:
    """The same of the engine."""
    began = time.perf_counter()
    at: list[float] = []

    def on_text(_delta: str, /) -> bool:
        at.append(time.perf_counter())
        return True

    engine.generate(request, on_text)
    ended = time.perf_counter()
    return ((at[0] if at else ended) - began) * 1000, (ended - began) * 1000


def _round_trips(engine: RemoteEngine, rounds: int) -> dict[str, float]:
    smallest = GenerateRequest(engine.tokenize("a"), max_tokens=1)
    _timed(engine, smallest)
    return quantiles([_timed(engine, smallest)[1] for _ in range(rounds)])


def _keystrokes(worker: ModelWorker, rounds: int) -> dict[str, Any]:
    """Of the first keys of a text that is typed, each with a request; at most as many as the text has."""
    typed = TYPED[:rounds]
    firsts, totals, evaluated = [], [], []
    for length in range(len(typed) + 1):
        at: list[float] = []
        began = time.perf_counter()

        def on_text(_delta: str, at: list[float] = at, /) -> bool:
            at.append(time.perf_counter())
            return True

        result = worker.complete(_request(BEFORE + typed[:length]), on_text, worker.new_cancel_token())
        ended = time.perf_counter()
        if length:
            firsts.append(((at[0] if at else ended) - began) * 1000)
            totals.append((ended - began) * 1000)
            evaluated.append(result.tokens.evaluated)
    return {
        "keys": len(typed),
        "first_ms": quantiles(firsts),
        "total_ms": quantiles(totals),
        "tokens_evaluated": quantiles(evaluated),
    }


def _cancels(settings: HostSettings, rounds: int) -> dict[str, Any]:
    """From the cancel to its effects. On a server with plain HTTP a relay sees the connection closed; llama.cpp's
    ``/slots`` tell when it stopped working.
    """
    url = settings.remote.url
    if url.startswith("https:"):
        return _cancelled(settings, None, rounds)
    with Relay(url) as relay:
        # The path stays, the way goes through the relay.
        through = relay.url + httpx2.URL(url).path.rstrip("/")
        return _cancelled(replace(settings, remote=replace(settings.remote, url=through)), relay, rounds)


def _cancelled(settings: HostSettings, relay: Relay | None, rounds: int) -> dict[str, Any]:
    worker = remote_worker(connect_engine(settings.remote), settings)
    returned, hung_up, idle = [], [], []
    try:
        with httpx2.Client(trust_env=False, timeout=_GIVE_UP_S) as client:
            for _ in range(rounds):
                generation = _Running(worker, _request(BEFORE + TYPED))
                generation.begun.wait()
                if relay is not None:
                    relay.hung_up.clear()
                began = time.perf_counter()
                generation.token.cancel()
                generation.end()
                if generation.finish is not FinishReason.CANCELLED:
                    continue  # it was over by itself
                returned.append((generation.ended_at - began) * 1000)
                if relay is not None and relay.hung_up.wait(_GIVE_UP_S):
                    hung_up.append((relay.hung_up_at - began) * 1000)
                if relay is not None and _stopped(client, relay.url):
                    idle.append((time.perf_counter() - began) * 1000)
    finally:
        worker.close()
    figures = {"returned_ms": returned, "connection_closed_ms": hung_up, "server_idle_ms": idle}
    return {"cancels": len(returned), **{name: quantiles(times) for name, times in figures.items() if times}}


class _Running:
    """A generation on a thread of its own."""

    def __init__(self, worker: ModelWorker, request: FimRequest) -> None:
        self._worker, self._request = worker, replace(request, max_tokens=_LONG_TOKENS)
        self.token = worker.new_cancel_token()
        self.begun = threading.Event()
        self.ended_at = 0.0
        self.finish: FinishReason | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        def on_text(_delta: str, /) -> bool:
            self.begun.set()
            return True

        try:
            self.finish = self._worker.complete(self._request, on_text, self.token).finish_reason
        finally:
            self.ended_at = time.perf_counter()
            self.begun.set()  # if only to tell that nothing comes


def _stopped(client: httpx2.Client, url: str) -> bool:
    """Wait until no slot of the server works; False if it does not tell."""
    until = time.perf_counter() + _GIVE_UP_S
    while time.perf_counter() < until:
        answer = client.get(f"{url}/slots")
        slots = answer.json() if answer.status_code == httpx2.codes.OK else None
        if not isinstance(slots, list):
            return False
        if not any(slot.get("is_processing") for slot in slots):
            return True
        time.sleep(_LOOK_S)
    return False


def _request(prefix: str) -> FimRequest:
    """At the end of that text, with the whole prompt at once."""
    return FimRequest(
        "file:///inventory.py", prefix, "\n", "python", "inventory.py", max_tokens=_ANSWER_TOKENS, patient=True
    )


def _median(values: Iterator[float]) -> float:
    return round(statistics.median(values), 2)
