"""All targets: importing this makes them known to the engine."""

from __future__ import annotations

from fuzz import lsp_bytes, lsp_orders

MODULES = (lsp_bytes, lsp_orders)
