"""The scripted worker, in a host that waits next to no time for an engine that does not come back."""

from __future__ import annotations

from support.scripted_worker import load as _load

from coder_lsp.host import overdue


def load(settings, progress):
    overdue.LOOK_SECONDS = 0.05
    return _load(settings, progress)
