"""A front keeps its host: found, started once, brought back after a crash, given up on, restarted."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from support.hosts import Front, alive, files_of, gone, second_client

from coder_lsp import paths
from coder_lsp.errors import HostCrashed, HostUnavailable
from coder_lsp.host.address import address_key, read_endpoint
from coder_lsp.host.client import HostClient
from coder_lsp.host.launch import HostLauncher, describe_exit
from coder_lsp.host.supervisor import CrashHistory, HostSupervisor
from coder_lsp.types import FinishReason


async def test_racing_windows_start_one_host(front):
    """Two supervisors at once: at most one process each, one of them is the host of both."""
    one, two = front(), front()
    await asyncio.gather(one.supervisor.start(), two.supervisor.start())
    pids = {(await window.supervisor.info())["pid"] for window in (one, two)}
    assert len(pids) == 1
    started = [*one.launcher.started, *two.launcher.started]
    losers = [process for process in started if process._process.pid not in pids]
    assert len(started) - len(losers) == 1
    for loser in losers:
        assert await asyncio.wait_for(asyncio.shield(loser.ended), 20) == 0


async def test_killed_in_mid_generation_then_serves_again(front):
    """Text was delivered: this request fails. The next one works, on a new process, and the dead one left nothing."""
    window = front()
    seen = asyncio.Event()

    def sink(_):
        seen.set()
        return True

    asking = asyncio.create_task(window.say(sink, say=["a"], hold=True))
    await asyncio.wait_for(seen.wait(), 20)
    killed = (await window.supervisor.info())["pid"]
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(HostCrashed):
        await asking
    assert (await window.say(say=["b"])).text == "b"
    assert (await window.supervisor.info())["pid"] != killed
    assert not alive(killed)
    assert sorted(name.rpartition(".")[2] for name in files_of(paths.runtime_dir())) == ["json", "lock", "sock"]
    assert "crashed" in next(status.message for status in window.status.seen if status.message)


async def test_request_that_was_not_answered_yet_is_tried_again(front, gate, tmp_path):
    """Nothing was delivered when the host died: the same request is completed by the next host."""
    window, go = front(), gate()
    asking = asyncio.create_task(window.say(say=["a"], wait=go.path))
    await window.status.until("generating")
    os.kill((await window.supervisor.info())["pid"], signal.SIGKILL)
    await window.status.until("starting", after=window.status.states.index("generating"))
    go.open()
    assert (await asking).text == "a"


async def test_request_that_kills_is_tried_twice_only(front):
    window = front()
    with pytest.raises(HostCrashed):
        await window.say(die=True)
    assert len(window.launcher.started) == 2


async def test_gives_up_after_five_crashes_until_restarted(front, settings, launchers):
    """Waits 0.25, 0.5, 1, 2 s on the injected clock; then an error with the next step; start() tries as often again."""
    waits, now = [], time.monotonic()

    async def sleep(seconds):
        nonlocal now
        waits.append(round(seconds, 6))
        now += seconds

    window = front(settings({"die": True}), clock=lambda: now, sleep=sleep)
    with pytest.raises((HostCrashed, HostUnavailable)):
        await window.say(say=["a"])
    status = await window.status.until("error")
    assert waits == [0.25, 0.5, 1.0, 2.0]
    assert "failed 5 times within 120 s" in status.message
    assert "coder-lsp.restart" in status.message
    assert "coder-lsp doctor" in status.message
    assert "host.log" in status.message
    assert await gone(window.launcher) == [-signal.SIGKILL] * 5
    now += 1e6
    with pytest.raises(HostUnavailable, match="failed 5 times"):
        await window.say(say=["a"])
    assert len(window.launcher.started) == 5

    await window.supervisor.start()
    assert len(window.launcher.started) == 10
    with pytest.raises(HostUnavailable, match="failed 5 times"):
        await window.say(say=["a"])

    settings({})
    await window.supervisor.restart()
    assert (await window.say(say=["b"])).text == "b"


async def test_windows_survive_a_crash_together(front):
    """Both are connected to one new host afterwards."""
    one, two = front(), front()
    await one.say(say=["a"])
    await two.say(say=["b"])
    os.kill((await one.supervisor.info())["pid"], signal.SIGKILL)
    for window in (one, two):
        await window.status.until("starting", after=window.status.states.index("ready"))
    assert [(await window.say(say=["c"])).text for window in (one, two)] == ["c", "c"]
    assert (await one.supervisor.info())["pid"] == (await two.supervisor.info())["pid"]


async def test_a_connection_that_takes_its_time_to_end_does_not_take_the_next_one_along(front, settings):
    """Found by kills at random moments: the new connection was let go of, and its reading collected as garbage."""
    window = front()
    await window.supervisor.start()
    async with second_client(settings()) as old:
        now = window.supervisor._client
        window.supervisor._on_lost(old)
        assert window.supervisor._client is now
        assert (await window.say(say=["a"])).text == "a"
    assert len(window.launcher.started) == 1


async def test_a_client_that_nobody_holds_reads_to_the_end_of_its_connection(front, settings):
    """The same: "Task was destroyed but it is pending" stood in the log of a front."""
    window = front()
    await window.supervisor.start()
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["message"]))
    lost = asyncio.Event()
    await HostClient.open(read_endpoint(address_key(settings())), on_lost=lambda _: lost.set())
    gc.collect()
    await window.supervisor.restart()
    await asyncio.wait_for(lost.wait(), 20)
    gc.collect()
    assert faults == []


async def test_restart_replaces_the_process(front):
    """The other window is told and comes along with its next request."""
    one, two = front(), front()
    await one.say(say=["a"])
    await two.say(say=["a"])
    before = (await one.supervisor.info())["pid"]
    await one.supervisor.restart()
    after = (await one.supervisor.info())["pid"]
    assert after != before
    await two.status.until("stopped")
    assert (await two.say(say=["b"])).text == "b"
    assert (await two.supervisor.info())["pid"] == after
    assert not alive(before)


async def test_hanging_host_is_an_error_and_restart_ends_it(front, launchers):
    """SIGSTOP: connecting works, the greeting is not answered."""
    first = front()
    await first.say(say=["a"])
    hung = (await first.supervisor.info())["pid"]
    await first.supervisor.stop()
    os.kill(hung, signal.SIGSTOP)
    window = front(hello_seconds=0.2)
    with pytest.raises(HostUnavailable, match=rf"process {hung}\) does not answer") as raised:
        await window.say(say=["b"])
    assert "restart" in raised.value.hint
    assert window.supervisor.status.state.value == "error"
    # Asked again at once, it says so at once.
    with pytest.raises(HostUnavailable, match="does not answer"):
        await window.say(say=["b"])
    await window.supervisor.restart()
    assert (await window.say(say=["c"])).text == "c"
    assert not alive(hung)


async def test_host_that_cannot_start_says_why(settings):
    """The last line of its stderr is in the error."""
    launcher = HostLauncher(command=(sys.executable, "-c", "import sys; sys.exit('no such thing')"))
    window = Front(settings(), launcher)
    with pytest.raises(HostUnavailable, match="did not start: no such thing") as raised:
        await window.say(say=["a"])
    assert "coder-lsp doctor" in raised.value.hint
    assert window.supervisor.status.state.value == "error"
    await window.supervisor.stop()


async def test_missing_program_is_an_error_too(settings):
    window = Front(settings(), HostLauncher(command=("/nonexistent/python",)))
    with pytest.raises(HostUnavailable, match="cannot start /nonexistent/python"):
        await window.say(say=["a"])
    await window.supervisor.stop()


async def test_start_does_not_raise(settings):
    """A failure is in the status, where the editor shows it."""
    window = Front(settings(), HostLauncher(command=(sys.executable, "-c", "raise SystemExit(3)")))
    await window.supervisor.start()
    assert "exit status 3" in window.supervisor.status.message
    await window.supervisor.stop()


async def test_stopped_supervisor_refuses_and_can_start_again(front):
    window = front()
    await window.say(say=["a"])
    await window.supervisor.stop()
    assert window.status.states[-1] == "stopped"
    assert window.supervisor.status.state.value == "stopped"
    with pytest.raises(HostUnavailable):
        await window.say(say=["b"])
    await window.supervisor.start()
    assert (await window.say(say=["c"])).text == "c"
    assert len(window.launcher.started) == 1


async def test_stop_while_starting_leaves_nobody_waiting(front, settings, gate):
    window = front(settings({"wait": gate().path}))
    asking = asyncio.create_task(window.say(say=["a"]))
    await window.status.until("starting")
    await window.supervisor.stop()
    with pytest.raises((HostUnavailable, HostCrashed)):
        await asking


async def test_host_outlives_the_window_that_started_it(front, settings):
    """A second window finds it after the first has closed."""
    first, second = front(), front()
    await first.say(say=["a"])
    pid = (await first.supervisor.info())["pid"]
    await first.supervisor.stop()
    assert (await second.say(say=["b"])).finish_reason is FinishReason.STOP_TOKEN
    assert (await second.supervisor.info())["pid"] == pid


async def test_project_folder_cannot_lend_modules_to_the_host(front, tmp_path, monkeypatch):
    """`python -m` looks in the working folder first: the host's is not the editor's."""
    project = tmp_path / "project"
    (project / "coder_lsp").mkdir(parents=True)
    (project / "coder_lsp" / "__init__.py").write_text("raise SystemExit('taken over')")
    (project / "json.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(project)
    assert (await front().say(say=["a"])).text == "a"


def test_front_side_loads_no_engine():
    """Importing the supervisor loads neither the native module nor llama.cpp nor torch nor psutil."""
    program = "import sys, coder_lsp.host.supervisor; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "coder_lsp.host.client" in loaded
    assert not loaded & {
        "coder_lsp.engine._native",
        "coder_lsp.engine.llama",
        "coder_lsp.host.worker",
        "filelock",
        "huggingface_hub",
        "llama_cpp",
        "numpy",
        "psutil",
        "torch",
    }


def test_waits_double_up_to_the_longest():
    """0.25, 0.5, 1 … s after the last crash; old crashes are forgotten; infinity at the limit."""
    history = CrashHistory(limit=10)
    assert history.start_at() == -math.inf
    waits = []
    for _ in range(9):
        history.add(100.0)
        waits.append(history.start_at() - 100.0)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    history.add(100.0)
    assert history.start_at() == math.inf
    history.add(221.0)
    assert history.start_at() == 221.25


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_exit_in_words(status, words):
    assert describe_exit(status) == words


def test_default_supervisor_is_idle_until_asked(settings):
    """Making one starts nothing."""
    assert HostSupervisor(settings(), lambda _: None).status.state.value == "stopped"
