"""What a sequence holds as bytes, and back: a digest, then the cells as a safetensors file.

The digest is over the model, the adapters, the tokens and the cells, so anything damaged or of something else is seen
before a cell is touched.
"""

from __future__ import annotations

import hashlib
from array import array
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.engine.torch_cuda.decoder import Cache

MAGIC = b"TORCHSEQ"
"""And the version of the layout."""
VERSION = b"1"
_DIGEST_BYTES = 32


def save(cache: Cache, sequence: int, tokens: Sequence[int], kind: str) -> bytes:
    """``kind``: whose cells these are, in words; see :func:`restore`."""
    from safetensors.torch import save as to_bytes

    count = len(tokens)
    cells = {
        "keys": torch.stack([layer[sequence, :, :count] for layer in cache.keys]).contiguous().cpu(),
        "values": torch.stack([layer[sequence, :, :count] for layer in cache.values]).contiguous().cpu(),
    }
    body: bytes = to_bytes(cells)
    return MAGIC + VERSION + _digest(body, tokens, kind) + body


def restore(cache: Cache, sequence: int, tokens: Sequence[int], state: bytes, kind: str) -> bool:
    """Put the cells back; False, and nothing is touched, if they are not those of these tokens and this kind."""
    from safetensors.torch import load as of_bytes

    head = len(MAGIC) + len(VERSION)
    body = state[head + _DIGEST_BYTES :]
    if not tokens or not body or state[:head] != MAGIC + VERSION:
        return False
    if state[head : head + _DIGEST_BYTES] != _digest(body, tokens, kind):
        return False
    cells: dict[str, Any] = of_bytes(body)
    count = len(tokens)
    for name, layers in (("keys", cache.keys), ("values", cache.values)):
        for layer, saved in zip(layers, cells[name], strict=True):
            layer[sequence, :, :count] = saved.to(layer.device)
    return True


def _digest(body: bytes, tokens: Sequence[int], kind: str) -> bytes:
    digest = hashlib.sha256(kind.encode())
    digest.update(array("q", tokens).tobytes())
    digest.update(body)
    return digest.digest()
