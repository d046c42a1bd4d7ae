"""Where things are kept: folders of the user's alone, and never a foreseeable name that others could make first."""

from __future__ import annotations

import stat
import sys

import pytest

from coder_lsp import paths


def test_one_variable_moves_everything(coder_lsp_home):
    places = (paths.data_dir(), paths.models_dir(), paths.state_dir(), paths.cache_dir(), paths.runtime_dir())
    assert all(place.is_relative_to(coder_lsp_home) for place in (*places, paths.config_file()))
    assert all(stat.S_IMODE(place.stat().st_mode) == 0o700 for place in places)


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG variables are Linux's")
def test_without_a_runtime_folder_the_socket_goes_to_the_state_folder(monkeypatch, tmp_path):
    """Pins a socket in /tmp/runtime-UID, and the library's warning about it, in sessions without XDG_RUNTIME_DIR."""
    monkeypatch.delenv(paths.HOME_VARIABLE)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert paths.runtime_dir() == tmp_path / "state" / "coder-lsp" / "run"
    assert stat.S_IMODE(paths.runtime_dir().stat().st_mode) == 0o700
    # Pins a state folder that was open to others where the folder of sockets was made first.
    assert stat.S_IMODE((tmp_path / "state" / "coder-lsp").stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_a_state_folder_that_is_open_to_others_is_closed(coder_lsp_home):
    paths.state_dir().chmod(0o755)
    assert stat.S_IMODE(paths.state_dir().stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG variables are Linux's")
def test_a_runtime_folder_is_used_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.delenv(paths.HOME_VARIABLE)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert paths.runtime_dir() == tmp_path / "coder-lsp"
