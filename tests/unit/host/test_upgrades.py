"""coder-lsp is updated while editors have it open: windows of before and hosts of after meet, and the other way round.

Hosts of "another version" are real processes that were told another number before they began.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from support.hosts import alive, gone

from coder_lsp import __version__, paths
from coder_lsp.errors import HostUnavailable
from coder_lsp.host import protocol
from coder_lsp.host.address import address_key, known_keys, read_endpoint

_OTHER = """
import sys
import coder_lsp
coder_lsp.__version__ = {version!r}
from coder_lsp.host import protocol
protocol.PROTOCOL_VERSION = {spoken}
from coder_lsp.cli.main import main
main()
"""


def other(launchers, version="99.1", spoken=protocol.PROTOCOL_VERSION):
    """A launcher that starts hosts of another version, as an update of the package makes of every launcher."""
    program = _OTHER.format(version=version, spoken=spoken)
    return launchers(command=(sys.executable, "-c", program, "host", "--settings-stdin"))


def cli(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "coder_lsp", *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout


async def test_windows_of_before_an_update_share_the_host_of_after_it_and_are_told_once(front, launchers):
    """A bug once: the second window looked for that host at its own address, in vain, and gave up after a minute."""
    one, two = front(launcher=other(launchers)), front(launcher=other(launchers))
    assert (await one.say(say=["a"])).text == "a"
    assert (await asyncio.wait_for(two.say(say=["b"]), 20)).text == "b"
    pids = {(await window.supervisor.info())["pid"] for window in (one, two)}
    assert len(pids) == 1
    for window in (one, two):
        told = {status.message for status in window.status.seen if status.message}
        assert told == {f"coder-lsp was updated from {__version__} to 99.1 while it ran; restart the editor"}


async def test_a_window_of_after_an_update_starts_a_host_of_its_own_and_leaves_the_other_to_its_windows(
    front, launchers, settings
):
    """Each address has a version in it. Both answer; nothing is told."""
    before, after = front(launcher=other(launchers, "0.0.1")), front()
    await before.say(say=["a"])
    await after.say(say=["b"])
    assert len(known_keys()) == 2
    assert read_endpoint(address_key(settings())).pid == (await after.supervisor.info())["pid"]
    assert (await before.say(say=["c"])).text == "c"
    assert [status.message for status in after.status.seen if status.message] == []


async def test_a_host_that_speaks_a_later_protocol_sends_an_older_window_to_restart(front, launchers):
    """One clear line, no crash loop; and the window is not told to stop a host which others use."""
    window = front(launcher=other(launchers, spoken=protocol.PROTOCOL_VERSION + 1))
    with pytest.raises(HostUnavailable, match=r"speaks protocol \d+ \(coder-lsp 99\.1\), the editor's side") as refused:
        await window.say(say=["a"])
    assert refused.value.hint == "restart the editor"
    assert len(window.launcher.started) == 1


@pytest.mark.parametrize("spoken", [protocol.PROTOCOL_VERSION - 1, protocol.PROTOCOL_VERSION + 1])
async def test_hosts_of_another_protocol_are_listed_and_ended(front, launchers, spoken):
    """A bug once: ``host --stop`` was refused by them, and advised ``host --stop``."""
    window = front(launcher=other(launchers, spoken=spoken))
    with pytest.raises(HostUnavailable):
        await window.say(say=["a"])
    (pid,) = [process._process.pid for process in window.launcher.started]
    assert alive(pid)
    assert [
        (row["pid"], row["state"]) for row in json.loads(await asyncio.to_thread(cli, "host", "--status", "--json"))
    ] == [(pid, "another version")]
    assert await asyncio.to_thread(cli, "host", "--stop") == f"stopped scripted (process {pid})\n"
    await gone(window.launcher)
    assert not alive(pid)


async def test_the_record_of_a_host_may_have_more_in_it_than_we_know(front, settings):
    """As one of a newer version would. A record that is none is no host."""
    await front().say(say=["a"])
    key = address_key(settings())
    endpoint = read_endpoint(key)
    path = paths.runtime_dir() / f"host-{key}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "fair", "gpus": []}))
    assert read_endpoint(key) == endpoint
    path.write_text("[]")
    assert read_endpoint(key) is None
