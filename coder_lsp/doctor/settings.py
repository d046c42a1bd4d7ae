"""Settings and folders: which file counts, what is wrong in it, and whether others could read what is private."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from coder_lsp import paths
from coder_lsp.doctor.finding import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from coder_lsp.configuration import Loaded
    from coder_lsp.doctor.finding import Finding


def check_settings(loaded: Loaded) -> Iterator[Finding]:
    file = paths.config_file()
    state = "" if file.is_file() else " (not there; defaults are used)"
    if not loaded.faults:
        yield ok("settings", f"{file}{state}")
    for fault in loaded.faults:
        yield warn(
            "settings",
            fault.message,
            fault.hint or f"Correct it in {file} or in your editor's settings; the default is used until then.",
        )
    yield ok("model in use", loaded.config.model)
    if loaded.config.offline:
        yield ok("network", "forbidden by the settings, by --offline or by CODER_LSP_OFFLINE; models cannot be pulled")
    else:
        yield ok("network", "used by `coder-lsp models pull` only")


def check_folders() -> Iterator[Finding]:
    folders: tuple[tuple[str, Callable[[], Path]], ...] = (
        ("models folder", paths.models_dir),
        ("cache folder", paths.cache_dir),
        ("state folder", paths.state_dir),
        ("socket folder", paths.runtime_dir),
    )
    for name, make in folders:
        yield _check_folder(name, make)


def _check_folder(name: str, make: Callable[[], Path]) -> Finding:
    try:
        folder = make()
        # Servers go on without it; here its error is wanted.
        folder.mkdir(parents=True, exist_ok=True)
        facts = folder.stat()
    except OSError as error:
        return fail(name, f"cannot be made: {error}", "Free the path, or set CODER_LSP_HOME to a folder of yours.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return fail(name, f"{folder} cannot be written to", f"chmod u+rwx '{folder}'")
    mode = stat.S_IMODE(facts.st_mode)
    if not hasattr(os, "geteuid"):
        return ok(name, str(folder))
    if facts.st_uid != os.geteuid():
        return fail(name, f"{folder} belongs to user {facts.st_uid}", "Set CODER_LSP_HOME to a folder of your own.")
    # The socket's folder is what keeps other users out where the system cannot tell who calls.
    if mode & 0o077 and name == "socket folder":
        return fail(name, f"{folder} is open to others (mode {mode:04o})", f"chmod 700 '{folder}'")
    return ok(name, f"{folder} (mode {mode:04o})")
