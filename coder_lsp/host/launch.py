"""Starting a host process and hearing how it went.

The host is given its settings on stdin and says one line on stdout, ``listening KEY`` or ``busy KEY`` (another process
is the host of this address), before it lets go of both. It belongs to a session of its own and outlives the front that
started it; as long as that front lives, a thread waits for its end, so that no zombie is left. What it writes to
stderr before its log is open is kept for the error message.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from coder_lsp.errors import HostUnavailable
from coder_lsp.host.address import private_runtime_dir
from coder_lsp.host.protocol import to_json
from coder_lsp.interpreter import module_command
from coder_lsp.paths import HOME_VARIABLE

if TYPE_CHECKING:
    from coder_lsp.host.protocol import HostSettings

LISTENING = "listening"
BUSY = "busy"

_LAST_WORDS_BYTES = 4000


@dataclass(frozen=True)
class HostLauncher:
    """The command line that starts a host; ``options`` are put behind it."""

    command: tuple[str, ...] = tuple(module_command("coder_lsp", "host", "--settings-stdin"))
    options: tuple[str, ...] = ()

    def launch(self, settings: HostSettings) -> HostProcess:
        """Start a host without waiting for anything; call on a running event loop."""
        return HostProcess([*self.command, *self.options], json.dumps(to_json(settings)).encode())


class HostProcess:
    """A host that was started. ``ready`` is its one line, empty if it ended without; ``ended`` its exit status.

    ``last_words`` is what it said on stderr, once it has ended: the error it reported, or else the last line.
    """

    def __init__(self, command: list[str], settings: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.last_words = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._unwanted = False
        self._thread = threading.Thread(target=self._attend, args=(command, settings), name="host process", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """End it, also if its thread is only just about to start it."""
        self._unwanted = True
        if self._process:
            self._process.kill()

    def _attend(self, command: list[str], settings: bytes) -> None:
        with tempfile.TemporaryFile() as stderr:
            try:
                with _start(command, stderr) as process:
                    self._process = process
                    if self._unwanted:
                        process.kill()
                    assert process.stdin is not None
                    assert process.stdout is not None
                    with contextlib.suppress(OSError):
                        process.stdin.write(settings)
                        process.stdin.close()
                    line = process.stdout.readline().decode(errors="replace").strip()
                    self._resolve(self.ready, line)
                status = process.returncode
                self.last_words = _last_words(stderr)
            except (OSError, HostUnavailable) as error:
                self.last_words = f"cannot start {command[0]}: {getattr(error, 'strerror', error)}"
                status = 127
        self._resolve(self.ready, "")
        self._resolve(self.ended, status)

    def _resolve(self, future: asyncio.Future[str] | asyncio.Future[int], value: str | int) -> None:
        def settle() -> None:
            if not future.done():
                future.set_result(value)  # type: ignore[arg-type]  # the callers pair them

        # RuntimeError: the front's loop has ended.
        with contextlib.suppress(RuntimeError):
            future.get_loop().call_soon_threadsafe(settle)


def describe_exit(status: int) -> str:
    """``exit status 1`` or ``killed by SIGKILL``."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _last_words(stderr: IO[bytes]) -> str:
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    reported = next((line for line in reversed(lines) if line.startswith("error: ")), "")
    return reported.removeprefix("error: ") or (lines[-1].strip() if lines else "")


def _start(command: list[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if environment.get(HOME_VARIABLE):
        environment[HOME_VARIABLE] = str(Path(environment[HOME_VARIABLE]).absolute())
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        # Not the front's: `python -m` imports from the working folder first, and that is the user's project.
        cwd=private_runtime_dir(),
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
