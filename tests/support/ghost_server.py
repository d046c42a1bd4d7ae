"""A language server that suggests by rule, for testing clients of one: run as a script, speaks LSP over stdio.

A suggestion is the length of the document, in words, and so tells whether the edits arrived. A line that begins with
``die`` ends the process, ``none`` gets no suggestion, ``snippet`` gets a StringValue, ``range`` gets an item that
replaces its whole line. ``settings`` gets what the client answers to workspace/configuration. The first argument is the
state that the server announces, by default ``ready``.
"""

from __future__ import annotations

import os
import sys

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer

server = LanguageServer("ghost-server", "1")


@server.feature(lsp.INITIALIZED)
def announce(ls: LanguageServer, _params: lsp.InitializedParams) -> None:
    ls.window_log_message(lsp.LogMessageParams(lsp.MessageType.Info, "hello"))
    for state in ("loading", *sys.argv[1:], *(["ready"] if len(sys.argv) == 1 else [])):
        status = {"state": state, "model": "m", "engine": "e", "message": "out of memory", "progress": None}
        ls.protocol.notify("coder-lsp/status", status)


@server.feature(lsp.TEXT_DOCUMENT_INLINE_COMPLETION, lsp.InlineCompletionOptions())
async def suggest(ls: LanguageServer, params: lsp.InlineCompletionParams) -> lsp.InlineCompletionList:
    document = ls.workspace.get_text_document(params.text_document.uri)
    position = params.position
    line = document.source.split("\n")[position.line]
    text: str | lsp.StringValue = f"length {len(document.source)}"
    span = None
    if line.startswith("die"):
        print("the end is near", file=sys.stderr, flush=True)
        os._exit(3)
    if line.startswith("none"):
        return lsp.InlineCompletionList([])
    if line.startswith("snippet"):
        text = lsp.StringValue("value")
    if line.startswith("range"):
        text = line[: position.character] + "added"
        span = lsp.Range(lsp.Position(position.line, 0), lsp.Position(position.line, len(line)))
    if line.startswith("settings"):
        answer = await ls.workspace_configuration_async(
            lsp.ConfigurationParams([lsp.ConfigurationItem(section="coder-lsp")])
        )
        text = str(answer)
    return lsp.InlineCompletionList([lsp.InlineCompletionItem(insert_text=text, range=span)])


if __name__ == "__main__":
    server.start_io()
