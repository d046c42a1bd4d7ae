"""Work that may end its process, such as that of parsers in C, done in another one, begun anew when it dies."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Died(AssertionError):
    """The process ended, by a signal or by itself, over its input."""


class Driver:
    """``python -m MODULE``, which answers each line of JSON with one; see :func:`serve`."""

    def __init__(self, module: str, errors: Path) -> None:
        self._module = module
        self._errors = errors
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: Any, *, seconds: float) -> Any:
        """The answer.

        :raises Died: there is none, and never will be.
        """
        process = self._process or self._begin()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            in_time = bool(waiting.select(seconds))
        line = process.stdout.readline() if in_time else b""
        if not line:
            status = "no answer" if not in_time else ""
            self.close()
            said = self._errors.read_text(errors="replace").strip().splitlines()
            raise Died(f"{status or signal_name(process.returncode)}: {' | '.join(said[-6:])}")
        return json.loads(line)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _begin(self) -> subprocess.Popen[bytes]:
        tests = Path(__file__).parents[1]
        path = os.pathsep.join(filter(None, [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]))
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": path},
            )
        return self._process


def signal_name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def serve(answer: Any) -> None:
    """In the process: answer line by line. An exception is told as ``defect``."""
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001  (that there is one is what is to be told)
            found = {"defect": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)
