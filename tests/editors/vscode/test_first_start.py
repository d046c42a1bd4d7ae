"""A profile that has never seen the extension: the question, the installation, the model; and folders not trusted."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sys
import zipfile

import pytest
from editors.vscode.projects import open_add, type_plus, write_shop

from coder_lsp.config import DEFAULT_MODEL


def write_stand_in(folder):
    """A wheel that pip installs in a second and that hands over to the real server, which takes ten minutes."""
    main = f"import os, sys\nos.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'coder_lsp', *sys.argv[1:]])\n"
    name, info = "coder_lsp_stand_in", "coder_lsp_stand_in-1.0.dist-info"
    files = {
        "coder_lsp/__init__.py": "",
        "coder_lsp/__main__.py": main,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def test_without_a_server_it_asks_and_installs_only_when_told(new_studio, new_window, model, tmp_path, shot):
    folder = write_shop(tmp_path / "shop")
    settings = {"coder-lsp.server.package": str(write_stand_in(tmp_path)), "coder-lsp.server.python": sys.executable}
    with new_studio(model=model, settings=settings) as studio:
        window = new_window(studio, folder)
        toast = window.toast("coder-lsp needs its server")
        for button in ("Install", "Choose a Path", "Not Now"):
            assert button in toast.inner_text()
        window.wait_status("There is no server")
        window.page.locator(".gettingStartedContainer", has_text="Get started with coder-lsp").first.wait_for()
        shot(window, "first-start")
        assert not list(studio.profile.glob("User/globalStorage/coder-lsp.coder-lsp/server/*"))
        toast.locator(".monaco-button", has_text="Install").click()
        window.wait_status("Installing the server")
        shot(window, "installing", clip={"x": 500, "y": 480, "width": 600, "height": 220})
        window.wait_ready()
        (front,) = studio.fronts()
        assert front.cmdline()[0] == sys.executable, "the stand-in hands over to this environment"
        assert list(studio.profile.glob("User/globalStorage/coder-lsp.coder-lsp/server/current.json"))
        open_add(window)
        type_plus(window)


def test_an_installation_that_fails_says_why_and_leaves_nothing(new_studio, new_window, tmp_path):
    broken = tmp_path / "no-such-package.whl"
    settings = {"coder-lsp.server.package": str(broken), "coder-lsp.server.python": sys.executable}
    with new_studio(model=None, settings=settings) as studio:
        window = new_window(studio, write_shop(tmp_path / "shop"))
        window.toast("coder-lsp needs its server").locator(".monaco-button", has_text="Install").click()
        toast = window.toast("no-such-package")
        assert "Try Again" in toast.inner_text()
        window.wait_status("There is no server")
        server = studio.profile / "User" / "globalStorage" / "coder-lsp.coder-lsp" / "server"
        assert list(server.iterdir()) == []


def test_an_installation_can_be_cancelled_and_leaves_nothing(new_studio, new_window, tmp_path):
    """Cancelled while it compiles nothing yet: the environment is being made, which takes seconds."""
    package = write_stand_in(tmp_path)
    settings = {"coder-lsp.server.package": str(package), "coder-lsp.server.python": sys.executable}
    with new_studio(model=None, settings=settings) as studio:
        window = new_window(studio, write_shop(tmp_path / "shop"))
        window.toast("coder-lsp needs its server").locator(".monaco-button", has_text="Install").click()
        progress = window.toast("making a virtual environment")
        progress.locator(".monaco-button", has_text="Cancel").click()
        window.toast("the installation was cancelled")
        window.wait_status("There is no server")
        server = studio.profile / "User" / "globalStorage" / "coder-lsp.coder-lsp" / "server"
        window.until(lambda: list(server.iterdir()) == [], "nothing left in the folder")
        assert studio.fronts() == []


def test_without_a_compiler_it_says_so_before_it_begins(new_studio, new_window, tmp_path, tools):
    """The real source distribution of the .vsix, on a machine with a Python and no compiler."""
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("sh", "env", "uname", "sed", "cat", "ps"):
        (bare / tool).symlink_to(shutil.which(tool, path="/usr/bin:/bin"))
    settings = {"coder-lsp.server.python": sys.executable}
    with new_studio(model=None, settings=settings, environment={"PATH": str(bare), "CXX": ""}) as studio:
        window = new_window(studio, write_shop(tmp_path / "shop"))
        window.toast("coder-lsp needs its server").locator(".monaco-button", has_text="Install").click()
        toast = window.toast("No C++ compiler")
        assert "g++" in toast.inner_text() or "xcode-select" in toast.inner_text()


def test_a_missing_model_is_asked_for_with_its_size(new_studio, new_window, tmp_path, shot):
    from editors.vscode.conftest import BIN

    with new_studio(model=None, path=(BIN,)) as studio:
        window = new_window(studio, write_shop(tmp_path / "shop"))
        toast = window.toast(f"the model {DEFAULT_MODEL} is not on this machine yet")
        assert "Pull (491 MB)" in toast.inner_text()
        window.wait_status("No suggestions")
        shot(window, "no-model", clip={"x": 500, "y": 480, "width": 600, "height": 220})
        assert not list((studio.home / "data").rglob("*.gguf*")), "nothing is downloaded without a yes"


def test_a_server_path_that_is_wrong_is_said_and_nothing_else_taken(new_studio, new_window, tmp_path):
    from editors.vscode.conftest import BIN

    settings = {"coder-lsp.server.path": "/nowhere/coder-lsp"}
    with new_studio(model=None, path=(BIN,), settings=settings) as studio:
        window = new_window(studio, write_shop(tmp_path / "shop"))
        window.toast("the setting coder-lsp.server.path names no program: /nowhere/coder-lsp")
        window.wait_status("There is no server")
        assert studio.fronts() == []


def test_an_untrusted_workspace_chooses_nothing(new_studio, new_window, model, tmp_path):
    """Its settings name a server, a Python and a model; none is used, and suggestions work from the user's own."""
    from editors.vscode.conftest import BIN

    folder = write_shop(tmp_path / "cloned")
    trap, sprung = tmp_path / "trap", tmp_path / "sprung"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\nexit 1\n", encoding="utf-8")
    trap.chmod(0o755)
    (folder / ".vscode").mkdir()
    named = {"server.path": str(trap), "server.python": str(trap), "model": "/nowhere/evil.gguf"}
    text = json.dumps({f"coder-lsp.{key}": value for key, value in named.items()})
    (folder / ".vscode" / "settings.json").write_text(text, encoding="utf-8")
    distrust = {
        "security.workspace.trust.enabled": True,
        "security.workspace.trust.startupPrompt": "never",
        "security.workspace.trust.untrustedFiles": "open",
    }
    with new_studio(model=model, path=(BIN,), settings=distrust, trust=False) as studio:
        window = new_window(studio, folder)
        window.page.locator(".statusbar-item", has_text="Restricted Mode").first.wait_for()
        window.wait_ready()
        open_add(window)
        type_plus(window)
        assert not sprung.exists()
        assert [host["model"] for host in studio.hosts()] == [DEFAULT_MODEL]


