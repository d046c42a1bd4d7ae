"""A pull in a process of its own: its events, its answer, its refusals and its end. Real processes, a local server."""

from __future__ import annotations

import asyncio
import threading

import psutil
import pytest
from support.model_files import serving

from coder_lsp.errors import ModelNotFound, OfflineError
from coder_lsp.models import catalog, store
from coder_lsp.models.puller import pull


@pytest.fixture
def entry():
    """One of the shipped catalogue whose digest is not known, so that a small file may stand for it."""
    return next(each for each in catalog.load().entries if each.sha256 is None and each.bytes is None and each.hub)


async def test_events_come_and_then_the_model(entry, tiny, monkeypatch):
    with serving({f"/{entry.hub[0]}/resolve/main/{entry.file}": tiny}) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        events = []
        row = await pull(entry.name, allow_unverified=True, on_event=events.append)
    assert row["name"] == entry.name
    assert row["bytes"] == len(tiny)
    assert row["verified"] is False
    assert row["seconds"] > 0
    assert "begin" in [event["event"] for event in events]
    assert store.resolve(entry.name).path.read_bytes() == tiny


async def test_errors_are_those_of_the_pull():
    with pytest.raises(ModelNotFound, match="nosuch"):
        await pull("nosuch")
    with pytest.raises(OfflineError) as refusal:
        await pull("qwen2.5-coder-1.5b", offline=True)
    assert refusal.value.hint


async def test_a_cancelled_pull_ends_its_process_and_goes_on_later(entry, tiny, monkeypatch):
    path = f"/{entry.hub[0]}/resolve/main/{entry.file}"
    with serving({path: tiny}) as served:
        served.stall_path = path
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        pulling = asyncio.ensure_future(pull(entry.name, allow_unverified=True))
        await asyncio.to_thread(_await, served.stalled)
        [process] = [child for child in psutil.Process().children() if "pull" in child.cmdline()]
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
        assert not process.is_running()
        served.release.set()
        row = await pull(entry.name, allow_unverified=True)
    assert row["bytes"] == len(tiny)


def _await(event: threading.Event) -> None:
    assert event.wait(60)
