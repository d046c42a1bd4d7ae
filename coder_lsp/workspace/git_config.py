"""Where git keeps excludes outside the work tree: a repository's ``info/exclude`` and the user's global file.

Reads git's files and never starts git. Understands what concerns ``core.excludesFile``: sections, quoting, comments,
``[include]`` and the scopes (system, global, repository) with their environment variables; not ``includeIf``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_MAX_INCLUDES = 10
"""As many levels as git follows."""
_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_ENTRY = re.compile(r"\s*([A-Za-z][\w-]*)\s*=\s*(.*)")


def git_folder(repository: Path) -> Path | None:
    """The folder with the repository's data: ``.git``, or where a ``.git`` file of a submodule or worktree points."""
    marker = repository / ".git"
    try:
        if marker.is_dir():
            return marker
        target = marker.read_text(encoding="utf-8", errors="surrogateescape").partition("gitdir:")[2].strip()
        if not target:
            return None
        folder = repository / target
        common = folder / "commondir"
        return folder / common.read_text(encoding="utf-8").strip() if common.is_file() else folder
    except (OSError, ValueError):
        return None


def exclude_file(repository: Path) -> Path | None:
    """``info/exclude`` of the repository at this folder, None if there is no repository."""
    folder = git_folder(repository)
    return folder / "info" / "exclude" if folder else None


def global_excludes(repository: Path) -> Path:
    """The user's own excludes: ``core.excludesFile``, by default ``git/ignore`` in the configuration folder."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  # Path.home() raises where a user has none
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    scopes = [configuration / "config", home / ".gitconfig"]
    if os.environ.get("GIT_CONFIG_GLOBAL"):
        scopes = [Path(os.environ["GIT_CONFIG_GLOBAL"])]
    if not os.environ.get("GIT_CONFIG_NOSYSTEM"):
        scopes.insert(0, Path(os.environ.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"))
    own = git_folder(repository)
    if own is not None:
        scopes.append(own / "config")
    found = [value for path in scopes for value in _excludes_files(path, _MAX_INCLUDES)]
    return Path(found[-1]) if found else configuration / "ignore"


def _excludes_files(path: Path, depth: int) -> list[str]:
    """Every value of ``core.excludesFile`` in a file of git's, in order; the last one holds."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape") if path.is_file() else ""
    except OSError:
        return []
    found: list[str] = []
    section = ""
    for line in text.replace("\\\n", "").splitlines():
        rest = line.strip()
        header = _SECTION.match(rest)
        if header:
            section = (header[1] + ("." if header[2] else "")).lower()
            rest = rest[header.end() :]
        entry = _ENTRY.match(rest)
        if not entry:
            continue
        name, value = entry[1].lower(), _value(entry[2])
        if section == "core" and name == "excludesfile":
            found.append(os.path.expanduser(value))  # noqa: PTH111  # keeps "~unknown" instead of raising
        elif section == "include" and name == "path" and depth:
            included = path.parent / os.path.expanduser(value)  # noqa: PTH111  # same
            found += _excludes_files(included, depth - 1)
    return found


def _value(raw: str) -> str:
    """A value without its quotes, escapes and trailing comment."""
    value, quoted, at = "", False, 0
    while at < len(raw):
        character = raw[at]
        if character == "\\" and at + 1 < len(raw):
            at += 1
            value += {"n": "\n", "t": "\t", "b": "\b"}.get(raw[at], raw[at])
        elif character == '"':
            quoted = not quoted
        elif character in "#;" and not quoted:
            break
        else:
            value += character
        at += 1
    return value.strip()
