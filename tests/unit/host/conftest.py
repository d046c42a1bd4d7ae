"""Real hosts over scripted workers: started through the supervisor's own launcher, killed when the test ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.hosts import Front, Launcher

from coder_lsp.host.protocol import HostSettings

TESTS = Path(__file__).parents[2]


@pytest.fixture
def launchers(monkeypatch):
    """Makes launchers; kills every host they started, and waits for it, when the test ends."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    made = []

    def make(*options, **launcher):
        made.append(Launcher(*options, **launcher))
        return made[-1]

    yield make
    for process in (process for launcher in made for process in launcher.started):
        process.kill()
        process._thread.join(20)
        assert not process._thread.is_alive()


@pytest.fixture
def settings(tmp_path):
    """Settings of a host whose loading follows a script."""

    def make(script=None, **changes):
        model = tmp_path / "model.json"
        if not model.exists() or script is not None:
            model.write_text(json.dumps(script or {}))
        return HostSettings(model_path=str(model), model_name="scripted", **changes)

    return make


@pytest.fixture
async def front(settings, launchers):
    """Makes fronts: ``front()`` is one editor window; windows share the settings unless told otherwise."""
    made = []

    def make(host_settings=None, options=(), launcher=None, **supervisor_options):
        made.append(Front(host_settings or settings(), launcher or launchers(*options), **supervisor_options))
        return made[-1]

    yield make
    for each in made:
        await each.supervisor.stop()


@pytest.fixture
def gate(tmp_path):
    """A file for scripts to wait for: ``gate.path`` names it, ``gate.open()`` makes it."""

    class Gate:
        def __init__(self, path):
            self.path = str(path)

        def open(self):
            Path(self.path).touch()

    numbers = iter(range(1000))
    return lambda: Gate(tmp_path / f"gate{next(numbers)}")
