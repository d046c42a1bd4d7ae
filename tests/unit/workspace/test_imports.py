"""What the front pays for knowing about the workspace before it looks at any file."""

from __future__ import annotations

import subprocess
import sys


def test_no_library_is_loaded_before_it_is_needed():
    program = "import sys, coder_lsp.workspace.folder, coder_lsp.workspace.watch; print(*sys.modules)"
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert {"watchdog", "pathspec", "detect_secrets", "requests"}.isdisjoint(done.stdout.split())
