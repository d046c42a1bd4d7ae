"""Hosts and fronts that are killed at random moments, again and again, and what the state of things is after each.

A household is two windows on one workspace, with a home of its own and a tiny model that always says the same. While
both work, files change on disk, and something is killed (SIGKILL). Then every window has to be served again, at once or
with a new front; and nothing may be wrong with what is on disk, no process may be left that nobody needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from faults.known import SAID, TEXT, write_model
from support.projects import Hands, contents, difference, make
from support.tiny_gguf import write_chain
from typing_extensions import Self

from coder_lsp.bench.replay.vscode import VsCode, Window
from coder_lsp.errors import HostUnavailable
from coder_lsp.paths import HOME_VARIABLE
from coder_lsp.retrieval.indexer import Indexer

PROBE = ("probe.py", TEXT)
ANSWER_S = 60.0
TRIES = 3
"""A kill may cost the request that was under way, and the one that finds out."""
GRACE_S = 20.0
"""For what ends by itself to do so, on a machine that has other work."""
_FILES = 60
_MOST_WAIT_S = 1.5
"""From the beginning of work to the kill; the host needs a third of that to load."""


@dataclass
class Tally:
    """What a campaign came to. ``wrong`` has a line for each thing that was not as it should be."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    """What the host was doing when something was killed, as the windows knew it."""
    requests: int = 0
    unanswered: int = 0
    """Of windows whose server was killed with them; of others none may be."""
    tries: Counter[int] = field(default_factory=Counter)
    """Requests until a window was served again."""
    given_up: int = 0
    """A host that dies five times within two minutes is given up; then the window asks for a restart."""
    messages: int = 0
    compared: int = 0
    wrong: list[str] = field(default_factory=list)


class Household:
    """``async with`` starts the windows and ends them in good order."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.home, self.root = folder / "h", folder / "project"
        self.home.mkdir()
        make(self.root, _FILES, seed)
        (self.root / PROBE[0]).write_text(PROBE[1])
        self._model = write_model(folder / "tiny.gguf")
        self._other = write_chain(folder / "other.gguf", [b"other", b" = 2", b"\n"])
        self._folder = folder
        self.chance = random.Random(seed)
        self.hands = Hands(self.root, seed)
        self.windows: list[VsCode] = []
        self.tally = Tally()
        self._started = 0

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _open(self) -> None:
        for _ in range(2):
            self.windows.append(await self._window())

    async def close(self) -> None:
        """All windows end; their host does so by itself, a moment later."""
        for window in self.windows:
            await self._count(window)
            await window.close()
        self.windows.clear()

    async def kill_one(self) -> None:
        """Work, a kill in the middle of it, and a look at everything."""
        busy = [asyncio.create_task(self._work(window)) for window in self.windows]
        disk = asyncio.create_task(asyncio.to_thread(self.hands.work, self.chance.randrange(5, 40)))
        await asyncio.wait(busy, timeout=self.chance.uniform(0, _MOST_WAIT_S))
        what = "front" if self.chance.random() < 0.4 else "host"
        victim = self.chance.choice(self.windows)
        self.tally.moments[str(victim._status.get("state"))] += 1
        killed = self._kill(what, victim)
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        await disk
        if not killed:
            return
        self.tally.kills[what] += 1
        if what == "front":
            await self._count(victim, killed=True)
            await victim.close()
            self.windows[self.windows.index(victim)] = await self._window()
        for window in self.windows:
            await self._served(window)
        await asyncio.to_thread(self._look_at_files)
        await asyncio.to_thread(self._look_at_processes)

    async def compare_index(self) -> None:
        """With everything ended, the index on disk leads to what a new one would have."""
        await self.close()
        found = await asyncio.to_thread(_built, self.root, self.home)
        fresh = self._folder / f"fresh{self._started}"
        expected = await asyncio.to_thread(_built, self.root, fresh)
        self.tally.compared += 1
        if found != expected:
            self.tally.wrong.append(f"the index is not what a new one is: {difference(found, expected)}")
        await self._open()

    def _kill(self, what: str, victim: VsCode) -> bool:
        pids = [victim.pid] if what == "front" else self.hosts()
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).kill()
        return bool(pids)

    async def _work(self, window: VsCode) -> None:
        """What somebody does, faster; ends when its server does."""
        with contextlib.suppress(HostUnavailable, ConnectionError):
            while True:
                path = self.chance.choice(self.hands.files() or [self.root / PROBE[0]])
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    window.open(str(path.relative_to(self.root)), "python", path.read_text(), "\n")
                for key in "\nvalue = load_order(":
                    window.press(key)
                    await asyncio.sleep(0.004)
                deed = self.chance.random()
                if deed < 0.3:
                    await window.suggest(invoked=True)[1]
                elif deed < 0.4:
                    lines = {"start": {"line": 0, "character": 0}, "end": {"line": 4, "character": 0}}
                    await window.command("coder-lsp.explain", {"uri": path.as_uri(), "range": lines})[1]
                elif deed < 0.5:
                    for model in (self._other, self._model):
                        await window.command("coder-lsp.chooseModel", str(model))[1]
                elif deed < 0.6:
                    window.close_documents()

    async def _served(self, window: VsCode) -> None:
        """The window gets the model's answer again, told of the kill in one message at most."""
        window.close_documents()
        with contextlib.suppress(HostUnavailable):
            # It may have been killed in the middle of a change of models.
            await asyncio.wait_for(window.command("coder-lsp.chooseModel", str(self._model))[1], ANSWER_S)
        for number in range(1, TRIES + 1):
            window.open(PROBE[0], "python", "", PROBE[1])
            try:
                answer = await asyncio.wait_for(window.suggest(invoked=True)[1], ANSWER_S)
            except (HostUnavailable, asyncio.TimeoutError) as error:
                answer = None
                said = f"{type(error).__name__}: {error}"
            else:
                said = repr(answer)
            items = answer.get("items", []) if isinstance(answer, dict) else answer or []
            if any(SAID in str(item["insertText"]) for item in items):
                self.tally.tries[number] += 1
                break
            window.close_documents()
            with contextlib.suppress(HostUnavailable):
                # Asked for: what the server notifies of by itself may come a few answers later.
                status = await asyncio.wait_for(window.command("coder-lsp.status")[1], ANSWER_S)
                if "coder-lsp.restart" in str(status["message"]):
                    self.tally.given_up += 1
                    await asyncio.wait_for(window.command("coder-lsp.restart")[1], ANSWER_S)
        else:
            self.tally.wrong.append(f"{window.name} was not served again: {said}")
        if len(window.messages) > 1:
            self.tally.wrong.append(f"{window.name} was told {len(window.messages)} things: {window.messages}")
        self.tally.messages += len(window.messages)
        window.messages.clear()

    async def _count(self, window: VsCode, *, killed: bool = False) -> None:
        """Requests of a window that ends: each was answered once, but for those that a killed server had."""
        rpc = window.connection
        deadline = time.monotonic() + ANSWER_S
        # The connection counts, and tells nobody.
        while not killed and rpc.open and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        self.tally.requests += rpc.asked
        self.tally.unanswered += rpc.asked - rpc.answered
        if not killed and rpc.open:
            self.tally.wrong.append(f"{window.name} got no answer to {rpc.open} requests")
        if rpc.unexpected:
            self.tally.wrong.append(f"{window.name} got {rpc.unexpected} answers that it did not wait for")

    def _look_at_files(self) -> None:
        for database in self.home.rglob("*.sqlite3"):
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
                (said,) = connection.execute("PRAGMA integrity_check").fetchone()
            if said != "ok":
                self.tally.wrong.append(f"{database.name}: {said}")
        left = [path.name for path in self.home.rglob("*") if path.suffix in {".tmp", ".part", ".new"}]
        if len(left) > 2:
            self.tally.wrong.append(f"left behind: {left}")
        sockets = [path for path in (self.home / "run").rglob("*") if path.is_socket()]
        # A killed one leaves its socket until the next host begins.
        if len(sockets) > len(self.hosts()) + 2:
            self.tally.wrong.append(f"{len(sockets)} sockets of {len(self.hosts())} hosts")

    def _look_at_processes(self) -> None:
        """Helpers end with the front that they worked for, and each model has one host."""
        known = {window.pid for window in self.windows} | set(self.hosts())
        strays = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.pid not in known and not known & {parent.pid for parent in process.parents()}:
                    strays.append(process)
        _, left = psutil.wait_procs(strays, GRACE_S)
        self.tally.wrong += [f"left running: {_command(process)}" for process in left]
        deadline = time.monotonic() + GRACE_S
        while len(hosts := self.hosts()) > len((self._model, self._other)):
            if time.monotonic() > deadline:
                self.tally.wrong.append(f"{len(hosts)} hosts of two models")
                break
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """Those of this home that have not ended."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.pid != os.getpid()
                    and process.environ().get(HOME_VARIABLE) == str(self.home)
                ):
                    found.append(process)
        return found

    def hosts(self) -> list[int]:
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if "host" in process.cmdline():
                    found.append(process.pid)
        return found

    async def _window(self) -> VsCode:
        self._started += 1
        settings = {"host": {"orphanSeconds": 2}}
        log = f"serve-{self._started}.log"
        window = VsCode(f"window {self._started}", Window(self.root, self.home, settings, str(self._model), log=log))
        await window.start()
        return window


async def campaign(folder: Path, kills: int, seed: int, *, compare_each: int = 25, note=lambda _: None) -> Tally:
    """So many kills; then everything ends, and what is left is looked at once more."""
    household = Household(folder, seed)
    async with household:
        while (done := household.tally.kills.total()) < kills:
            await household.kill_one()
            if household.tally.kills.total() > done and household.tally.kills.total() % compare_each == 0:
                await household.compare_index()
            note(household.tally)
        await household.compare_index()
    running = household.processes()
    _, left = await asyncio.to_thread(psutil.wait_procs, running, 30)
    household.tally.wrong += [f"does not end: {_command(process)}" for process in left]
    household.tally.wrong += [
        f"{log.name}: {line}"
        for log in household.home.rglob("*.log*")
        for line in log.read_text(errors="replace").splitlines()
        if "Traceback" in line or " CRITICAL " in line
    ]
    return household.tally


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {process.cmdline()}"
    return f"{process.pid}"


def _built(root: Path, home: Path):
    """What the index of a home says of a workspace, once it is settled."""
    before = os.environ.get(HOME_VARIABLE)
    os.environ[HOME_VARIABLE] = str(home)
    try:
        indexer = Indexer([root], watch="off", workers=2)
        indexer.start()
        assert indexer.wait_settled(ANSWER_S)
        found = contents(indexer.index)
        indexer.stop(timeout_s=ANSWER_S)
        return found
    finally:
        if before is None:
            del os.environ[HOME_VARIABLE]
        else:
            os.environ[HOME_VARIABLE] = before
