"""File records for tests of the store and the index."""

from __future__ import annotations

from coder_lsp.retrieval.store import FileRecord


def record(path, text="def f():\n    pass\n", *, names=("f",), terms=b"terms", modules=()):
    """A record with one function a name, and one import a module."""
    return FileRecord(
        path=path,
        size_bytes=len(text),
        mtime_ns=1,
        digest=text.encode()[:16],
        language="python",
        package="",
        lines=text.count("\n") + 1,
        chunks=b"",
        terms=terms,
        text=text.encode(),
        symbols=tuple((name, "function", "", f"def {name}():", "", at, at + 2) for at, name in enumerate(names)),
        imports=tuple((module, 0, at, '["a"]', "[]") for at, module in enumerate(modules)),
    )
