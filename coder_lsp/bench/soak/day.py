"""What somebody does in one window, hour after hour: typing, and everything between."""

from __future__ import annotations

import asyncio
import string
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.replay.trace import Pace, copy_without, make_trace, take_out
from coder_lsp.bench.replay.typist import Typist
from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from coder_lsp.bench.replay.trace import Visit
    from coder_lsp.bench.replay.vscode import VsCode

ROUND_S = 600.0
"""Typing before the project is put back to what it was."""
PACE = Pace(characters_per_s=8.0, line_end_s=(0.3, 1.5), look_s=(0.5, 2.0))
PATIENCE_S = 1.0
ANSWER_S = 120.0
"""Longest wait for an answer, an instruction's included; then it is late, and lost if it never comes."""
OTHER_BRANCH = "other"
SECRET_FILE = "soak_settings.py"
_ACTIONS = {
    "cancels": 0.40,
    "invoked": 0.40,
    "branch": 0.25,
    "explain": 0.10,
    "explain cancelled": 0.10,
    "context": 0.15,
    "rest": 0.10,
    "reopen": 0.15,
    "statistics": 0.10,
    "model": 0.10,
}
"""Behind a visit, with this chance each."""
_REST_S = (30.0, 120.0)
_CANCELS = 20
_IDENTITY = ("-c", "user.name=soak", "-c", "user.email=soak@localhost", "-c", "commit.gpgsign=false")
_NEW_FILES = 30


@dataclass
class Day:
    """One window on a repository of its own. ``done`` counts what was done; ``other_model`` None: models stay."""

    window: VsCode
    project: Path
    root: Path
    chosen: Random
    seed: int
    model: str
    other_model: str | None = None
    done: Counter[str] = field(default_factory=Counter)
    late: list[str] = field(default_factory=list)
    """What was asked for and not answered in time, and when."""

    async def work(self, until_s: float) -> None:
        """Go on until the event loop's clock says so.

        :raises HostUnavailable: the server is gone.
        """
        await self._everything_once()
        number = 0
        while _now() < until_s:
            trace = make_trace(self.project, ROUND_S, self.seed * 1000 + number, PACE, PATIENCE_S)
            await asyncio.to_thread(take_out, trace.gaps, self.root)
            for visit in trace.visits:
                await self._visit(visit, until_s)
                if _now() >= until_s:
                    return
            self.window.close_documents()
            await asyncio.to_thread(git, self.root, "checkout", "-q", "--", ".")
            number += 1

    async def _everything_once(self) -> None:
        """All that loads something the first time: that is no growth, whenever it would have come."""
        window, trace = self.window, make_trace(self.project, 1.0, self.seed, PACE, PATIENCE_S)
        # What looks like a secret is judged by a library that is loaded for it.
        key = "AKIA" + "".join(self.chosen.choices(string.ascii_uppercase + string.digits, k=16))
        await asyncio.to_thread((self.root / SECRET_FILE).write_text, f'KEY = "{key}"\n', encoding="utf-8")
        window.open(SECRET_FILE, "python", f'KEY = "{key}"\n', "")
        await self._answer("suggestion", window.suggest(invoked=True))
        window.close_documents()
        for action in _ACTIONS:
            if action != "rest" and await self._do(action, trace.visits[0]):
                self.done[action] += 1

    async def _visit(self, visit: Visit, until_s: float) -> None:
        await Typist(self.window, PATIENCE_S).type(visit)
        self.done["visits"] += 1
        self.done["keys"] += len(visit.keys)
        for action, chance in _ACTIONS.items():
            if self.chosen.random() < chance and _now() < until_s and await self._do(action, visit):
                self.done[action] += 1

    async def _do(self, action: str, visit: Visit) -> bool:
        window = self.window
        if not window.has_open(visit.path):
            text = await asyncio.to_thread((self.root / visit.path).read_text, encoding="utf-8")
            window.open(visit.path, visit.language, text, "")
        if action == "cancels":
            asked = [window.suggest() for _ in range(_CANCELS)]
            for number, _ in asked:
                window.connection.cancel(number)
            await asyncio.wait({answer for _, answer in asked}, timeout=ANSWER_S)
        elif action == "invoked":
            await self._answer("suggestion", window.suggest(invoked=True))
        elif action == "branch":
            await self._other_branch(visit)
        elif action.startswith("explain"):
            number, answer = window.command("coder-lsp.explain", {"uri": self._uri(visit), "range": _LINES})
            if action.endswith("cancelled"):
                await asyncio.wait({answer}, timeout=self.chosen.uniform(0, 1))
                window.connection.cancel(number)
                await asyncio.wait({answer}, timeout=ANSWER_S)
            else:
                await self._answer("explanation", (number, answer))
        elif action == "context":
            place = {"uri": self._uri(visit), "position": _LINES["end"]}
            await self._answer("context", window.command("coder-lsp.context", place))
        elif action == "rest":
            await asyncio.sleep(self.chosen.uniform(*_REST_S))
        elif action == "reopen":
            window.close_documents()
        elif action == "statistics":
            await self._answer("statistics", window.command("coder-lsp.stats", {"days": 1}))
        elif self.other_model is not None:
            await self._other_model()
        else:
            return False
        return True

    async def _other_branch(self, visit: Visit) -> None:
        """There and back, with what is not committed put aside meanwhile, and a question on the other side."""
        self.window.close_documents()
        await asyncio.to_thread(self._switch, OTHER_BRANCH)
        file = self.root / visit.path
        if file.exists():
            self.window.open(visit.path, visit.language, file.read_text(encoding="utf-8"), "")
            await self._answer("suggestion", self.window.suggest())
            self.window.close_documents()
        await asyncio.to_thread(self._switch, "main")

    def _switch(self, branch: str) -> None:
        if branch == OTHER_BRANCH:
            git(self.root, "stash", "-q")
        git(self.root, "switch", "-q", branch)
        # Where all gaps are filled again just now, there was nothing to put aside.
        if branch != OTHER_BRANCH and git(self.root, "stash", "list"):
            git(self.root, "stash", "pop", "-q")

    async def _other_model(self) -> None:
        """Another model for a moment; the other windows stay with theirs."""
        for model in (self.other_model, self.model):
            await self._answer("choice of a model", self.window.command("coder-lsp.chooseModel", model))
            await self.window.until_ready(ANSWER_S)
            await self._answer("suggestion", self.window.suggest())

    async def _answer(self, what: str, asked: tuple[int, asyncio.Future[Any]]) -> None:
        done, _ = await asyncio.wait({asked[1]}, timeout=ANSWER_S)
        if not done:
            self.late.append(f"{what} {asked[0]} of {self.window.name} at {time.strftime('%H:%M:%S')}")
        for answer in done:
            answer.result()

    def _uri(self, visit: Visit) -> str:
        return (self.root / visit.path).as_uri()


