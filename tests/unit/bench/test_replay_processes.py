"""``bench.replay.processes``: a process and its children, stopped and going on; the peers' processes come and go."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from coder_lsp.bench.replay.peers import find_server_python, infill_server
from coder_lsp.bench.replay.processes import ProcessTree
from coder_lsp.errors import HostUnavailable, InputError

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
child.kill()
child.wait()
"""


@pytest.fixture
def family():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        yield parent, child
        for process in (child, psutil.Process(parent.pid)):
            process.resume()
        parent.communicate(b"\n")


def becomes(process: psutil.Process, *, stopped: bool) -> bool:
    """Signals arrive when the kernel gets to it."""
    deadline = time.monotonic() + 30
    while (process.status() == psutil.STATUS_STOPPED) != stopped and time.monotonic() < deadline:
        time.sleep(0.01)
    return (process.status() == psutil.STATUS_STOPPED) == stopped


def test_children_stand_still_too(family):
    parent, child = family
    tree = ProcessTree(parent.pid)
    assert tree.alive
    assert tree.cpu_s() > 0
    tree.suspend()
    assert becomes(psutil.Process(parent.pid), stopped=True)
    assert becomes(child, stopped=True)
    tree.resume()
    assert becomes(psutil.Process(parent.pid), stopped=False)
    assert becomes(child, stopped=False)


def test_a_process_that_ended_is_no_fault():
    process = subprocess.Popen([sys.executable, "-c", ""])
    tree = ProcessTree(process.pid)
    process.wait()
    assert not tree.alive
    assert tree.cpu_s() == 0
    tree.suspend()
    tree.resume()


async def test_an_interpreter_without_the_server_is_refused(tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(InputError, match="has no module xllamacpp") as refused:
        await find_server_python(bare)
    assert f"{bare} -m pip install xllamacpp" in refused.value.hint


async def test_a_server_that_does_not_come_up_leaves_its_last_words(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no such model' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(HostUnavailable, match="did not come up") as failed:
        async with infill_server(broken, tmp_path / "model.gguf", 1, 0, tmp_path / "log"):
            pass
    assert failed.value.hint == "no such model"
