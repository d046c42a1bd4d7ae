"""Where coder-lsp keeps things on disk, by the platform's conventions (platformdirs).

cache: what can be made again · data: models and adapters · state: logs and statistics · config: the user's
settings · runtime: sockets. ``CODER_LSP_HOME`` moves all of them under one folder (tests, portable installs).
Folders are made on demand and readable by the user alone.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

import platformdirs

APP = "coder-lsp"
HOME_VARIABLE = "CODER_LSP_HOME"


def config_file() -> Path:
    """The user's settings file; not created here."""
    return _base("config", platformdirs.user_config_path) / "config.toml"


def data_dir() -> Path:
    """Models and adapters."""
    return _private(_base("data", platformdirs.user_data_path))


def models_dir() -> Path:
    return _private(data_dir() / "models")


def adapters_dir() -> Path:
    return _private(data_dir() / "adapters")


def state_dir() -> Path:
    """Logs and statistics. One that others may look into is closed: earlier versions left it open on some systems."""
    path = _private(_base("state", platformdirs.user_state_path))
    with suppress(OSError):
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            path.chmod(0o700)
    return path


def cache_dir() -> Path:
    return _private(_base("cache", platformdirs.user_cache_path))


def runtime_dir() -> Path:
    """Sockets and locks; 0700. May be short-lived (removed at logout).

    A session without ``XDG_RUNTIME_DIR`` (ssh without systemd, containers) has no such folder; platformdirs would then
    use a foreseeable name under ``/tmp``, which another user may have made first. The state folder is ours alone.
    """
    if sys.platform == "linux" and not os.environ.get("XDG_RUNTIME_DIR"):
        # First: ``mkdir`` makes parents for everybody.
        state_dir()
        return _private(_base("run", _state_run))
    return _private(_base("run", platformdirs.user_runtime_path))


def _state_run(app: str, *, appauthor: Literal[False]) -> Path:
    return platformdirs.user_state_path(app, appauthor=appauthor) / "run"


def _base(kind: str, platform_path: object) -> Path:
    home = os.environ.get(HOME_VARIABLE)
    if home:
        return Path(home) / kind
    assert callable(platform_path)
    path = platform_path(APP, appauthor=False)
    assert isinstance(path, Path)
    return path


def _private(path: Path) -> Path:
    # Where it cannot be made (a read-only home, a full disk) a path is a path all the same: who opens a file there is
    # told, and most of what is kept can be done without.
    with suppress(OSError):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
