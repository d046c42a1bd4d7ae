"""Names of weights: what the model hubs call them, and what GGUF files do. The engine speaks the latter."""

from __future__ import annotations

import re

_LAYER = re.compile(r"(?:model\.)?layers\.(\d+)\.(.+)")
_OF_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(module: str) -> str | None:
    """Of a module of transformers, without ``.weight`` and the like; None if this engine has none like it.

    >>> gguf_name("model.layers.3.self_attn.q_proj"), gguf_name("model.norm")
    ('blk.3.attn_q', 'output_norm')
    """
    if module in _WHOLE:
        return _WHOLE[module]
    match = _LAYER.fullmatch(module)
    own = _OF_LAYER.get(match[2]) if match else None
    return f"blk.{match[1]}.{own}" if match and own else None
