"""What the first bytes of a GGUF file say, without loading the model.

Reads the header (magic, metadata, tensor table) sequentially and keeps the few facts the store records: architecture,
name, trained context, which FIM spellings the vocabulary has, and how long the file must be. Refuses what is not a GGUF
and what ends too early. Loads no weights and no library. Format: GGUF specification versions 2 and 3 (little-endian).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from coder_lsp.errors import ModelCorrupt, ModelUnsupported

if TYPE_CHECKING:
    from pathlib import Path

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF metadata value type → struct format; 8 is a string, 9 an array."""
_STRING, _ARRAY = 8, 9

_TENSOR_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
}
"""ggml tensor type → (elements in a block, bytes of a block); ``ggml.h``. Types unknown here count as one byte."""

_MAX_STRING = 1 << 28
"""Longer than any metadata string or token table entry: a length beyond it means the file is damaged."""

# What must be in the vocabulary, most telling first. StarCoder's spelling is shared by several families, which
# `guess_template` tells apart by what the file says of itself.
_FIM_SPELLINGS = (
    ("deepseek", "<｜fim▁begin｜>"),
    ("seed", "<[fim-prefix]>"),
    ("qwen", "<|fim_prefix|>"),
    ("starcoder", "<fim_prefix>"),
    ("santacoder", "<fim-prefix>"),
    ("codellama", "▁<PRE>"),
    ("codellama", "<PRE>"),
    ("codestral", "[PREFIX]"),
)
_TELLING = frozenset(spelling for _, spelling in _FIM_SPELLINGS)


@dataclass(frozen=True)
class LoraFacts:
    """What the header of a LoRA adapter says of it."""

    rank: int
    """The largest of its tensors'."""
    alpha: float
    matrices: int
    """How many of the model's it changes."""
    base: str
    """Name of the model it was made for; may be empty."""


@dataclass(frozen=True)
class GgufHeader:
    """Facts of one file. ``fim_tokens`` are the FIM spellings found in its vocabulary."""

    architecture: str
    name: str
    context: int
    needed_bytes: int
    """The file is at least this long if nothing is missing."""
    fim_tokens: frozenset[str]
    parts: int = 1
    """Number of files that the model was split into."""
    kind: str = "model"
    """``general.type``: ``model`` or ``adapter``, or something that neither runs nor can be laid over what runs."""
    lora: LoraFacts | None = None
    """Of an adapter that is a LoRA."""
    extents: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    """Each tensor's, the one that lies together in memory first."""

    def guess_template(self) -> str:
        """The FIM template that fits the vocabulary; ``none`` if it has no FIM tokens."""
        family = next((family for family, spelling in _FIM_SPELLINGS if spelling in self.fim_tokens), "none")
        label = f"{self.architecture} {self.name}".lower()
        if family == "qwen" and "gemma" in label:
            return "codegemma"
        if family == "starcoder":
            return next((other for other in ("mellum", "granite", "starcoder2") if other in label), family)
        return family


def read(path: Path) -> GgufHeader:
    """The header of a GGUF file, checked against the file's length.

    :raises ModelCorrupt: not a GGUF, damaged, or shorter than its own table of tensors says.
    :raises ModelUnsupported: a version or byte order other than llama.cpp reads, or one file of several.
    :raises OSError: the file cannot be read.
    """
    if path.is_dir():
        raise ModelUnsupported(f"{path} is a folder", hint="this needs a GGUF file; folders of safetensors have none")
    size = path.stat().st_size
    with path.open("rb") as stream:
        magic = stream.read(4)
        if magic != b"GGUF":
            found = "is empty" if not magic else f"begins with {magic!r}"
            raise ModelCorrupt(
                f"{path} is not a GGUF file: it {found}",
                hint="coder-lsp runs models in GGUF format; safetensors must be converted first",
            )
        try:
            header = _Reader(stream, size).header()
        except (EOFError, struct.error, KeyError, ValueError) as error:
            raise ModelCorrupt(
                f"{path} is truncated or damaged: its header cannot be read ({size:,} bytes)", hint=_FETCH_AGAIN
            ) from error
    if header.parts > 1:
        raise ModelUnsupported(
            f"{path} is one of {header.parts} files of a split model",
            hint="join them first: llama-gguf-split --merge FIRST-FILE OUTPUT.gguf",
        )
    if size < header.needed_bytes:
        raise ModelCorrupt(
            f"{path} is truncated: {size:,} bytes of at least {header.needed_bytes:,}", hint=_FETCH_AGAIN
        )
    return header


