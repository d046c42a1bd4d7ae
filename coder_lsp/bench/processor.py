"""What the roofline needs to know of this processor and of a GGUF file: bandwidth, arithmetic, bytes and products.

Bandwidth is measured by reading memory with the threads that decode. Arithmetic is that of ggml's own product in the
format that most of the weights have, with a batch of tokens, one thread's processor time multiplied by the threads: a
bound by what the best kernel at hand does, not by what the vendor promises.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from coder_lsp.bench.roofline import Machine, Work
from coder_lsp.optimise import native

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.optimise import _requantise

_BYTES = 256 << 20
_SECONDS = 0.5
_BATCH = 256
_PRODUCT_SECONDS = 0.2
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"


def work_of(path: Path, element_bytes: float) -> Work:
    """What a GGUF file of a dense model asks for each token; ``element_bytes`` of the KV cache.

    :raises EngineError, ModelCorrupt: it cannot be read.
    """
    matrices = _matrices(path)
    names = {matrix.name for matrix in matrices}
    read = [matrix for matrix in matrices if matrix.name != _EMBEDDING or _OUTPUT not in names]
    keys, values, queries = (
        sum(matrix.shape[1] for matrix in read if matrix.name.endswith(f".attn_{letter}.weight")) for letter in "kvq"
    )
    return Work(
        weight_bytes=sum(matrix.bytes for matrix in read),
        weights=sum(matrix.shape[0] * matrix.shape[1] for matrix in read),
        cell_bytes=int((keys + values) * element_bytes),
        cell_products=2 * queries,
    )


def machine_for(path: Path, threads: int) -> Machine:
    """This machine, for that file, with so many threads."""
    from coder_lsp.optimise import _requantise

    matrices = _matrices(path)
    formats: Counter[tuple[str, int, int]] = Counter()
    for matrix in matrices:
        if matrix.name not in (_EMBEDDING, _OUTPUT):
            formats[matrix.format, matrix.shape[0], matrix.shape[1]] += matrix.bytes
    (name, columns, rows), _ = formats.most_common(1)[0]
    times = _requantise.time_product(name, columns, rows, _BATCH, _PRODUCT_SECONDS)
    return Machine(
        bytes_per_s=_requantise.read_bandwidth(_BYTES, threads, _SECONDS),
        flops_per_s=threads * 2 * columns * rows * _BATCH / times.batch_us * 1e6,
    )


def _matrices(path: Path) -> Sequence[_requantise.Matrix]:
    native.load()
    from coder_lsp.optimise import _requantise

    return [matrix for matrix in _requantise.read_matrices(str(path)) if len(matrix.shape) == 2]
