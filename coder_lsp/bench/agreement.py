"""Do two engines say the same? Greedy text of the torch engine and of the native one, from the same file.

Prompts are cursors in gaps of real code. llama.cpp multiplies quantised weights with activations that it rounds to
eight bits; torch multiplies what the weights stand for with activations as they are. So they are compared twice: on the
file as it is, and on a copy of it whose weights are written out in single precision, where both compute the same and
only the order of sums differs. No guessing, no deadline.
"""

from __future__ import annotations

import math
import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.gaps import CURSORS, build_questions, choose_gaps
from coder_lsp.config import PromptConfig
from coder_lsp.engine import hardware
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.prompt.builder import PromptBuilder
from coder_lsp.prompt.templates import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.bench.gaps import Question
    from coder_lsp.engine.base import Engine

    Note = Callable[[str], None]

PROMPTS = PromptConfig(prefix_tokens=192, suffix_tokens=64, context_tokens=0, ladder_tokens=0)
"""Small: reading prompts in single precision on a processor is what takes the time."""
_SPARE = 1.25
_SHOWN_PLACES = 5


@dataclass(frozen=True)
class Said:
    """One engine's answer to one prompt."""

    text: str = field(repr=False)
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


def measure_agreement(
    path: Path,
    folders: Sequence[Path],
    *,
    template: str | None = None,
    prompts: int = 100,
    new_tokens: int = 24,
    seed: int = 1,
    device: str = "cpu",
    note: Note = lambda _: None,
) -> dict[str, Any]:
    """Share of the prompts that both engines answer alike, on the file and on its exact copy.

    :raises InputError: there is not enough code under ``folders``.
    :raises ModelError, EngineError: one of the engines cannot run the file.
    """
    from coder_lsp.engine.torch_cuda.engine import TorchEngine

    options = EngineOptions(sequences=1, context_tokens=1024, kv_type="f32", precision="f32", device=device)
    gaps = choose_gaps(folders, math.ceil(prompts / CURSORS * _SPARE), seed)
    note("native engine")
    with closing(LlamaEngine.load(path, options)) as engine:
        bound = bind(engine, template, engine.info.architecture)
        builder = PromptBuilder(engine, bound, PROMPTS, options.context_tokens)
        questions = build_questions(builder, gaps, prompts, new_tokens)
        native = list(_answers(engine, questions, new_tokens, note))
        described = engine.info.description
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "exact.gguf"
        note("writing the weights in single precision")
        write_exact(path, copy)
        with closing(LlamaEngine.load(copy, replace(options, use_mmap=False))) as engine:
            exact = list(_answers(engine, questions, new_tokens, note))
    note("torch engine")
    with closing(TorchEngine.load(path, options)) as engine:
        torch = list(_answers(engine, questions, new_tokens, note))
        reason = engine.reason
    return {
        "hardware": hardware.detect().line(),
        "model": described,
        "file": path.name,
        "torch": reason,
        "prompts": prompts,
        "new_tokens": new_tokens,
        "prompt_tokens": round(median(len(question.prompt.tokens) for question in questions)),
        "exact_weights": _compare(exact, torch, questions),
        "quantised_weights": _compare(native, torch, questions),
        "native_by_its_own_arithmetic": _compare(native, exact, questions),
    }


def _answers(engine: Engine, questions: Sequence[Question], new_tokens: int, note: Note) -> Iterator[Said]:
    for number, question in enumerate(questions):
        note(f"{engine.name}: {number + 1} of {len(questions)}")
        prompt = question.prompt
        request = GenerateRequest(
            prompt.tokens, forced=prompt.forced, max_tokens=new_tokens, stop_tokens=prompt.stop_tokens, draft=False
        )
        done = engine.generate(request)
        yield Said(done.text, done.token_ids, done.logprobs)


def _compare(left: Sequence[Said], right: Sequence[Said], questions: Sequence[Question]) -> dict[str, Any]:
    pairs = list(zip(left, right, strict=True))
    same = [one.text == other.text for one, other in pairs]
    shared = [(a, b) for one, other in pairs for a, b in zip(*_while_same(one, other), strict=True)]
    return {
        "same_text": sum(same),
        "share": round(sum(same) / len(same), 4),
        "same_first_line": sum(_line(one) == _line(other) for one, other in pairs),
        "logprob_difference": {
            "mean": round(sum(abs(a - b) for a, b in shared) / max(1, len(shared)), 6),
            "max": round(max((abs(a - b) for a, b in shared), default=0.0), 6),
        },
        "differ": [question.place for question, alike in zip(questions, same, strict=True) if not alike][
            :_SHOWN_PLACES
        ],
    }


def _while_same(one: Said, other: Said) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Logprobs of the tokens that both chose, up to the first difference."""
    pairs = enumerate(zip(one.tokens, other.tokens, strict=False))
    count = next((at for at, (a, b) in pairs if a != b), min(len(one.tokens), len(other.tokens)))
    return one.logprobs[:count], other.logprobs[:count]


def _line(said: Said) -> str:
    return said.text.split("\n", 1)[0]


def write_exact(source: Path, target: Path) -> None:
    """A GGUF with the same metadata and with every weight as the float32 that it stands for."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    architecture = reader.get_field("general.architecture")
    writer = gguf.GGUFWriter(target, "" if architecture is None else architecture.contents())
    for key, entry in reader.fields.items():
        # Those of the writer's own making.
        if key.startswith("GGUF.") or key in {"general.architecture", "general.file_type"}:
            continue
        kind = entry.types[0]
        inner = entry.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, entry.contents(), kind, inner)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def report(measured: dict[str, Any]) -> Iterator[str]:
    """As lines of text."""
    yield measured["hardware"]
    yield f"{measured['model']}; torch: {measured['torch']}"
    yield f"{measured['prompts']} prompts of some {measured['prompt_tokens']} tokens, {measured['new_tokens']} new"
    for name, what in (
        ("exact_weights", "torch and native, weights in single precision"),
        ("quantised_weights", "torch and native, the file as it is"),
        ("native_by_its_own_arithmetic", "native and native: the file as it is and in single precision"),
    ):
        figures = measured[name]
        apart = figures["logprob_difference"]
        yield (
            f"{what}: the same text for {figures['same_text']} ({figures['share']:.0%}), the same first line for"
            f" {figures['same_first_line']}; logprobs differ by {apart['mean']:g} on average, {apart['max']:g} at most"
        )
