"""LoRA adapters: read from GGUF files or from peft's folders, and laid over a decoder while it runs.

Both become the same: for each matrix two factors, ``weight + b @ a``, with the adapter's own scale in ``b`` and rows
as this engine has them. Files are read once and kept for as long as they are among the last few used.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.engine.torch_cuda.gguf_source import PERMUTED, halves, open_gguf
from coder_lsp.engine.torch_cuda.hub_names import gguf_name
from coder_lsp.errors import ModelCorrupt, ModelNotFound, ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.engine.torch_cuda.decoder import Decoder
    from coder_lsp.engine.torch_cuda.linear import Projection
    from coder_lsp.engine.torch_cuda.shape import Shape
    from coder_lsp.types import Adapter

    Tensor = Any
    Factors = dict[str, tuple[Tensor, Tensor]]

KEPT = 8
"""Adapters held in memory besides those in use."""
RANK_STEP = 16
"""Ranks are padded to multiples: products like them, and another adapter then fits into the same buffers."""
_HINT = "give an adapter made for this model, or work without one: coder-lsp models use --no-adapter"
_GGUF_NAMES = {"mistral": "llama"}
_PART = re.compile(r"(?:base_model\.model\.)?(.+?)\.(lora_A|lora_B)(?:\.default)?(?:\.weight)?")
_PARTS = {
    "attn_q": ("qkv", 0),
    "attn_k": ("qkv", 1),
    "attn_v": ("qkv", 2),
    "attn_output": ("output", 0),
    "ffn_gate": ("gate_up", 0),
    "ffn_up": ("gate_up", 1),
    "ffn_down": ("down", 0),
}
"""Where a matrix of a layer is in :class:`~coder_lsp.engine.torch_cuda.decoder.Block`."""


class Adapters:
    """Those of one decoder."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._read: dict[tuple[str, str], Factors] = {}
        self.rank = 0
        """Of the buffers that lie over the decoder; 0: none do."""

    def lay(self, adapters: Sequence[Adapter]) -> bool:
        """Lay these over the decoder, in place of what was there; True if buffers moved, which graphs had captured.

        :raises ModelNotFound, ModelCorrupt, ModelUnsupported: one cannot be used; all stays as it was.
        """
        wanted = [(self._factors(each), each.scale) for each in adapters if each.scale]
        placed: dict[tuple[int, str], list[tuple[int, Tensor, Tensor]]] = {}
        ranks: dict[str, int] = {}
        for factors, scale in wanted:
            for name, (a, b) in factors.items():
                layer, own = name.split(".")[1:3]
                projection, part = _PARTS[own]
                placed.setdefault((int(layer), projection), []).append((part, a, b * scale))
                ranks[name] = ranks.get(name, 0) + int(a.shape[0])
        rank = -(-max(ranks.values(), default=0) // RANK_STEP) * RANK_STEP
        moved = rank != self.rank
        for number, block in enumerate(self._decoder.blocks):
            for where in sorted({where for where, _ in _PARTS.values()}):
                self._projection(block, where).lay(
                    rank, placed.get((number, where), ()), self._decoder.dtype, self._decoder.device
                )
        self.rank = rank
        return moved

    def _factors(self, adapter: Adapter) -> Factors:
        key = (adapter.path, adapter.version)
        found = self._read.pop(key, None)
        if found is None:
            path = Path(adapter.path)
            found = _of_folder(path) if path.is_dir() else _of_gguf(path, self._decoder.shape)
            self._check(found, path)
        # Behind the others: the first ones are those that were not used for longest.
        self._read[key] = found
        while len(self._read) > KEPT:
            del self._read[next(iter(self._read))]
        return found

    def _check(self, factors: Factors, path: Path) -> None:
        shape = self._decoder.shape
        for name, (a, b) in factors.items():
            pieces = name.split(".")
            known = len(pieces) == 3 and pieces[0] == "blk" and pieces[2] in _PARTS and int(pieces[1]) < shape.layers
            if not known:
                raise ModelUnsupported(f"the LoRA adapter {path} changes {name}, which cannot be adapted", hint=_HINT)
            projection, part = _PARTS[pieces[2]]
            whole = self._projection(self._decoder.blocks[int(pieces[1])], projection)
            if (b.shape[0], a.shape[1], a.shape[0]) != (whole.rows[part], whole.columns, b.shape[1]):
                raise ModelUnsupported(
                    f"the LoRA adapter {path} does not fit {name}: it is for {b.shape[0]} x {a.shape[1]},"
                    f" the model has {whole.rows[part]} x {whole.columns}",
                    hint=_HINT,
                )

    @staticmethod
    def _projection(block: Any, name: str) -> Projection:
        found: Projection = getattr(block, name)
        return found


def _of_gguf(path: Path, shape: Shape) -> Factors:
    reader = open_gguf(path)

    def value(key: str, default: Any) -> Any:
        field = reader.get_field(key)
        return default if field is None else field.contents()

    if value("general.type", "") != "adapter" or value("adapter.type", "") != "lora":
        raise ModelUnsupported(f"{path} is no LoRA adapter", hint=_HINT)
    architecture = value("general.architecture", "")
    if architecture != _GGUF_NAMES.get(shape.architecture, shape.architecture):
        raise ModelUnsupported(
            f"the LoRA adapter {path} is for the architecture {architecture}, the model is {shape.architecture}",
            hint=_HINT,
        )
    alpha = float(value("adapter.lora.alpha", 0.0))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    found: Factors = {}
    for name, tensor in tensors.items():
        if not name.endswith(".lora_a"):
            continue
        other = tensors.get(f"{name.removesuffix('.lora_a')}.lora_b")
        if other is None:
            raise ModelCorrupt(f"the LoRA adapter {path} has one half of {name} only", hint="export it again")
        own = name.removesuffix(".lora_a").removesuffix(".weight")
        a, b = _numbers(tensor), _numbers(other)
        if architecture in PERMUTED:
            _check_rows(b, own, shape, path)
            b = halves(b, f"{own}.weight", shape)
        found[own] = (a, b * (alpha / a.shape[0] if alpha else 1.0))
    return found


def _check_rows(b: Tensor, name: str, shape: Shape, path: Path) -> None:
    """Rows of another model cannot even be put in order."""
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name.rsplit(".", maxsplit=1)[-1])
    if heads is not None and b.shape[0] != heads * shape.head_width:
        raise ModelUnsupported(
            f"the LoRA adapter {path} does not fit {name}: it has {b.shape[0]} rows, the model"
            f" {heads * shape.head_width}",
            hint=_HINT,
        )


