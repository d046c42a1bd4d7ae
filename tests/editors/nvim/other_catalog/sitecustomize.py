"""With this folder on ``PYTHONPATH``, every Python knows the models of the file that ``CODER_LSP_TEST_CATALOG`` names
in place of the shipped catalogue: the server, and the process of its own in which it pulls.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

if named := os.environ.get("CODER_LSP_TEST_CATALOG"):
    # pip's own environments have no coder-lsp.
    with contextlib.suppress(ImportError):
        from coder_lsp.models import catalog

        known = catalog.parse(Path(named).read_text(encoding="utf-8"))
        catalog.load = lambda: known
