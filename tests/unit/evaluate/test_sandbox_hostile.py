"""Two hundred programs that try to get out: nothing of them is left, nothing is written, the time limit holds."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.hostile_programs import FAMILIES, program

from coder_lsp.evaluate import sandbox
from coder_lsp.evaluate.sandbox import runner
from coder_lsp.evaluate.sandbox.limits import Limits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what other systems enforce is little, and they say so")

LIMITS = Limits(seconds=1.0, memory_mb=128, files_mb=8, processes=24, output_bytes=4096)
WELL_OVER_SECONDS = 30.0
"""A busy machine takes long to start a program; one that was not stopped takes for ever."""
SECRET_TEXT = "a-secret-of-the-test"
EACH = range(8)


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """A folder, a file and a server of the user's that programs are told of."""
    monkeypatch.setenv("CODER_LSP_TEST_SECRET", SECRET_TEXT)
    # Readable for everybody: what keeps a program out is the sandbox, not who owns the file.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text(SECRET_TEXT)
    with (
        # Paths of sockets are short.
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as local,
    ):
        Path(folder).chmod(0o755)
        tcp.setblocking(False)
        local.setblocking(False)
        local.bind(f"{folder}/socket")
        Path(folder, "socket").chmod(0o777)
        local.listen()
        yield tmp_path, home / "secret", tcp, local


def values_for(surroundings, token):
    root, secret, tcp, local = surroundings
    outside = root / token
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "canary").write_text("alive")
    (outside / "canary").chmod(0o666)
    return token, str(outside), str(secret), os.getpid(), tcp.getsockname()[1], local.getsockname()


def facts_of(path):
    if not path.exists():
        return None
    status = path.stat()
    return status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_nlink


def processes_with(token):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if token.encode() in (folder / "cmdline").read_bytes():
                found.append(folder.name)
    return found


def contained(family, number, surroundings, means):
    """What went wrong with one program; nothing, if all is well."""
    token = f"t{uuid.uuid4().hex}"
    values = values_for(surroundings, token)
    name = f"{token}.py"
    before = facts_of(Path(values[1], "canary"))
    began = time.monotonic()
    outcome = sandbox.run(
        [sys.executable, "-S", name],
        files={name: program(family, number, values)},
        stdin="x" * 100_000,
        limits=LIMITS,
        means=means,
    )
    took = time.monotonic() - began
    outside = Path(values[1])
    places = (outside.parent, outside.parent / "home", Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/etc"))
    written = [place for place in places if place.exists() and any(token in path.name for path in place.iterdir())]
    checks = {
        "ran": outcome.status != "error",
        "no breach": "BREACH" not in outcome.stdout,
        "in time": took < WELL_OVER_SECONDS and outcome.seconds < WELL_OVER_SECONDS,
        "nothing left": processes_with(token) == [],
        "the folder is as it was": {path.name: path.read_text() for path in outside.iterdir()} == {"canary": "alive"},
        "its file is as it was": facts_of(outside / "canary") == before,
        "nothing written": [place for place in written if place != outside.parent] == [],
        "the secret is there": Path(values[2]).read_text() == SECRET_TEXT,
        "output is cut": len(outcome.stdout) <= 3 * LIMITS.output_bytes,
    }
    wrong = [name for name, good in checks.items() if not good]
    if not wrong:
        return ""
    return f"{family} {number}: {', '.join(wrong)}; {outcome} {outcome.stdout[-300:]} {outcome.stderr[-300:]}"


def nobody_called(surroundings):
    for server in surroundings[2:]:
        with pytest.raises(BlockingIOError):
            server.accept()


def means_of(way):
    """What the system has; or what is left without namespaces."""
    means = runner.available()
    if not means.seccomp or not (means.namespaces or means.landlock):
        pytest.skip("this system has no way to hold programs")
    if way == "namespaces":
        if not means.namespaces:
            pytest.skip(f"this system has no namespaces: {means.why_no_namespaces}")
        return means
    if not means.landlock:
        pytest.skip("this system has no Landlock")
    return replace(means, namespaces=False)


@pytest.mark.parametrize("way", ["namespaces", "landlock"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_programs_is_contained(family, way, surroundings, monkeypatch):
    means, numbers = means_of(way), list(EACH)
    if way == "landlock":
        # Nor are there control groups in most containers, where this way is taken.
        monkeypatch.setattr(runner, "_groups", lambda: ())
        if not os.environ.get("CI"):
            # All take a minute; here two others of each family.
            place = list(FAMILIES).index(family)
            numbers = [place % len(EACH), (place + 4) % len(EACH)]
    with ThreadPoolExecutor(4) as pool:
        one = functools.partial(contained, family, surroundings=surroundings, means=means)
        wrong = [each for each in pool.map(one, numbers) if each]
    assert wrong == []
    nobody_called(surroundings)


def test_there_are_two_hundred_different_ones():
    texts = {text for family in FAMILIES.values() for text in family}
    assert {len(family) for family in FAMILIES.values()} == {len(EACH)}
    assert len(texts) == 200
