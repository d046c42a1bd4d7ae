"""Retrieval from end to end: synthetic workspaces of several sizes, indexed, asked, changed and typed in.

For each size a workspace is written to a temporary folder, and each part is measured in a process of its own
(``fresh``) that keeps what it makes in that folder too: the user's own index is neither read nor written. The disk's
cache is warm, for the workspace was just written.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from coder_lsp.bench.bm25 import Bm25Options
from coder_lsp.bench.figures import megabytes, quantiles
from coder_lsp.bench.fresh import in_fresh_process
from coder_lsp.bench.retrieval_report import judge
from coder_lsp.bench.workspaces import write_workspace
from coder_lsp.engine import hardware
from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.bench.fresh import Note

MANY_FILES = 50_000
"""From so many on rank_bm25, which takes seconds a query, is asked less."""
_FEW_QUERIES = 3


@dataclass(frozen=True)
class RetrievalOptions:
    """How much to measure. By default a minute for 1,000 files and three for 10,000, with 3 GB of memory."""

    files: tuple[int, ...] = (1_000, 10_000)
    bm25_only: bool = False
    reference: bool = True
    """Compare with rank_bm25."""
    starts: int = 3
    places: int = 300
    updates: int = 50
    requests: int = 300
    bm25: Bm25Options = field(default_factory=Bm25Options)
    seed: int = 0


def measure_retrieval(
    options: RetrievalOptions = RetrievalOptions(), folders: Sequence[Path] = (), note: Note = lambda _: None
) -> dict[str, Any]:
    """Figures for each size, and which goals they reach; the source is that under ``folders``.

    Units are in the names; memory in MB (10⁶).

    :raises InputError: no source in ``folders``, or rank_bm25 is not installed.
    """
    if options.reference and importlib.util.find_spec("rank_bm25") is None:
        raise InputError("rank_bm25 is not installed", hint="pip install 'coder-lsp[eval]', or --no-reference")
    sizes = []
    for count in options.files:
        with tempfile.TemporaryDirectory(prefix="coder-lsp-bench-") as folder:
            size = _measure_size(Path(folder), count, options, folders, partial(_note_size, note, count))
        sizes.append({**size, "goals": judge(size)})
    return {"hardware": hardware.detect().line(), "options": asdict(options), "sizes": sizes}


def _measure_size(
    folder: Path, count: int, options: RetrievalOptions, folders: Sequence[Path], note: Note
) -> dict[str, Any]:
    root, home, new_home = folder / "workspace", folder / "home", folder / "new"
    for each in (root, home, new_home):
        each.mkdir()
    note("writing the workspace")
    written_bytes = write_workspace(count, root, options.seed, folders)
    figures: dict[str, Any] = {
        "files": count,
        "written_mb": megabytes(written_bytes),
        "load_average": {"before": _load_average()},
    }

    def measure(step: str, place: Path = home, **arguments: Any) -> dict[str, Any]:
        company = _Company()
        found = in_fresh_process(step, {"root": str(root), **arguments}, place, note)
        return {**found, "other_cores": company.cores()}

    if not options.bm25_only:
        figures["first_index"] = measure("indexing:first_index", files=count)
        figures["warm_start"] = _warm_starts(
            [measure("indexing:warm_start", files=count) for _ in range(options.starts)]
        )
        asked: dict[str, Any] = {"files": count, "most": options.requests, "seed": options.seed}
        figures["front"] = {
            "idle": measure("busy_front:requests", settled=True, **asked),
            "indexing": measure("busy_front:requests", new_home, settled=False, **asked),
        }
        # Last of those with this database, for it changes files.
        figures["in_use"] = measure(
            "indexing:in_use", files=count, places=options.places, updates=options.updates, seed=options.seed
        )
    bm25 = asdict(options.bm25) | {"seed": options.seed}
    if not options.reference:
        bm25["peer_queries"] = 0
    elif count >= MANY_FILES:
        bm25["peer_queries"] = min(_FEW_QUERIES, bm25["peer_queries"])
    figures["bm25"] = measure("bm25:measure_folder", options=bm25)
    figures["load_average"]["after"] = _load_average()
    return figures


def _note_size(note: Note, count: int, text: str) -> None:
    note(f"{count:,} files: {text}")


def _warm_starts(starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One figure of several starts."""
    other_cores = max(start["other_cores"] for start in starts)
    times = {name: quantiles([start[name] for start in starts]) for name in starts[0] if name.endswith("_ms")}
    return {
        "starts": len(starts),
        "files": min(start["files"] for start in starts),
        **times,
        "other_cores": other_cores,
    }


class _Company:
    """How many cores other processes keep busy meanwhile: what a slow figure on a shared machine may be due to."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy, self._ours = _busy_s(), _ours_s()

    def cores(self) -> float:
        """Since the beginning, on average."""
        busy, ours = _busy_s() - self._busy, _ours_s() - self._ours
        return round(max(0.0, busy - ours) / max(time.monotonic() - self._began, 1e-6), 2)


def _busy_s() -> float:
    """Processor time of all processes of this machine."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system")))


def _ours_s() -> float:
    """Of this process and those it started, once they have ended; 0 for these on Windows."""
    return sum(os.times()[:4])


def _load_average() -> float:
    """Of the last minute: processes that ran or waited for a core, ours among them."""
    return round(psutil.getloadavg()[0], 2)
