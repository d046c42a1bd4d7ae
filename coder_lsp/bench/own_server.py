"""A llama.cpp server of our own to measure against: started, killed in the middle of its work, started again.

It runs in a process of its own under an interpreter that has ``xllamacpp`` (``bench.replay.llama_cpp_server``) and
comes back at the address it had, as a server does that a supervisor restarts. Nothing else is ever killed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from coder_lsp.errors import HostUnavailable

if TYPE_CHECKING:
    from types import TracebackType

_SCRIPT = Path(__file__).parent / "replay" / "llama_cpp_server.py"
_STARTS = 5
"""Tries to come back at an address: the system may give its port to somebody meanwhile, for a connection of theirs."""
_END_SECONDS = 5.0


class OwnServer:
    """A server of one model file; ``url`` stays the same however often it is started. Use it as a context manager."""

    def __init__(self, python: Path, model: Path, threads: int) -> None:
        """:raises HostUnavailable: it does not come up."""
        self._command = [str(python), str(_SCRIPT), str(model), str(threads), "0"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (as long as this lives)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._start(port=0)

    def kill(self) -> None:
        """As the system does it when memory is short: without a word to anybody who is connected."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def restart(self) -> None:
        """:raises HostUnavailable: it does not come up at its address."""
        port = urlsplit(self.url).port or 0
        for _ in range(_STARTS - 1):
            with contextlib.suppress(HostUnavailable):
                return self._start(port)
        return self._start(port)

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._reap()
        self._log.close()

    def __enter__(self) -> OwnServer:  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, port: int) -> None:
        self._process = subprocess.Popen(
            [*self._command, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        try:
            self.url = str(self._said(self._process)["address"]).rstrip("/")
        except BaseException:
            self.kill()
            raise

    def _said(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Its first line of JSON; other lines are remarks of libraries. It loads as long as it takes: one that cannot
        ends, and with it this.
        """
        assert process.stdout is not None
        for line in process.stdout:
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return found
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip().splitlines()[-3:]
        raise HostUnavailable("the llama.cpp server to measure with did not come up", hint="\n".join(said))

    def _reap(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
