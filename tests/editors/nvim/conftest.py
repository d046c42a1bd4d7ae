"""Both Neovims as ``scripts/setup-nvim`` installed them, with the plugin as it stands in this checkout, and two
servers: the real one on the real default model, and a scripted one for what does not depend on a model's words.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from editors.nvim.child import PYTHON_FOLDER, Neovim, program_of

HERE = Path(__file__).parent
REAL = [sys.executable, "-m", "coder_lsp", "serve"]
SCRIPTED = [sys.executable, str(HERE / "scripted_server.py"), "serve"]


@pytest.fixture(params=["0.11", "0.12"])
def version(request) -> str:
    return request.param


@pytest.fixture
def program(version) -> str:
    found = program_of(version)
    if found is None:
        variable = f"CODER_LSP_NVIM_{version.replace('.', '_')}"
        pytest.skip(f"no Neovim {version}: run scripts/setup-nvim, or set {variable} to its path")
    if not (PYTHON_FOLDER / "msgpack").is_dir():
        pytest.importorskip("msgpack", reason="no msgpack: run scripts/setup-nvim")
    return found


@pytest.fixture
def start(program, tmp_path_factory, monkeypatch):
    """Start a Neovim with a home of its own; ``setup`` is what its configuration would give to the plugin's setup."""
    home = tmp_path_factory.mktemp("nvim")
    for kind in ("config", "data", "state", "cache"):
        (home / kind).mkdir()
        monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(home / kind))
    monkeypatch.delenv("NVIM", raising=False)
    running: list[Neovim] = []

    def _start(folder: Path, *, cmd: list[str] | None = None, setup: dict | None = None, load: bool = True) -> Neovim:
        nvim = Neovim(program, folder)
        running.append(nvim)
        if load:
            nvim.load(setup if setup is not None else {"cmd": cmd or REAL})
        return nvim

    yield _start
    for nvim in running:
        nvim.close()


@pytest.fixture
def scripted(start, tmp_path):
    """A Neovim on the scripted server, with this file open and served."""

    def _scripted(text: str = "", name: str = "a.py", encoding: str = "utf-16", **setup) -> Neovim:
        path = tmp_path / name
        path.write_bytes(text.encode())
        (tmp_path / ".git").mkdir(exist_ok=True)
        nvim = start(tmp_path, setup={"cmd": [*SCRIPTED, encoding], **setup})
        nvim.edit(path)
        nvim.attached()
        return nvim

    return _scripted
