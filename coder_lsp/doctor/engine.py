"""Which engine would run the configured model on this machine, and why that one.

Asks what the host asks, and reads no weight. Torch is imported only where there may be a device for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.doctor.finding import ok, warn
from coder_lsp.engine import choose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coder_lsp.doctor.finding import Finding
    from coder_lsp.engine.base import EngineOptions

_NAME = "engine"


def check_engine(model: Path, options: EngineOptions) -> Iterator[Finding]:
    """Raises nothing a caller must handle; ``finding.run`` turns our errors into findings."""
    found = choose.outlook(model, options)
    said = f"{found.kind}: {found.reason}"
    if found.unwanted:
        yield warn(
            _NAME,
            f"{said}; the settings ask for {options.kind}",
            "See docs/torch.md; or set engine.kind = auto, which takes what is there.",
        )
    else:
        yield ok(_NAME, said)
