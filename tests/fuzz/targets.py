"""All targets: importing this makes them known to the engine."""

from __future__ import annotations

from fuzz import (
    databases,
    gguf_files,
    host_socket,
    lsp_bytes,
    lsp_edits,
    lsp_orders,
    model_records,
    remote_answers,
    settings_files,
    suggestions,
    syntax_texts,
)

MODULES = (
    databases,
    gguf_files,
    host_socket,
    lsp_bytes,
    lsp_edits,
    lsp_orders,
    model_records,
    remote_answers,
    settings_files,
    suggestions,
    syntax_texts,
)
