"""Runs tests with native modules that were built with sanitizers, in place of the installed ones.

`scripts/sanitize` builds them and calls this. A module that was built without is refused, so that nobody takes a plain
run for a sanitized one.

Leaks are not looked for: Python keeps what it keeps. The modules in the build folder find libllama through the library
path, which this sets by starting itself anew.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import pytest

NAMES = ("coder_lsp.engine._native", "coder_lsp.optimise._requantise", "coder_lsp.retrieval._bm25")


def main() -> int:
    folder, *arguments = sys.argv[1:]
    package = importlib.util.find_spec("llama_cpp")
    assert package is not None
    assert package.origin is not None
    libraries = str(Path(package.origin).parent / "lib")
    if libraries not in os.environ.get("LD_LIBRARY_PATH", ""):
        os.environ["LD_LIBRARY_PATH"] = libraries
        os.execv(sys.executable, [sys.executable, *sys.argv])
    for name in NAMES:
        load(name, Path(folder))
    return int(pytest.main(arguments))


def load(name: str, folder: Path) -> None:
    package, _, module_name = name.rpartition(".")
    (path,) = folder.glob(f"{module_name}*.so")
    if not any(sign in path.read_bytes() for sign in (b"__asan_init", b"__tsan_init")):
        sys.exit(f"{path} was not built with a sanitizer")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    setattr(importlib.import_module(package), module_name, module)


if __name__ == "__main__":
    sys.exit(main())
