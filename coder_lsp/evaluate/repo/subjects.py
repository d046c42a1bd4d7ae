"""What is measured side by side: models, and adapters laid over one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.errors import InputError
from coder_lsp.evaluate.repo.complete import Subject
from coder_lsp.models import adapters as adapter_store
from coder_lsp.models import store
from coder_lsp.types import Adapter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DIGITS = 16


def subjects(models: Sequence[str], adapters: Sequence[str] = ()) -> list[Subject]:
    """Each model alone, and behind them the first one with each adapter; ``name@0.5`` scales one.

    All are looked up before anything is measured.

    :raises CoderLspError: a model or an adapter is not there or damaged.
    :raises InputError: one is named twice.
    """
    found: list[Subject] = []
    for model in models:
        installed = store.resolve(model)
        name = _free(installed.name, found)
        found.append(Subject(name, model, f"{installed.name}:{_stamp(installed.path, installed.sha256)}"))
    for adapter in adapters:
        base = found[0]
        called, scale = adapter_store.split_scale(adapter)
        laid = adapter_store.resolve(called)
        name = _free(f"{base.name} + {laid.name}" + ("" if scale == 1.0 else f"@{scale:g}"), found)
        label = f"{base.label}+{laid.sha256[:_DIGITS]}@{scale:g}"
        found.append(Subject(name, base.model, label, (Adapter(str(laid.path), scale, laid.sha256),)))
    labels = [subject.label for subject in found]
    for subject in found:
        if labels.count(subject.label) > 1:
            raise InputError(f"{subject.name} is named twice", hint="name each model and each adapter once")
    return found


def _free(name: str, taken: Sequence[Subject]) -> str:
    """Files in different folders may have one name."""
    names = {subject.name for subject in taken}
    number = 2
    free = name
    while free in names:
        free = f"{name} ({number})"
        number += 1
    return free


def _stamp(path: Path, sha256: str | None) -> str:
    """What tells apart files of one name; a file that is not in the store has no digest."""
    if sha256:
        return sha256[:_DIGITS]
    facts = path.stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"
