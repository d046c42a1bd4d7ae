"""A VS Code window in a browser: what a person does in it, and what a person sees. Waits are for what is seen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .studio import Studio

SECONDS = 120.0
"""How long a thing may take to appear: two cores that a model keeps busy."""

# The text in grey: what is injected into lines, then the lines below them, each from the top.
_GHOST = """() => {
  // A notebook lies over its group, not in it.
  const groups = [...document.querySelectorAll('.editor-group-container.active, .notebookOverlay')];
  const all = (selector) => groups.flatMap((group) => [...group.querySelectorAll(selector)]);
  const inline = all('.view-lines [class*="ghost-text-decoration"]');
  const text = (elements) => [...elements].map((each) => each.textContent).join('').replace(/\\u00a0/g, ' ');
  const top = (element) => element.getBoundingClientRect().top;
  const below = all('.suggest-preview-text .view-line').sort((a, b) => top(a) - top(b));
  const lines = below.map((line) => text(line.querySelectorAll('.ghost-text')));
  return [text(inline), ...lines].join('\\n').replace(/[\\u200b\\u200c]/g, '').replace(/\\n+$/, '');
}"""


class Window:
    """One page on one folder."""

    def __init__(self, studio: Studio, page: Page, folder: Path) -> None:
        self.studio = studio
        self.page = page
        self.folder = folder
        self._changes = 0
        page.set_default_timeout(SECONDS * 1000)
        page.goto(f"{studio.address}/?folder={quote(str(folder))}")
        page.wait_for_selector(".monaco-workbench .part.statusbar")

    # What a person does

    def open(self, name: str, *, editor: str = ".monaco-editor.focused") -> None:
        """Open a file of the folder and put the focus into it."""
        self.page.keyboard.press("Control+P")
        box = self.page.locator(".quick-input-widget input").first
        box.wait_for()
        row = self.page.locator(".quick-input-list .monaco-list-row", has_text=name).first

        def listed() -> bool:
            # Searched once for what was typed: a file that has just been written may come too late for it.
            box.fill("")
            box.fill(name)
            self.page.wait_for_timeout(300)
            return row.count() > 0

        self.until(listed, f"{name} in the list")
        # Not Enter: the list may still be the one of what was open last.
        row.click()
        self.page.locator(f'.tab.active[data-resource-name="{Path(name).name}"]').first.wait_for()
        self.page.wait_for_selector(f".editor-group-container.active {editor}")

    def go(self, line: int, column: int) -> None:
        """Put the cursor there; both count from 1, as VS Code's."""
        self.page.keyboard.press("Control+G")
        box = self.page.locator(".quick-input-widget input").first
        box.wait_for()
        box.fill(f":{line}:{column}")
        box.press("Enter")
        self.until(lambda: f"Ln {line}, Col {column}" in self.cursor(), f"the cursor at {line}:{column}")

    def type(self, text: str, delay_ms: int = 20) -> None:
        self.page.keyboard.type(text, delay=delay_ms)

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)

    def run(self, title: str) -> None:
        """A command by its title, through the palette."""
        self.page.keyboard.press("F1")
        box = self.page.locator(".quick-input-widget input").first
        box.wait_for()
        box.fill(f">{title}")
        row = self.page.locator(".quick-input-list .monaco-list-row", has_text=title).first
        row.wait_for()
        row.click()

    def pick(self, label: str) -> None:
        """An entry of the list that is open."""
        self.page.locator(".quick-input-list .monaco-list-row", has_text=label).first.click()

    def save(self, name: str) -> bytes:
        """Save the file in front and read it from the disk."""
        dirty = self.page.locator(f'.tab.active.dirty[data-resource-name="{Path(name).name}"]')
        self.page.keyboard.press("Control+S")
        self.until(lambda: dirty.count() == 0, f"{name} saved")
        return (self.folder / name).read_bytes()

    def settings(self, **changes: Any) -> None:
        """Settings of the folder, and the server has taken them up; it says so where it can tell them from before."""
        file = self.folder / ".vscode" / "settings.json"
        file.parent.mkdir(exist_ok=True)
        # One that changes nothing that a test looks at, so that there is always something to tell.
        self._changes += 1
        marked = {"coder-lsp.completion.maxTokensBlock": 100 + self._changes} | changes
        applied = self.applied()
        file.write_text(json.dumps(marked), encoding="utf-8")
        self.until(lambda: self.applied() > applied, "the settings taken up")

    def applied(self) -> int:
        """How often the server of this window has taken up other settings."""
        return self.log().count("settings applied")

    def log(self) -> str:
        """The server's log of the window opened last."""
        return self.studio.server_logs()[-1].read_text(encoding="utf-8")

    # What a person sees

    def ghost(self) -> str:
        """The text in grey, the cursor's line first."""
        return self.page.evaluate(_GHOST)

    def wait_ghost(self, accept: Callable[[str], bool] = bool, seconds: float = SECONDS) -> str:
        return self.until(lambda: self._accepted(accept), "ghost text", seconds)

    def wait_no_ghost(self) -> None:
        self.until(lambda: not self.ghost(), "no ghost text")

    def cursor(self) -> str:
        """What the status bar says of the cursor."""
        found = self.page.locator('.statusbar-item[id="status.editor.selection"]')
        return found.inner_text() if found.count() else ""

    @property
    def status_item(self) -> Locator:
        return self.page.locator('.statusbar-item[id*="coderLsp.status"]')

    def status(self) -> str:
        """The words of our item in the status bar."""
        item = self.status_item
        return item.inner_text().strip() if item.count() else ""

    def status_label(self) -> str:
        """What our item says to a screen reader: its heading."""
        label = self.status_item.locator("[aria-label]").first
        return (label.get_attribute("aria-label") or "") if label.count() else ""

    def wait_status(self, pattern: str, seconds: float = SECONDS) -> str:
        def look() -> str:
            label = self.status_label()
            return label if re.search(pattern, label) else ""

        return self.until(look, f"a status like {pattern!r}; it is {self.status_label()!r}", seconds)

    def wait_ready(self) -> None:
        """The model is there, whatever it is doing."""
        self.wait_status(r"Ready|Writing", 120)

    def toast(self, text: str, seconds: float = SECONDS) -> Locator:
        """The notification with these words."""
        found = self.page.locator(".notifications-toasts .notification-list-item", has_text=text).first
        found.wait_for(timeout=seconds * 1000)
        return found

    def dialog(self) -> Locator:
        found = self.page.locator(".monaco-dialog-box").first
        found.wait_for()
        return found

    def text(self) -> str:
        """What is visible of the document in front."""
        lines = self.page.locator(".editor-group-container.active .view-lines .view-line")
        return "\n".join(lines.all_inner_texts()).replace("\xa0", " ")

    def until(self, look: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """Look until there is something to see. The page's own waits are used where a selector says it all."""
        deadline = time.monotonic() + seconds
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds:g} s for {what}; status {self.status_label()!r}")
            self.page.wait_for_timeout(40)
        return seen

    def _accepted(self, accept: Callable[[str], bool]) -> str:
        ghost = self.ghost()
        return ghost if ghost and accept(ghost) else ""
