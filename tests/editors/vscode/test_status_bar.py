"""Every state that a user can see in the status bar: its words, and its picture in the documentation."""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager

import psutil
from editors.vscode.conftest import BIN
from editors.vscode.projects import open_add, type_plus
from support.samples import ADD, QUEUE

CORNER = {"x": 600, "y": 600, "width": 500, "height": 100}
WITH_TOOLTIP = {"x": 600, "y": 540, "width": 500, "height": 160}


@contextmanager
def halted(process):
    """Stop a process in what it does, so that a state of milliseconds can be looked at."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def tooltip(window):
    """Hover over our item; its words."""
    window.status_item.hover()
    found = window.page.locator(".monaco-hover:visible", has_text="coder-lsp:").first
    found.wait_for()
    return found.inner_text().replace("\xa0", " ")


def host_of(studio):
    """The process of its model as soon as it exists, which is before it can be asked."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if "--settings-stdin" in words and environment.get("CODER_LSP_HOME") == str(studio.home):
            return process
    return None


def step_until(window, process, look):
    """Let a halted process go on in small steps, until ``look`` is content."""
    for _ in range(2000):
        if look():
            return
        process.send_signal(signal.SIGCONT)
        window.page.wait_for_timeout(10)
        process.send_signal(signal.SIGSTOP)
        window.page.wait_for_timeout(40)
    raise AssertionError(f"not seen; status {window.status_label()!r}")


def wait_label(window, words):
    """By the page's own look at every frame: this state may last for less than one of ours."""
    window.page.locator(f'.statusbar-item[id*="coderLsp.status"] [aria-label*="{words}"]').first.wait_for()


def test_loading_says_how_far_it_is(new_studio, new_window, model, shop, shot):
    with new_studio(model=model, path=(BIN,)) as studio:
        window = new_window(studio, shop)
        # The host listens before it loads; it is caught in between.
        host = window.until(lambda: host_of(studio), "the host")
        host.send_signal(signal.SIGSTOP)
        try:
            step_until(window, host, lambda: re.search(r"[1-9]\d? %", window.status()))
            assert "Loading the model" in window.status_label()
            assert "%" in tooltip(window)
            shot(window, "status-loading", clip=WITH_TOOLTIP)
        finally:
            host.send_signal(signal.SIGCONT)
        window.wait_ready()


def test_generating_is_seen_while_a_suggestion_is_written(window, shot):
    (window.folder / "queue.py").write_text(QUEUE, encoding="utf-8")
    window.open("queue.py")
    window.go(10, 1)
    (host,) = window.studio.hosts()
    window.type("        if ")
    wait_label(window, "Writing")
    with halted(psutil.Process(host["pid"])):
        window.until(lambda: window.status_item.locator(".codicon-loading").count(), "the spinner")
        shot(window, "status-generating", clip=CORNER)
    assert window.wait_ghost()
    window.wait_status("Ready")


def test_indexing_says_how_many_files_are_to_go(studio, new_window, shop, shot):
    for number in range(4000):
        (shop / f"module_{number}.py").write_text(ADD * 4, encoding="utf-8")
    window = new_window(studio, shop)
    wait_label(window, "Indexing")
    words = tooltip(window)
    assert "to go" in words
    shot(window, "status-indexing", clip=WITH_TOOLTIP)
    window.wait_status("^coder-lsp: Ready")
    window.until(lambda: "4002 files" in tooltip(window), "all files in the tooltip")


def test_offline_is_shown_and_nothing_is_offered_for_download(new_studio, new_window, shop, shot):
    with new_studio(model=None, path=(BIN,), settings={"coder-lsp.offline": True}) as studio:
        window = new_window(studio, shop)
        window.wait_status("No suggestions")
        window.until(lambda: window.status_item.locator(".codicon-debug-disconnect").count(), "the sign for offline")
        toast = window.toast("offline mode keeps it from being pulled")
        assert "Open Settings" in toast.inner_text()
        assert window.page.locator(".notification-list-item", has_text="Pull (").count() == 0
        shot(window, "status-offline-no-model", clip=WITH_TOOLTIP)


def test_offline_with_a_model_is_ready(new_studio, new_window, model, shop, shot):
    with new_studio(model=model, path=(BIN,), settings={"coder-lsp.offline": True}) as studio:
        window = new_window(studio, shop)
        window.wait_ready()
        assert "Offline: the network is not used" in tooltip(window)
        shot(window, "status-offline", clip=WITH_TOOLTIP)
        open_add(window)
        type_plus(window)


def test_a_model_that_rests_is_loaded_again_when_the_user_types(new_studio, new_window, model, shop, shot):
    with new_studio(model=model, path=(BIN,), settings={"coder-lsp.host.idleSeconds": 5}) as studio:
        window = new_window(studio, shop)
        window.wait_ready()
        window.wait_status("The model is not loaded")
        shot(window, "status-resting", clip=CORNER)
        open_add(window)
        type_plus(window)
