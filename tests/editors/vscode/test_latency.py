"""From the server's answer to what is on screen: the extension may add 40 ms, and reports what it adds."""

from __future__ import annotations

import re
import statistics
from datetime import datetime

ROUNDS = 24
ADDED_MS = 40

# The first time after a key at which something grey is on screen, by the clock that the server's log has too.
WATCH = """() => {
  window.ghostSeen = null;
  window.ghostWatch?.disconnect();
  const look = () => {
    if (window.ghostSeen === null && document.querySelector('[class*="ghost-text"]')) {
      window.ghostSeen = performance.timeOrigin + performance.now();
    }
  };
  window.ghostWatch = new MutationObserver(look);
  const changes = { subtree: true, childList: true, attributes: true, attributeFilter: ["class"] };
  window.ghostWatch.observe(document.body, changes);
  document.addEventListener('keydown', () => { window.keyAt = performance.timeOrigin + performance.now(); }, true);
}"""
_ANSWER = re.compile(r"^(\S+ \S+),(\d+) \w+ \S+: inline id=\S+ suggestions=([1-9]\d*) ", re.MULTILINE)
_NOTHING = re.compile(r"inline id=\S+ suggestions=0 reason=(?!cancelled|superseded)")


def test_the_editor_adds_less_than_40_ms(window, record_property, capsys):
    functions = "\n\n".join(f"def add_{n}(a, b):\n    return a " for n in range(ROUNDS))
    (window.folder / "sums.py").write_text(functions + "\n", encoding="utf-8")
    window.open("sums.py")
    window.page.evaluate(WATCH)
    added, whole = [], []
    for number in range(ROUNDS):
        window.go(4 * number - number + 2, 14)
        window.press("Escape")
        window.wait_no_ghost()
        window.page.evaluate("() => { window.ghostSeen = null; }")
        log_before = len(window.log())
        window.type("+")
        window.until(lambda start=log_before: window.ghost() or _NOTHING.search(window.log(), start), "an answer")
        seen, key = window.page.evaluate("() => [window.ghostSeen, window.keyAt]")
        # The next ones are written after this one.
        if window.ghost():
            window.press("Tab")
        else:
            window.type(" b")
        if seen is None:
            continue  # the filter held it back: nothing to measure
        answers = [at for at in answered(window.log()) if key - 5 <= at <= seen + 5]
        if answers:
            added.append(seen - answers[-1])
            whole.append(seen - key)
    assert len(added) >= ROUNDS // 2, f"only {len(added)} of {ROUNDS} could be measured"
    report = (
        f"answer to screen: median {statistics.median(added):.1f} ms, worst {max(added):.1f} ms; "
        f"key to screen: median {statistics.median(whole):.0f} ms ({len(added)} suggestions)"
    )
    record_property("latency", report)
    with capsys.disabled():
        print(f"\n{report}")
    assert statistics.median(added) < ADDED_MS, report


def answered(log):
    """When the server answered with a suggestion, in milliseconds since 1970."""
    for day, fraction, _ in _ANSWER.findall(log):
        yield datetime.strptime(day, "%Y-%m-%d %H:%M:%S").astimezone().timestamp() * 1000 + int(fraction)