@pytest.mark.skipif(
    "CODER_LSP_VSCODE_REAL_INSTALL" not in os.environ, reason="compiles llama.cpp: set CODER_LSP_VSCODE_REAL_INSTALL"
)
@pytest.mark.timeout(3600)
def test_from_the_vsix_to_ghost_text_on_a_bare_profile(new_studio, new_window, tmp_path, capsys):
    """Everything real: pip compiles llama.cpp in a private environment, the model is pulled, a suggestion appears."""
    import time

    began = time.monotonic()
    steps = []

    def step(name):
        steps.append(f"{name} {time.monotonic() - began:.0f} s")

    cache = {"PIP_NO_CACHE_DIR": "1"} if os.environ["CODER_LSP_VSCODE_REAL_INSTALL"] == "cold" else {}
    settings = {"coder-lsp.server.python": sys.executable}
    with new_studio(model=None, settings=settings, environment=cache) as studio:
        window = new_window(studio, write_shop(tmp_path / "shop"))
        toast = window.toast("coder-lsp needs its server")
        step("asked")
        toast.locator(".monaco-button", has_text="Install").click()
        pull = window.toast(f"the model {DEFAULT_MODEL} is not on this machine yet", 3000)
        step("installed")
        pull.locator(".monaco-button", has_text="Pull").click()
        installed = studio.home / "data" / "models" / DEFAULT_MODEL / "model.json"
        window.until(installed.exists, "the model on the disk", 1200)
        step("model pulled")
        window.wait_ready()
        step("model loaded")
        open_add(window)
        type_plus(window)
        step("ghost text")
    with capsys.disabled():
        print("\nfrom .vsix to ghost text: " + ", ".join(steps))
