"""The C library's allocator, set up for processes that live all day."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt(3)``."""
_BIG = 512 << 10
"""Bytes. Above what asyncio reads at once (256 KiB), which comes and goes with every message."""


def give_back_what_is_free() -> None:
    """Have memory that was freed go back to the system. For the start of a process, before it has threads.

    glibc raises the size from which a block is mapped alone to that of the largest one that was freed, up to 32 MiB:
    once a prompt's state of 20 MB was written to disk, the next such block lies in the heap, and keeps that as large as
    it ever was. It also gives each thread a heap of its own. Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        # musl; it does as we want by itself.
        return
    mallopt(_ARENA_MAX, 2)
    # Either one also switches off that thresholds adapt.
    mallopt(_MMAP_THRESHOLD, _BIG)
    mallopt(_TRIM_THRESHOLD, 2 * _BIG)
