"""A repository of an evaluation, indexed by the shipped indexer, in a folder of its own that goes with it.

The user's own index of the same folder is neither used nor changed.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import CoderLspError
from coder_lsp.retrieval.context import assemble
from coder_lsp.retrieval.indexer import Indexer
from coder_lsp.types import FimRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.evaluate.tasks import Task
    from coder_lsp.types import Snippet

_PATIENCE_S = 600.0


@dataclass(frozen=True)
class IndexedRepository:
    """Answers as the front would with the task's document open and not saved."""

    root: Path
    indexer: Indexer

    def snippets(self, task: Task, budget: int) -> tuple[tuple[Snippet, ...], float]:
        """What is assembled for a task, and how many milliseconds that took."""
        document = self.root / task.path
        text = task.prefix + task.suffix
        self.indexer.set_overlay(document, text)
        _settle(self.indexer)
        began = time.perf_counter()
        with self.indexer.index.request():
            found = assemble(self.indexer.index, self.root, task.path, text, len(task.prefix), budget=budget)
        took_ms = (time.perf_counter() - began) * 1000
        self.indexer.clear_overlay(document)
        return found, took_ms


@contextlib.contextmanager
def indexed(root: Path) -> Iterator[IndexedRepository]:
    """Index a folder for as long as the context lasts.

    :raises CoderLspError: that does not come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="coder-lsp-eval-") as folder:
        indexer = Indexer([root], watch="off", database=lambda _: Path(folder, "index.sqlite3"))
        indexer.start()
        try:
            _settle(indexer)
            # As the indexer names it: the same folder may have several names.
            yield IndexedRepository(indexer.index.roots[0], indexer)
        finally:
            indexer.stop(timeout_s=10.0)


def fim_request(task: Task, snippets: tuple[Snippet, ...]) -> FimRequest:
    """The request that a block is cut for."""
    from coder_lsp.languages import by_path

    return FimRequest(
        document=task.path,
        prefix=task.prefix,
        suffix=task.suffix,
        language=by_path(task.path).id,
        path=task.path,
        repository=task.repo,
        snippets=snippets,
    )


def _settle(indexer: Indexer) -> None:
    if not indexer.wait_settled(_PATIENCE_S):
        raise CoderLspError(f"indexing did not end within {_PATIENCE_S:.0f} s", hint="the log says what failed")
