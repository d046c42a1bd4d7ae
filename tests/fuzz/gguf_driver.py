"""``python -m fuzz.gguf_driver``: loads one model file after the other as a host does, and may die of one."""

from __future__ import annotations

import resource
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fuzz.driver import serve

from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import CoderLspError
from coder_lsp.host.loading import load_worker
from coder_lsp.host.protocol import HostSettings
from coder_lsp.models import gguf_header
from coder_lsp.types import Adapter, FimRequest

_MOST_BYTES = 8 << 30
"""Of address space: a length that nobody checked must not take the machine with it."""


def answer(question: Any) -> Any:
    """What a model says, or what is wrong with its file. ``kind`` ``adapter``: the file is laid over ``good``."""
    kind, path, good = question
    try:
        if kind == "header":
            return {"said": list(asdict(gguf_header.read(Path(path))))}
        return {"said": said(good, (Adapter(path, 1.0, "x"),)) if kind == "adapter" else said(path, ())}
    except CoderLspError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def said(model: str, adapters: tuple[Adapter, ...]) -> str:
    options = EngineOptions(kind="llama", context_tokens=512, sequences=2, threads=1, threads_batch=1)
    worker = load_worker(HostSettings(model, "mutated", engine=options))
    try:
        request = FimRequest("file:///a.py", "def f(x):\n    return ", "\n\nf(2)\n", max_tokens=4, adapters=adapters)
        return worker.complete(request, None, worker.new_cancel_token()).text
    finally:
        worker.close()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    serve(answer)
