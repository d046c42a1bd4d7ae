"""Many windows at once on one host: does each get its share, how long does it wait, is anything lost?

Every client is a real front that types without ever resting: a key, a request, the next key a moment behind its answer.
So there is always somebody waiting, and how often the host served each says how fair it is; what a front answers out of
what was there already costs nobody else anything. Now and then a client asks several times in a row without taking a
request back, and only the last one matters then.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.figures import spread
from coder_lsp.bench.goals import Goal, look_up
from coder_lsp.bench.replay.run import end
from coder_lsp.bench.replay.trace import Pace, copy_without, make_trace
from coder_lsp.bench.replay.vscode import VsCode, Window, parse_request
from coder_lsp.bench.soak.held import held
from coder_lsp.engine import hardware
from coder_lsp.errors import HostUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from coder_lsp.bench.replay.trace import Trace

THINK_S = 0.125
"""From an answer to the next key: eight keys a second, had nobody to wait."""
BURST, BURST_CHANCE = 4, 0.1
ANSWER_S = 120.0
_TYPED_S = 300.0

GOALS = (
    Goal("fairness", 0.95, "fairness (Jain's index of the host's turns for each client)", least=True),
    Goal("requests.lost", 0, "requests without an answer"),
    Goal("requests.doubled", 0, "answers that nobody waited for"),
    Goal("requests.failed", 0, "requests that failed"),
    Goal("overtaken", 0, "older requests answered after a newer one of the same client"),
)


@dataclass(frozen=True)
class LoadOptions:
    """``seconds`` of typing, once all clients are there."""

    clients: int = 20
    seconds: float = 120.0
    seed: int = 1


@dataclass(frozen=True)
class Turns:
    """What the host did for clients: how often for each, and how long each turn had been waited for."""

    each: tuple[int, ...]
    queued_ms: tuple[int, ...]


def turns_in(log: str, clients: int) -> Turns:
    """From the host's log; ``clients`` who had none count too, work ahead and what a newer request ended do not."""
    served = [each for line in log.splitlines() if (each := parse_request(line))]
    found = [each for each in served if not (each.background or each.cancelled)]
    counts = Counter(each.client for each in found)
    without = [0] * (clients - len(counts))
    return Turns((*counts.values(), *without), tuple(each.queued_ms for each in found))


@dataclass
class _Client:
    """A window and what it saw."""

    window: VsCode
    trace: Trace
    waited_ms: list[float] = field(default_factory=list)
    with_text: int = 0
    overtaken: int = 0
    most_open: int = 0

    async def work(self, until_s: float, chosen: random.Random) -> None:
        while True:
            for visit in self.trace.visits:
                self.window.close_documents()
                self.window.open(visit.path, visit.language, visit.before, visit.after)
                for key in visit.keys:
                    if _now() >= until_s:
                        return
                    self.window.change(key.text)
                    await self._ask(BURST if chosen.random() < BURST_CHANCE else 1)
                    await asyncio.sleep(THINK_S)

    async def _ask(self, times: int) -> None:
        began_s = _now()
        *older, newest = [self.window.suggest()[1] for _ in range(times)]
        self.most_open = max(self.most_open, self.window.connection.open)
        try:
            answer = await asyncio.wait_for(asyncio.shield(newest), ANSWER_S)
        except asyncio.TimeoutError:
            return  # lost, as the count of open requests says in the end
        except HostUnavailable:
            answer = None
        self.waited_ms.append((_now() - began_s) * 1000)
        items = answer.get("items", []) if isinstance(answer, dict) else answer or []
        self.with_text += bool(items)
        if older:
            self.overtaken += sum(not each.done() for each in older)
            await asyncio.wait(older, timeout=ANSWER_S)


