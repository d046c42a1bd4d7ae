"""Memory that is not there: a limit below what the model needs, and a host that the kernel kills for want of it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest
from faults.known import SAID, TEXT, suggestion
from support.hosts import running_hosts
from support.session import session

MIB = 2**20

BALLAST = """
import mmap, sys
from pathlib import Path
group, host = Path(sys.argv[1]), Path("/proc") / sys.argv[2]
(group / "cgroup.procs").write_text("0")
held = []
while host.exists() and " Z " not in (host / "stat").read_text():
    held.append(mmap.mmap(-1, 1 << 20))
    held[-1].write(b"x" * (1 << 20))
"""
"""Takes memory until the host is dead."""


@pytest.fixture
def group(home):
    """A control group of our own with a limit of memory, empty at first; removed with what is in it."""
    for top, limit in (("memory", "memory.limit_in_bytes"), (".", "memory.max")):
        group = Path("/sys/fs/cgroup") / top / f"coder-lsp-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                break
            group.rmdir()
    else:
        pytest.skip("this system does not let us make a control group with a limit of memory")
    yield group, group / limit
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            process.kill()
            process.wait(10)
    group.rmdir()


def inside(group):
    return ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")


def fill_until_gone(folder, pid):
    subprocess.run([sys.executable, "-c", BALLAST, folder, str(pid)], check=True, timeout=60)


async def test_the_kernel_takes_the_host_when_memory_is_out_and_the_editor_goes_on(home, model, group, root, tmp_path):
    """The host offers itself; it is started again, and the user is told nothing: it is back before he could read it."""
    folder, limit = group
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log), prefix=inside(folder), settings={"model": str(model)}) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        (host,) = running_hosts(home)
        limit.write_text(str(250 * MIB))
        await asyncio.to_thread(fill_until_gone, folder, host["pid"])
        editor.open("b.py", TEXT)
        assert await suggestion(editor, "b.py") == SAID
        (after,) = running_hosts(home)
        assert after["pid"] != host["pid"]
    assert editor.messages == []
    assert "Traceback" not in log.read_text()


async def test_a_model_that_does_not_fit_under_the_limit_is_told_once_with_what_it_needs(
    home, model, group, root, tmp_path
):
    """And is not loaded until the kernel kills whom it likes."""
    folder, limit = group
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log), prefix=inside(folder), settings={"model": str(model)}) as editor:
        # The server and a host without a model, and not the 131 MiB besides that the model needs.
        limit.write_text(str(200 * MIB))
        editor.open("a.py", TEXT)
        for _ in range(5):
            assert await editor.ghost("a.py", 0, 0) == ""
            editor.replace("a.py", TEXT)
        await editor.until_told("cgroup memory limit")
        assert (home / "state" / "host.log").read_text().count(" listens ") == 1
    (message,) = editor.messages
    assert "cgroup memory limit" in message
