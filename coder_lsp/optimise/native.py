"""The C++ half of this package: loaded late, and only where it fits the installed llama.cpp.

The extension of the engine stays what it is; this one measures and rewrites weights and nothing that serves
completions loads it.
"""

from __future__ import annotations

import importlib

from coder_lsp.engine import llama
from coder_lsp.errors import EngineError


def load() -> None:
    """Make ``coder_lsp.optimise._requantise`` importable. The engine's checks and its settings of threads come first.

    :raises EngineVersionError, EngineError: as :func:`coder_lsp.engine.llama.load_native`.
    """
    llama.load_native()
    try:
        importlib.import_module("coder_lsp.optimise._requantise")
    except ImportError as error:
        raise EngineError(
            f"the native module that rewrites weights cannot be loaded: {error}", hint=llama.REINSTALL
        ) from error
