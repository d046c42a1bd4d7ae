"""coder-lsp: local-first code completion through the Language Server Protocol."""

__version__ = "0.1.0"
