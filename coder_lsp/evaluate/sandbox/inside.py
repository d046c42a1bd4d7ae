"""The processes between the supervisor and a program.

With namespaces there are two: one that enters them, and one that is the first in there, prepares the file system,
starts the program and waits. When that one ends, the kernel ends everything that was started in there, whatever it did
to get away. Without namespaces there is one, which starts the program and waits.

Each says what it does in lines of JSON on a pipe (``Teller``), whose end tells the supervisor that all are gone.
"""

# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from coder_lsp.evaluate.sandbox.confine import LINUX, confine

if TYPE_CHECKING:
    from coder_lsp.evaluate.sandbox.order import Order

_CROWDED_SECONDS = 0.02


@dataclass(frozen=True)
class Ends:
    """Descriptors: the program's three, where to tell, and where leave to go on comes from."""

    stdin: int
    stdout: int
    stderr: int
    told: int
    leave: int

    def tell(self, **what: Any) -> None:
        os.write(self.told, json.dumps(what).encode() + b"\n")


def first(order: Order, ends: Ends) -> NoReturn:
    """In the supervisor's child."""
    try:
        _first(order, ends)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told and this process ends
        ends.tell(error=f"the sandbox cannot be set up: {error or type(error).__name__}")
    finally:
        os._exit(1)


def _first(order: Order, ends: Ends) -> None:
    _end_with_parent()
    for path in order.groups:
        with open(path, "w", encoding="ascii") as stream:
            stream.write("0")
    if not order.means.namespaces:
        _start_and_wait(order, ends)
        return
    from coder_lsp.evaluate.sandbox import libc

    libc.unshare(libc.NEW_NAMESPACES)
    ends.tell(entered=True)
    # Users are mapped from outside.
    if os.read(ends.leave, 1) != b"y":
        return
    pid = os.fork()
    if pid == 0:
        try:
            _in_namespaces(order, ends)
        except Exception as error:  # noqa: BLE001  # as above
            ends.tell(error=f"the sandbox cannot be set up: {error or type(error).__name__}")
        finally:
            os._exit(1)
    ends.tell(pid=pid)
    _close(ends.stdin, ends.stdout, ends.stderr)
    os.waitpid(pid, 0)
    os._exit(0)


def _in_namespaces(order: Order, ends: Ends) -> None:
    """The first process in there. Signals from inside do not reach it, and its memory is its own."""
    from coder_lsp.evaluate.sandbox import mounts

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _end_with_parent()
    mounts.build(order.readable, order.files, order.limits.files_mb)
    _start_and_wait(order, ends)


def _start_and_wait(order: Order, ends: Ends) -> None:
    if LINUX:
        from coder_lsp.evaluate.sandbox import libc

        libc.prctl(libc.PR_SET_DUMPABLE, 0)
    ends.tell(began=True)
    pid = os.fork()
    if pid == 0:
        _program(order, ends)
    if not order.means.namespaces:
        ends.tell(pid=pid)
    _close(ends.stdin, ends.stdout, ends.stderr)
    while True:
        ended, status = os.wait()
        if ended == pid:
            break
    ends.tell(ended=os.waitstatus_to_exitcode(status))
    os._exit(0)


def _program(order: Order, ends: Ends) -> NoReturn:
    try:
        os.setsid()
        for number, end in enumerate((ends.stdin, ends.stdout, ends.stderr)):
            os.dup2(end, number)
        if not order.means.namespaces:
            os.chdir(order.folder)
        confine(order)
        _become(order)
    except Exception as error:  # noqa: BLE001  # as above
        ends.tell(error=f"{order.command[0]} cannot be started: {error}")
    finally:
        os._exit(127)


def _become(order: Order) -> NoReturn:
    """The program in place of this process."""
    deadline = time.monotonic() + order.limits.seconds
    while True:
        try:
            os.execve(order.command[0], order.command, order.environment)  # noqa: S606  # there is no shell in it
        except BlockingIOError:  # noqa: PERF203  # waited for, not hurried
            # The user has as many processes as this one may see: other programs' that multiply, and that end soon.
            if time.monotonic() > deadline:
                raise
            time.sleep(_CROWDED_SECONDS)


def _end_with_parent() -> None:
    if not LINUX:
        return
    from coder_lsp.evaluate.sandbox import libc

    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)


def _close(*descriptors: int) -> None:
    for each in descriptors:
        os.close(each)
