"""Whole sessions over what a disk may make of our files: damaged, removed, of another kind.

Each store has its own tests of this; here all of it is wrong at once, as after a disk that fails, and the editor's side
of it is looked at.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest
from faults.known import SAID, TEXT
from support.session import session

from coder_lsp import paths


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


@pytest.fixture
def root(root):
    (root / "a.py").write_text(TEXT)
    return root


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
