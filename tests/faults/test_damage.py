"""Whole sessions over what a disk may make of our files: damaged, removed, of another kind.

Each store has its own tests of this; here all of it is wrong at once, as after a disk that fails, and the editor's side
of it is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from support.session import session
from support.tiny_gguf import write_chain

from coder_lsp import paths
from coder_lsp.paths import HOME_VARIABLE

TEXT = "\n\ndef after():\n    pass\n"
SAID = "answered = 1"


@pytest.fixture
def home(monkeypatch):
    """A home of its own, at a short path; what runs in it at the end is ended."""
    with tempfile.TemporaryDirectory(prefix="clf-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "h"
        home.mkdir()
        monkeypatch.setenv(HOME_VARIABLE, str(home))
        yield home
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(HOME_VARIABLE) == str(home):
                    process.kill()


@pytest.fixture
def model(home):
    return write_chain(home.parent / "tiny.gguf", [SAID[:4].encode(), SAID[4:].encode(), b"\n"])


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "ledger.py").write_text("def settle(ledger):\n    return ledger.close()\n")
    (root / "a.py").write_text(TEXT)
    return root


def noise(path):
    path.write_bytes(random.Random(path.name).randbytes(max(64, path.stat().st_size)))


def folder(path):
    path.unlink()
    path.mkdir()


def kept():
    """The files that sessions leave behind; the log is none of state."""
    return [
        path
        for top in (paths.cache_dir(), paths.state_dir(), paths.data_dir())
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.suffix not in {".log", ".stderr"} and path.name != "lock"
    ]


def whole(path):
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def worked(root, model, log, files=2):
    """A session with a suggestion and an index, and the end of its host; what the user was told."""
    async with session(root, "--log-file", str(log), settings={"model": str(model)}) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        assert await editor.indexed() == files
    stop = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "coder_lsp", "host", "--stop", stdout=asyncio.subprocess.DEVNULL
    )
    assert await stop.wait() == 0
    assert "Traceback" not in log.read_text()
    assert "Traceback" not in (paths.state_dir() / "host.log").read_text()
    return editor.messages


async def test_state_that_is_all_damaged_is_made_anew(model, root, tmp_path):
    """A suggestion comes each time, the index is complete, and the user is told one thing."""
    log = tmp_path / "serve.log"
    assert await worked(root, model, log) == []
    before = kept()
    assert {"index.sqlite3", "suggestions.sqlite3"} <= {path.name for path in before}
    assert ".kv" in {path.suffix for path in before}
    for damage in (noise, folder):
        for path in kept():
            damage(path)
        (message,) = await worked(root, model, log)
        assert "is built anew" in message
    assert whole(next(paths.cache_dir().rglob("index.sqlite3")))


async def test_state_that_is_removed_while_it_is_used_costs_nothing_but_itself(model, root, tmp_path):
    """As what tidies up a home does."""
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log), settings={"model": str(model)}) as editor:
        editor.open("a.py", TEXT)
        assert await editor.ghost("a.py", 0, 0) == SAID
        assert await editor.indexed() == 2
        shutil.rmtree(paths.cache_dir())
        for path in paths.state_dir().glob("suggestions*"):
            path.unlink()
        (root / "new.py").write_text(TEXT)
        editor.open("b.py", TEXT)
        assert await editor.ghost("b.py", 0, 0) == SAID
    assert editor.messages == []
    assert await worked(root, model, log, files=3) == []
    assert [whole(path) for path in kept() if path.suffix == ".sqlite3"] == [True, True]


async def test_settings_that_cannot_be_read_cost_only_themselves(model, root, tmp_path):
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_bytes(b"model = \xff\xfe [[[\n")
    (message,) = await worked(root, model, tmp_path / "serve.log")
    assert str(paths.config_file()) in message
