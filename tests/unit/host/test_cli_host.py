"""``coder-lsp host``: what a person sees of the hosts that run, and what a front gets from one it starts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

from support.hosts import alive, gone

from coder_lsp import paths
from coder_lsp.host.address import address_key
from coder_lsp.host.protocol import to_json
from coder_lsp.types import Adapter

HOST = (sys.executable, "-m", "coder_lsp", "host")


async def run(*arguments, stdin=""):
    """(exit status, stdout, stderr) of ``coder-lsp host``."""

    def call():
        done = subprocess.run([*HOST, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return await asyncio.to_thread(call)


async def test_status_lists_running_hosts(front):
    """Pid, model, state, memory, clients without the asking one."""
    window = front()
    await window.say(say=["a"])
    status, out, _ = await run("--status", "--json")
    [facts] = json.loads(out)
    assert status == 0
    assert facts["pid"] == (await window.supervisor.info())["pid"]
    assert (facts["model"], facts["state"], facts["clients"]) == ("scripted", "ready", 1)
    status, out, _ = await run("--status")
    assert out.startswith(f"{facts['pid']:>8}  scripted  ready  ")
    assert "1 clients" in out


async def test_status_says_which_adapters_the_last_answer_was_written_with(front):
    """By name where they are in the store, else by path; with their strength where it is not whole."""
    window = front()
    await window.say(say=["a"])
    assert json.loads((await run("--status", "--json"))[1])[0]["adapters"] == []
    assert " with " not in (await run("--status"))[1]
    stored = paths.adapters_dir() / "acme" / "0123.gguf"
    await window.say(say=["a"], adapters=(Adapter(str(stored), 0.5, "v1"), Adapter("/elsewhere/x.gguf")))
    [facts] = json.loads((await run("--status", "--json"))[1])
    assert facts["adapters"] == [
        {"path": str(stored), "scale": 0.5, "version": "v1"},
        {"path": "/elsewhere/x.gguf", "scale": 1.0, "version": ""},
    ]
    assert (await run("--status"))[1].rstrip().endswith("  with acme x 0.5, /elsewhere/x.gguf")


async def test_nothing_runs():
    assert await run("--status") == (0, "no model host runs\n", "")
    assert await run("--status", "--json") == (0, "[]\n", "")
    assert await run("--stop") == (0, "", "")


async def test_stop_ends_hosts_and_windows_start_another(front):
    """The process is gone when the command returns; the window's next request works."""
    window = front()
    await window.say(say=["a"])
    pid = (await window.supervisor.info())["pid"]
    assert await run("--stop") == (0, f"stopped scripted (process {pid})\n", "")
    assert not alive(pid)
    assert await gone(window.launcher) == [0]
    assert (await window.say(say=["b"])).text == "b"


async def test_a_hanging_host_is_shown_and_stopped(front):
    """SIGSTOP does not protect it."""
    window = front()
    await window.say(say=["a"])
    pid = (await window.supervisor.info())["pid"]
    os.kill(pid, signal.SIGSTOP)
    _, out, _ = await run("--status", "--json")
    assert json.loads(out) == [{"pid": pid, "model": "scripted", "state": "hangs"}]
    await window.supervisor.stop()
    assert (await run("--stop"))[0] == 0
    assert not alive(pid)


async def test_a_killed_host_is_not_listed(front):
    window = front()
    await window.say(say=["a"])
    await window.supervisor.stop()
    os.kill(window.launcher.started[0]._process.pid, signal.SIGKILL)
    await gone(window.launcher)
    assert await run("--status") == (0, "no model host runs\n", "")


async def test_second_host_says_busy_and_leaves(front, settings):
    """Status 0: losing the race is no failure."""
    await front().supervisor.start()
    status, out, _ = await run("--settings-stdin", stdin=json.dumps(to_json(settings())))
    assert (status, out) == (0, f"busy {address_key(settings())}\n")


async def test_unreadable_settings_are_an_error():
    """Wrong usage, and the field is named."""
    status, out, err = await run("--settings-stdin", stdin='{"model_path": "m"}')
    assert (status, out) == (2, "")
    assert err == "error: unreadable settings on stdin: HostSettings: missing model_name\n"
    assert (await run("--settings-stdin", stdin="nonsense"))[0] == 2


async def test_worker_of_the_environment_is_not_honoured(settings, monkeypatch):
    """Only the command line may name another worker: without it the real one refuses this "model"."""
    monkeypatch.setenv("CODER_LSP_WORKER", "support.scripted_worker:load")
    monkeypatch.setenv("CODER_LSP_HOST_WORKER", "support.scripted_worker:load")
    status, out, _ = await run("--settings-stdin", stdin=json.dumps(to_json(settings())))
    assert (status, out) == (1, f"listening {address_key(settings())}\n")
