"""The extension's package.json says what the server's own settings are: same keys, types, defaults and limits."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import get_origin, get_type_hints

import pytest

from coder_lsp import __version__
from coder_lsp.config import Config

ROOT = Path(__file__).parents[3]
EXTENSION = ROOT / "editors" / "vscode"
MANIFEST = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
PROPERTIES = {
    key: entry for category in MANIFEST["contributes"]["configuration"] for key, entry in category["properties"].items()
}
OF_THE_CLIENT = ("coder-lsp.server.", "coder-lsp.trace.", "coder-lsp.ui.")


def settings(owner=Config, prefix=""):
    hints = get_type_hints(owner)
    for entry in fields(owner):
        if is_dataclass(hints[entry.name]):
            yield from settings(hints[entry.name], f"{prefix}{entry.name}.")
        else:
            yield f"coder-lsp.{prefix}{camel(entry.name)}", entry, hints[entry.name]


def camel(name):
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


SETTINGS = {key: (entry, kind) for key, entry, kind in settings() if not entry.metadata.get("own")}
"""Those that an editor may set."""


def test_every_setting_is_there_and_no_other():
    ours = {key for key in PROPERTIES if not key.startswith(OF_THE_CLIENT)}
    assert ours == set(SETTINGS)


@pytest.mark.parametrize("key", SETTINGS)
def test_type_default_and_limits_agree(key):
    entry, kind = SETTINGS[key]
    given, metadata = PROPERTIES[key], entry.metadata
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    assert entry.default is not MISSING
    if kind == tuple[tuple[str, str], ...]:
        # A table with the user's own keys.
        assert (given["type"], given["default"]) == ("object", dict(entry.default))
        assert given["additionalProperties"] == {"type": "string"}
        assert given["markdownDescription"]
        return
    assert given["type"] == ("array" if get_origin(kind) is tuple else names[kind])
    assert given["default"] == (list(entry.default) if isinstance(entry.default, tuple) else entry.default)
    assert given.get("minimum") == metadata.get("least")
    assert given.get("maximum") == metadata.get("most")
    assert given.get("enum") == (list(metadata["choices"]) if "choices" in metadata else None)
    assert given["markdownDescription"]


def test_an_untrusted_workspace_can_set_none_of_them():
    assert MANIFEST["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] == sorted(PROPERTIES)


def test_versions_agree():
    assert MANIFEST["version"] == __version__


def test_every_command_has_its_code_and_every_activation_its_command():
    declared = {command["command"] for command in MANIFEST["contributes"]["commands"]}
    code = (EXTENSION / "src" / "extension.ts").read_text(encoding="utf-8")
    registered = {f"coderLsp.{name}" for name in re.findall(r'^  command\("(\w+)"', code, re.MULTILINE)}
    assert declared <= registered
    named = set(re.findall(r"command:(coderLsp\.\w+)", json.dumps(MANIFEST["contributes"]["walkthroughs"])))
    assert named <= declared


def test_no_key_is_taken():
    assert "keybindings" not in MANIFEST["contributes"]


def test_the_lock_file_names_no_host():
    lock = (EXTENSION / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
