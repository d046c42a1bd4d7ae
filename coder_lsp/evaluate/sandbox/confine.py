"""The last steps before a program starts, in its own process: limits, rights, filters."""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

from coder_lsp.evaluate.sandbox.order import DEVICES

if TYPE_CHECKING:
    from coder_lsp.evaluate.sandbox.order import Order

LINUX = sys.platform == "linux"
_MEGABYTE = 1 << 20


def confine(order: Order) -> None:
    """Everything but starting it. Nothing of it can be taken back.

    :raises OSError: a step that was to be possible is not.
    """
    os.umask(0o022)
    # What Python changed would be inherited.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    _limit(order)
    if not LINUX:
        return
    from coder_lsp.evaluate.sandbox import landlock, libc, seccomp

    if order.uid is not None:
        # Groups first: afterwards it may not any more.
        os.setgroups([])
        os.setresgid(order.uid, order.uid, order.uid)
    # While there is still the right to.
    libc.drop_bounds(order.keep)
    if order.uid is not None:
        libc.prctl(libc.PR_SET_KEEPCAPS, int(order.keep is not None))
        os.setresuid(order.uid, order.uid, order.uid)
    libc.drop_capabilities(order.keep)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    # After the user changed: that forgets it.
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    means = order.means
    if means.landlock and not means.namespaces:
        readable = [real for _, real in order.readable]
        landlock.restrict(means.landlock, readable=readable, devices=DEVICES, folder=order.folder)
    if means.seccomp:
        # In namespaces it sees nobody but its own children, and no file that it could change.
        seccomp.install(alone=None if means.namespaces else os.getpid())


def _limit(order: Order) -> None:
    limits = order.limits
    seconds = int(limits.seconds) + 1
    memory = limits.memory_mb * _MEGABYTE
    wanted = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_FSIZE: (limits.files_mb * _MEGABYTE,) * 2,
        resource.RLIMIT_NOFILE: (limits.open_files,) * 2,
        resource.RLIMIT_NPROC: (order.existing + limits.processes,) * 2,
        # Memory that is written to, not addresses: runtimes reserve many gigabytes that they never use.
        resource.RLIMIT_DATA: (memory, memory),
    }
    if LINUX:
        wanted[resource.RLIMIT_MSGQUEUE] = (0, 0)
        wanted[resource.RLIMIT_MEMLOCK] = (_MEGABYTE, _MEGABYTE)
    for which, (soft, hard) in wanted.items():
        _, most = resource.getrlimit(which)
        highest = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(which, (min(soft, highest), highest))
