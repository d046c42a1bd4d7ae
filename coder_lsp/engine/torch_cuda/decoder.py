"""The decoder itself: embedding, blocks, output layer, over cells of a static cache.

The cells of all sequences are allocated once, so nothing grows while somebody types. Where a token's keys and values
go, and up to where it looks, is said by its position alone: going back to an earlier position needs nothing but going
on from there, since what lies behind is hidden by the mask until it is overwritten.

Shapes: ``b`` sequences at work, ``t`` new tokens of each, ``n`` cells that are looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional

from coder_lsp.engine.torch_cuda.linear import Projection

if TYPE_CHECKING:
    from collections.abc import Callable

    from coder_lsp.engine.torch_cuda.shape import Shape

    Tensor = Any

SPARE_CELLS = 16
"""Behind the context of each sequence: batches of fixed sizes may reach over its end, and sequences that have nothing
to do in a batch write there."""


class Source(Protocol):
    """Where weights come from, by the names that GGUF files have, such as ``blk.0.attn_q.weight``.

    Query and key rows are in the order in which the two halves of a head rotate together.
    """

    shape: Shape
    description: str
    bytes: int

    def tensor(self, name: str) -> Tensor | None: ...


class Cache:
    """Keys and values of all sequences: a tensor (sequences, kv_heads, cells, head_width) a layer."""

    def __init__(self, shape: Shape, sequences: int, context_tokens: int, dtype: Any, device: Any) -> None:
        self.cells = context_tokens + SPARE_CELLS
        size = (sequences, shape.kv_heads, self.cells, shape.head_width)
        # Zeros: a cell that was never written is multiplied with a weight of zero, and must not be a NaN.
        self.keys = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.values = [torch.zeros(size, dtype=dtype, device=device) for _ in range(shape.layers)]


class Cells(NamedTuple):
    """Where a step writes: sequences (b, 1) and positions (b, t); and what it reads, (b, kv_heads, n, head_width)."""

    rows: Tensor
    positions: Tensor
    keys: Tensor
    values: Tensor


class Sight(NamedTuple):
    """How tokens look at cells; ``mask`` as :func:`attend` takes it."""

    attend: Attend
    mask: Any


class Norm(nn.Module):  # type: ignore[misc]  # torch is Any to the checker
    """RMSNorm, in single precision whatever comes in."""

    weight: Tensor

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight.float())
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return (wide * scale * self.weight).to(x.dtype)


class Block(nn.Module):  # type: ignore[misc]
    """Attention and the gated layer. What a block adds is handed on, not added: the next one's norm does both at once
    where blocks are compiled one by one.
    """

    q_norm: Norm | None
    k_norm: Norm | None

    def __init__(self, source: Source, layer: int, quantise: str, dtype: Any, device: Any) -> None:
        super().__init__()
        shape = source.shape
        self.heads, self.kv_heads, self.head_width = shape.heads, shape.kv_heads, shape.head_width

        def projection(*names: str) -> Projection:
            parts = [needed(source, f"blk.{layer}.{name}.weight").to(device) for name in names]
            biases = [source.tensor(f"blk.{layer}.{name}.bias") for name in names]
            placed = [None if bias is None else bias.to(device) for bias in biases]
            return Projection(parts, placed, quantise, dtype)

        def norm(name: str) -> Norm | None:
            weight = source.tensor(f"blk.{layer}.{name}.weight")
            return None if weight is None else Norm(weight.to(device), shape.norm_epsilon)

        self.attention_norm = Norm(needed(source, f"blk.{layer}.attn_norm.weight").to(device), shape.norm_epsilon)
        self.qkv = projection("attn_q", "attn_k", "attn_v")
        self.q_norm, self.k_norm = norm("attn_q_norm"), norm("attn_k_norm")
        self.output = projection("attn_output")
        self.inner_norm = Norm(needed(source, f"blk.{layer}.ffn_norm.weight").to(device), shape.norm_epsilon)
        self.gate_up = projection("ffn_gate", "ffn_up")
        self.down = projection("ffn_down")

    def forward(
        self,
        x: Tensor,
        added: Tensor,
        turn: tuple[Tensor, Tensor],
        cells: Cells,
        sight: Sight,
    ) -> tuple[Tensor, Tensor]:
        """``x``, ``added`` (b, t, width): the stream and what is still to be added. ``turn``: cosine and sine, each
        (b, 1, t, width / 2).
        """
        x = x + added
        b, t, _ = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).split(self.qkv.rows, dim=-1)
        q = q.view(b, t, self.heads, self.head_width).transpose(1, 2)
        k = k.view(b, t, self.kv_heads, self.head_width).transpose(1, 2)
        v = v.view(b, t, self.kv_heads, self.head_width)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        # Indices apart from each other put their dimension first: (b, t, kv_heads, head_width).
        cells.keys[cells.rows, :, cells.positions] = turned(k, turn).transpose(1, 2)
        cells.values[cells.rows, :, cells.positions] = v
        seen = sight.attend(turned(q, turn), cells.keys, cells.values, sight.mask)
        x = x + self.output(seen.transpose(1, 2).reshape(b, t, -1))
        gate, up = self.gate_up(self.inner_norm(x)).chunk(2, dim=-1)
        return x, self.down(functional.silu(gate) * up)


class Decoder(nn.Module):  # type: ignore[misc]
    """All of it, on one device. ``turns``: cosine and sine of each position, (positions, width / 2), float32."""

    embedding: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(
        self,
        source: Source,
        *,
        positions: int,
        quantise: str,
        dtype: Any,
        device: Any,
        progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        """Load the weights, a layer at a time.

        :raises ModelUnsupported: one is missing.
        """
        super().__init__()
        shape = source.shape
        self.shape, self.dtype, self.device = shape, dtype, device
        self.register_buffer("embedding", needed(source, "token_embd.weight").to(device=device, dtype=dtype))
        self.blocks = nn.ModuleList()
        for layer in range(shape.layers):
            self.blocks.append(Block(source, layer, quantise, dtype, device))
            progress((layer + 1) / (shape.layers + 1))
        self.norm = Norm(needed(source, "output_norm.weight").to(device), shape.norm_epsilon)
        # In full: the output layer decides between tokens, and a tied one is looked up in besides.
        head = source.tensor("output.weight") if not shape.tied else None
        self.head = self.embedding if head is None else head.to(device=device, dtype=dtype)
        frequencies, factor = shape.rope.frequencies()
        angles = torch.outer(
            torch.arange(positions, dtype=torch.float64), torch.tensor(frequencies, dtype=torch.float64)
        )
        self.register_buffer("cosine", (angles.cos() * factor).float().to(device))
        self.register_buffer("sine", (angles.sin() * factor).float().to(device))
        progress(1.0)

    def turn(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine for positions (b, t)."""
        return self.cosine[positions][:, None], self.sine[positions][:, None]

    def scores(self, x: Tensor, added: Tensor) -> Tensor:
        """What follows each place of the stream: (b, t, vocabulary), float32."""
        return functional.linear(self.norm(x + added), self.head).float()

    def weight_bytes(self) -> int:
        """Read for each decoded token; an embedding that is only looked up is none of it."""
        buffers = {id(buffer): buffer for buffer in self.buffers()}
        tables = {id(self.cosine), id(self.sine)} | (set() if self.head is self.embedding else {id(self.embedding)})
        total: int = sum(buffer.numel() * buffer.element_size() for key, buffer in buffers.items() if key not in tables)
        return int(total) + (0 if self.head is self.embedding else int(self.head.numel() * self.head.element_size()))


