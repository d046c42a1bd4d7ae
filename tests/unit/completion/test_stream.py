"""One generation: what becomes of it when it ends."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from support.scripted_backend import ScriptedBackend

from coder_lsp.completion.gap import Gap
from coder_lsp.completion.stream import Stream
from coder_lsp.types import CompletionRequest, FimRequest, Shape


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "done"])
async def test_one_that_ended_leaves_nothing_behind(cancelled):
    """Bug: a cancelled one was kept by its own task, with the text of the document, until the next full collection,
    which is half an hour of typing away."""
    backend = ScriptedBackend("text")
    backend.hold = asyncio.Event()
    gap = Gap.of(CompletionRequest("file:///a.py", "x = ", 4, "python"))
    stream = Stream(gap, Shape.LINE, FimRequest("file:///a.py", gap.prefix, gap.suffix))
    ended = asyncio.Event()
    stream.start(backend, lambda _: ended.set())
    await backend.asked.wait()
    if cancelled:
        stream.cancel()
    else:
        backend.hold.set()
    await stream.ended()
    await ended.wait()
    assert backend.cancelled == cancelled
    left = weakref.ref(stream)
    del stream
    await asyncio.sleep(0)
    assert left() is None
