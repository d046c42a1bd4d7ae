"""The sizes of a decoder, and how it turns its heads by position. Figures only, no torch.

All architectures here are one: RMSNorm, attention with grouped keys and values, a gated SiLU layer. They differ in
biases and in norms of heads, which are simply there or not. What differs in more is refused by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

ARCHITECTURES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""As the hubs call them; a GGUF of a Mistral says llama."""
_SCALINGS = frozenset({"default", "linear", "llama3", "yarn"})


@dataclass(frozen=True)
class Rope:
    """Rotary positions (arXiv 2104.09864). ``scaling`` as transformers writes it: ``rope_type``, ``factor`` and so on.

    ``divisors``: of each frequency, as a GGUF file brings them; empty: none.
    """

    base: float
    width: int
    """Leading dimensions of a head that are turned; half of them with the other half."""
    train_context: int
    scaling: Mapping[str, Any] = field(default_factory=dict)
    divisors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _SCALINGS:
            raise ModelUnsupported(
                f"the model stretches its positions in a way that is not known here: {self.kind}",
                hint=f"known are {', '.join(sorted(_SCALINGS))}; GGUF files run with engine.kind = llama",
            )

    @property
    def kind(self) -> str:
        return str(self.scaling.get("rope_type") or self.scaling.get("type") or "default")

    def frequencies(self) -> tuple[list[float], float]:
        """Radians a position for each pair of dimensions, and what sine and cosine are multiplied with.

        The formulas of transformers' ``modeling_rope_utils``, whose results are these (a test compares them).
        """
        plain = [self.base ** (-2 * i / self.width) for i in range(self.width // 2)]
        factor = float(self.scaling.get("factor") or 1.0)
        if self.divisors:
            return [frequency / divisor for frequency, divisor in zip(plain, self.divisors, strict=True)], 1.0
        if self.kind == "linear":
            return [frequency / factor for frequency in plain], 1.0
        if self.kind == "llama3":
            return [self._llama3(frequency, factor) for frequency in plain], 1.0
        if self.kind == "yarn":
            return self._yarn(plain, factor)
        return plain, 1.0

    def _llama3(self, frequency: float, factor: float) -> float:
        low = float(self.scaling.get("low_freq_factor", 1.0))
        high = float(self.scaling.get("high_freq_factor", 4.0))
        context = float(self.scaling.get("original_max_position_embeddings") or self.train_context)
        turns = context * frequency / (2 * math.pi)
        if turns > high:
            return frequency
        if turns < low:
            return frequency / factor
        kept = (turns - low) / (high - low)
        return (1 - kept) * frequency / factor + kept * frequency

    def _yarn(self, plain: list[float], factor: float) -> tuple[list[float], float]:
        """YaRN (arXiv 2309.00071): fast pairs keep their frequency, slow ones are stretched, a ramp between."""
        context = float(self.scaling.get("original_max_position_embeddings") or self.train_context)

        def pair_of(turns: float) -> float:
            return self.width * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(self.base))

        first = pair_of(float(self.scaling.get("beta_fast") or 32.0))
        last = pair_of(float(self.scaling.get("beta_slow") or 1.0))
        if self.scaling.get("truncate", True):
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, self.width - 1)
        span = (last - first) or 0.001
        frequencies = []
        for pair, frequency in enumerate(plain):
            stretched = min(1.0, max(0.0, (pair - first) / span))
            frequencies.append(frequency / factor * stretched + frequency * (1 - stretched))
        attention = self.scaling.get("attention_factor")
        if attention is None:
            one, all_ = self.scaling.get("mscale"), self.scaling.get("mscale_all_dim")
            attention = _mscale(factor, one) / _mscale(factor, all_) if one and all_ else _mscale(factor, 1.0)
        return frequencies, float(attention)


@dataclass(frozen=True)
class Shape:
    """What a decoder is made of."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocab_size: int
    norm_epsilon: float
    tied: bool
    """The embedding is the output layer too."""
    rope: Rope

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ModelUnsupported(
                f"the torch engine does not know the architecture {self.architecture}",
                hint=f"it runs {', '.join(sorted(ARCHITECTURES))}; GGUF files of others run with engine.kind = llama",
            )

    @property
    def train_context(self) -> int:
        """Positions it was trained for, stretched ones counted."""
        return self.rope.train_context

    @property
    def product_weights(self) -> int:
        """Weights that each token is multiplied with: all but an embedding that is only looked up."""
        attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.inner) + self.vocab_size * self.width

    @property
    def parameters(self) -> int:
        return self.product_weights + (0 if self.tied else self.vocab_size * self.width)

    def cell_bytes(self, element_bytes: int) -> int:
        """Of one token in the cache, all layers."""
        return 2 * self.layers * self.kv_heads * self.head_width * element_bytes


def _mscale(factor: float, scale: Any) -> float:
    return 1.0 if factor <= 1 else 0.1 * float(scale) * math.log(factor) + 1.0
