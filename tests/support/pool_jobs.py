"""Jobs for tests of the pool; a worker process imports them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def double(shared, item):
    return shared + 2 * item


def whoami(shared, item):
    return (os.getpid(), os.nice(0), os.getppid())


def print_and_read(shared, item):
    """Everything that would disturb a protocol on stdin and stdout."""
    print("noise", item, flush=True)
    os.write(1, b"more noise\n")
    return (os.read(0, 1) if shared else b"", sys.stdin is None)


def misbehave(shared, item):
    """Items say what to do: crash, hang, raise, or anything else to come back; each one leaves a line in ``shared``."""
    with Path(shared).open("a", encoding="utf-8") as log:
        log.write(f"{item}\n")
    if item.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if item.startswith("hang"):
        # As C code that never returns: no Python exception gets in here.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        time.sleep(600)
    if item.startswith("raise"):
        raise ValueError(item)
    return item.upper()
