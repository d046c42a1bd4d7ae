"""Which device computes, in which arithmetic, and whether a model has room there.

Every choice comes with its reason, and what cannot be is an error that says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.errors import EngineError, OutOfMemory

if TYPE_CHECKING:
    from coder_lsp.engine.base import EngineOptions
    from coder_lsp.engine.torch_cuda.shape import Shape

WORKING_BYTES = 768 * 2**20
"""Beside weights and cache: the context of CUDA, work space of its libraries, captured graphs. By other accounts of
CUDA (300-500 MB for a context and cuBLAS); not measured here."""
_PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "f32": torch.float32}
_WEIGHT_BYTES = {"none": None, "int8": 1.02, "int4": 0.54}
"""Of a quantised weight, its share of scales and offsets included."""


@dataclass(frozen=True)
class Place:
    """A device and the arithmetic on it; ``reason`` is one phrase, ``free_bytes`` what is left there."""

    device: Any
    dtype: Any
    free_bytes: int
    reason: str

    @property
    def precision(self) -> str:
        return next(name for name, dtype in _PRECISIONS.items() if dtype is self.dtype)


def choose(options: EngineOptions) -> Place:
    """:raises EngineError: there is no such device, or none that CUDA can use."""
    wanted = options.device
    if wanted == "auto":
        wanted = roomiest()
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise EngineError(f"torch knows no device {wanted!r}", hint="set engine.device to cuda:0 or cpu") from error
    if device.type == "cpu":
        from coder_lsp.engine import hardware

        memory = hardware.memory()
        dtype = _PRECISIONS[options.precision if options.precision != "auto" else "f32"]
        return Place(device, dtype, memory.available_bytes, "cpu, as configured")
    if device.type != "cuda":
        raise EngineError(
            f"the torch engine runs on CUDA devices and the processor, not on {device.type}",
            hint="set engine.device to cuda:0 or cpu",
        )
    why = unusable()
    if why:
        raise EngineError(f"no CUDA device can be used: {why}", hint="set engine.kind = llama, or engine.device = cpu")
    index = device.index if device.index is not None else torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise EngineError(
            f"there is no cuda:{index}, only {torch.cuda.device_count()} counted from 0",
            hint="set engine.device to one that is there, or to auto",
        )
    device = torch.device("cuda", index)
    free, total = torch.cuda.mem_get_info(device)
    precision = options.precision
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    name = torch.cuda.get_device_name(device)
    reason = f"cuda:{index}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free ({name})"
    return Place(device, _PRECISIONS[precision], free, reason)


def unusable() -> str:
    """Why CUDA cannot be used here; empty if it can."""
    import warnings

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if usable:
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch was built without CUDA"
    # A driver that is too old is told by a warning.
    return str(said[0].message).split("\n")[0] if said else "no CUDA device"


def roomiest() -> str:
    """The CUDA device with the most free memory.

    :raises EngineError: there is none.
    """
    why = unusable()
    if why:
        raise EngineError(f"no CUDA device can be used: {why}", hint="set engine.kind = llama, or engine.device = cpu")
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    return f"cuda:{max(range(len(free)), key=free.__getitem__)}"


@dataclass(frozen=True)
class Need:
    """Bytes a model will take, from its sizes, before a weight is read."""

    weights: int
    cache: int
    working: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.working

    @staticmethod
    def of(shape: Shape, options: EngineOptions, dtype: Any) -> Need:
        element = torch.empty(0, dtype=dtype).element_size()
        outside = shape.vocab_size * shape.width * (1 if shape.tied else 2)
        each = _WEIGHT_BYTES[options.quantise] or float(element)
        weights = int((shape.parameters - outside) * each) + outside * element
        cache = options.context_tokens * options.sequences * shape.cell_bytes(element)
        # The largest layer is there twice while it is quantised or joined with others.
        working = WORKING_BYTES + 3 * shape.width * shape.inner * 4
        return Need(weights, cache, working)

    def check(self, name: str, place: Place) -> None:
        """:raises OutOfMemory: it is more than the device has left."""
        if self.total <= place.free_bytes:
            return
        raise OutOfMemory(
            f"{name} needs about {self.total / 2**30:.1f} GiB on {place.device} (weights {self.weights / 2**30:.1f},"
            f" cache {self.cache / 2**30:.1f}), {place.free_bytes / 2**30:.1f} GiB are free",
            hint="lower engine.context_tokens or engine.sequences, or set engine.quantise = int8",
        )
