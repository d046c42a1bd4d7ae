"""The replay as a whole: subjects, turns, and what they did.

Every subject has processes, a copy of the project and, if it is ours, a home of its own. They type the same visits in
turns, visit by visit, and while one types the processes of all others stand still, so that none costs another anything.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from coder_lsp.bench.replay.llama_vim import RING_CHUNKS, LlamaVim
from coder_lsp.bench.replay.peers import completion_worker, find_server_python, infill_server
from coder_lsp.bench.replay.processes import ProcessTree
from coder_lsp.bench.replay.simple_plugin import SimplePlugin
from coder_lsp.bench.replay.summary import OURS, PEER, Replayed, figures, judge, ratios
from coder_lsp.bench.replay.trace import Pace, copy_without, make_trace
from coder_lsp.bench.replay.typist import Typist
from coder_lsp.bench.replay.vscode import VsCode, Window
from coder_lsp.engine import hardware
from coder_lsp.errors import HostUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from coder_lsp.bench.replay.trace import Trace, Visit
    from coder_lsp.bench.replay.typist import Subject

PEERS = (PEER, "llama-vim-ring", "plain")
WITHOUT: Mapping[str, dict[str, Any]] = {
    "draft": {"engine": {"draft": False}},
    "ladder": {"prompt": {"ladderTokens": 0}},
    "idle": {"idle": {"enabled": False}},
    "reuse": {"completion": {"reuse": False}},
    "anchor": {"prompt": {"anchored": False}},
    "context": {"context": {"enabled": False}},
    "delay": {"completion": {"delay": "none"}},
    "filter": {"completion": {"showFilter": "off"}},
    "focus": {},
}
"""Mechanisms of ours that can be measured by doing without, with the settings that switch them off; ``focus`` is the
editor's part: it tells nothing beyond the protocol.
"""
_END_SECONDS = 8.0


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay. ``minutes`` is typing time planned for each subject, project and patience."""

    minutes: float = 3.0
    seed: int = 1
    patience_s: tuple[float, ...] = (1.5,)
    peers: tuple[str, ...] = (PEER,)
    without: tuple[str, ...] = ()
    peer_python: Path | None = None
    threads: int = 0
    """0: as many as this machine has cores."""
    pace: Pace = field(default_factory=Pace)


@dataclass
class _Seat:
    """A subject with its processes and its notes."""

    subject: Subject
    processes: ProcessTree
    replayed: Replayed = field(default_factory=Replayed)


