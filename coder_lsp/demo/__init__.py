"""The bundled project that ``coder-lsp demo`` completes, where it does so, and the editor it plays while doing it."""
