"""``python -m coder_lsp``: the same as the ``coder-lsp`` command, for where the command is not on the PATH."""

import os
import sys

if __name__ == "__main__":
    # ``-m`` looks for modules in the current folder first: an editor's workspace, whose ``json.py`` would run.
    if sys.path and sys.path[0] in {"", os.path.realpath(os.curdir)}:
        del sys.path[0]

    from coder_lsp.cli.main import main

    main()
