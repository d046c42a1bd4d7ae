"""How an optimised model came about: what it was made from, by what, on which machine, with what choices and figures.

The same facts stand in the model file, as metadata that goes wherever the file goes, and in the store's record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

PREFIX = "coder_lsp."


@dataclass(frozen=True)
class Provenance:
    """``formats`` by group; figures as measured on ``machine``; ratios are to the model that it is an answer to."""

    derived_from: str
    """Name of the model whose speed it is compared with."""
    base_sha256: str
    source_sha256: str
    """Of the file whose weights were taken: the same, or a more exact one."""
    made_by: str
    machine: str
    code: str
    """What importance and harm were measured on, in words."""
    formats: dict[str, str]
    divergence: float
    """Mean Kullback-Leibler divergence from the source's predictions on held-out code, nats a token."""
    agreement: float
    """Share of places where both think the same token likeliest."""
    decode_ratio: float
    prefill_ratio: float
    tokens_kept: int = 0
    """Tokens of the vocabulary; 0: all."""
    longer_percent: float = 0.0
    """How many more tokens the code at hand has by the smaller vocabulary."""
    exact: dict[str, Any] = field(default_factory=dict)
    """Exact matches on tasks, where any were given: tasks, before, after."""

    def table(self) -> dict[str, Any]:
        return asdict(self)

    def facts(self) -> dict[str, str]:
        """As metadata of a model file, all of it text. Exact matches are not in it: they are found with the file."""
        table = {key: value for key, value in self.table().items() if key != "exact"}
        return {
            f"{PREFIX}{key}": value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for key, value in table.items()
        }
