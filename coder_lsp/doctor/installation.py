"""Is everything installed that must be, and does the native engine load?

The engine is tried in a process of its own: a library built for another processor ends the process that loads it.
"""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from coder_lsp import __version__
from coder_lsp.doctor.finding import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.doctor.finding import Finding

DISTRIBUTION = "coder-lsp"
SET_UP_AGAIN = "In a checkout: remove .venv and run scripts/setup. Otherwise: pip install --force-reinstall coder-lsp"
ENGINE_PROGRAM = """
import sys
from pathlib import Path
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.llama import LlamaEngine, check_version
from coder_lsp.errors import CoderLspError, ModelNotFound
try:
    LlamaEngine.load(Path("no such file"), EngineOptions())
except ModelNotFound:
    from coder_lsp.engine import _native
    amx = "AMX_INT8 = 1" in _native.system_info()
    print("loads; compiled against llama-cpp-python", check_version(), "with AMX" if amx else "")
except CoderLspError as error:
    sys.exit(error.message)
"""
"""The native module itself finds that there is no such file, so it has been loaded by then."""
_AMX = "with AMX"
WITHOUT_AMX = """\
In a checkout: `pip cache remove llama_cpp_python`, remove .venv, and run scripts/setup, which compiles without it. \
Otherwise: set CFLAGS and CXXFLAGS to "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16", then \
`pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python coder-lsp`."""
_ENGINE_SECONDS = 60
"""For importing one extension module; a cold disk takes a few seconds."""


def check_python() -> Iterator[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    yield ok("python", found)


def check_packages() -> Iterator[Finding]:
    """Every dependency that the installed metadata names, without the optional ones."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield fail("coder-lsp", f"{__version__}, but it is not installed, only importable", SET_UP_AGAIN)
        return
    yield ok("coder-lsp", __version__)
    names = [name for requirement in requirements if (name := required_name(requirement))]
    versions = {name: _version(name) for name in names}
    missing = sorted(name for name, version in versions.items() if version is None)
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", SET_UP_AGAIN)
    else:
        yield ok("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))


def check_native_engine() -> Iterator[Finding]:
    done = subprocess.run(
        (sys.executable, "-c", ENGINE_PROGRAM), capture_output=True, text=True, timeout=_ENGINE_SECONDS, check=False
    )
    said = done.stdout.strip()
    if done.returncode == 0 and said.endswith(_AMX):
        yield warn(
            "native engine",
            f"{said}, which crashes (llama.cpp #20824) and is gone around: prompts are read more slowly",
            WITHOUT_AMX,
        )
    elif done.returncode == 0:
        yield ok("native engine", said)
    elif done.returncode < 0:
        died_of = signal.Signals(-done.returncode).name
        yield fail(
            "native engine",
            f"loading it ends the process with {died_of}; it was probably compiled on another processor",
            SET_UP_AGAIN,
        )
    else:
        said = done.stderr.strip()
        reason = said.splitlines()[-1] if said else f"status {done.returncode}"
        yield fail("native engine", f"cannot be loaded: {reason}", SET_UP_AGAIN)


def required_name(requirement: str) -> str | None:
    """Name out of a requirement line; None if it stands under a condition (an extra, another Python).

    >>> required_name("pygls<3,>=2.1"), required_name('gguf>=0.17; extra == "dev"')
    ('pygls', None)
    """
    if ";" in requirement:
        return None
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return match[0] if match else None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
