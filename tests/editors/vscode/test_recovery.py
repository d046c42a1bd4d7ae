"""Processes that are killed, and windows that share one: an editor session goes on."""

from __future__ import annotations

import os
import signal

from editors.vscode.projects import open_add, write_shop
from editors.vscode.studio import TRIGGER


def suggest(window, name="add.py"):
    open_add(window, name)
    window.press(TRIGGER)
    assert window.wait_ghost(lambda text: "b" in text).strip() == "+ b"
    window.press("Escape")
    window.wait_no_ghost()


def test_kill_minus_9_of_the_server_costs_a_moment(window):
    suggest(window)
    (front,) = window.studio.fronts()
    os.kill(front.pid, signal.SIGKILL)
    window.until(lambda: [p for p in window.studio.fronts() if p.pid != front.pid], "another server")
    window.wait_ready()
    suggest(window, "again.py")


def test_kill_minus_9_of_the_model_costs_a_moment(window):
    suggest(window)
    (host,) = window.studio.hosts()
    os.kill(host["pid"], signal.SIGKILL)
    suggest(window, "again.py")
    (again,) = window.studio.hosts()
    assert again["pid"] != host["pid"]


def test_a_pause_outlives_the_server(window):
    suggest(window)
    window.run("Pause Suggestions Everywhere")
    window.wait_status("Paused")
    (front,) = window.studio.fronts()
    os.kill(front.pid, signal.SIGKILL)
    window.until(lambda: [p for p in window.studio.fronts() if p.pid != front.pid], "another server")
    window.wait_status("Paused everywhere")
    window.run("Resume Suggestions Everywhere")
    window.wait_ready()


def test_a_server_that_cannot_live_is_given_up_with_a_way_on(new_studio, new_window, tmp_path, shot):
    folder = write_shop(tmp_path / "shop")
    broken = tmp_path / "coder-lsp"
    broken.write_text("#!/bin/sh\necho 'error: broken on purpose' >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    with new_studio(model=None, settings={"coder-lsp.server.path": str(broken)}) as studio:
        window = new_window(studio, folder)
        toast = window.toast("the server does not run", 120)
        assert "Restart" in toast.inner_text()
        assert "Open Log" in toast.inner_text()
        window.wait_status("does not run")
        shot(window, "stopped", clip={"x": 500, "y": 480, "width": 600, "height": 220})


def test_two_windows_share_one_model(window, new_window, tmp_path):
    suggest(window)
    second = new_window(window.studio, write_shop(tmp_path / "second"))
    second.wait_ready()
    suggest(second)
    assert len(window.studio.fronts()) == 2
    (host,) = window.studio.hosts()
    assert host["clients"] >= 2
