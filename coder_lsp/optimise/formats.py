"""What each format costs on this machine, for the shapes that a model has, and which of them are worth a thought.

A format is measured as one product of a matrix by one token (decoding) and by a slice of them (reading a prompt), with
the weights as llama.cpp lays them out for this processor. What counts is the processor time of one thread, so that a
busy machine gives the same answer as an idle one: wall times of all threads, measured beside a dozen other processes,
had the slowest formats among the fastest. Formats differ by several times in speed at the same size, because only some
are rearranged for the vector instructions at hand: so nothing is assumed, everything is timed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from coder_lsp.optimise import _requantise

CANDIDATES = ("q4_0", "iq4_nl", "q4_K", "q5_K", "q6_K", "q8_0")
"""From small to exact. Fewer bits harm a small model too much; q4_1, q5_0 and q5_1 are nowhere rearranged."""
BITS = {"q4_0": 4.5, "iq4_nl": 4.5, "q4_K": 4.5, "q5_K": 5.5, "q6_K": 6.6, "q8_0": 8.5}
SLICE_TOKENS = 128
SECONDS, ROUNDS = 0.04, 3
"""For one figure, of which there are some fifty, and how often: what else runs comes and goes, the least time stays."""
BANDS = 3
"""Layers are taken in thirds: how much a layer matters changes with its depth, and slowly."""

_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.weight")
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"

Shape = tuple[int, int]
"""Columns and rows."""


@dataclass(frozen=True)
class Cost:
    """Microseconds of a product: for one token alone, and for one of a slice."""

    decode_us: float
    prefill_us: float
    repacked: bool


def groups(matrices: Iterable[_requantise.Matrix]) -> dict[str, list[_requantise.Matrix]]:
    """Matrices that are to have the same format: one kind in one third of the layers; the output layer by itself.

    The embedding is not multiplied with and stays as it is, unless it is the output layer as well. Matrices of experts
    and whatever else has no two dimensions stay, too.
    """
    found: dict[str, list[_requantise.Matrix]] = {}
    flat = [matrix for matrix in matrices if len(matrix.shape) == 2]
    layers = 1 + max((int(m[1]) for matrix in flat if (m := _LAYER.fullmatch(matrix.name))), default=0)
    names = {matrix.name for matrix in flat}
    for matrix in flat:
        layer = _LAYER.fullmatch(matrix.name)
        if layer is not None:
            found.setdefault(f"{layer[2]} {1 + int(layer[1]) * BANDS // layers}/{BANDS}", []).append(matrix)
        elif matrix.name == _OUTPUT or (matrix.name == _EMBEDDING and _OUTPUT not in names):
            found.setdefault("output", []).append(matrix)
    return found


def time_all(matrices: Sequence[_requantise.Matrix], tell: Callable[[int, int], None]) -> dict[tuple[str, Shape], Cost]:
    """The cost of every candidate and of the formats that are there, for every shape; ``tell`` is told done and all."""
    from coder_lsp.optimise import _requantise as native

    wanted: dict[tuple[str, Shape], None] = {}
    for matrix in matrices:
        columns, rows = matrix.shape
        for name in (matrix.format, *CANDIDATES):
            if native.row_bytes(name, columns):
                wanted[name, (columns, rows)] = None
    costs: dict[tuple[str, Shape], Cost] = {}
    for turn in range(ROUNDS):
        for number, (name, (columns, rows)) in enumerate(wanted):
            tell(turn * len(wanted) + number, ROUNDS * len(wanted))
            times = native.time_product(name, columns, rows, SLICE_TOKENS, SECONDS)
            cost = Cost(times.one_us, times.batch_us / SLICE_TOKENS, times.repacked)
            before = costs.get((name, (columns, rows)), cost)
            costs[name, (columns, rows)] = Cost(
                min(cost.decode_us, before.decode_us), min(cost.prefill_us, before.prefill_us), cost.repacked
            )
    return costs


def worthwhile(current: str, shape: Shape, costs: Mapping[tuple[str, Shape], Cost]) -> list[str]:
    """Candidates that are faster than what is there, and that no more exact one equals in speed."""
    now = costs[current, shape]
    base = now.decode_us + now.prefill_us
    chosen: list[str] = []
    best = base
    for name in reversed(CANDIDATES):
        cost = costs.get((name, shape))
        if cost is None or name == current:
            continue
        together = cost.decode_us + cost.prefill_us
        same_size = chosen and BITS[name] == BITS[chosen[-1]]
        if together < best or (same_size and together < base):
            chosen.append(name)
            best = min(best, together)
    return chosen
