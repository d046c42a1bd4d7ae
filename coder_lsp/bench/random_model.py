"""Models of a known size with random weights: as fast as the real ones, without a download.

What they say is noise. For speed nothing else counts, and for comparing two ways of computing nothing else is needed.
Needs torch and nothing that is compiled here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.engine.torch_cuda.shape import Rope, Shape
from coder_lsp.errors import InputError

if TYPE_CHECKING:
    Tensor = Any


def _shape(layers: int, width: int, heads: int, inner: int, *, vocab_size: int = 32_256, kv_heads: int = 0) -> Shape:
    return Shape(
        architecture="llama",
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_width=width // heads,
        inner=inner,
        vocab_size=vocab_size,
        norm_epsilon=1e-6,
        tied=False,
        rope=Rope(
            base=100_000.0, width=width // heads, train_context=16_384, scaling={"rope_type": "linear", "factor": 4.0}
        ),
    )


SHAPES = {
    "tiny": _shape(2, 128, 2, 256, vocab_size=512, kv_heads=1),
    "small": _shape(8, 1024, 8, 2816),
    "deepseek-1.3b": _shape(24, 2048, 16, 5504),
    "deepseek-6.7b": _shape(32, 4096, 32, 11_008),
}
"""The last two as their configurations on the hub have them; the first two for dry runs."""


def shape_of(name: str) -> Shape:
    """:raises InputError: no shape is called that."""
    if name not in SHAPES:
        raise InputError(f"there is no shape {name!r}", hint=f"there are {', '.join(SHAPES)}")
    return SHAPES[name]


class RandomSource:
    """See :class:`~coder_lsp.engine.torch_cuda.decoder.Source`. The same seed gives the same weights on one kind of
    device.
    """

    def __init__(self, shape: Shape, device: str, seed: int = 0) -> None:
        self.shape, self.description, self.bytes = shape, "random weights", 0
        self._device = device
        self._random = torch.Generator(device).manual_seed(seed)

    def tensor(self, name: str) -> Tensor | None:
        shape = self.shape
        kind = name.split(".")[-2]
        heads, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        sizes = {
            "token_embd": (shape.vocab_size, shape.width),
            "output": (shape.vocab_size, shape.width),
            "attn_q": (heads, shape.width),
            "attn_k": (kv, shape.width),
            "attn_v": (kv, shape.width),
            "attn_output": (shape.width, heads),
            "ffn_gate": (shape.inner, shape.width),
            "ffn_up": (shape.inner, shape.width),
            "ffn_down": (shape.width, shape.inner),
        }
        if kind.endswith("norm") and not kind.endswith(("_q_norm", "_k_norm")):
            return torch.ones(shape.width, device=self._device)
        if name.endswith(".bias") or kind not in sizes:
            return None
        # Scores spread as those of trained models do, so that the likeliest token is not a matter of rounding.
        weights = torch.randn(sizes[kind], generator=self._random, device=self._device)
        return weights * (1.5 * sizes[kind][1] ** -0.5)


class PlainVocabulary:
    """Tokens that are bytes, again and again; nothing ends a text, so that it is as long as it is asked to be."""

    bos = None
    end_tokens: frozenset[int] = frozenset()

    def tokenize(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    def special(self, text: str) -> int | None:
        del text
        return None

    def token_bytes(self, token: int) -> bytes:
        return bytes([32 + token % 90])
