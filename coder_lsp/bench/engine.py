"""What the engine costs over llama.cpp itself: prefill, decode, reuse, cancellation, loading, memory.

The peer is a plain llama.cpp loop in C++ (``native/src/raw_peer.cpp``) on the same weights in the same process: default
context, whole batches of 512, no abort callback, no text. Both work in turns, the order changing from round to round,
and ratios are taken within a round, so that a machine that slows down slows both. Inputs are made from a fixed seed.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import psutil

from coder_lsp.bench import processor, roofline
from coder_lsp.bench.figures import megabytes, quantiles
from coder_lsp.engine import hardware
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import KV_ELEMENT_BYTES, LlamaEngine
from coder_lsp.types import FinishReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coder_lsp.engine._native import RawPeer

    Note = Callable[[str], None]


@dataclass(frozen=True)
class BenchOptions:
    """How much to measure; the defaults take three to four minutes with a 0.5B model on two cores."""

    rounds: int = 7
    prompt_tokens: int = 512
    decode_tokens: int = 64
    cancels: int = 40
    cancel_prompt_tokens: int = 256
    loads: int = 3
    seed: int = 0


def measure_engine(path: Path, options: BenchOptions = BenchOptions(), note: Note = lambda _: None) -> dict[str, Any]:
    """Figures of the engine on one model file; ``note`` hears what is being done.

    Times in ms, speeds in tokens/s, memory in MB. ``ratio`` is the engine's speed divided by the raw loop's.
    """
    process = psutil.Process()
    before = process.memory_info().rss
    note("loading")
    engine, load_ms = _load(path, options.loads)
    try:
        loaded = process.memory_info().rss
        prompt = code_tokens(engine, options.prompt_tokens, options.seed)
        # Whatever pages in, allocates or starts a thread does so here.
        _once(engine, prompt[:64], 8)
        figures: dict[str, Any] = {
            "hardware": hardware.detect().line(),
            "model": engine.info.description,
            "file": path.name,
            "options": asdict(engine.options),
            "reason": engine.reason,
            "load_ms": quantiles(load_ms),
            "resident_mb": {
                "loaded": megabytes(loaded - before),
                "after_prompt": megabytes(process.memory_info().rss - before),
            },
        }
        figures |= _speed(engine, prompt, options, note)
        note("roofline")
        figures["roofline"] = _roofline(engine, path, figures, options)
        note("reuse")
        figures["one_more_token_evaluates"] = _one_more_token(engine, prompt)
        figures["cancel"] = _cancels(engine, options, note)
    finally:
        engine.close()
    return figures


def code_tokens(engine: LlamaEngine, count: int, seed: int) -> list[int]:
    """The first ``count`` tokens of code that nobody wrote: the same for the same seed and vocabulary."""
    choose = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
    names = ("items", "total", "index", "name", "value", "result", "path", "config", "count", "node")
    lines: list[str] = []
    tokens: list[int] = []
    while len(tokens) < count:
        one, two, three = choose.sample(names, 3)
        lines.append(
            f"def {one}_of_{two}({two}, {three}={choose.randrange(100)}):\n"
            f'    """{one.capitalize()} of {two}, by {three}."""\n'
            f"    {one} = [{three} + entry for entry in {two} if entry > {choose.randrange(50)}]\n"
            f"    return sum({one}) / len({one})\n\n"
        )
        tokens = engine.tokenize("\n".join(lines))
    return tokens[:count]


def _load(path: Path, loads: int) -> tuple[LlamaEngine, list[float]]:
    """The engine, and what each of several loads took; the first one reads the file into memory and is left out."""
    milliseconds: list[float] = []
    LlamaEngine.load(path, EngineOptions()).close()
    while True:
        began = time.perf_counter()
        engine = LlamaEngine.load(path, EngineOptions())
        milliseconds.append((time.perf_counter() - began) * 1000)
        if len(milliseconds) >= loads:
            return engine, milliseconds
        engine.close()


def _once(engine: LlamaEngine, prompt: list[int], decode_tokens: int) -> tuple[float, float, list[int]]:
    """Prefill ms, decode ms and tokens of one generation that reuses nothing and that no end token ends."""
    from coder_lsp.engine import _native

    _clear(engine)
    request = _native.Request()
    request.tokens = prompt
    request.max_tokens = decode_tokens
    request.ignore_end_tokens = True
    done = engine.session.generate(request)
    assert done.reused == 0
    assert len(done.token_ids) == decode_tokens
    return done.prefill_ms, done.decode_ms, done.token_ids


def _raw_once(raw: RawPeer, prompt: list[int], decode_tokens: int) -> tuple[float, float, list[int]]:
    prefill_ms = raw.prefill(prompt)
    decode_ms, tokens = raw.decode(decode_tokens)
    return prefill_ms, decode_ms, tokens


def _speed(engine: LlamaEngine, prompt: list[int], options: BenchOptions, note: Note) -> dict[str, Any]:
    """Prefill and decode against the raw loop, in turns."""
    raw = engine.session.raw_peer(
        options.prompt_tokens + options.decode_tokens, engine.options.threads, engine.options.threads_batch
    )
    decode_tokens = options.decode_tokens
    _raw_once(raw, prompt[:64], 8)
    ours: list[tuple[float, float, list[int]]] = []
    theirs: list[tuple[float, float, list[int]]] = []
    for turn in range(options.rounds):
        note(f"speed, round {turn + 1} of {options.rounds}")
        if turn % 2:
            ours.append(_once(engine, prompt, decode_tokens))
        theirs.append(_raw_once(raw, prompt, decode_tokens))
        if not turn % 2:
            ours.append(_once(engine, prompt, decode_tokens))
    # The first token follows from the prefill: one evaluation less than tokens.
    return {
        "rounds": options.rounds,
        "prefill": _compare(options.prompt_tokens, [one[0] for one in ours], [one[0] for one in theirs]),
        "decode": _compare(decode_tokens - 1, [one[1] for one in ours], [one[1] for one in theirs]),
        "same_tokens": all(one[2] == other[2] for one, other in zip(ours, theirs, strict=True)),
    }


def _compare(tokens: int, ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    ratios = [other / one for one, other in zip(ours, theirs, strict=True)]
    return {
        "tokens": tokens,
        "ms": quantiles(ours),
        "raw_ms": quantiles(theirs),
        "tokens_per_s": round(tokens * 1000 / statistics.median(ours), 1),
        "raw_tokens_per_s": round(tokens * 1000 / statistics.median(theirs), 1),
        "ratio": {
            "p50": round(statistics.median(ratios), 3),
            "min": round(min(ratios), 3),
            "max": round(max(ratios), 3),
        },
        # Of the fastest round of each: what is left when nothing else ran on the machine.
        "ratio_of_best": round(min(theirs) / min(ours), 3),
    }


def _roofline(engine: LlamaEngine, path: Path, figures: dict[str, Any], options: BenchOptions) -> dict[str, Any]:
    """Both speeds beside what this processor's memory and arithmetic allow."""
    return roofline.shares(
        processor.work_of(path, KV_ELEMENT_BYTES[engine.options.kv_type]),
        processor.machine_for(path, engine.options.threads),
        prompt_tokens=options.prompt_tokens,
        prefill=figures["prefill"]["tokens_per_s"],
        decode_cells=options.prompt_tokens + options.decode_tokens // 2,
        decode=figures["decode"]["tokens_per_s"],
    )


