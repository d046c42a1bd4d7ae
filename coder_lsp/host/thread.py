"""The one thread that owns the model: loads it, generates with it, closes it.

Not a thread pool: the interpreter waits for a pool's threads when it exits, and a native call that does not come back
must not keep the process alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class WorkerThread:
    """Runs calls one after the other, in the order they were made, on a daemon thread."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]]] = queue.SimpleQueue()
        self.busy = False
        """Whether a call runs now."""
        threading.Thread(target=self._run, name="model", daemon=True).start()

    async def call(self, function: Callable[[], T]) -> T:
        """Run on the thread. Cancelling the wait does not stop the call."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put((function, future))
        return await future

    def _run(self) -> None:
        while True:
            function, future = self._calls.get()
            self.busy = True
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:  # noqa: BLE001  (raised again where it was called for)
                error = raised
            self.busy = False
            # RuntimeError: the loop has ended, and with it everyone who would want to know.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
