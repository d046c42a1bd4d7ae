"""The most exact file of a model that is on this machine: weights that were rounded once are better not rounded twice.

Looks at what is installed; fetches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coder_lsp.errors import ModelError, ModelUnsupported
from coder_lsp.models import gguf_header, store

if TYPE_CHECKING:
    from pathlib import Path

    from coder_lsp.models.store import InstalledModel


def best(base: InstalledModel) -> Path:
    """The file of ``base``, or of an installed model that says it is the same and has more bits for each weight."""
    found = base.path
    size = base.path.stat().st_size
    own = gguf_header.read(base.path)
    for other in store.installed():
        if not isinstance(other, store.InstalledModel) or other.derived is not None or other.bytes <= size:
            continue
        try:
            header = gguf_header.read(other.path)
            check(base.path, other.path)
        except (ModelError, OSError):
            continue
        if own.name and (header.architecture, header.name) == (own.architecture, own.name):
            found, size = other.path, other.bytes
    return found


def check(base: Path, source: Path) -> None:
    """:raises ModelUnsupported: the files do not hold the same matrices, so one cannot stand in for the other."""
    from coder_lsp.optimise import _requantise as native

    shapes = [
        {matrix.name: tuple(matrix.shape) for matrix in native.read_matrices(str(path))} for path in (base, source)
    ]
    # A file may state its output layer, or leave it to be the embedding.
    differing = [name for name in shapes[0].keys() & shapes[1].keys() if shapes[0][name] != shapes[1][name]]
    if differing or not shapes[0].keys() & shapes[1].keys():
        what = f"{min(differing)} has another shape" if differing else "they have no matrix in common"
        raise ModelUnsupported(
            f"{source} is not the same model as {base}: {what}",
            hint="--source names a file of the same model with more bits for each weight, such as F16 or Q8_0",
        )