def _clear(engine: LlamaEngine) -> None:
    for sequence in range(engine.options.sequences):
        engine.clear(sequence)


def _one_more_token(engine: LlamaEngine, prompt: list[int]) -> int:
    """Prompt tokens evaluated for a prompt that was seen before and grew by one token."""
    _clear(engine)
    engine.prefill(prompt[:-1])
    return engine.generate(GenerateRequest(tokens=prompt, max_tokens=1)).tokens.evaluated


def _cancels(engine: LlamaEngine, options: BenchOptions, note: Note) -> dict[str, Any]:
    """Time from ``cancel()`` to the engine being free, at random points of prefill and of decode by turns."""
    choose = random.Random(options.seed)  # noqa: S311  (reproducible inputs, not secrets)
    prompt = code_tokens(engine, options.cancel_prompt_tokens, options.seed + 1)
    prefill_ms, decode_ms, _ = _once(engine, prompt, options.decode_tokens)
    late: dict[str, list[float]] = {"prefill": [], "decode": []}
    while sum(map(len, late.values())) < options.cancels:
        phase = "prefill" if len(late["prefill"]) <= len(late["decode"]) else "decode"
        note(f"cancel {sum(map(len, late.values())) + 1} of {options.cancels}")
        _clear(engine)
        if phase == "decode":
            engine.prefill(prompt)
        span_ms = prefill_ms if phase == "prefill" else decode_ms
        finished, milliseconds = _cancel_after(engine, prompt, options.decode_tokens, choose.random() * span_ms)
        # A generation that was through before the cancel came measures nothing.
        if finished is FinishReason.CANCELLED:
            late[phase].append(milliseconds)
    return {
        "count": options.cancels,
        "to_free_ms": quantiles([*late["prefill"], *late["decode"]]),
        "prefill_ms": quantiles(late["prefill"]),
        "decode_ms": quantiles(late["decode"]),
    }


def _cancel_after(
    engine: LlamaEngine, prompt: list[int], decode_tokens: int, milliseconds: float
) -> tuple[FinishReason, float]:
    """Why the generation ended, and the time from its cancel until its thread had the engine free."""
    cancel = engine.new_cancel_token()
    ended: list[tuple[FinishReason, float]] = []

    def generate() -> None:
        done = engine.generate(GenerateRequest(tokens=prompt, max_tokens=decode_tokens), cancel=cancel)
        ended.append((done.finish_reason, time.perf_counter()))

    thread = threading.Thread(target=generate)
    thread.start()
    thread.join(milliseconds / 1000)
    at = time.perf_counter()
    cancel.cancel()
    thread.join()
    reason, free_at = ended[0]
    return reason, (free_at - at) * 1000
