"""Notices that the client's process is gone, as LSP asks of servers: an editor that was killed sends no ``exit``, and
its end of a pipe may live on in another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_POLL_SECONDS = 2.0


def watch_process(pid: int, on_death: Callable[[], None]) -> Callable[[], None]:
    """Call ``on_death`` when the process is gone; returns what ends the watch.

    A process that cannot be seen from here (another container's) is not watched.
    """
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        # Signal 0, which only asks elsewhere, is Ctrl-C there. The end of stdin has to do.
        return lambda: None
    if pid <= 0 or not _is_alive(pid):
        logger.info("the client's process %d is not visible from here, its end will not be noticed", pid)
        return lambda: None
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            watched = os.pidfd_open(pid)

            def unwatch() -> None:
                loop.remove_reader(watched)
                os.close(watched)

            def died() -> None:
                loop.remove_reader(watched)
                on_death()

            loop.add_reader(watched, died)
            return unwatch
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        if _is_alive(pid):
            timer = loop.call_later(_POLL_SECONDS, look)
        else:
            on_death()

    timer = loop.call_later(_POLL_SECONDS, look)

    def unwatch_timer() -> None:
        timer.cancel()

    return unwatch_timer


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
