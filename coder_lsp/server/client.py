"""What the client said it can do, reduced to the questions this server asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pygls.capabilities import get_capability

if TYPE_CHECKING:
    from lsprotocol.types import ClientCapabilities

KEPT: dict[str, Any] = {
    "general": {"positionEncodings": True},
    "workspace": {
        "configuration": True,
        "didChangeConfiguration": {"dynamicRegistration": True},
        "workspaceFolders": True,
        "applyEdit": True,
        "workspaceEdit": {"documentChanges": True, "resourceOperations": True},
    },
    "textDocument": {
        "inlineCompletion": {},
    },
    "notebookDocument": {"synchronization": {"dynamicRegistration": True}},
    "window": {"workDoneProgress": True, "showDocument": True},
}
"""The capabilities that are read at all; see :func:`kept_capabilities`."""


@dataclass(frozen=True)
class ClientSupport:
    """Everything False: a client that announced nothing."""

    inline: bool = False
    configuration: bool = False
    configuration_dynamic: bool = False
    progress: bool = False
    show_document: bool = False
    applies_edits: bool = False
    creates_files: bool = False

    @classmethod
    def of(cls, capabilities: ClientCapabilities) -> ClientSupport:
        def has(path: str) -> bool:
            return bool(get_capability(capabilities, path, False))

        return cls(
            inline=get_capability(capabilities, "text_document.inline_completion") is not None,
            configuration=has("workspace.configuration"),
            configuration_dynamic=has("workspace.did_change_configuration.dynamic_registration"),
            progress=has("window.work_done_progress"),
            show_document=has("window.show_document.support"),
            applies_edits=has("workspace.apply_edit"),
            creates_files="create"
            in (get_capability(capabilities, "workspace.workspace_edit.resource_operations", None) or ()),
        )


def kept_capabilities(raw: Any, kept: dict[str, Any] = KEPT) -> dict[str, Any]:
    """``raw`` without what this server does not read.

    A client newer than our protocol library announces values that the library does not know and refuses, and a
    refused ``initialize`` is a dead server.
    """
    if not isinstance(raw, dict):
        return {}
    return {key: _kept(value, kept[key]) for key, value in raw.items() if key in kept}


def _kept(value: Any, kept: Any) -> Any:
    # Null: announced without anything to say of it, as lsp-mode 10 does.
    return kept_capabilities(value, kept) if isinstance(kept, dict) and isinstance(value, dict | None) else value
