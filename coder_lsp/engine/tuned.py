"""What was measured to be best for one model on one machine, as ``coder-lsp doctor --tune`` remembers it.

Reads only; whoever measures writes. An entry counts for the file it was measured with (path, size, time of change) and
for the processor with as many cores as now: anything else, and anything damaged, is as if nothing had been measured.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coder_lsp import paths
from coder_lsp.engine import hardware

if TYPE_CHECKING:
    from pathlib import Path

KV_TYPES = ("f16", "q8_0", "f32")


@dataclass(frozen=True)
class Tuned:
    """``kv_type`` is advice: the setting has no automatic value."""

    threads: int
    threads_batch: int
    flash_attention: bool
    kv_type: str = "f16"


def file() -> Path:
    return paths.state_dir() / "tuned.json"


def key(model: Path) -> str:
    """The machine and the file. A container with fewer cores is another machine."""
    cpu, cores = hardware.cpu(), hardware.cores()
    facts = model.stat()
    return f"{cpu.name}, {cores.count} cores; {os.path.realpath(model)}, {facts.st_size}, {facts.st_mtime_ns}"


def recall(model: Path) -> Tuned | None:
    """What was measured for this file here; None if nothing was."""
    try:
        entry = read_all().get(key(model))
    except OSError:
        return None
    if not isinstance(entry, dict):
        return None
    most = os.cpu_count() or 1
    try:
        tuned = Tuned(entry["threads"], entry["threads_batch"], entry["flash_attention"], entry["kv_type"])
    except KeyError:
        return None
    threads = (tuned.threads, tuned.threads_batch)
    if not all(type(count) is int and 1 <= count <= most for count in threads):
        return None
    return tuned if isinstance(tuned.flash_attention, bool) and tuned.kv_type in KV_TYPES else None


def read_all() -> dict[str, Any]:
    """Every entry, by key; none if there is no file or it is damaged."""
    try:
        entries = json.loads(file().read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}
