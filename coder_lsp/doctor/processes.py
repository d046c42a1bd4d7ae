"""The model hosts that run now, and what killed ones left behind.

Looks at the records in the socket folder and at the processes they name; connects to nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from coder_lsp.doctor.finding import ok, warn
from coder_lsp.host import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.doctor.finding import Finding
    from coder_lsp.host.address import Endpoint

_SAME_START_SECONDS = 1.0
"""Two readings of a process's start differ by the clock's tick; two processes with one number by far more."""


def check_hosts() -> Iterator[Finding]:
    keys = address.known_keys()
    if not keys:
        yield ok("model hosts", "none running; one is started when it is needed")
    for key in keys:
        endpoint = address.read_endpoint(key)
        process = _process(endpoint) if endpoint else None
        if endpoint is None or process is None:
            yield warn(
                "model hosts",
                f"host {key} was killed and left its record behind",
                "Nothing to do: the next host removes it.",
            )
            continue
        memory = process.memory_info().rss / (1 << 20)
        yield ok("model hosts", f"process {endpoint.pid} serves {endpoint.model}, {memory:,.0f} MB resident")


def _process(endpoint: Endpoint) -> psutil.Process | None:
    try:
        process = psutil.Process(endpoint.pid)
        started = process.create_time()
    except psutil.Error:
        return None
    if endpoint.created and abs(started - endpoint.created) > _SAME_START_SECONDS:
        return None  # The number was given to another process since.
    return process
