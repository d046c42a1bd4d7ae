"""A whole session and one fault: the editor goes on, the user is told one thing at most, what comes next is right."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from faults.known import SAID, TEXT, suggestion
from support.hosts import running_hosts
from support.session import session

from coder_lsp import paths
from coder_lsp.paths import HOME_VARIABLE


@pytest.fixture
def model(model):
    """The one that the settings name."""
    paths.config_file().parent.mkdir(parents=True, exist_ok=True)
    paths.config_file().write_text(f'model = "{model}"\n')
    return model


@pytest.fixture
def mounts():
    """A command prefix under which a process may mount what it likes, seen by nobody else."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare command to mount with")
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this system does not let us make a mount namespace (unshare -rm)")

    def prefix(script: str) -> tuple[str, ...]:
        return ("unshare", "-rm", "sh", "-c", f'{script} && exec "$@"', "sh")

    return prefix


def nothing_broke(log: Path) -> None:
    text = log.read_text()
    assert "Traceback" not in text
    assert "CRITICAL" not in text


def said_once(messages: list[str]) -> None:
    """One line for what is not kept, and one for there being no host, each once."""
    assert len(messages) <= 2, messages
    assert len({message[:30] for message in messages}) == len(messages), messages


def until_there(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file.name}"
        time.sleep(0.01)


def stop_hosts() -> None:
    subprocess.run([sys.executable, "-m", "coder_lsp", "host", "--stop"], check=False, timeout=60)


@pytest.mark.usefixtures("model")
async def test_a_host_that_is_stopped_for_a_while_goes_on(home, root, tmp_path):
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log)) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        (host,) = running_hosts(home)
        os.kill(host["pid"], signal.SIGSTOP)
        editor.open("b.py", TEXT)
        waiting = editor.request("b.py", 0, 0)
        editor.insert("b.py", 0, 0, "x")
        newer = editor.request("b.py", 0, 1)
        # Typing on is answered, though nobody is there to complete.
        assert not (await asyncio.wait_for(waiting, 20)).items
        os.kill(host["pid"], signal.SIGCONT)
        await asyncio.wait_for(newer, 60)
        editor.open("c.py", TEXT)
        assert await suggestion(editor, "c.py") == SAID
        assert [each["pid"] for each in running_hosts(home)] == [host["pid"]]
    assert editor.messages == []
    nothing_broke(log)


@pytest.mark.usefixtures("model")
async def test_front_and_host_wake_from_a_sleep(home, root, tmp_path):
    """As a laptop does: both stand still, and go on hours of the wall clock later."""
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log)) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        (host,) = running_hosts(home)
        fronts = [each for each in psutil.Process().children() if "serve" in each.cmdline()]
        pids = [host["pid"], *(front.pid for front in fronts)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        editor.open("b.py", TEXT)
        waiting = editor.request("b.py", 0, 0)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        assert (await asyncio.wait_for(waiting, 60)).items[0].insert_text == SAID
    assert editor.messages == []
    nothing_broke(log)


@pytest.mark.usefixtures("model")
async def test_a_socket_that_was_deleted_costs_nobody_anything(home, root, tmp_path):
    """What cleans up temporary folders does that. Who is connected stays; who comes then finds a way."""
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log)) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        for socket in [path for path in home.rglob("*") if path.is_socket()]:
            socket.unlink()
        editor.open("b.py", TEXT)
        assert await editor.ghost("b.py", 0, 0) == SAID
        async with session(root) as second:
            second.open("c.py", TEXT)
            assert await suggestion(second, "c.py") == SAID
        assert second.messages == []
    assert editor.messages == []
    nothing_broke(log)


@pytest.mark.usefixtures("model")
async def test_a_runtime_folder_that_was_removed_is_made_again(home, root):
    """A logout of the same user elsewhere removes it."""
    async with session(root) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        (host,) = running_hosts(home)
        shutil.rmtree(home / "run")
        psutil.Process(host["pid"]).kill()
        editor.open("b.py", TEXT)
        assert await suggestion(editor, "b.py") == SAID


@pytest.mark.usefixtures("model")
async def test_a_disk_that_fills_up_costs_what_would_be_kept_and_nothing_else(root, mounts, home, tmp_path):
    log, now, done = tmp_path / "serve.log", tmp_path / "now", tmp_path / "done"
    # Nobody outside sees what is mounted in there, so it is filled from inside.
    fill = f"dd if=/dev/zero of={home}/ballast bs=1024 2>/dev/null"
    script = (
        f"cp -r {home}/config {tmp_path}/config && mount -t tmpfs -o size=2m tmpfs {home} && "
        f"cp -r {tmp_path}/config {home}/ && "
        f"{{ (while [ ! -e {now} ]; do sleep 0.02; done; {fill}; touch {done}) & true; }}"
    )
    async with session(root, "--log-file", str(log), prefix=mounts(script)) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        assert await editor.indexed() >= 1
        now.touch()
        await asyncio.to_thread(until_there, done)
        for number in range(20):
            (root / f"new{number}.py").write_text("def settle(ledger):\n    return ledger.close()\n" * 20)
            editor.open(f"b{number}.py", TEXT)
            assert await editor.ghost(f"b{number}.py", 0, 0) == SAID
    said_once(editor.messages)
    nothing_broke(log)