async def replay(
    projects: Sequence[Path],
    model: Path,
    options: ReplayOptions = ReplayOptions(),
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Type code of ``projects`` on every subject, all with the same model file and number of threads.

    :raises InputError: a project has no code to type, or a peer is not installed.
    :raises HostUnavailable: a subject does not come up.
    """
    with _ended_in_order():
        machine = hardware.detect()
        options = replace(options, threads=options.threads or machine.cores.count)
        traces = [
            (project, make_trace(project, 60 * options.minutes, options.seed, options.pace)) for project in projects
        ]
        if set(options.peers) & {PEER, "llama-vim-ring"}:
            options = replace(options, peer_python=await find_server_python(options.peer_python))
        clock = _TimeLeft(traces, options, note)
        sections = [
            await _section(project, trace, model, options, clock, patience_s=patience_s)
            for project, trace in traces
            for patience_s in options.patience_s
        ]
    return {
        "hardware": machine.line(),
        "model": model.name,
        "threads": options.threads,
        "seed": options.seed,
        "minutes": options.minutes,
        "sections": sections,
    }


async def _section(
    project: Path, trace: Trace, model: Path, options: ReplayOptions, clock: _TimeLeft, *, patience_s: float
) -> dict[str, Any]:
    """One project at one patience: every visit on every subject."""
    async with AsyncExitStack() as stack:
        # Short: the path of the host's socket depends on it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clr-", ignore_cleanup_errors=True)))
        seats: list[_Seat] = []
        for number, name in enumerate(_names(options)):
            clock.say(f"{project.name}: starting {name}")
            home = folder / str(number)
            root = home / project.name
            home.mkdir()
            copy_without(project, trace.gaps, root)
            subject, pid = await stack.enter_async_context(_subject(name, root, home, model, options))
            seat = _Seat(subject, ProcessTree(pid))
            stack.callback(seat.processes.resume)
            subject.requests()
            seat.processes.suspend()
            seats.append(seat)
        for visit in trace.visits:
            # Who comes first changes, lest always the same one meets a processor that is warm or cold.
            first = visit.number % len(seats)
            for seat in [*seats[first:], *seats[:first]]:
                place = f"place {visit.number + 1} of {len(trace.visits)}"
                clock.say(f"{project.name}, patience {patience_s:g} s: {place}, {seat.subject.name}")
                await _turn(seat, visit, patience_s)
                clock.done(visit.planned_s(patience_s))
    found = {seat.subject.name: figures(seat.replayed) for seat in seats}
    peer = found.get(PEER)
    return {
        "project": project.name,
        "patience_s": patience_s,
        "places": len(trace.gaps),
        "visits": len(trace.visits),
        "characters": trace.characters,
        "subjects": found,
        "ratios": {name: ratios(each, peer) for name, each in found.items() if name != PEER} if peer else {},
        "goals": judge(found),
        "samples": {
            seat.subject.name: {"shown_ms": [round(shown.waited_ms, 1) for shown in seat.replayed.shown]}
            for seat in seats
        },
    }


async def _turn(seat: _Seat, visit: Visit, patience_s: float) -> None:
    subject, replayed = seat.subject, seat.replayed
    seat.processes.resume()
    before_s = seat.processes.cpu_s()
    try:
        replayed.visits.append(await Typist(subject, patience_s).type(visit))
    finally:
        replayed.cpu_s += seat.processes.cpu_s() - before_s
        seat.processes.suspend()
    if not seat.processes.alive:
        raise HostUnavailable(f"{subject.name} ended while it was measured", hint="Run `coder-lsp doctor`.")
    replayed.requests += subject.requests()
    replayed.shown += subject.screen.shown
    subject.screen.shown = []


def _names(options: ReplayOptions) -> list[str]:
    return [OURS, *options.peers, *(f"without {mechanism}" for mechanism in options.without)]


@asynccontextmanager
async def _subject(
    name: str, root: Path, home: Path, model: Path, options: ReplayOptions
) -> AsyncIterator[tuple[Subject, int]]:
    """The subject of a name with the process that all of its work is done by or below."""
    log = home / "peer.log"
    if name == "plain":
        async with completion_worker(model, options.threads, options.seed, log) as worker:
            yield SimplePlugin(name, root, worker.complete), worker.pid
    elif name in PEERS:
        assert options.peer_python is not None
        ring = RING_CHUNKS if name == "llama-vim-ring" else 0
        async with infill_server(options.peer_python, model, options.threads, options.seed, log) as server:
            yield LlamaVim(name, root, server.infill, ring_chunks=ring, seed=options.seed), server.pid
    else:
        without = name.removeprefix("without ") if name != OURS else None
        settings = server_settings(options.threads, without)
        window = VsCode(name, Window(root, home, settings, str(model), extension=without != "focus"))
        try:
            await window.start()
            yield window, window.pid
        finally:
            await end(window)


def server_settings(threads: int, without: str | None = None) -> dict[str, Any]:
    """What the editor says to the server; the host ends with its only window."""
    settings: dict[str, Any] = {"engine": {"threads": threads}, "host": {"orphanSeconds": 1}}
    for section, values in WITHOUT[without].items() if without else ():
        settings[section] = {**settings.get(section, {}), **values}
    return settings


async def end(window: VsCode) -> None:
    """Close a window and see its host end with it."""
    started: list[psutil.Process] = []
    if window.pid:
        with suppress(psutil.Error):
            started = psutil.Process(window.pid).children(recursive=True)
    await window.close()
    _, left = await asyncio.to_thread(psutil.wait_procs, started, _END_SECONDS)
    for process in left:
        with suppress(psutil.Error):
            process.kill()


class _TimeLeft:
    """Says what is going on and how long it will take, by what was planned and what it took so far."""

    def __init__(
        self, traces: Sequence[tuple[Path, Trace]], options: ReplayOptions, note: Callable[[str], None]
    ) -> None:
        self._note = note
        self._left_s = len(_names(options)) * sum(
            visit.planned_s(patience_s)
            for _, trace in traces
            for visit in trace.visits
            for patience_s in options.patience_s
        )

    def say(self, what: str) -> None:
        self._note(f"{what}; at most {max(1, round(self._left_s / 60))} min left")

    def done(self, planned_s: float) -> None:
        self._left_s -= planned_s


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A request to end (SIGTERM) cancels the task, so that no process is left standing still."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    # Elsewhere than on Unix, and off the main thread, there is nothing to set.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGTERM)
