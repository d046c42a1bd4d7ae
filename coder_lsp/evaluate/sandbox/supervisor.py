"""Runs one program under limits and says what became of it: ``python -m coder_lsp.evaluate.sandbox.supervisor``.

The order comes on stdin (``order.Order``), the outcome goes to stdout, both as JSON. The argument is the number of a
pipe whose other end the caller holds: when that closes, everything ends, so nothing outlives a caller that was killed.
Nothing here reads what the program wrote except to count it.
"""

# ruff: noqa: PTH123

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from coder_lsp.evaluate.sandbox import inside, processes
from coder_lsp.evaluate.sandbox.confine import LINUX
from coder_lsp.evaluate.sandbox.order import Order

if TYPE_CHECKING:
    from coder_lsp.evaluate.sandbox.limits import Limits

SETUP_SECONDS = 30.0
_LOOK_SECONDS = 0.1
"""Between two looks at memory, files and processes where the kernel does not limit all of them together."""
_LONGEST_PATH = 3000
_CUT_FACTOR = 256
_CHUNK = 1 << 16


class _Run:
    """One program, from its start to what became of it."""

    def __init__(self, order: Order, alive: int) -> None:
        self._order = order
        self._limits: Limits = order.limits
        self._selector = selectors.DefaultSelector()
        self._written = {"stdout": bytearray(), "stderr": bytearray()}
        self._counted = 0
        self._said = b""
        self._facts: dict[str, Any] = {}
        self._began = self._ended = 0.0
        self._reason = self._status = ""
        self._pid = 0
        self._leave = -1
        self._alive = alive
        self._waiting_input = order.stdin.encode("utf-8", "replace")
        self._child = self._fork()

    def _fork(self) -> int:
        stdin, self._stdin = os.pipe()
        stdout_end, stdout = os.pipe()
        stderr_end, stderr = os.pipe()
        told_end, told = os.pipe()
        leave, self._leave = os.pipe()
        ours = {stdout_end: "stdout", stderr_end: "stderr", told_end: "told", self._alive: "alive"}
        child = os.fork()
        if child == 0:
            for descriptor in (*ours, self._stdin, self._leave):
                os.close(descriptor)
            inside.first(self._order, inside.Ends(stdin, stdout, stderr, told, leave))
        for descriptor in (stdin, stdout, stderr, told, leave):
            os.close(descriptor)
        for descriptor, name in ours.items():
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ, name)
        os.set_blocking(self._stdin, False)
        self._selector.register(self._stdin, selectors.EVENT_WRITE, "stdin")
        return child

    def outcome(self) -> dict[str, Any]:
        deadline = time.monotonic() + SETUP_SECONDS
        look = 0.0
        while "told" in self._open():
            now = time.monotonic()
            if self._began:
                deadline = self._began + self._limits.seconds
            if now >= deadline and not self._status:
                if not self._began:
                    self._facts = {"error": f"the sandbox was not ready within {SETUP_SECONDS:.0f} s"}
                self._stop("timeout", f"{self._limits.seconds:g} s")
            if self._began and not self._status and now >= look:
                look = now + _LOOK_SECONDS
                self._look()
            # After a stop there is only an end to wait for.
            self._step(_LOOK_SECONDS if self._status else max(0.0, min(_LOOK_SECONDS, deadline - now)))
        self._end_all()
        while {"stdout", "stderr"} & self._open():
            # Whoever could write is gone: what is left is in the pipes.
            if not self._step(0.0):
                break
        return self._result()

    def _open(self) -> set[str]:
        return {key.data for key in self._selector.get_map().values()}

    def _step(self, seconds: float) -> bool:
        """Wait for something to happen at the pipes; False if nothing did."""
        events = self._selector.select(seconds)
        for key, _ in events:
            descriptor = key.fd
            if key.data == "stdin":
                self._feed(descriptor)
                continue
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                continue
            if not data:
                self._forget(descriptor)
                if key.data == "alive":
                    self._stop("killed", "the caller is gone")
            elif key.data == "told":
                self._hear(data)
            elif key.data != "alive":
                self._keep(key.data, data)
        return bool(events)

    def _feed(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._waiting_input[:_CHUNK]) if self._waiting_input else 0
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._waiting_input = b""
            written = 0
        self._waiting_input = self._waiting_input[written:]
        if not self._waiting_input:
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _keep(self, name: str, data: bytes) -> None:
        kept = self._written[name]
        kept += data[: max(0, self._limits.output_bytes - len(kept))]
        self._counted += len(data)
        if self._counted > self._limits.output_bytes * _CUT_FACTOR and not self._status:
            self._stop("killed", "output")

    def _hear(self, data: bytes) -> None:
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            facts: dict[str, Any] = json.loads(line)
            if "entered" in facts:
                self._map_users()
            if "began" in facts:
                self._began = time.monotonic()
            if "ended" in facts:
                self._ended = time.monotonic()
            self._pid = facts.get("pid", self._pid)
            # The first error is the cause of those that follow.
            self._facts = facts | self._facts

    def _map_users(self) -> None:
        """Themselves alone, without further groups; root, to prepare, and who runs the program."""
        folder = f"/proc/{self._child}"
        try:
            runs = self._order.uid
            if runs is not None:
                users = groups = f"0 0 1\n{runs} {runs} 1\n"
            else:
                users, groups = f"{os.geteuid()} {os.geteuid()} 1\n", f"{os.getegid()} {os.getegid()} 1\n"
                _put(f"{folder}/setgroups", "deny")
            _put(f"{folder}/uid_map", users)
            _put(f"{folder}/gid_map", groups)
            os.write(self._leave, b"y")
        except OSError as error:
            self._facts = {"error": f"the sandbox cannot be set up: users cannot be mapped ({error})"}
            os.write(self._leave, b"n")

    def _look(self) -> None:
        """What the kernel does not limit for all processes together."""
        if not LINUX or not self._pid:
            return
        if not self._order.memory_group or not self._order.means.namespaces:
            known = processes.table()
            below = [known[pid] for pid in (self._pid, *processes.descendants(self._pid, known)) if pid in known]
            if sum(each.memory_bytes for each in below) > (self._limits.memory_mb << 20):
                self._stop("killed", "memory")
            elif sum(each.threads for each in below) > self._limits.processes + 1:
                self._stop("killed", "processes")
        if not self._order.means.namespaces and not self._status:
            most = self._limits.files_mb << 20
            if _size(self._order.folder, most) + processes.deleted_bytes(self._pid) > most:
                self._stop("killed", "files")

    def _stop(self, status: str, reason: str) -> None:
        self._status, self._reason = status, reason
        self._ended = self._ended or time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            if self._order.means.namespaces:
                # All that is in the namespaces goes with the first process in there.
                os.kill(self._pid or self._child, signal.SIGKILL)
            elif LINUX:
                processes.end_children()
            else:
                os.killpg(self._pid or self._child, signal.SIGKILL)

    def _end_all(self) -> None:
        if LINUX:
            processes.end_children()
            return
        with contextlib.suppress(OSError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._child, 0)

    def _result(self) -> dict[str, Any]:
        texts = {name: bytes(data).decode("utf-8", "replace") for name, data in self._written.items()}
        status, code, reason = self._status, self._facts.get("ended"), self._reason
        if "error" in self._facts:
            status, code = "error", None
            texts["stderr"] = self._facts["error"]
        elif not status and code is None:
            status, reason = "killed", "it ended what waited for it"
        elif not status and code in {-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGXFSZ}:
            status = "timeout" if code == -signal.SIGXCPU else "killed"
            reason = {-signal.SIGXCPU: "processor time", -signal.SIGXFSZ: "files"}.get(code, "memory or processor time")
        elif not status:
            status = "failed" if code else "passed"
        seconds = max(0.0, self._ended - self._began) if self._began else 0.0
        return {"status": status, "returncode": code, **texts, "seconds": round(seconds, 4), "reason": reason}


def _size(folder: str, most: int) -> int:
    """Bytes of the program's folder; looked at no further than ``most``."""
    total = 0
    for root, folders, names in os.walk(folder):
        if len(root) > _LONGEST_PATH:
            # Further down there may be anything: a system call takes no longer path.
            return most + 1
        for name in (*folders, *names):
            with contextlib.suppress(OSError):
                # Empty files are not free either.
                total += os.lstat(f"{root}/{name}").st_blocks * 512 + 1024
        if total > most:
            break
    return total


def _put(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as stream:
        stream.write(text)


def main() -> int:
    """Do the order on stdin; returns the exit status."""
    order = Order.load(sys.stdin.read())
    os.umask(0o022)
    if LINUX:
        # All that is used later: in a file system of its own nothing of this package is there to be loaded.
        from coder_lsp.evaluate.sandbox import landlock, libc, mounts, seccomp  # noqa: F401

        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    print(json.dumps(_Run(order, int(sys.argv[1])).outcome()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
