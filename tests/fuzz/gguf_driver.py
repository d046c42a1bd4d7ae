"""``python -m fuzz.gguf_driver``: loads one model file after the other as a host does, and may die of one.

Reads a path a line; answers each with a line of JSON: ``{"said": …}`` or ``{"error": class, "message": …, "hint": …}``.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import CoderLspError
from coder_lsp.host.loading import load_worker
from coder_lsp.host.protocol import HostSettings
from coder_lsp.models import gguf_header
from coder_lsp.types import Adapter, FimRequest

_MOST_BYTES = 8 << 30
"""Of address space: a length that nobody checked must not take the machine with it."""


def answer(kind: str, path: str, good: str) -> dict[str, Any]:
    options = EngineOptions(kind="llama", context_tokens=512, sequences=2, threads=1, threads_batch=1)
    settings = HostSettings(good if kind == "adapter" else path, "mutated", engine=options)
    try:
        if kind == "header":
            return {"said": asdict(gguf_header.read(Path(path))), "template": None}
        worker = load_worker(settings)
        try:
            adapters = (Adapter(path, 1.0, "x"),) if kind == "adapter" else ()
            request = FimRequest(
                "file:///a.py", "def f(x):\n    return ", "\n\nf(2)\n", max_tokens=4, adapters=adapters
            )
            result = worker.complete(request, None, worker.new_cancel_token())
            return {"said": result.text}
        finally:
            worker.close()
    except CoderLspError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    for line in sys.stdin:
        kind, path, good = json.loads(line)
        try:
            found = answer(kind, path, good)
        except Exception as error:  # noqa: BLE001  (that it is none of ours is what is to be told)
            found = {"defect": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)


main()
