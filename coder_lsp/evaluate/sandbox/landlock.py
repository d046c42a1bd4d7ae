"""Landlock: which files a program may touch, where it cannot have a mount namespace. Linux 5.13; 6.12 for signals."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from coder_lsp.evaluate.sandbox import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

# linux/landlock.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_DEVICES = 1 << 6 | 1 << 11
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_FIRST_VERSION = (1 << 13) - 1
_LATER = {2: 1 << 13, 3: _TRUNCATE, 5: _IOCTL}
"""Version -> the right it knows besides."""
_TCP, _SCOPES = 3, 3
"""Binding and connecting; abstract Unix sockets and signals."""
SIGNALS_SINCE = 6


def version() -> int:
    """Of the kernel's Landlock; 0 without it."""
    try:
        return libc.call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(known: int, *, readable: Iterable[str], devices: Iterable[str], folder: str) -> None:
    """From now on: read and execute ``readable``, use ``devices``, do anything in ``folder``, nothing else.

    Needs no_new_privs.

    :raises OSError: the kernel does not take it.
    """
    rights = _FIRST_VERSION
    for since, right in _LATER.items():
        rights |= right if known >= since else 0
    attributes = struct.pack("QQQ", rights, _TCP if known >= 4 else 0, _SCOPES if known >= SIGNALS_SINCE else 0)
    size = 24 if known >= SIGNALS_SINCE else 16 if known >= 4 else 8
    ruleset = libc.call(_CREATE_RULESET, ctypes.create_string_buffer(attributes, len(attributes)), size, 0)
    for path in readable:
        _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    for path in devices:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
    _allow(ruleset, folder, rights & ~_DEVICES)
    libc.call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112  # the supervisor starts often and loads little
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        libc.call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0)
    finally:
        os.close(descriptor)
