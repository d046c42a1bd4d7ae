"""The weights of a hub folder: ``config.json`` and safetensors, by the names that GGUF files have.

Reads configuration and numbers and runs nothing that comes with them: files of pickled objects (``.bin``, ``.pt``) are
refused, and code of the model's own (``auto_map``) is not looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.engine.torch_cuda.hub_names import gguf_name
from coder_lsp.engine.torch_cuda.shape import Rope, Shape
from coder_lsp.errors import ModelCorrupt, ModelNotFound, ModelUnsupported

if TYPE_CHECKING:
    Tensor = Any

_INDEX = "model.safetensors.index.json"
_AGAIN = "get the folder again"
_IN_GGUF = "GGUF files of such models may run with engine.kind = llama"


class HubSource:
    """See :class:`~coder_lsp.engine.torch_cuda.decoder.Source`."""

    def __init__(self, folder: Path) -> None:
        """:raises ModelNotFound, ModelCorrupt, ModelUnsupported: the folder holds no model that this engine runs."""
        config = _json(folder / "config.json")
        if not config:
            raise ModelNotFound(f"{folder} has no config.json", hint="name a folder with config.json and *.safetensors")
        self.path = folder
        self._places = _places(folder)
        self.bytes = sum(file.stat().st_size for file in {file for file, _ in self._places.values()})
        self._open: dict[Path, Any] = {}
        self.shape = _shape(config, tied=bool(config.get("tie_word_embeddings")) or "output.weight" not in self._places)
        self.description = f"{folder.name} ({config.get('dtype') or config.get('torch_dtype') or 'safetensors'})"
        self.architecture = self.shape.architecture

    def tensor(self, name: str) -> Tensor | None:
        """As it is stored; None if there is none of that name."""
        from safetensors import SafetensorError, safe_open

        if name not in self._places:
            return None
        file, key = self._places[name]
        try:
            if file not in self._open:
                self._open[file] = safe_open(file, framework="pt", device="cpu")
            return self._open[file].get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise ModelCorrupt(f"{file} is damaged or cut off ({type(error).__name__})", hint=_AGAIN) from error


def _places(folder: Path) -> dict[str, tuple[Path, str]]:
    """Which file each weight is in and what it is called there, by GGUF's names."""
    listed = _json(folder / _INDEX).get("weight_map")
    if isinstance(listed, dict):
        names = sorted({str(file) for file in listed.values()})
        if any(Path(name).name != name for name in names):
            raise ModelCorrupt(f"{folder / _INDEX} names files outside of its folder", hint=_AGAIN)
        paths = [folder / name for name in names]
    else:
        paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        raise ModelNotFound(
            f"there are no safetensors in {folder}",
            hint="files of pickled objects (.bin, .pt) can run code and are not read; get the safetensors"
            if pickled
            else "name a folder with config.json and *.safetensors",
        )
    found: dict[str, tuple[Path, str]] = {}
    for path in paths:
        found |= {own: (path, key) for key in _keys(path) if (own := _own_name(key))}
    return found


def _keys(path: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            return list(opened.keys())
    except FileNotFoundError as error:
        raise ModelCorrupt(f"{path} is missing", hint=_AGAIN) from error
    except (SafetensorError, OSError) as error:
        raise ModelCorrupt(f"{path} is damaged or cut off ({type(error).__name__})", hint=_AGAIN) from error


def _own_name(key: str) -> str | None:
    module, _, kind = key.rpartition(".")
    own = gguf_name(module)
    return f"{own}.{kind}" if own else None


def _shape(config: dict[str, Any], *, tied: bool) -> Shape:
    kind = str(config.get("model_type", ""))
    if config.get("quantization_config"):
        raise ModelUnsupported(
            "the folder holds weights that another library quantised",
            hint="get the plain weights; engine.quantise = int8 or int4 makes them small here",
        )
    if config.get("hidden_act", "silu") != "silu":
        raise ModelUnsupported(f"the model's layers use {config['hidden_act']}, not silu", hint=_IN_GGUF)
    try:
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        head_width = int(config.get("head_dim") or width // heads)
        context = int(config["max_position_embeddings"])
        window = config.get("sliding_window")
        if window and config.get("use_sliding_window", kind == "mistral"):
            # Within its window, a layer that looks back so far only is like any other.
            context = min(context, int(window))
        scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
        return Shape(
            architecture=kind,
            layers=int(config["num_hidden_layers"]),
            width=width,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_width=head_width,
            inner=int(config["intermediate_size"]),
            vocab_size=int(config["vocab_size"]),
            norm_epsilon=float(config.get("rms_norm_eps", 1e-6)),
            tied=tied,
            rope=Rope(
                base=float(scaling.get("rope_theta") or config.get("rope_theta") or 10_000.0),
                width=int(head_width * float(scaling.get("partial_rotary_factor", 1.0))),
                train_context=context,
                scaling=scaling,
            ),
        )
    except KeyError as error:
        raise ModelUnsupported(f"config.json does not say {error.args[0]}, as a {kind} does", hint=_IN_GGUF) from error
    except (TypeError, ValueError) as error:
        raise ModelCorrupt(f"config.json makes no sense ({error})", hint=_AGAIN) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelCorrupt(f"{path} cannot be read ({type(error).__name__})", hint=_AGAIN) from error
    return value if isinstance(value, dict) else {}