async def measure_load(
    project: Path, model: Path, options: LoadOptions = LoadOptions(), note: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Figures over all clients and of the worst off; waits in ms, memory in MB.

    :raises InputError: there is no code to type.
    :raises HostUnavailable: the server or the model does not come up.
    """
    async with AsyncExitStack() as stack:
        # Short: the path of the host's socket depends on it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cll-", ignore_cleanup_errors=True)))
        clients = []
        for number in range(options.clients):
            note(f"starting client {number + 1} of {options.clients}")
            clients.append(await stack.enter_async_context(_client(project, folder, model, options.seed, number)))
        note(f"typing for {options.seconds:.0f} s")
        clients[0].window.host_log()
        until_s = _now() + options.seconds
        seeds = [random.Random(f"{options.seed} {number}") for number in range(len(clients))]  # noqa: S311
        await asyncio.gather(*(client.work(until_s, seed) for client, seed in zip(clients, seeds, strict=True)))
        status = (await clients[0].window.command("coder-lsp.status")[1]).get("host") or {}
        host = held(int(status.get("pid", 0)))
        figures = _figures(clients, turns_in(clients[0].window.host_log(), len(clients)))
    return {
        "hardware": hardware.detect().line(),
        "model": model.name,
        "project": project.name,
        "clients": options.clients,
        "seconds": options.seconds,
        "seed": options.seed,
        "host": {"clients": status.get("clients"), "memory_mb": host.memory_mb if host else None},
        **figures,
    }


def fairness(shares: Sequence[float]) -> float:
    """Jain's index: 1 if all have the same, 1/n if one has everything (Jain, Chiu, Hawe: DEC-TR-301, 1984)."""
    total, squares = sum(shares), sum(share * share for share in shares)
    return total * total / (len(shares) * squares) if squares else 1.0


def report(figures: dict[str, Any]) -> list[str]:
    """For people, without the goals."""
    answers, turns, waited = figures["answers"], figures["turns"], figures["waited_ms"]
    return [
        f"{figures['clients']} clients, {figures['seconds']:.0f} s, host {figures['host']['memory_mb']} MB",
        (
            f"answers: {answers['all']:,}, for each client {answers['least']:,} to {answers['most']:,}, "
            f"{figures['with_text']:,} with a suggestion"
        ),
        (
            f"turns at the host: {turns['all']:,}, for each client {turns['least']:,} to {turns['most']:,}; "
            f"queued: {figures['queued_ms']}"
        ),
        f"waited: {waited}; worst p95 of a client {figures['worst_p95_ms']:,} ms",
        f"requests of one client without an answer at once: {figures['most_open']} at most",
    ]


def _figures(clients: Sequence[_Client], turns: Turns) -> dict[str, Any]:
    answers = [len(client.waited_ms) for client in clients]
    connections = [client.window.connection for client in clients]
    figures: dict[str, Any] = {
        "answers": {"all": sum(answers), "least": min(answers), "most": max(answers)},
        "with_text": sum(client.with_text for client in clients),
        "turns": {"all": sum(turns.each), "least": min(turns.each), "most": max(turns.each)},
        "fairness": round(fairness(turns.each), 4),
        "queued_ms": spread(turns.queued_ms) if turns.queued_ms else {},
        "waited_ms": spread([wait for client in clients for wait in client.waited_ms]) if any(answers) else {},
        "worst_p95_ms": max((spread(client.waited_ms)["p95"] for client in clients if client.waited_ms), default=0.0),
        "overtaken": sum(client.overtaken for client in clients),
        "most_open": max(client.most_open for client in clients),
        "requests": {
            "asked": sum(each.asked for each in connections),
            "answered": sum(each.answered for each in connections),
            "cancelled": sum(each.cancelled for each in connections),
            "failed": sum(each.failed for each in connections),
            "doubled": sum(each.unexpected for each in connections),
            "lost": sum(each.open for each in connections),
        },
    }
    figures["goals"] = [goal.judge(value) for goal in GOALS if (value := look_up(figures, goal.figure)) is not None]
    return figures


@asynccontextmanager
async def _client(project: Path, folder: Path, model: Path, seed: int, number: int) -> AsyncIterator[_Client]:
    home, root = folder / "home", folder / str(number) / project.name
    home.mkdir(exist_ok=True)
    trace = make_trace(project, _TYPED_S, seed + number, Pace())
    await asyncio.to_thread(copy_without, project, trace.gaps, root)
    settings = {"host": {"orphanSeconds": 5}}
    window = VsCode(f"client {number + 1}", Window(root, home, settings, str(model), log=f"serve-{number}.log"))
    try:
        await window.start()
        yield _Client(window, trace)
    finally:
        await end(window)


def _now() -> float:
    return asyncio.get_running_loop().time()
