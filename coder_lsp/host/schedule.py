"""Who is next: one waiting request a client, the newest, and the clients in turn.

A plain data structure for ``host.server``; knows neither sockets nor models. Its length is bounded by the number of
clients, because a client that asks again replaces what it asked before: an editor only ever wants the suggestion for
what is on the screen now.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)
J = TypeVar("J")


class FairQueue(Generic[C, J]):
    """At most one waiting job a client, taken round-robin.

    A client that replaces its waiting job keeps its turn, so that one who types without a pause is not pushed back
    by every key; after being served it queues up behind all others.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[C, J] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, client: C) -> bool:
        """Whether the client has a waiting job."""
        return client in self._waiting

    def put(self, client: C, job: J) -> J | None:
        """Queue a job; returns the waiting one it replaces."""
        replaced = self._waiting.get(client)
        self._waiting[client] = job
        return replaced

    def take(self) -> J | None:
        """The next job, or None."""
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    def remove(self, client: C, job: J) -> bool:
        """Forget this job if it waits; tells whether it did."""
        if self._waiting.get(client) is not job:
            return False
        del self._waiting[client]
        return True

    def clear(self) -> list[J]:
        """Forget and return all that waits."""
        jobs = list(self._waiting.values())
        self._waiting.clear()
        return jobs
