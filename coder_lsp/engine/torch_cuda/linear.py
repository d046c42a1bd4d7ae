"""A matrix that activations are multiplied with: dense, or as whole numbers of 8 or 4 bits; and adapters over it.

Quantised weights are made small for the memory they are read from, not for the arithmetic: they become numbers again
in the product. A compiled decoding step does that in registers; elsewhere the matrix is made whole for a moment.

An adapter is kept beside the matrix as its two factors, so laying one over a model copies a few megabytes into buffers
that stay where they are: a captured CUDA graph goes on reading them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    Tensor = Any

GROUP = 128
"""Weights of a row that share a scale and an offset in four bits (of each half of a row a whole number of groups)."""


class Dense(nn.Module):  # type: ignore[misc]  # torch is Any to the checker
    """``x @ weight.T``."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class Int8(nn.Module):  # type: ignore[misc]
    """Codes from -127 to 127 and a scale for each row (out, in)."""

    codes: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, dtype: Any) -> None:
        super().__init__()
        wide = weight.float()
        scales = wide.abs().amax(dim=1).clamp(min=1e-12) / 127
        self.register_buffer("codes", (wide / scales[:, None]).round().to(torch.int8))
        self.register_buffer("scales", scales.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.codes.to(x.dtype)) * self.scales


class Int4(nn.Module):  # type: ignore[misc]
    """Codes from 0 to 15, scale and offset for each group: ``weight = code * scale + offset``.

    The first half of a row lies in the low halves of its bytes, the second half in the high ones, so that neither
    product has to take bytes apart into neighbours.
    """

    codes: Tensor
    scales: Tensor
    offsets: Tensor

    def __init__(self, weight: Tensor, dtype: Any) -> None:
        super().__init__()
        rows, columns = weight.shape
        grouped = weight.float().reshape(rows, columns // GROUP, GROUP)
        low, high = grouped.amin(dim=2, keepdim=True), grouped.amax(dim=2, keepdim=True)
        scales = (high - low).clamp(min=1e-12) / 15
        codes = ((grouped - low) / scales).round().clamp(0, 15).to(torch.uint8).reshape(rows, columns)
        half = columns // 2
        self.register_buffer("codes", codes[:, :half] | (codes[:, half:] << 4))
        self.register_buffer("scales", scales.to(dtype))
        self.register_buffer("offsets", low.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        half = self.codes.shape[1]
        groups = half // GROUP
        low = self._weight(self.codes & 15, slice(None, groups), x.dtype)
        high = self._weight(self.codes >> 4, slice(groups, None), x.dtype)
        return functional.linear(x[..., :half], low) + functional.linear(x[..., half:], high)

    def _weight(self, codes: Tensor, groups: slice, dtype: Any) -> Tensor:
        grouped = codes.to(dtype).reshape(codes.shape[0], -1, GROUP)
        return (grouped * self.scales[:, groups] + self.offsets[:, groups]).reshape(codes.shape)


def kernel(weight: Tensor, quantise: str, dtype: Any) -> Any:
    """The matrix in the form wanted, on its device. Four bits need rows of whole groups; else eight are taken."""
    if quantise == "int4" and weight.shape[1] % (2 * GROUP) == 0:
        return Int4(weight, dtype)
    return Dense(weight.to(dtype)) if quantise == "none" else Int8(weight, dtype)


class Projection(nn.Module):  # type: ignore[misc]
    """One or several matrices of the same input as one, with their biases and what lies over them."""

    a: Tensor | None
    b: Tensor | None
    bias: Tensor | None

    def __init__(self, parts: Sequence[Tensor], biases: Sequence[Tensor | None], quantise: str, dtype: Any) -> None:
        """``parts``: (out, in) each. A missing bias among others is zero."""
        super().__init__()
        self.rows = tuple(int(part.shape[0]) for part in parts)
        self.columns = int(parts[0].shape[1])
        self.kernel = kernel(torch.cat(list(parts)) if len(parts) > 1 else parts[0], quantise, dtype)
        bias = None
        if any(each is not None for each in biases):
            whole = [
                torch.zeros(rows, device=parts[0].device) if each is None else each.float()
                for rows, each in zip(self.rows, biases, strict=True)
            ]
            bias = torch.cat(whole).to(dtype)
        self.register_buffer("bias", bias)
        self.register_buffer("a", None)
        self.register_buffer("b", None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.kernel(x)
        if self.bias is not None:
            y = y + self.bias
        if self.a is not None:
            y = y + functional.linear(functional.linear(x, self.a), self.b)
        return y

    def lay(self, rank: int, factors: Sequence[tuple[int, Tensor, Tensor]], dtype: Any, device: Any) -> None:
        """Lay ``b @ a`` over single parts: (number of the part, a (r, in), b (out of the part, r)); r at most ``rank``
        for a part in all. The same rank as before goes into the same memory; 0 takes all off.
        """
        if not rank:
            self.a = self.b = None
            return
        whole = rank * len(self.rows)
        a = torch.zeros(whole, self.columns, dtype=dtype)
        b = torch.zeros(sum(self.rows), whole, dtype=dtype)
        used = [0] * len(self.rows)
        for part, down, up in factors:
            width = int(down.shape[0])
            at = part * rank + used[part]
            used[part] += width
            row = sum(self.rows[:part])
            a[at : at + width] = down.to(dtype)
            b[row : row + self.rows[part], at : at + width] = up.to(dtype)
        if self.a is not None and self.b is not None and self.a.shape == a.shape:
            self.a.copy_(a)
            self.b.copy_(b)
        else:
            self.a, self.b = a.to(device), b.to(device)