class Attend(Protocol):
    """Attention of queries (b, heads, t, width) to n cells."""

    def __call__(self, q: Tensor, keys: Tensor, values: Tensor, mask: Any, /) -> Tensor: ...


def attend(q: Tensor, keys: Tensor, values: Tensor, mask: Any) -> Tensor:
    """By torch's own kernels. ``mask``: None (all cells), ``"causal"`` (as many cells as tokens), or a tensor."""
    grouped = q.shape[1] != keys.shape[1]
    if grouped and q.is_cuda and q.shape[2] > 1 and not isinstance(mask, str):
        # The kernel that takes a mask wants as many keys as queries; the one for groups then keeps all scores.
        groups = q.shape[1] // keys.shape[1]
        keys, values = keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1)
        grouped = False
    if isinstance(mask, str):
        return functional.scaled_dot_product_attention(q, keys, values, is_causal=True, enable_gqa=grouped)
    return functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=grouped)


def attend_by_sums(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """The same as plain products and sums, for compiling: one query reads all cells, and torch's kernels give each head
    to one multiprocessor, of which most devices have more than a model has heads. Sums are split over all of them.
    """
    b, heads, t, width = q.shape
    kv_heads, cells = keys.shape[1], keys.shape[2]
    groups = heads // kv_heads
    # (b, kv_heads, groups * t, 1, width) with (b, kv_heads, 1, n, width)
    rows = (q * width**-0.5).reshape(b, kv_heads, groups * t, width).float()
    scores = (rows[:, :, :, None] * keys[:, :, None].float()).sum(dim=-1)
    scores = scores.reshape(b, kv_heads, groups, t, cells).masked_fill(~mask[:, :, None], -torch.inf)
    weights = scores.softmax(dim=-1).reshape(b, kv_heads, groups * t, cells, 1)
    seen = (weights * values[:, :, None].float()).sum(dim=3)
    return seen.reshape(b, heads, t, width).to(q.dtype)


def turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Heads (b, heads, t, head_width) turned by their positions; dimensions behind the rotary ones stay."""
    cosine, sine = turn
    half = cosine.shape[-1]
    wide = x.float()
    one, other = wide[..., :half], wide[..., half : 2 * half]
    parts = [one * cosine - other * sine, other * cosine + one * sine]
    if 2 * half < x.shape[-1]:
        parts.append(wide[..., 2 * half :])
    return torch.cat(parts, dim=-1).to(x.dtype)


def needed(source: Source, name: str) -> Tensor:
    """:raises ModelUnsupported: the model has no such tensor."""
    from coder_lsp.errors import ModelUnsupported

    found = source.tensor(name)
    if found is None:
        raise ModelUnsupported(
            f"the model has no {name}, which every {source.shape.architecture} has for this engine",
            hint="GGUF files that torch cannot run may run with engine.kind = llama",
        )
    return found
