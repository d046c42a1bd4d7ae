"""Who writes the programs: the native engine in a process of its own, greedily, from left to right.

The host of the language server fills gaps and continues nothing plainly, so this asks the engine itself. It runs apart
(``apart``), as the host does, so that weights go when it ends and a crash in native code costs a run nothing it has.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from coder_lsp.errors import CoderLspError, EngineError
from coder_lsp.interpreter import module_command

if TYPE_CHECKING:
    from types import TracebackType

    from coder_lsp.evaluate.codegen.problem import Problem
    from coder_lsp.types import Adapter

_GRACE_SECONDS = 10.0
_LAST_LINES = 5


@dataclass(frozen=True)
class Generated:
    """``text`` ends before a stop string. ``prompt_cut``: so many tokens of the prompt's beginning did not fit."""

    text: str
    tokens: int = 0
    prompt_tokens: int = 0
    prompt_cut: int = 0
    ms: float = 0.0


class Generator(Protocol):
    """Blocking; one at a time."""

    def generate(self, problem: Problem) -> Generated:
        """:raises CoderLspError: nothing can be written any more."""
        ...


@dataclass(frozen=True)
class Job:
    """What the process apart loads. ``template`` None: found out by the vocabulary."""

    path: str
    template: str | None = None
    adapters: tuple[Adapter, ...] = ()
    threads: int = 0
    context_tokens: int = 4096
    kv_type: str = "f16"


class ApartGenerator:
    """The process apart, for as long as the context lasts."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._process: subprocess.Popen[str] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ApartGenerator:  # noqa: PYI034  # Self needs Python 3.11
        self._stderr = self._stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace"))
        self._process = subprocess.Popen(
            module_command("coder_lsp.evaluate.codegen.apart"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
        )
        try:
            self._ask(asdict(self._job))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def generate(self, problem: Problem) -> Generated:
        return Generated(
            **self._ask(
                {
                    "prompt": problem.prompt,
                    "chat": problem.chat,
                    "max_tokens": problem.max_tokens,
                    "stop": list(problem.stop),
                }
            )
        )

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        # One that is gone reads nothing; why it went is on its stderr.
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            process.wait(_GRACE_SECONDS)
            self._stderr.seek(0)
            last = "\n".join(self._stderr.read().splitlines()[-_LAST_LINES:])
            raise EngineError(
                f"the process that runs the model ended with status {process.returncode}",
                hint=last or "the same command goes on where it was",
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CoderLspError(answer["error"], hint=answer["hint"])
        return answer

    def _end(self) -> None:
        process = self._process
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._process = None
        self._stack.close()
