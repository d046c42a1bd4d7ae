"""``scripted_server`` with a recording of feedback in memory; ``test/rows`` returns it. Run as a script.

With the argument ``stored`` it is recorded in the history on disk, as by the shipped server.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from support import scripted_server

from coder_lsp.cli.serve import serve_with
from coder_lsp.server.feedback import Feedback
from coder_lsp.server.server import CoderLanguageServer
from coder_lsp.stats.events import Shown
from coder_lsp.stats.recorder import Recorder
from coder_lsp.stats.store import History


class Kept:
    """The latest row of each key."""

    def __init__(self) -> None:
        self.rows: dict[int, Shown] = {}

    def enable(self, on: bool, /) -> None: ...

    def record(self, row: Shown, /) -> None:
        self.rows[row.key] = row

    def close(self) -> None:
        print(f"recording closed with {len(self.rows)} rows", file=sys.stderr, flush=True)


def build() -> CoderLanguageServer:
    kept = Kept()
    server = scripted_server.build(feedback=Feedback(kept))

    @server.feature("test/rows")
    def rows(_: Any) -> list[dict[str, Any]]:
        return [dataclasses.asdict(row) for row in kept.rows.values()]

    return server


def build_stored() -> CoderLanguageServer:
    return scripted_server.build(feedback=Feedback(Recorder(History())))


if __name__ == "__main__":
    sys.exit(serve_with(build_stored if sys.argv[1:] == ["stored"] else build))
