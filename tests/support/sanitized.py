"""Runs tests with a native module that was built with sanitizers, in place of the installed one.

    cmake -S native -B build/sanitize -G Ninja -DCODER_LSP_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo
    cmake --build build/sanitize
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \\
        ASAN_OPTIONS=detect_leaks=0 python tests/support/sanitized.py build/sanitize tests/native

Leaks are not looked for: Python keeps what it keeps. The module in the build folder finds libllama through the library
path, which this sets by starting itself anew.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

NAME = "coder_lsp.engine._native"


def main() -> int:
    folder, *arguments = sys.argv[1:]
    package = importlib.util.find_spec("llama_cpp")
    assert package is not None
    assert package.origin is not None
    libraries = str(Path(package.origin).parent / "lib")
    if libraries not in os.environ.get("LD_LIBRARY_PATH", ""):
        os.environ["LD_LIBRARY_PATH"] = libraries
        os.execv(sys.executable, [sys.executable, *sys.argv])
    (path,) = Path(folder).glob("_native*.so")
    import coder_lsp.engine

    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    coder_lsp.engine._native = module  # type: ignore[attr-defined]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
