"""What the torch engine is compared with: transformers' ``generate`` on a model of the same sizes.

Random weights too: a peer that computes the same products reads as many bytes. As a user would run it: the same
arithmetic, scaled dot product attention, a dynamic cache, greedy.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.engine.torch_cuda.device import Place
    from coder_lsp.engine.torch_cuda.shape import Shape


class TransformersPeer:
    """``available`` False, with the ``reason``, where transformers is not installed or there is no room."""

    def __init__(self, shape: Shape, place: Place) -> None:
        self._model: Any = None
        self._place = place
        self.reason = ""
        try:
            from transformers import LlamaConfig, LlamaForCausalLM
        except ImportError:
            self.reason = "transformers is not installed"
            return
        config = LlamaConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=shape.train_context,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
        config._attn_implementation = "sdpa"  # noqa: SLF001  (there is no other way without a checkpoint)
        before = torch.get_default_dtype()
        try:
            # Made where it is used: on the processor first, a big model would take minutes.
            torch.set_default_dtype(place.dtype)
            with torch.device(place.device):
                self._model = LlamaForCausalLM(config).eval()
        except torch.OutOfMemoryError:
            self.reason = "no room for a second model"
        finally:
            torch.set_default_dtype(before)

    @property
    def available(self) -> bool:
        return self._model is not None

    @property
    def model(self) -> Any:
        """For who measures something else of it."""
        return self._model

    def seconds(self, prompt: Sequence[int], new_tokens: int) -> float:
        """Of one call with a fresh prompt."""
        ids = torch.tensor([list(prompt)], device=self._place.device)
        began = time.perf_counter()
        with torch.no_grad():
            said = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
            )
        # Reading the result waits for the device.
        assert len(said[0].tolist()) == len(prompt) + new_tokens
        return time.perf_counter() - began
