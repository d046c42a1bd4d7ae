"""A soak: windows that work side by side on one host, looked at each minute."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.replay.run import end
from coder_lsp.bench.replay.vscode import VsCode, Window
from coder_lsp.bench.soak.day import ANSWER_S, Day, make_repository
from coder_lsp.bench.soak.held import held, machine_busy_s
from coder_lsp.bench.soak.verdict import Minute, Requests, verdict
from coder_lsp.engine import hardware
from coder_lsp.errors import HostUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coder_lsp.bench.replay.rpc import Rpc

_LOOK_S = 60.0
_FAULTS = (" ERROR ", " CRITICAL ", "Traceback")


@dataclass(frozen=True)
class SoakOptions:
    """``record``: a line of JSON for each minute goes there as it comes, so that a run that is killed leaves them."""

    minutes: float = 120.0
    windows: int = 2
    seed: int = 1
    record: Path | None = None
    look_s: float = _LOOK_S


async def soak(
    project: Path, model: Path, options: SoakOptions = SoakOptions(), note: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Work on copies of ``project`` in several windows for so long, and judge what it did to the processes.

    :raises InputError: there is no code to type, or no git.
    :raises HostUnavailable: the server or the model does not come up, or a server ends.
    """
    async with AsyncExitStack() as stack:
        # Short: the path of the host's socket depends on it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cls-", ignore_cleanup_errors=True)))
        days = []
        for number in range(options.windows):
            note(f"starting window {number + 1}")
            days.append(await stack.enter_async_context(_Seat(project, folder, model, options, number)))
        looks = _Looks(days, options, note)
        await looks.run()
        figures = verdict(looks.minutes, looks.requests())
        figures["done"] = dict(sum((day.done for day in days), Counter()))
        figures["late"] = [late for day in days for late in day.late]
        figures["faults_logged"] = _faults(folder)
        figures["goals"].append(_none_of("faults_logged", "faults in logs", figures["faults_logged"]))
    return {
        "hardware": hardware.detect().line(),
        "model": model.name,
        "project": project.name,
        "windows": options.windows,
        "seed": options.seed,
        **figures,
    }


class _Seat:
    """A window with its day; the last one to leave ends the host."""

    def __init__(self, project: Path, folder: Path, model: Path, options: SoakOptions, number: int) -> None:
        self._project, self._folder, self._model = project, folder, model
        self._options, self._number = options, number
        self._window: VsCode | None = None

    async def __aenter__(self) -> Day:
        home, root = self._folder / "home", self._folder / str(self._number) / self._project.name
        home.mkdir(exist_ok=True)
        await asyncio.to_thread(make_repository, self._project, root)
        settings = {"host": {"orphanSeconds": 30}}
        window = Window(root, home, settings, str(self._model), log=f"serve-{self._number}.log")
        self._window = VsCode(f"window {self._number + 1}", window)
        await self._window.start()
        # The first one changes models; the host that the others are with is measured.
        other = await asyncio.to_thread(_second, self._model, self._folder) if self._number == 0 else None
        return Day(
            self._window,
            self._project,
            root,
            random.Random(f"{self._options.seed} {self._number}"),  # noqa: S311  (reproducible, no secret)
            self._options.seed + 7919 * self._number,
            str(self._model),
            str(other) if other else None,
        )

    async def __aexit__(self, *_: object) -> None:
        if self._window is not None:
            await end(self._window)


class _Looks:
    """Has all days done, and looks at the processes meanwhile."""

    def __init__(self, days: Sequence[Day], options: SoakOptions, note: Callable[[str], None]) -> None:
        self.minutes: list[Minute] = []
        self._days, self._options, self._note = days, options, note
        self._began_s = time.monotonic()

    async def run(self) -> None:
        until_s = asyncio.get_running_loop().time() + 60 * self._options.minutes
        working = [asyncio.create_task(day.work(until_s)) for day in self._days]
        try:
            while True:
                ended, going_on = await asyncio.wait(working, timeout=self._options.look_s)
                await self._look()
                for task in ended:
                    task.result()
                if not going_on:
                    return
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    def requests(self) -> Requests:
        """Of all windows; what has had no answer by now is lost."""
        all_of = [day.window.connection for day in self._days]

        def total(count: Callable[[Rpc], int]) -> int:
            return sum(map(count, all_of))

        return Requests(
            asked=total(lambda rpc: rpc.asked),
            answered=total(lambda rpc: rpc.answered),
            cancelled=total(lambda rpc: rpc.cancelled),
            failed=total(lambda rpc: rpc.failed),
            doubled=total(lambda rpc: rpc.unexpected),
            lost=total(lambda rpc: rpc.open),
            late=sum(len(day.late) for day in self._days),
        )

    async def _look(self) -> None:
        # The last window never changes its model, so its host is the one that was there from the beginning.
        window = self._days[-1].window
        status: dict[str, Any] = {}
        with suppress(HostUnavailable, asyncio.TimeoutError):
            status = await asyncio.wait_for(window.command("coder-lsp.status")[1], ANSWER_S)
        host_pid = int((status.get("host") or {}).get("pid", 0))
        shown = [shown.waited_ms for day in self._days for shown in day.window.screen.shown]
        for day in self._days:
            day.window.screen.shown.clear()
        minute = Minute(
            round(time.monotonic() - self._began_s, 1),
            [held(day.window.pid) for day in self._days],
            held(host_pid) if host_pid else None,
            host_pid,
            [round(waited, 1) for waited in shown],
            self.requests().answered,
            machine_busy_s(),
        )
        self.minutes.append(minute)
        if self._options.record is not None:
            line = json.dumps({**asdict(minute), "requests": asdict(self.requests())})
            with self._options.record.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        left = max(0.0, self._options.minutes - minute.at_s / 60)
        memory = f"{minute.host.memory_mb:.0f} MB" if minute.host else "not there"
        self._note(f"{left:.0f} min left, {self.requests().answered:,} answers, host {memory}")


def _second(model: Path, folder: Path) -> Path | None:
    """The same model as another file, which has a host of its own."""
    copy = folder / f"second-{model.name}"
    try:
        os.link(model, copy)
    except OSError:
        if shutil.disk_usage(folder).free < 2 * model.stat().st_size:
            return None
        shutil.copyfile(model, copy)
    return copy


def _faults(folder: Path) -> int:
    """Lines in all logs that tell of a fault."""
    logs = [*folder.glob("home/serve-*.log"), *folder.glob("home/state/host.log*")]
    lines = [line for log in logs for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return sum(any(mark in line for mark in _FAULTS) for line in lines)


def _none_of(figure: str, title: str, value: int) -> dict[str, Any]:
    from coder_lsp.bench.goals import Goal

    return Goal(figure, 0, title).judge(value)
