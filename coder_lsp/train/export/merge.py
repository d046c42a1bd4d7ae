"""A model file with an adapter in it: the base's GGUF, with the matrices that the adapter changes computed anew.

What is not changed is copied bit for bit. What is changed is dequantised, changed and written in half precision
(single, where that is wanted in the end), then quantised once: in the format that the base has it in, or in another one
for all. The quantising is llama.cpp's, in a process of its own, so that its memory goes with it and a crash is an error
message.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np

from coder_lsp.errors import EngineError, InputError, ModelUnsupported
from coder_lsp.interpreter import module_command
from coder_lsp.models import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from coder_lsp.train.run.base_model import BaseModel

    Array = np.ndarray[Any, Any]
    Change = Callable[[Array], Array]
    """From a base's tensor, float32, to the new one."""

OWN = "own"
"""Each matrix in the format that the base has it in."""
FLOATS = ("f32", "f16", "bf16")
FORMATS = (OWN, *FLOATS, "q8_0", "q6_K", "q5_K", "q4_K", "q4_0", "iq4_nl")


def write(
    base: BaseModel,
    changes: Mapping[str, Change],
    target: Path,
    *,
    kind: str = OWN,
    facts: Mapping[str, Any],
    threads: int,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Write the merged model. ``kind``: one of :data:`FORMATS`; ``tell`` is told how many tensors of all are written.

    ``facts`` go into the metadata, in place of what is there: texts, and numbers for the positions' scaling. Nothing is
    left where anything fails.

    :raises InputError: the base is no GGUF file.
    :raises ModelUnsupported: a change for a matrix that the base does not have.
    :raises DiskFull: no room.
    """
    if not base.is_gguf:
        raise InputError(
            f"{base.path} is a folder, and a merged GGUF takes tokenizer and settings from a GGUF of the same model",
            hint="name one: --base FILE.gguf, or export a folder with --hf",
        )
    if kind not in FORMATS:
        raise InputError(f"{kind} is no format for a merged model", hint=f"there are: {', '.join(FORMATS)}")
    half = target.with_name(f".{target.name}.unquantised")
    done = target.with_name(f".{target.name}.writing")
    try:
        files.need_space(target.parent, _bytes_needed(base, kind))
        with files.disk_full_as_error(target.parent):
            formats = _write_unquantised(base, changes, half, kind=kind, facts=facts, tell=tell)
        if formats:
            _requantise(half, done, formats, threads)
        else:
            half.replace(done)
        done.replace(target)
        files.sync_folder(target.parent)
    finally:
        half.unlink(missing_ok=True)
        done.unlink(missing_ok=True)


def copied_fields(reader: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """(key, value, type, type of elements) of a file's metadata, but for what a writer writes by itself."""
    import gguf

    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        yield field.name, field.contents(), field.types[0], element


def _write_unquantised(
    base: BaseModel,
    changes: Mapping[str, Change],
    path: Path,
    *,
    kind: str,
    facts: Mapping[str, Any],
    tell: Callable[[int, int], None],
) -> dict[str, str]:
    """The merged model with its changed matrices as floats; returns what is still to be quantised, and how."""
    import gguf

    reader = gguf.GGUFReader(base.path)
    tensors = list(reader.tensors)
    missing = changes.keys() - {tensor.name for tensor in tensors}
    if missing:
        raise ModelUnsupported(
            f"{base.path} has no tensor {min(missing)}", hint="give the base that the adapter was trained on"
        )
    plan = {tensor.name: _plan(tensor, changes, kind) for tensor in tensors}
    writer = gguf.GGUFWriter(path, base.architecture)
    for key, value, value_type, element in copied_fields(reader):
        if key not in facts:
            writer.add_key_value(key, value, value_type, sub_type=element)
    for key, fact in facts.items():
        _add_fact(writer, key, fact)
    for tensor in tensors:
        dtype = plan[tensor.name][0]
        if dtype is None:
            data = tensor.data
            writer.add_tensor_info(tensor.name, data.shape, data.dtype, data.nbytes, raw_dtype=tensor.tensor_type)
        else:
            shape = tuple(int(extent) for extent in reversed(tensor.shape))
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            writer.add_tensor_info(tensor.name, shape, np.dtype(dtype), count)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for number, tensor in enumerate(tensors):
        dtype = plan[tensor.name][0]
        data = tensor.data
        if dtype is not None:
            shape = tuple(int(extent) for extent in reversed(tensor.shape))
            whole = gguf.dequantize(data, tensor.tensor_type).reshape(shape).astype(np.float32, copy=False)
            change = changes.get(tensor.name)
            data = np.ascontiguousarray(whole if change is None else change(whole), dtype)
        writer.write_tensor_data(data)
        tell(number + 1, len(tensors))
    writer.close()
    return {name: wanted for name, (_, wanted) in plan.items() if wanted}


def _plan(tensor: Any, changes: Mapping[str, Change], kind: str) -> tuple[Any, str]:
    """How a tensor is written first (None: as it is), and what it is quantised to then (empty: nothing)."""
    own = tensor.tensor_type.name.lower().replace("_k", "_K")
    flat = len(tensor.shape) < 2
    wanted = own if kind == OWN or flat else _fitting(kind, int(tensor.shape[0]))
    changed = tensor.name in changes
    if not changed and wanted == own:
        return None, ""
    if wanted == "f32" or flat:
        return np.float32, ""
    if wanted == "f16":
        return np.float16, ""
    # bf16 from single precision: rounded once. The others are so coarse that half precision adds nothing to it.
    return (np.float32 if wanted == "bf16" else np.float16), wanted


def _fitting(kind: str, columns: int) -> str:
    """The format, or a more exact one where rows are no whole blocks of it: those of K formats are of 256."""
    import gguf

    for candidate in (kind, "q8_0", "f16"):
        block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[candidate.upper()]]
        if columns % block == 0:
            return candidate
    raise AssertionError(kind)


def _bytes_needed(base: BaseModel, kind: str) -> int:
    """At most: what is not quantised yet, and the result beside it."""
    first = 4 if kind in {"f32", "bf16"} else 2
    return base.path.stat().st_size + first * base.shape.parameters


def _add_fact(writer: Any, key: str, fact: Any) -> None:
    if isinstance(fact, bool):
        writer.add_bool(key, fact)
    elif isinstance(fact, int):
        writer.add_uint32(key, fact)
    elif isinstance(fact, float):
        writer.add_float32(key, fact)
    else:
        writer.add_string(key, str(fact))


def _requantise(source: Path, target: Path, formats: Mapping[str, str], threads: int) -> None:
    job = {"source": str(source), "target": str(target), "formats": dict(formats), "threads": threads}
    done = subprocess.run(
        module_command("coder_lsp.optimise.apart"),
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    # llama.cpp does not say why it could not write.
    files.need_space(target.parent, 0)
    reason = done.stderr.strip().splitlines()[-1:] or [f"the process ended with status {done.returncode}"]
    raise EngineError(
        f"the merged model could not be quantised: {reason[0]}", hint="try another format, such as --merged f16"
    )
