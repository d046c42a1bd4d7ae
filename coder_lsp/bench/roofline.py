"""How fast a model could be at most: what its weights cost to read, and what its products cost to compute.

Decoding one token at a time reads every weight once and does little with it, so memory bounds it; reading a prompt uses
each weight for many tokens, so arithmetic does (Williams, Waterman and Patterson, "Roofline", CACM 2009). Pure
arithmetic; who measures a machine says how it got the figures.

    >>> work = Work(weight_bytes=2_700_000_000, weights=1_350_000_000, cell_bytes=196_608, cell_products=98_304)
    >>> machine = Machine(bytes_per_s=3.35e12, flops_per_s=989e12)
    >>> round(decode_bound(work, machine, cells=0))  # 3.35e12 / 2.7e9: DeepSeek-Coder 1.3B in bf16 on an H100
    1241
    >>> round(decode_bound(work, machine, cells=1000))  # and with a cache of 1,000 tokens to read besides
    1157
    >>> round(prefill_bound(work, machine, tokens=1000))  # 989e12 / (2 x 1.35e9 + 500 cells on average x 98,304 x 2)
    353428
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Work:
    """What a model asks of a machine. ``weights`` are those that each token is multiplied with (no embedding that is
    only looked up), ``weight_bytes`` what they take; a cell is one token in the KV cache: ``cell_bytes`` are read of it
    for each token decoded, with ``cell_products`` multiplications.
    """

    weight_bytes: int
    weights: int
    cell_bytes: int = 0
    cell_products: int = 0


@dataclass(frozen=True)
class Machine:
    """``bytes_per_s`` of memory; ``flops_per_s`` (a product and a sum are two) of the arithmetic the model uses."""

    bytes_per_s: float
    flops_per_s: float


def cells(layers: int, heads: int, kv_heads: int, head_width: int, element_bytes: float) -> tuple[int, int]:
    """(``cell_bytes``, ``cell_products``) of attention: keys and values, and each head's products with both."""
    return int(2 * layers * kv_heads * head_width * element_bytes), 2 * layers * heads * head_width


def decode_bound(work: Work, machine: Machine, cells: int) -> float:
    """Tokens a second, one sequence, with so many cells filled: bytes or arithmetic, whichever takes longer."""
    seconds = max(
        (work.weight_bytes + cells * work.cell_bytes) / machine.bytes_per_s,
        2 * (work.weights + cells * work.cell_products) / machine.flops_per_s,
    )
    return 1 / seconds


def prefill_bound(work: Work, machine: Machine, tokens: int) -> float:
    """Tokens a second of a prompt of so many, in one go: weights are read once, each token attends to those before."""
    flops = 2 * tokens * (work.weights + tokens / 2 * work.cell_products)
    return tokens / max(work.weight_bytes / machine.bytes_per_s, flops / machine.flops_per_s)


def shares(
    work: Work, machine: Machine, *, prompt_tokens: int, prefill: float, decode_cells: int, decode: float
) -> dict[str, Any]:
    """Measured speeds (tokens a second) beside their bounds; ``decode_cells``: cells filled on average meanwhile."""
    fastest_prefill = prefill_bound(work, machine, prompt_tokens)
    fastest_decode = decode_bound(work, machine, decode_cells)
    return {
        "memory_gb_per_s": round(machine.bytes_per_s / 1e9, 1),
        "gflop_per_s": round(machine.flops_per_s / 1e9, 1),
        "weights_mb": round(work.weight_bytes / 1e6, 1),
        "prefill": {"bound_tokens_per_s": round(fastest_prefill, 1), "share": round(prefill / fastest_prefill, 3)},
        "decode": {"bound_tokens_per_s": round(fastest_decode, 1), "share": round(decode / fastest_decode, 3)},
    }
