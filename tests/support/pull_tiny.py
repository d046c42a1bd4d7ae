"""Run as a program: pull the model ``tiny`` of the catalogue file given, and print what came of it as one JSON line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from coder_lsp.errors import CoderLspError
from coder_lsp.models import catalog, sources
from coder_lsp.models.progress import Lines
from coder_lsp.models.pull import pull


def main() -> None:
    known = catalog.parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    catalog.load = lambda: known
    sources.CHUNK_BYTES = 1000
    try:
        model = pull("tiny", progress=Lines(seconds=0))
    except CoderLspError as error:
        print(json.dumps({"error": type(error).__name__, "message": error.message}))
    else:
        print(json.dumps({"path": str(model.path), "verified": model.verified, "source": model.source}))


if __name__ == "__main__":
    main()
