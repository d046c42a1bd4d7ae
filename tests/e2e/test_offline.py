"""No network: everything works in a namespace without interfaces, and where there is one nothing is asked of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from lsprotocol import types as lsp
from support import watched
from support.samples import ADD
from support.session import session

SOURCE = "import json\n\n\ndef load(path):\n    with open(path) as f:\n        return json.\n"
LEDGER = "def settle_account(ledger, owner):\n    return ledger.close(owner)\n"


@pytest.fixture
def cut() -> tuple[str, ...]:
    """A command prefix under which a process has no network at all, not even loopback."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare command to cut the network with")
    if subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this system does not let us make a network namespace (unshare -rn)")
    return ("unshare", "-rn")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "load.py").write_text(SOURCE)
    (root / "add.py").write_text(ADD)
    (root / "ledger.py").write_text(LEDGER)
    return root


# Without any interface.


async def test_a_whole_session_without_any_interface(real_home, workspace, cut, run):
    """Index, completions, typing, an instruction, the host killed and back: front and host both in the namespace."""
    async with session(workspace, prefix=cut) as editor:
        editor.open("load.py", SOURCE)
        assert await editor.ghost("load.py", 5, 20) == "load(f)"
        assert await editor.indexed() == 3
        editor.insert("load.py", 5, 20, "load")
        assert await editor.ghost("load.py", 5, 24) == "(f)"

        (host,) = _hosts(run)
        assert _interfaces(host["pid"]) == ["lo"]
        assert _namespace(host["pid"]) != _namespace(os.getpid())
        psutil.Process(host["pid"]).kill()
        editor.open("add.py", ADD)
        assert await editor.ghost("add.py", 2, 13) == "+ b"

        told = await _explained(editor, "add.py")
        assert told
    assert not [message for message in editor.messages if "network" in message]


def test_without_any_network_completion_works_and_pull_says_one_clear_line(run, workspace, cut):
    finished = run("complete", str(workspace / "load.py"), "-l", "5", "-c", "20", prefix=cut)
    assert finished.stdout == "load(f)\n", finished.stderr

    finished = run("models", "pull", "smollm2-135m-instruct", "--yes", prefix=cut)
    assert finished.returncode == 1
    errors = [line for line in finished.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, finished.stderr
    assert "Traceback" not in finished.stderr


def test_without_any_network_the_demo_runs(run, cut):
    finished = run("demo", "--json", prefix=cut)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout


# Under a watch.


class Watch:
    """Records every system call that makes or uses a socket, of a process and of all that it starts."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.prefix = (sys.executable, watched.__file__, str(log))

    def written(self) -> str:
        """All of it, once nothing that is watched runs any more."""
        ends = time.monotonic() + watched.LIMIT_SECONDS
        tracers = [each for each in psutil.process_iter() if str(self.log) in _command(each)]
        while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in tracers):
            assert time.monotonic() < ends, "something that is watched runs on"
            time.sleep(0.01)
        return self.log.read_text()

    def families(self) -> set[str]:
        """Families of the sockets that were made and of the addresses that were used, as ``AF_UNIX``."""
        return set(re.findall(r"\b(AF_[A-Z0-9_]+)", self.written()))


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace command to watch with")
    watch = Watch(tmp_path / "calls.txt")
    if subprocess.run([*watch.prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this system does not let us watch a process (strace)")
    return watch


def test_the_watch_sees_what_goes_to_the_network(watch):
    """A proof of the tests below: this is what would fail them."""
    program = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    shell = f'{sys.executable} -c "{program}"'
    subprocess.run([*watch.prefix, "sh", "-c", shell], check=True)
    assert "AF_INET" in watch.families()


async def test_a_whole_session_opens_no_network_socket(real_home, workspace, watch, run):
    """``serve`` and the ``host`` that it starts, with whatever threads and processes they have."""
    async with session(workspace, prefix=watch.prefix) as editor:
        editor.open("load.py", SOURCE)
        assert await editor.ghost("load.py", 5, 20) == "load(f)"
        assert await editor.indexed() == 3
        (host,) = _hosts(run)
        assert watched.tracer_of(host["pid"]), "the host is not watched"
        editor.open("add.py", ADD)
        assert await _explained(editor, "add.py")
    assert run("host", "--stop").returncode == 0
    assert watch.families() == {"AF_UNIX"}, "something other than the host's own socket was used"


@pytest.mark.parametrize(
    "arguments",
    [
        ("complete", "load.py", "-l", "5", "-c", "20"),
        ("index", "."),
        ("context", "load.py", "-l", "5", "-c", "20"),
        ("ask", "add.py:1-3", "--max-tokens", "8"),
        ("stats",),
        ("models", "list"),
        ("doctor",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_opens_no_network_socket(real_home, workspace, watch, arguments, monkeypatch, run):
    monkeypatch.chdir(workspace)
    finished = run(*arguments, prefix=watch.prefix)
    assert finished.returncode in (0, 1), finished.stderr  # doctor may find something
    run("host", "--stop")
    assert watch.families() <= {"AF_UNIX"}, watch.written()


def _explained(editor, name: str):
    """The command that an editor sends to have lines explained; what it answers."""
    arguments = {
        "uri": editor.uri(name),
        "range": {"start": {"line": 0, "character": 0}, "end": {"line": 3, "character": 0}},
    }
    return editor.client.workspace_execute_command_async(lsp.ExecuteCommandParams("coder-lsp.explain", [arguments]))


def _hosts(run) -> list[dict]:
    return json.loads(run("host", "--status", "--json").stdout)


def _interfaces(pid: int) -> list[str]:
    """Names of the interfaces in the namespace of a process."""
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return [line.split(":")[0].strip() for line in lines]


def _namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
