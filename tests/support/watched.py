"""Runs a command under strace: each system call of it, and of all it starts, about a socket goes to a file.

python watched.py LOG COMMAND…

The tracer attaches from the side: one that starts the command itself would hold its pipes open for as long as anything
it started lives, and who waits for the command's output would wait for a host to end.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from pathlib import Path

CALLS = "trace=socket,socketpair,connect,bind,sendto,sendmsg,sendmmsg"
_PR_SET_PTRACER = 0x59616D61
LIMIT_SECONDS = 30.0


def tracer_of(pid: int) -> int:
    """0: nobody."""
    found = re.search(r"^TracerPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def main() -> None:
    log, *command = sys.argv[1:]
    # Where only parents may trace, a process can name who else may.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    strace = ["strace", "-f", "-qq", "-e", CALLS, "-e", "signal=none", "-s", "0", "-o", log, "-p", str(os.getpid())]
    quiet = subprocess.DEVNULL
    tracer = subprocess.Popen(strace, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    ends = time.monotonic() + LIMIT_SECONDS
    while not tracer_of(os.getpid()):
        if tracer.poll() is not None or time.monotonic() > ends:
            sys.exit("strace did not attach")
        time.sleep(0.005)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
