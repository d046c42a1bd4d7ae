"""What the user is told and can do: status bar, menu, pauses, what the model sees, statistics, doctor, settings."""

from __future__ import annotations

import json

from editors.vscode.projects import open_add
from editors.vscode.studio import TRIGGER


def test_the_menu_has_what_helps_when_all_is_well(window, shot):
    window.open("cart.py")
    window.wait_status("^coder-lsp: Ready")
    window.status_item.click()
    rows = window.page.locator(".quick-input-list .monaco-list-row")
    rows.first.wait_for()
    words = " ".join(rows.all_inner_texts())
    for entry in ("Pause everywhere", "Pause for python", "Pause for this file", "Choose model", "Show statistics"):
        assert entry in words
    shot(window, "menu", clip={"x": 150, "y": 0, "width": 800, "height": 460})


def test_the_tooltip_names_the_model_and_the_index(window, shot):
    window.open("cart.py")
    window.wait_status("^coder-lsp: Ready")
    window.status_item.hover()
    tooltip = window.page.locator(".monaco-hover:visible", has_text="coder-lsp: Ready").first
    tooltip.wait_for()
    assert "qwen2.5-coder-0.5b-instruct" in tooltip.inner_text()
    window.until(lambda: "2 files" in tooltip.inner_text(), "the index in the tooltip")
    shot(window, "status-ready", clip={"x": 600, "y": 540, "width": 500, "height": 160})


def test_pause_and_resume_everywhere(window, shot):
    open_add(window)
    window.run("Pause Suggestions Everywhere")
    window.wait_status("Paused everywhere")
    shot(window, "status-paused", clip={"x": 600, "y": 600, "width": 500, "height": 100})
    asked = requests(window)
    window.type("+")
    window.until(lambda: requests(window) > asked, "a request that is answered with nothing")
    assert window.ghost() == ""
    window.run("Resume Suggestions Everywhere")
    window.wait_status("Ready|Writing")
    window.type(" ")
    assert window.wait_ghost()


def test_pause_for_this_language_and_for_this_file(window):
    open_add(window)
    for what, elsewhere in (("Language", "notes.js"), ("File", "other.py")):
        window.run(f"Pause Suggestions for This {what}")
        window.wait_status("Paused here")
        (window.folder / elsewhere).write_text("", encoding="utf-8")
        window.open(elsewhere)
        window.wait_status("Ready|Writing|Indexing")
        window.open("add.py")
        window.wait_status("Paused here")
        window.status_item.click()
        window.pick("Resume for")
        window.wait_status("Ready|Writing|Indexing")


def test_what_the_model_sees_is_shown(window, shot):
    window.open("cart.py")
    window.go(17, 1)
    window.type("    def total_with_tax(self, rate: float) -> Price:\nreturn self.total().")
    window.wait_ghost()
    window.press("Escape")
    window.run("Show What the Model Sees Here")
    tab = window.page.locator('.tab[data-resource-name*="What the model sees"]')
    tab.wait_for()
    page = window.page.locator(".editor-group-container", has=tab)
    window.until(lambda: "prices.py:" in page.inner_text().replace("\xa0", " "), "the other file in the list")
    words = page.inner_text().replace("\xa0", " ")
    assert "with_tax" in words
    assert "tokens" in words
    window.press("Control+B")  # more room for the picture
    window.page.locator(".part.sidebar").wait_for(state="hidden")
    shot(window, "context")


def test_statistics_are_shown_with_no_script_and_deleted_on_request(window, shot):
    open_add(window)
    window.type("+")
    window.wait_ghost()
    window.press("Tab")
    window.run("Show Statistics")
    frame = window.page.frame_locator("iframe.webview.ready").frame_locator("iframe#active-frame")
    frame.locator("body svg, body table, body p").first.wait_for()
    policy = frame.locator('meta[http-equiv="Content-Security-Policy"]').first.get_attribute("content")
    assert policy
    assert "default-src 'none'" in policy
    assert frame.locator("script[src]").count() == 0
    shot(window, "statistics")
    window.run("Delete Statistics")
    dialog = window.dialog()
    assert "no undo" in dialog.inner_text()
    dialog.locator(".monaco-button", has_text="Delete").click()
    window.toast("the statistics are deleted")
    shown = json.loads(window.studio.coder_lsp("stats", "--json").stdout)
    assert shown["overall"]["shown"] == 0


def test_the_doctor_says_what_it_found(window):
    window.run("Run Doctor")
    window.page.locator('.tab[data-resource-name*="doctor"]').first.wait_for(timeout=240_000)
    window.until(lambda: "native engine" in window.text(), "the doctor's findings")


def test_a_language_is_switched_off_by_the_editors_settings(window):
    open_add(window)
    window.settings(**{"[python]": {"coder-lsp.completion.enabled": False}})
    asked = requests(window)
    window.press(TRIGGER)
    window.page.wait_for_timeout(3000)  # nothing can be waited for: this is the absence of something
    assert window.ghost() == ""
    assert requests(window) == asked
    (window.folder / "add.js").write_text("function add(a, b) {\n  return a \n}\n", encoding="utf-8")
    window.open("add.js")
    window.go(2, 12)
    window.press(TRIGGER)
    assert window.wait_ghost(), "other languages have suggestions"
    window.settings()
    window.open("add.py")
    window.press(TRIGGER)
    assert window.wait_ghost(), "the place had one all the time"


def test_only_what_the_user_set_reaches_the_server(window):
    """Pins the precedence: a default of the extension must not undo what config.toml says."""
    config = window.studio.home / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("[completion]\nenabled = false\n", encoding="utf-8")
    try:
        window.settings()
        assert last_applied(window).endswith("enabled=False")
        window.settings(**{"coder-lsp.completion.enabled": True})
        assert last_applied(window).endswith("enabled=True")
    finally:
        config.unlink()


def last_applied(window):
    return [line for line in window.log().splitlines() if "settings applied" in line][-1]


def requests(window):
    """How many requests the server has answered."""
    return window.log().count(": inline id=")
