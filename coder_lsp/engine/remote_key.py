"""The key of a server: from the environment or the system's keyring, never from a file of a workspace, never printed.

``keyring`` (extra ``remote``) speaks with the keychain of macOS, Windows' credentials, the Secret Service of Linux
desktops. A key belongs to one origin: that of another address is not found under it.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from coder_lsp.engine.remote_wire import Address
from coder_lsp.errors import ConfigError

VARIABLE = "CODER_LSP_REMOTE_KEY"
_SERVICE = "coder-lsp"


def find(url: str) -> tuple[str, str]:
    """The key for an address and where it comes from; both empty if there is none."""
    if key := os.environ.get(VARIABLE, "").strip():
        return key, f"the environment ({VARIABLE})"
    try:
        ring = _keyring()
    except ConfigError:
        return "", ""
    try:
        key = ring.get_password(_SERVICE, Address(url).origin)
    except Exception:  # noqa: BLE001  (backends raise what they like; without a keyring there is no key in it)
        return "", ""
    return (key, "the system's keyring") if key else ("", "")


def keep(url: str, key: str) -> None:
    """Put the key for an address into the keyring.

    :raises ConfigError: there is no keyring here, or it refuses.
    """
    _change("keep", lambda ring: ring.set_password(_SERVICE, Address(url).origin, key))


def forget(url: str) -> None:
    """:raises ConfigError: there is no such key, or no keyring."""
    _change("forget", lambda ring: ring.delete_password(_SERVICE, Address(url).origin))


def _change(what: str, change: Any) -> None:
    try:
        change(_keyring())
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  (backends raise what they like)
        # Not the error's own words: who knows what a backend quotes.
        raise ConfigError(
            f"the keyring could not {what} the key ({type(error).__name__})",
            hint=f"give it by the environment instead: {VARIABLE}",
        ) from None


def _keyring() -> Any:
    try:
        return importlib.import_module("keyring")
    except ImportError:
        raise ConfigError(
            "the system's keyring cannot be asked: the package keyring is not installed",
            hint=f"pip install 'coder-lsp[remote]', or give the key by the environment: {VARIABLE}",
        ) from None
