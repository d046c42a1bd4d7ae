"""An engine that was told to end and does not come back: its host makes room for another.

Native code can wait for what never comes (a lock, a device, a thread of its own); nothing else in the process can end
such a call. Whoever types waits in line behind it meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS = 3.0
LOOKS = 10
"""Half a minute for what takes 50 ms. Looks are counted, not time: a host that was stopped for hours, or starved, has
looked no more often than its engine had time to end."""


async def until_overdue(told_to_end: Callable[[], object | None]) -> None:
    """Return once ``told_to_end`` has given the same object at so many looks in a row.

    :param told_to_end: what the engine works at although it was told to end, or None.
    """
    seen, looks = None, 0
    while looks < LOOKS:
        await asyncio.sleep(LOOK_SECONDS)
        now = told_to_end()
        looks = looks + 1 if now is not None and now is seen else int(now is not None)
        seen = now
