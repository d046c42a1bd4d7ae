"""Indexes a root in a process of its own, to be killed: says ``loaded N``, ``done N`` again and again, ``settled``."""

from __future__ import annotations

import sys
from pathlib import Path

from coder_lsp.retrieval.indexer import Indexer


def main():
    def say(*words):
        print(*words, flush=True)

    indexer = Indexer([Path(sys.argv[1])], workers=2, on_progress=lambda now: say("done", now.done))
    indexer.start()
    indexer.wait_loaded(60)
    say("loaded", len(indexer.index.files()))
    indexer.wait_settled(60)
    say("settled")
    sys.stdin.read()


if __name__ == "__main__":
    main()
