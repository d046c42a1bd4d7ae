"""Instructions in a real VS Code: what the model writes is shown as a diff, and applied in one step to undo."""

from __future__ import annotations

ASKED = "# A function `double` that returns twice its argument.\n\n"
PATCH = '.tab.active[aria-label*="the new code"]'


def ask_for_code(window):
    """A file with a comment, the cursor below it, and a proposal of the model that waits for an answer."""
    (window.folder / "twice.py").write_text(ASKED, encoding="utf-8")
    window.open("twice.py")
    window.go(2, 1)
    window.run("Write Code Here…")
    box = window.page.locator(".quick-input-widget input").first
    window.until(lambda: "comment above" in (box.get_attribute("placeholder") or ""), "the question")
    box.press("Enter")
    return window.toast("is ready")


def answer(toast, button):
    toast.hover()
    toast.locator(".monaco-button", has_text=button).first.click()


def in_front(window):
    window.page.locator('.tab.active[data-resource-name="twice.py"]').first.wait_for()
    window.until(lambda: window.page.locator(PATCH).count() == 0, "no diff in front")


def test_a_proposal_is_a_diff_until_it_is_applied_and_one_undo_takes_it_back(window):
    toast = ask_for_code(window)
    window.page.locator(PATCH).first.wait_for()
    assert (window.folder / "twice.py").read_text(encoding="utf-8") == ASKED
    answer(toast, "Apply")
    in_front(window)
    assert b"def double" in window.save("twice.py")
    window.press("Control+Z")
    window.until(lambda: "def double" not in window.text(), "the proposal undone")
    assert window.save("twice.py").decode() == ASKED
