"""A real VS Code for tests: a code-server process with a profile of its own, and the processes that belong to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from support.hosts import running_hosts

from .tools import Tools

SETTINGS = {
    "chat.disableAIFeatures": True,
    "editor.inlineSuggest.enabled": True,
    # Its list would cover the ghost text of a screenshot, and takes Tab.
    "editor.quickSuggestions": {"other": "off", "comments": "off", "strings": "off"},
    "editor.suggestOnTriggerCharacters": False,
    "editor.minimap.enabled": False,
    "editor.inlineSuggest.showToolbar": "onHover",
    "editor.stickyScroll.enabled": False,
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "workbench.layoutControl.enabled": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "window.commandCenter": False,
    "breadcrumbs.enabled": False,
    "extensions.ignoreRecommendations": True,
    "git.enabled": False,
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "workbench.colorTheme": "Default Dark Modern",
    # Or a screenshot shows a list that is half there.
    "workbench.reduceMotion": "on",
    # The prompt of a place is always the same then.
    "files.autoSave": "off",
}
TRIGGER = "Control+Alt+i"
ACCEPT_LINE = "Control+Alt+l"
_KEYS = [
    {"key": "ctrl+alt+i", "command": "editor.action.inlineSuggest.trigger"},
    {"key": "ctrl+alt+l", "command": "editor.action.inlineSuggest.acceptNextLine"},
]
"""What a user binds; through the palette the editor would lose the focus, and what is suggested with it."""

_START_SECONDS = 120
_LISTENING = re.compile(r"HTTP server listening on (http://\S+)")


@dataclass
class Studio:
    """One running code-server."""

    address: str
    home: Path
    """The ``CODER_LSP_HOME`` of everything it starts."""
    profile: Path
    process: subprocess.Popen[str]
    reader: threading.Thread
    lines: list[str]

    def server_logs(self) -> list[Path]:
        """The server's log of each window, the latest last."""
        found = self.profile.glob("logs/**/coder-lsp.coder-lsp/server.log")
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def fronts(self) -> list[psutil.Process]:
        """The language servers that run in it."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if "serve" in words and "--log-file" in words and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def hosts(self) -> list[dict[str, Any]]:
        """The model hosts of its home."""
        return running_hosts(self.home)

    def coder_lsp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coder_lsp", *arguments],
            env=os.environ | {"CODER_LSP_HOME": str(self.home)},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        assert self.process.stdout is not None
        self.reader.join(20)
        self.process.stdout.close()
        self.coder_lsp("host", "--stop")


def write_settings(profile: Path, changes: dict[str, Any]) -> None:
    # What belongs to a machine is not taken from the user's settings where the server is remote, as it is here.
    machine = {key: value for key, value in changes.items() if key.startswith("coder-lsp.server.")}
    user = SETTINGS | {key: value for key, value in changes.items() if key not in machine}
    for name, values in (
        ("User/settings.json", user),
        ("Machine/settings.json", machine),
        ("User/keybindings.json", _KEYS),
    ):
        file = profile / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")


def install_extension(tools: Tools, folder: Path, profile: Path) -> Path:
    """The packaged extension, installed as a user would, into an extensions folder of its own."""
    done = subprocess.run(
        [*_code_server(tools, folder, profile), "--install-extension", str(tools.vsix)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "successfully installed" in done.stdout, done.stdout + done.stderr
    return folder


def start_studio(
    tools: Tools,
    scratch: Path,
    extensions: Path,
    *,
    model: Path | None,
    path: tuple[Path, ...] = (),
    settings: dict[str, Any] | None = None,
    trust: bool = True,
    environment: dict[str, str] | None = None,
) -> Studio:
    """A fresh profile and home. ``model``: a model's folder to link. ``path`` is put before the bare system's."""
    profile, home = scratch / "profile", scratch / "home"
    home.mkdir(parents=True)
    if model is not None:
        (home / "data" / "models").mkdir(parents=True)
        (home / "data" / "models" / model.name).symlink_to(model)
    write_settings(profile, settings or {})
    own_extensions = scratch / "extensions"
    shutil.copytree(extensions, own_extensions)
    command = [*_code_server(tools, own_extensions, profile), "--auth", "none", "--bind-addr", "127.0.0.1:0"]
    command += ["--disable-telemetry", "--disable-update-check", "--disable-getting-started-override"]
    # A window that is closed is gone: else its processes wait three hours for it to come back.
    command += ["--reconnection-grace-time", "3"]
    if trust:
        command.append("--disable-workspace-trust")
    process = subprocess.Popen(
        command,
        env=_environment(home, path) | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=scratch,
    )
    lines: list[str] = []
    spoke = threading.Event()
    reader = threading.Thread(target=_drain, args=(process, lines, spoke), daemon=True)
    reader.start()
    spoke.wait(_START_SECONDS)
    found = next((match for match in map(_LISTENING.search, list(lines)) if match), None)
    if found is None:
        process.kill()
        raise AssertionError("code-server did not start:\n" + "\n".join(lines))
    return Studio(found[1].rstrip("/"), home, profile, process, reader, lines)


def _code_server(tools: Tools, extensions: Path, profile: Path) -> list[str]:
    folders = ["--extensions-dir", str(extensions), "--user-data-dir", str(profile)]
    return [str(tools.node), str(tools.code_server), *folders, "--config", str(profile / "none.yaml")]


def _environment(home: Path, path: tuple[Path, ...]) -> dict[str, str]:
    """The test's own, less what would bring in a server by accident or write into the user's folders."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CODER_LSP_", "VSCODE_", "PYTEST"))}
    kept.pop("VIRTUAL_ENV", None)
    kept.pop("XDG_RUNTIME_DIR", None)
    return kept | {
        "CODER_LSP_HOME": str(home),
        # As if started from a terminal; else the login shell is asked for a PATH, and says its own.
        "VSCODE_CLI": "1",
        "PATH": os.pathsep.join([*map(str, path), "/usr/local/bin", "/usr/bin", "/bin"]),
    }


def _drain(process: subprocess.Popen[str], lines: list[str], spoke: threading.Event) -> None:
    """Take its output as it comes; ``spoke`` is set once it says where it listens, or has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip())
        if _LISTENING.search(line):
            spoke.set()
    spoke.set()