_FETCH_AGAIN = "fetch the file again"


class _Reader:
    """Sequential reader of one header; raises EOFError where the file ends, KeyError or ValueError on nonsense."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._facts: dict[str, str | int | float | bool] = {}
        self._fim_tokens: set[str] = set()
        self._ranks: list[int] = []
        self._extents: dict[str, tuple[int, ...]] = {}

    def header(self) -> GgufHeader:
        (version,) = self._unpack("I")
        if version not in {2, 3}:
            raise ModelUnsupported(
                f"GGUF version {version} is not supported (2 and 3 are)",
                hint="convert the model again with a current llama.cpp",
            )
        tensors, pairs = self._unpack("QQ")
        for _ in range(pairs):
            key = self._string()
            self._value(key, *self._unpack("I"))
        end = max((self._tensor_end() for _ in range(tensors)), default=0)
        alignment = int(self._facts.get("general.alignment", 32)) or 32
        data = -(-self._stream.tell() // alignment) * alignment
        architecture = str(self._facts.get("general.architecture", ""))
        return GgufHeader(
            architecture=architecture,
            name=str(self._facts.get("general.name", "")),
            context=int(self._facts.get(f"{architecture}.context_length", 0)),
            needed_bytes=data + end if tensors else self._stream.tell(),
            fim_tokens=frozenset(self._fim_tokens),
            parts=int(self._facts.get("split.count", 1)) or 1,
            kind=str(self._facts.get("general.type", "model")),
            lora=self._lora(),
            extents=self._extents,
        )

    def _lora(self) -> LoraFacts | None:
        if self._facts.get("adapter.type") != "lora" or not self._ranks:
            return None
        return LoraFacts(
            rank=max(self._ranks),
            alpha=float(self._facts.get("adapter.lora.alpha", 0.0)),
            matrices=len(self._ranks),
            base=str(self._facts.get("general.base_model.0.name", "")),
        )

    def _value(self, key: str, kind: int) -> None:
        if kind == _STRING:
            self._facts[key] = self._string()
        elif kind == _ARRAY:
            (element,) = self._unpack("I")
            (count,) = self._unpack("Q")
            self._array(key, element, count)
        else:
            (self._facts[key],) = self._unpack(_SCALARS[kind])

    def _array(self, key: str, element: int, count: int) -> None:
        if element == _STRING:
            wanted = key == "tokenizer.ggml.tokens"
            for _ in range(count):
                raw = self._bytes()
                # Every FIM spelling is shorter than this; most tokens are words and need no decoding.
                if wanted and raw[:1] in {b"<", b"[", b"\xe2"} and len(raw) < 40:
                    text = raw.decode("utf-8", "replace")
                    if text in _TELLING:
                        self._fim_tokens.add(text)
        else:
            # Arrays of arrays exist in no model and llama.cpp reads none: KeyError.
            self._skip(count * struct.calcsize(f"<{_SCALARS[element]}"))

    def _tensor_end(self) -> int:
        """Reads one row of the tensor table; returns where its data ends, counted from the start of all data."""
        name = self._bytes()
        (dimensions,) = self._unpack("I")
        if dimensions > 8:
            raise KeyError(dimensions)
        extents = self._unpack(f"{dimensions}Q")
        self._extents[name.decode("utf-8", "replace")] = extents
        elements = math.prod(extents)
        if name.endswith(b".lora_a") and dimensions > 1:
            self._ranks.append(extents[1])
        kind, offset = self._unpack("IQ")
        block, block_bytes = _TENSOR_BLOCKS.get(kind, (elements, 1))
        return int(offset + (elements // block if block else 0) * block_bytes)

    def _string(self) -> str:
        return self._bytes().decode("utf-8", "replace")

    def _bytes(self) -> bytes:
        (length,) = self._unpack("Q")
        if length > _MAX_STRING:
            raise EOFError(length)
        return self._exactly(length)

    def _unpack(self, form: str) -> tuple[int, ...]:
        form = f"<{form}"
        return struct.unpack(form, self._exactly(struct.calcsize(form)))

    def _exactly(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) != count:
            raise EOFError(count)
        return data

    def _skip(self, count: int) -> None:
        if self._stream.tell() + count > self._size:
            raise EOFError(count)
        self._stream.seek(count, 1)
