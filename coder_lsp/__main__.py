"""``python -m coder_lsp``: the same as the ``coder-lsp`` command, for where the command is not on the PATH."""

from coder_lsp.cli.main import main

if __name__ == "__main__":
    main()
