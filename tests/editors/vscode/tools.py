"""What ``scripts/setup-vscode`` installed: where it is, or why the tests cannot run."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

SET_UP = "run scripts/setup-vscode"


@dataclass(frozen=True)
class Tools:
    node: Path
    code_server: Path
    """Its entry, a script for ``node``."""
    chromium: Path
    vsix: Path


def folder() -> Path:
    named = os.environ.get("CODER_LSP_VSCODE_TOOLS")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "coder-lsp-editors" / "vscode"


def find() -> Tools | str:
    """The tools, or the reason why there are none. Makes ``playwright`` importable."""
    root = folder()
    if (root / "pylib").is_dir() and str(root / "pylib") not in sys.path:
        # Behind all else: nothing of the project's own environment is replaced.
        sys.path.append(str(root / "pylib"))
    tools = Tools(
        node=root / "node" / "bin" / "node",
        code_server=root / "code-server" / "node_modules" / "code-server" / "out" / "node" / "entry.js",
        chromium=root / "chromium" / "chromium",
        vsix=root / "coder-lsp.vsix",
    )
    for name, path in vars(tools).items():
        if not path.exists():
            return f"{name} is not in {root}: {SET_UP}"
    if not shutil.which(str(tools.chromium)):
        return f"{tools.chromium} cannot be started: {SET_UP}"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError as error:
        return f"{error}: {SET_UP}"
    return tools
