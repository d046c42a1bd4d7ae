"""The configured model: is it there, is it whole, is it the one it says it is, and what kind of model is it?

Reads the file's header and hashes its bytes; loads nothing. A digest, once computed, is kept with the file's size and
time of change, since hashing gigabytes at every call would make the doctor slow.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from coder_lsp import paths
from coder_lsp.doctor.finding import fail, ok, warn
from coder_lsp.models import files, gguf_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coder_lsp.doctor.finding import Finding
    from coder_lsp.models.store import InstalledModel

GIGABYTE = 1 << 30
_OVERHEAD_BYTES = 512 << 20
"""KV cache and working buffers of a small model at default settings (measured on the default model, rounded up)."""

# Architectures with a state that only runs forward (state-space and hybrid models of llama.cpp's list).
_RECURRENT = (
    "mamba",
    "rwkv",
    "arwkv",
    "jamba",
    "falcon-h1",
    "granitehybrid",
    "nemotron_h",
    "lfm2",
    "plamo2",
    "qwen3next",
    "kimi-linear",
)


def check_file(model: InstalledModel) -> Iterator[Finding]:
    """What the header says. Raises nothing a caller must handle; ``finding.run`` turns ModelError into a finding."""
    if model.path.is_dir():
        yield ok("model file", f"{model.path} ({model.bytes:,} bytes of safetensors)")
        return
    header = gguf_header.read(model.path)
    size = model.path.stat().st_size
    yield ok(
        "model file", f"{model.path} ({size:,} bytes, {header.architecture}, trained for {header.context:,} tokens)"
    )
    template = model.template or header.guess_template()
    if template == "none":
        yield warn(
            "fill-in-the-middle",
            "the model has no fill-in-the-middle tokens; it does not see the code after the cursor",
            "Choose a model that has them: coder-lsp models list",
        )
    else:
        tokens = ", ".join(sorted(header.fim_tokens)) or "none of the usual spellings"
        yield ok("fill-in-the-middle", f"template {template}; tokens in the vocabulary: {tokens}")
    if header.architecture.startswith(_RECURRENT):
        yield warn(
            "prompt cache",
            f"{header.architecture} models cannot go back in their cache: every change is read again from the start",
            "Choose a model without recurrent layers: coder-lsp models list",
        )


def check_digest(model: InstalledModel, *, full: bool) -> Iterator[Finding]:
    """Compare the file's SHA-256 with the one the catalogue, or the record made when it was added, states."""
    if model.path.is_dir():
        yield ok("model digest", "a folder has none")
        return
    expected = expected_digest(model)
    found, fresh = digest(model.path, full=full)
    how = "computed now" if fresh else "computed before, file unchanged since; --full computes it again"
    if expected is None:
        yield ok("model digest", f"sha256 {found} ({how}); nobody states what it should be")
    elif found == expected:
        yield ok("model digest", f"sha256 {found}, as it should be ({how})")
    else:
        yield fail(
            "model digest",
            f"sha256 {found}, but it should be {expected}",
            f"coder-lsp models remove {model.name} && coder-lsp models pull {model.name}",
        )


def check_memory_need(model: InstalledModel, available_bytes: int, total_bytes: int) -> Iterator[Finding]:
    """Whether the model fits into what is free now, or at least into the machine."""
    need = needed_bytes(model)
    text = f"about {need / GIGABYTE:.1f} GiB needed, {available_bytes / GIGABYTE:.1f} GiB available"
    smaller = "Choose a smaller model (coder-lsp models list), for example: coder-lsp models use default"
    if need > total_bytes:
        yield fail("model memory", f"{text}, and the machine has {total_bytes / GIGABYTE:.1f} GiB", smaller)
    elif need > available_bytes:
        yield warn("model memory", text, f"Close other programs. {smaller}")
    else:
        yield ok("model memory", text)


def expected_digest(model: InstalledModel) -> str | None:
    """What the catalogue states, else what was recorded when the file came; None if nobody knows."""
    return (model.entry.sha256 if model.entry else None) or model.sha256


def needed_bytes(model: InstalledModel) -> int:
    """Memory of the loaded model: as the catalogue says, else by the file's size."""
    if model.entry is not None:
        return int(model.entry.min_memory_gb * GIGABYTE)
    return (model.bytes or model.path.stat().st_size) + _OVERHEAD_BYTES


def digest(path: Path, *, full: bool = False) -> tuple[str, bool]:
    """SHA-256 of a file, and whether it was computed now. Kept by path, size and time of change unless ``full``."""
    cache = paths.cache_dir() / "digests.json"
    facts = path.stat()
    key, state = os.path.realpath(path), [facts.st_size, facts.st_mtime_ns]
    known = _read(cache)
    entry = known.get(key)
    if not full and isinstance(entry, dict) and entry.get("state") == state and isinstance(entry.get("sha256"), str):
        return entry["sha256"], False
    computed = files.sha256_of(path)
    files.write_text(cache, json.dumps({**known, key: {"state": state, "sha256": computed}}))
    return computed, True


def _read(cache: Path) -> dict[str, Any]:
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
