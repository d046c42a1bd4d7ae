"""The weights of a GGUF file as tensors, dequantised, under the file's own names.

llama.cpp stores the query and key rows of Llama's so that neighbours rotate together; here the two halves of a head do,
as everywhere in torch, so the rows are put back:

    head of 4 rows   file 0 2 | 1 3  ->  here 0 1 | 2 3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.engine.torch_cuda.shape import Rope, Shape
from coder_lsp.errors import EngineError, ModelCorrupt, ModelNotFound, ModelUnsupported

if TYPE_CHECKING:
    from pathlib import Path

    Tensor = Any

PERMUTED = frozenset({"llama"})
_AGAIN = "verify the model, or pull it again"


class GgufSource:
    """See :class:`~coder_lsp.engine.torch_cuda.decoder.Source`."""

    def __init__(self, path: Path) -> None:
        """:raises ModelNotFound, ModelCorrupt, ModelUnsupported: as :meth:`LlamaEngine.load`."""
        self._reader = open_gguf(path)
        self.path = path
        self.bytes = path.stat().st_size
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        self.architecture = str(self._value("general.architecture", ""))
        if not self.architecture:
            raise ModelUnsupported(f"{path} states no model architecture", hint="choose a file that holds a model")
        self.description = f"{self._value('general.name', '') or path.stem} ({_most_used(self._reader)})"
        self.shape = self._shape()

    def tensor(self, name: str) -> Tensor | None:
        """In float32 and the order of rows that this engine has; None if the file has no such tensor."""
        found = self._tensors.get(name)
        if found is None:
            return None
        values = torch.from_numpy(_dequantised(found))
        if self.architecture in PERMUTED and ".attn_" in name:
            values = halves(values, name, self.shape)
        return values

    def _shape(self) -> Shape:
        kind = self.architecture
        width = self._size("embedding_length")
        heads = self._size("attention.head_count")
        head_width = int(self._of("attention.key_length", width // max(1, heads)))
        embedding = self._tensors.get("token_embd.weight")
        if embedding is None:
            raise ModelCorrupt(f"{self.path} has no token_embd.weight", hint=_AGAIN)
        context = self._size("context_length")
        factors = self._tensors.get("rope_freqs.weight")
        return Shape(
            architecture=kind,
            layers=self._size("block_count"),
            width=width,
            heads=heads,
            kv_heads=int(self._of("attention.head_count_kv", heads)),
            head_width=head_width,
            inner=self._size("feed_forward_length"),
            vocab_size=int(embedding.shape[1]),
            norm_epsilon=float(self._of("attention.layer_norm_rms_epsilon", 1e-5)),
            tied="output.weight" not in self._tensors,
            rope=Rope(
                base=float(self._of("rope.freq_base", 10_000.0)),
                width=int(self._of("rope.dimension_count", head_width)),
                train_context=context,
                scaling=self._scaling(),
                divisors=() if factors is None else tuple(_dequantised(factors).tolist()),
            ),
        )

    def _scaling(self) -> dict[str, Any]:
        kind = str(self._of("rope.scaling.type", "none"))
        factor = float(self._of("rope.scaling.factor", self._of("rope.scale_linear", 0.0)))
        if kind == "none" or not factor:
            # Older files have the factor alone.
            return {"rope_type": "linear", "factor": factor} if factor else {}
        scaling: dict[str, Any] = {"rope_type": kind, "factor": factor}
        original = self._of("rope.scaling.original_context_length", 0)
        return scaling | ({"original_max_position_embeddings": int(original)} if original else {})

    def _size(self, key: str) -> int:
        value = self._of(key, None)
        if not isinstance(value, int) or value <= 0:
            raise ModelUnsupported(
                f"{self.path} does not say its {self.architecture}.{key} as one number",
                hint="GGUF files that torch cannot run may run with engine.kind = llama",
            )
        return value

    def _of(self, key: str, default: Any) -> Any:
        return self._value(f"{self.architecture}.{key}", default)

    def _value(self, key: str, default: Any) -> Any:
        found = self._reader.get_field(key)
        return default if found is None else found.contents()


def open_gguf(path: Path) -> Any:
    """Gguf's reader on a file.

    :raises ModelNotFound: no such file.
    :raises ModelCorrupt: it is no GGUF, or is cut off.
    """
    try:
        import gguf
    except ImportError as error:
        raise EngineError("gguf, which reads model files, is not installed", hint="pip install gguf") from error
    if not path.is_file():
        raise ModelNotFound(f"there is no file at {path}", hint="check the path")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ModelCorrupt(f"{path} is not a GGUF file", hint=_AGAIN)
    try:
        return gguf.GGUFReader(path)
    except (ValueError, KeyError, IndexError, OSError, OverflowError) as error:
        raise ModelCorrupt(f"{path} is damaged or cut off ({type(error).__name__})", hint=_AGAIN) from error


def halves(values: Tensor, name: str, shape: Shape) -> Tensor:
    """Rows of a query or key matrix (or bias) of a Llama's file so that halves of heads rotate together."""
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name.split(".")[2])
    if heads is None:
        return values
    rows = values.shape[0]
    neighbours = values.reshape(heads, rows // heads // 2, 2, *values.shape[1:])
    return neighbours.swapaxes(1, 2).reshape(values.shape)


def _dequantised(tensor: Any) -> Any:
    import gguf
    import numpy as np

    values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    # The file is mapped for reading; torch wants an array of its own.
    return np.array(values, dtype=np.float32)


def _most_used(reader: Any) -> str:
    """The format that most of the weights have."""
    counts: dict[str, int] = {}
    for tensor in reader.tensors:
        counts[tensor.tensor_type.name] = counts.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
    return max(counts, key=counts.__getitem__, default="empty")