@pytest.mark.usefixtures("model")
async def test_on_a_full_disk_the_user_is_told_and_with_room_again_all_is_well(root, mounts, home, tmp_path):
    log, now, done = tmp_path / "serve.log", tmp_path / "now", tmp_path / "done"
    script = (
        f"cp -r {home}/config {tmp_path}/config && mount -t tmpfs -o size=2m tmpfs {home} && "
        f"cp -r {tmp_path}/config {home}/ && {{ dd if=/dev/zero of={home}/ballast bs=1024 2>/dev/null; true; }} && "
        f"{{ (while [ ! -e {now} ]; do sleep 0.02; done; rm {home}/ballast; touch {done}) & true; }}"
    )
    async with session(root, "--log-file", str(log), prefix=mounts(script)) as editor:
        editor.open("a.py", TEXT)
        await editor.ghost("a.py", 0, 0)
        await editor.until_told("No space left on device")
        now.touch()
        await asyncio.to_thread(until_there, done)
        await editor.client.workspace_execute_command_async(_restart())
        editor.open("b.py", TEXT)
        assert await suggestion(editor, "b.py") == SAID
    said_once(editor.messages)
    nothing_broke(log)


@pytest.mark.usefixtures("model")
async def test_where_nothing_can_be_written_the_user_is_told_which_folder_it_is(home, root, mounts, tmp_path):
    log = tmp_path / "serve.log"
    script = f"mount --bind {home} {home} && mount -o remount,ro,bind {home}"
    async with session(root, "--log-file", str(log), prefix=mounts(script)) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == ""
        await editor.until_told(str(home / "run"))
        assert await editor.indexed() >= 1
    said_once(editor.messages)
    nothing_broke(log)


async def test_with_a_home_that_cannot_be_written_suggestions_come_all_the_same(
    home, model, root, mounts, tmp_path, monkeypatch
):
    """A home on read-only media, as of a guest or in a container; sockets have a folder of the session's."""
    log, user = tmp_path / "serve.log", home.parent / "user"
    (user / ".config" / "coder-lsp").mkdir(parents=True)
    (user / ".config" / "coder-lsp" / "config.toml").write_text(f'model = "{model}"\n')
    run = home.parent / "run"
    run.mkdir(mode=0o700)
    monkeypatch.delenv(HOME_VARIABLE)
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    script = f"mount --bind {user} {user} && mount -o remount,ro,bind {user}"
    try:
        async with session(root, "--log-file", str(log), prefix=mounts(script)) as editor:
            editor.open("a.py", TEXT)
            assert await suggestion(editor, "a.py") == SAID, log.read_text()
            assert await editor.indexed() >= 1
    finally:
        await asyncio.to_thread(stop_hosts)
    said_once(editor.messages)
    nothing_broke(log)


async def test_a_model_that_is_damaged_while_it_is_used_is_one_clear_error(home, root, model, tmp_path):
    log = tmp_path / "serve.log"
    whole = model.read_bytes()
    async with session(root, "--log-file", str(log)) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        with model.open("r+b") as file:
            file.truncate(4096)
        # Where the file is mapped, the host is dead as soon as it looks.
        for host in running_hosts(home):
            psutil.Process(host["pid"]).kill()
        editor.open("b.py", TEXT)
        await editor.ghost("b.py", 0, 0)
        await editor.until_told("truncated")
        said = [status["message"] for status in editor.statuses if status["message"]]
        assert "pull the model again" in said[-1]
        model.write_bytes(whole)
        await editor.client.workspace_execute_command_async(_restart())
        editor.open("c.py", TEXT)
        assert await suggestion(editor, "c.py") == SAID
    said_once(editor.messages)
    nothing_broke(log)


def _restart():
    from lsprotocol import types as lsp

    return lsp.ExecuteCommandParams("coder-lsp.restart", [])


def test_records_of_hosts_that_never_were_do_not_end_other_processes(home):
    """A stale record names the number of a process that is somebody else's by now."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        run = paths.runtime_dir()
        record = {
            "key": "0" * 20,
            "pid": other.pid,
            "created": 1.0,
            "model": "m",
            "transport": "unix",
            "path": str(run / "s"),
        }
        (run / f"host-{'0' * 20}.json").write_text(json.dumps(record))
        stopped = subprocess.run(
            [sys.executable, "-m", "coder_lsp", "host", "--stop"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert stopped.returncode == 0, stopped.stderr
        assert other.poll() is None
        other.communicate(b"\n")
    assert other.returncode == 0
