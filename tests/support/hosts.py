"""Fronts and hosts for tests: real processes over scripted workers, and what to wait for."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from coder_lsp.host.address import address_key, read_endpoint
from coder_lsp.host.client import HostClient
from coder_lsp.host.launch import HostLauncher
from coder_lsp.host.supervisor import HostSupervisor
from coder_lsp.types import FimRequest


def running_hosts(home):
    """What `coder-lsp host --status` says of the hosts of a home."""
    done = subprocess.run(
        [sys.executable, "-m", "coder_lsp", "host", "--status", "--json"],
        env={**os.environ, "CODER_LSP_HOME": str(home)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout)


class Launcher:
    """A HostLauncher with the scripted worker, that remembers what it started."""

    def __init__(self, *options, **launcher):
        options = ("--worker", "support.scripted_worker:load", *options)
        self._launcher = HostLauncher(options=options, **launcher)
        self.started = []

    def launch(self, settings):
        self.started.append(self._launcher.launch(settings))
        return self.started[-1]


class Recorder:
    """An ``on_status`` that can be waited on."""

    def __init__(self):
        self.seen = []
        self._news = asyncio.Event()

    def __call__(self, status):
        self.seen.append(status)
        self._news.set()

    @property
    def states(self):
        return [status.state.value for status in self.seen]

    async def until(self, state, after=0):
        """The first status with this state among ``seen[after:]``."""
        while True:
            found = next((status for status in self.seen[after:] if status.state.value == state), None)
            if found:
                return found
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 20)


class Front:
    """A supervisor with its recorder and launcher: what one editor window has."""

    def __init__(self, settings, launcher, **options):
        self.status = Recorder()
        self.launcher = launcher
        self.supervisor = HostSupervisor(settings, self.status, launcher=launcher, **options)

    async def say(self, on_text=None, **script):
        return await self.supervisor.complete(request(**script), on_text)


def request(adapters=(), **script):
    return FimRequest(document="file:///a.py", prefix=json.dumps(script), suffix="", adapters=adapters)


def alive(pid):
    """Whether the process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(launcher):
    """Exit statuses of all started processes, once they have ended."""
    return [await asyncio.wait_for(asyncio.shield(process.ended), 20) for process in launcher.started]


@asynccontextmanager
async def second_client(host_settings, **options):
    """Another connection to the host that runs."""
    endpoint = read_endpoint(address_key(host_settings))
    assert endpoint is not None
    client = await HostClient.open(endpoint, **options)
    try:
        yield client
    finally:
        await client.close()


def files_of(folder):
    return {
        path.name: path.stat().st_mode & 0o777 for path in Path(folder).rglob("*") if path.is_file() or path.is_socket()
    }


def home():
    return Path(os.environ["CODER_LSP_HOME"])
