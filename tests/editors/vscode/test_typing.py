"""Ghost text in a real VS Code: it appears, is taken in whole and in parts, typed through, undone, refused."""

from __future__ import annotations

import re

from editors.vscode.projects import open_add
from editors.vscode.studio import ACCEPT_LINE, TRIGGER
from support.samples import ADD, QUEUE


def test_typing_in_a_project_brings_code_that_knows_the_other_files(window, shot):
    window.open("cart.py")
    window.go(17, 1)
    # The editor indents the second line.
    window.type("    def total_with_tax(self, rate: float) -> Price:\nreturn self.total().")
    ghost = window.wait_ghost()
    assert "with_tax(" in ghost, "the model does not know Price.with_tax of prices.py"
    shot(window, "suggestion", clip={"x": 0, "y": 0, "width": 1100, "height": 700})
    window.press("Tab")
    window.wait_no_ghost()
    assert ghost.splitlines()[0].strip().encode() in window.save("cart.py")


def test_tab_takes_all_of_it_and_one_undo_gives_it_back(window):
    open_add(window)
    window.type("+")
    assert window.wait_ghost().strip() == "b"
    window.press("Tab")
    window.until(
        lambda: "return a + b" in window.text() or "return a +b" in window.text(), "the suggestion in the text"
    )
    window.press("Control+Z")
    window.until(lambda: re.search(r"return a \+$", window.text(), re.MULTILINE), "only the suggestion undone")
    assert window.save("add.py") == ADD.replace("return a ", "return a +").encode()


def test_a_word_and_a_line_are_taken_and_the_rest_stays(window):
    (window.folder / "queue.py").write_text(QUEUE, encoding="utf-8")
    window.open("queue.py")
    window.go(10, 1)
    window.press(TRIGGER)
    ghost = window.wait_ghost(lambda text: "\n" in text)
    words = re.findall(r"\s*\S+", ghost)
    window.press("Control+ArrowRight")
    after_word = window.until(lambda: changed(window, ghost), "less ghost text")
    assert ghost.endswith(after_word.lstrip("\n").strip()) or after_word.strip() in ghost
    assert len(after_word) < len(ghost)
    window.press(ACCEPT_LINE)
    window.until(lambda: changed(window, after_word), "less ghost text again")
    saved = window.save("queue.py").decode()
    assert words[0].strip() in saved
    assert ghost.splitlines()[0].strip() in saved


def changed(window, before):
    """The ghost text once it is another; it may be gone for a moment in between."""
    ghost = window.ghost()
    return ghost if ghost and ghost != before else ""


def test_what_is_typed_through_stays_on_screen(window):
    open_add(window)
    window.press(TRIGGER)
    ghost = window.wait_ghost(lambda text: text.strip().startswith("+"))
    assert ghost.strip() == "+ b"
    window.page.evaluate(RECORD_GAPS)
    for typed, rest in (("+", "b"), (" ", "b")):
        window.type(typed)
        window.until(lambda rest=rest: window.ghost().strip() == rest, f"the rest {rest!r} behind what was typed")
    gaps = window.page.evaluate("() => window.ghostGaps")
    assert gaps == 0, "the ghost text went away while it was typed through"


# Counts the frames in which nothing grey is on screen.
RECORD_GAPS = """() => {
  window.ghostGaps = 0;
  const look = () => {
    if (!document.querySelector('[class*="ghost-text-decoration"]')) window.ghostGaps += 1;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


def test_escape_refuses_and_nothing_is_inserted(window):
    open_add(window)
    window.press(TRIGGER)
    window.wait_ghost()
    window.press("Escape")
    window.wait_no_ghost()
    assert window.save("add.py") == ADD.encode()


def test_a_request_is_cancelled_when_the_user_goes_on(window):
    """The model is busy with a block when the next key comes: the old request ends, the new one is answered."""
    (window.folder / "queue.py").write_text(QUEUE, encoding="utf-8")
    window.open("queue.py")
    window.go(10, 1)
    window.settings(**{"coder-lsp.completion.invokedDeadlineMs": 0})
    window.press(TRIGGER)
    window.wait_status("Writing")
    window.type("        return ")
    window.wait_ghost()
    reasons = re.findall(r"inline id=\S+ suggestions=\d reason=(\w+|-)", window.log())
    assert reasons[0] in {"cancelled", "superseded"}, f"what nobody waited for was answered: {reasons}"
    assert reasons[-1] == "-"


def test_alternatives_come_on_request_and_go_round(window, shot):
    (window.folder / "queue.py").write_text(QUEUE, encoding="utf-8")
    window.open("queue.py")
    window.go(10, 1)
    # On a slow machine the time would be over after the first.
    window.settings(**{"coder-lsp.completion.invokedDeadlineMs": 0})
    window.run("Suggest Now, With Alternatives")
    first = window.wait_ghost()
    window.press("Alt+]")
    second = window.wait_ghost(lambda text: text != first)
    # The number of them is seen where the pointer is on the text.
    window.page.locator('[class*="ghost-text-decoration"]').first.hover()
    window.page.locator(".inlineSuggestionsHints:visible", has_text="2/").first.wait_for()
    shot(window, "alternatives", clip={"x": 328, "y": 0, "width": 772, "height": 340})
    window.press("Alt+[")
    assert window.wait_ghost(lambda text: text == first) == first
    assert first != second


def test_no_key_is_taken_where_nothing_is_suggested(window):
    (window.folder / "plain.txt").write_text("one\n", encoding="utf-8")
    window.open("plain.txt")
    window.go(1, 1)
    window.run("Pause Suggestions Everywhere")
    window.wait_status("Paused")
    window.press("Tab")
    assert window.save("plain.txt").startswith((b"    one", b"\tone"))
    window.run("Resume Suggestions Everywhere")