_LINES = {"start": {"line": 0, "character": 0}, "end": {"line": 8, "character": 0}}


def make_repository(project: Path, root: Path) -> None:
    """A copy of the project as a repository with two branches that differ in many files, on ``main``.

    :raises InputError: git is missing, or refuses.
    """
    copy_without(project, (), root)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, *_IDENTITY, "commit", "-qm", "All")
    git(root, "switch", "-q", "-c", OTHER_BRANCH)
    files = sorted(file for file in root.rglob("*.*") if ".git" not in file.parts and file.is_file())
    for number, file in enumerate(files):
        if number % 20 == 1:
            file.unlink()
        elif number % 3 == 0:
            with file.open("a", encoding="utf-8") as stream:
                stream.write("\n")
    for number in range(_NEW_FILES):
        new = root / f"new_{number}.py"
        new.write_text(f"def made_on_another_branch_{number}(value):\n    return value + {number}\n", encoding="utf-8")
    git(root, "add", "-A")
    git(root, *_IDENTITY, "commit", "-qm", "Other")
    git(root, "switch", "-q", "main")


def git(root: Path, *arguments: str) -> str:
    """What git says.

    :raises InputError: git is missing, or refuses.
    """
    command = ["git", *_IDENTITY, *arguments]
    try:
        done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise InputError("there is no git", hint="Branches are switched with git: install it.") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().partition("\n")[0]
        raise InputError(f"git {arguments[0]} failed in {root}: {said}") from error
    return done.stdout


def _now() -> float:
    return asyncio.get_running_loop().time()