def _of_folder(folder: Path) -> Factors:
    """As peft saves them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "adapter_model.safetensors")
    except FileNotFoundError as error:
        raise ModelNotFound(
            f"{folder} holds no adapter: there is no {Path(error.filename or 'adapter_model.safetensors').name}",
            hint="name a GGUF file, or a folder as peft saves it",
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelCorrupt(f"the adapter in {folder} is damaged ({type(error).__name__})", hint=_HINT) from error
    plain = not (config.get("use_dora") or config.get("fan_in_fan_out")) and config.get("bias", "none") == "none"
    if config.get("peft_type") != "LORA" or not plain or config.get("modules_to_save"):
        raise ModelUnsupported(
            f"the adapter in {folder} is no plain LoRA", hint="LoRA without DoRA, biases or whole layers can be used"
        )
    halves_of: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _PART.fullmatch(key)
        if match is None:
            raise ModelUnsupported(f"the adapter in {folder} holds {key}, which is no LoRA", hint=_HINT)
        halves_of.setdefault(match[1], {})[match[2]] = tensor.float()
    found: Factors = {}
    for module, parts in halves_of.items():
        if len(parts) != 2:
            raise ModelCorrupt(f"the adapter in {folder} has one half of {module} only", hint="train it again")
        a, b = parts["lora_A"], parts["lora_B"]
        found[gguf_name(module) or module] = (a, b * _scale(module, int(a.shape[0]), config))
    return found


def _scale(module: str, rank: int, config: dict[str, Any]) -> float:
    """Alpha over the rank, or over its root (arXiv 2312.03732); by module where the configuration has patterns."""
    patterns = config.get("alpha_pattern") or {}
    found = next((patterns[key] for key in patterns if re.match(rf"(.*\.)?{key}$", module)), None)
    alpha = float(config.get("lora_alpha", rank) if found is None else found)
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _numbers(tensor: Any) -> Tensor:
    import gguf
    import numpy as np

    return torch.from_numpy(np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
