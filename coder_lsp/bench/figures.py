"""How figures are summed up, the same for every benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUANTILES = {"p50": 0.50, "p95": 0.95}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p95 by rank, without interpolation: each is a value that was measured. Nothing of no values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * q))], 2) for name, q in _QUANTILES.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """The same and the largest."""
    return {**quantiles(values), "max": round(max(values), 2)}


def megabytes(count: int) -> float:
    """Bytes as MB (10⁶), one decimal."""
    return round(count / 1e6, 1)
