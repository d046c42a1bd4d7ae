"""Choosing a model that is not on the machine: asked, pulled with progress, served, remembered."""

from __future__ import annotations

import json
import re

import pytest
from editors.vscode.conftest import BIN
from editors.vscode.projects import open_add, type_plus

from coder_lsp.config import DEFAULT_MODEL

MODEL = "smollm2-135m-instruct"
LARGE = "qwen2.5-coder-7b-instruct"

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]


def test_a_model_is_chosen_pulled_and_served(new_studio, new_window, model, shop, shot):
    with new_studio(model=model, path=(BIN,)) as studio:
        window = new_window(studio, shop)
        window.wait_ready()
        suggest(window)
        box = choose_model(window)
        rows = window.page.locator(".quick-input-list .monaco-list-row")
        words = " ".join(rows.all_inner_texts())
        assert "Apache-2.0" in words
        assert "491 MB" in words
        assert re.search(r"\d+ tokens/s here", words), "the host has measured it"
        shot(window, "models", clip={"x": 150, "y": 0, "width": 800, "height": 460})
        box.fill(MODEL)
        window.pick(MODEL)
        dialog = window.dialog()
        assert "98 MB" in dialog.inner_text()
        shot(window, "pull-question")
        dialog.locator(".monaco-button", has_text="Pull").click()
        toast = window.toast(f"pulling {MODEL}")
        window.until(lambda: not toast.count() or re.search(r"\d+ %| MB", toast.inner_text()), "how far it is")
        shot(window, "pulling", clip={"x": 500, "y": 480, "width": 600, "height": 220})
        refused = window.page.locator(".notification-list-item", has_text="cannot be reached")
        installed = studio.home / "data" / "models" / MODEL / "model.json"
        window.until(lambda: installed.exists() or refused.count(), "the model on the disk", 600)
        if refused.count():
            pytest.skip("no source of models can be reached from here")
        remembered = studio.profile / "User" / "settings.json"
        window.until(lambda: MODEL in remembered.read_text(), "the setting written", 120)
        assert json.loads(remembered.read_text())["coder-lsp.model"] == MODEL
        window.until(lambda: MODEL in [host["model"] for host in studio.hosts()], "the model served", 120)
        window.wait_ready()
        window.open("cart.py")
        window.go(17, 1)
        window.run("Suggest Now, With Alternatives")
        assert window.wait_ghost()


def test_a_pull_can_be_stopped_and_the_old_model_goes_on(new_studio, new_window, model, shop):
    with new_studio(model=model, path=(BIN,)) as studio:
        window = new_window(studio, shop)
        window.wait_ready()
        choose_model(window).fill(LARGE)
        window.pick(LARGE)
        window.dialog().locator(".monaco-button", has_text="Pull").click()
        progress = window.toast(f"pulling {LARGE}")
        progress.locator(".monaco-button", has_text="Cancel").click()
        window.toast(f"stopped pulling {LARGE}")
        assert not (studio.home / "data" / "models" / LARGE / "model.json").exists()
        assert [host["model"] for host in studio.hosts()] == [DEFAULT_MODEL]
        suggest(window)


def choose_model(window):
    """Open the list; its box for a filter."""
    window.run("Choose Model")
    window.page.locator(".quick-input-list .monaco-list-row", has_text=DEFAULT_MODEL).first.wait_for()
    window.page.mouse.move(10, 600)  # the pointer would bring up a tooltip
    return window.page.locator(".quick-input-widget input").first


def suggest(window):
    open_add(window)
    type_plus(window)
    window.press("Escape")
