"""Who shares a host, and where its files are."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from coder_lsp import paths
from coder_lsp.config import PromptConfig
from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import HostUnavailable
from coder_lsp.host import address
from coder_lsp.host.address import Endpoint
from coder_lsp.host.transport import same_user

ENDPOINT = Endpoint("k", 1, 2.5, "m", "tcp", port=7, token="SECRET")


def test_equal_settings_share_a_host(settings):
    assert address.address_key(settings()) == address.address_key(settings())


def test_the_life_of_a_host_is_not_its_identity(settings):
    """Another idle time in another window must not load the model twice."""
    assert address.address_key(settings(idle_seconds=1.0)) == address.address_key(settings(idle_seconds=2.0))


@pytest.mark.parametrize(
    "changes",
    [{"template": "codegemma"}, {"engine": EngineOptions(context_tokens=8)}, {"prompt": PromptConfig(anchor_lines=0)}],
)
def test_what_changes_the_answers_makes_another_host(settings, changes):
    assert address.address_key(settings(**changes)) != address.address_key(settings())


def test_a_replaced_model_file_makes_another_host(settings):
    before = address.address_key(settings())
    assert address.address_key(settings({"progress": [0.5]})) != before


def test_links_to_the_same_file_share_a_host(settings, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(settings().model_path)
    assert address.address_key(dataclasses.replace(settings(), model_path=str(link))) == address.address_key(settings())


def test_endpoint_round_trip_is_private():
    """Read back equal, 0600, and the token is not in the repr."""
    address.write_endpoint(ENDPOINT)
    assert address.read_endpoint("k") == ENDPOINT
    assert (paths.runtime_dir() / "host-k.json").stat().st_mode & 0o777 == 0o600
    assert "SECRET" not in repr(ENDPOINT)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"key": 1}'])
def test_unreadable_record_is_no_record(content):
    (address.private_runtime_dir() / "host-k.json").write_bytes(content)
    assert address.read_endpoint("k") is None


def test_one_holder_until_its_process_ends():
    """A second try gets nothing; a killed holder's lock is free."""
    program = (
        "from coder_lsp.host.address import hold_lock; lock = hold_lock('k'); print(bool(lock), flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"True\n"
        assert address.hold_lock("k") is None
        holder.kill()
        holder.wait()
    lock = address.hold_lock("k")
    assert lock is not None
    lock.release()


def test_sweep_removes_what_the_dead_left_and_nothing_else():
    dead, living = (dataclasses.replace(ENDPOINT, key=key) for key in ("dead", "living"))
    for endpoint in (dead, living):
        address.write_endpoint(endpoint)
        address.socket_path(endpoint.key).touch()
    lock = address.hold_lock("living")
    assert address.sweep() == ["dead"]
    assert address.known_keys() == ["living"]
    assert not address.socket_path("dead").exists()
    assert address.socket_path("living").exists()
    lock.release()


def test_long_runtime_folder_falls_back_to_a_private_short_one(tmp_path, monkeypatch):
    """At most 103 bytes, in a 0700 folder that both ends derive from the same home."""
    monkeypatch.setenv("CODER_LSP_HOME", str(tmp_path / ("long" * 30)))
    with tempfile.TemporaryDirectory(prefix="t") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        path = address.socket_path("a" * 20)
        assert len(os.fsencode(path)) <= 103
        assert path == address.socket_path("a" * 20)
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_too_long_everywhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CODER_LSP_HOME", str(tmp_path / ("long" * 30)))
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(HostUnavailable, match="too long"):
        address.socket_path("a" * 20)


def test_open_runtime_folder_is_closed():
    """0700, whatever it was."""
    paths.runtime_dir().chmod(0o755)
    assert address.private_runtime_dir().stat().st_mode & 0o777 == 0o700


def test_linked_runtime_folder_is_refused(coder_lsp_home, tmp_path):
    """A link may lead to somebody else's folder."""
    (coder_lsp_home / "run").symlink_to(tmp_path)
    with pytest.raises(HostUnavailable, match="not a folder of this user"):
        address.private_runtime_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a folder away")
def test_foreign_runtime_folder_is_refused():
    os.chown(paths.runtime_dir(), 12345, 12345)
    with pytest.raises(HostUnavailable, match="not a folder of this user"):
        address.private_runtime_dir()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to become another user")
def test_another_user_is_not_the_same_user(tmp_path):
    """The kernel's word for it: a child that gives up its user before it connects."""
    program = (
        "import os, socket, sys; os.setuid(12345); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    )
    with socket.socket(socket.AF_UNIX) as listening, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = f"{folder}/s"
        listening.bind(path)
        Path(path).chmod(0o777)
        listening.listen()
        with subprocess.Popen([sys.executable, "-c", program, path]):
            connection, _ = listening.accept()
            with connection:
                assert not same_user(connection)


def test_own_process_is_the_same_user():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert same_user(ours)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a start by the wall clock is fixed")
def test_a_host_that_hangs_is_ended_after_the_clock_was_set(monkeypatch):
    """Pins one that could not be: its start by the wall clock was another one by then."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = address.process_start(psutil.Process(process.pid))
        endpoint = dataclasses.replace(ENDPOINT, pid=process.pid, created=started)
        assert not address.kill(dataclasses.replace(endpoint, created=started - 2))
        boot = psutil.boot_time()
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot + 3600)
        assert abs(psutil.Process(process.pid).create_time() - started - boot - 3600) < 1.5
        assert address.kill(endpoint)
