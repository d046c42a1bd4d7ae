"""How to run one model on this machine: threads, flash attention and the type of the cache, each timed.

One question after the other, the ways to answer it taking turns: threads first, then attention, then the cache, each
with what was best before. What is not clearly faster stays as it would be without measuring. The answers are remembered
for this file and this machine; the engine reads them wherever the user has decided nothing. They are not remembered if
other programs were busy meanwhile: threads that wait for each other lose most to those (seen: beside a test run, one
thread decoded 1.7 times as fast as two).
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import psutil

from coder_lsp.engine import hardware, tuned
from coder_lsp.engine.tuned import Tuned
from coder_lsp.models import files, gguf_header
from coder_lsp.optimise import native

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coder_lsp.optimise import _requantise

PREFILL_TOKENS, DECODE_TOKENS = 384, 24
"""A prompt as long as most are, so that attention and cache have something to do."""
ROUNDS = 4
CLEARLY = 1.03
"""Times faster: differences below this come and go between runs."""
BUSY = 0.15
"""Share of the processors' time that others may take."""
KEPT_ENTRIES = 64


@dataclass(frozen=True)
class Way:
    """One way to run a model."""

    threads: int
    flash_attention: bool
    kv_type: str


@dataclass(frozen=True)
class Timed:
    """Medians in tokens a second."""

    way: Way
    prefill: float
    decode: float


@dataclass(frozen=True)
class Tuning:
    """All that was timed, in order, and what follows from it."""

    timed: tuple[Timed, ...]
    chosen: Tuned
    others: float
    """Share of the processors' time that other programs took meanwhile."""

    @property
    def remembered(self) -> bool:
        return self.others <= BUSY


def tune(path: Path, tell: Callable[[str], object]) -> Tuning:
    """Time the ways to run a model, a minute or two for a small one, and remember the best.

    :raises ModelError, EngineError: the model cannot be loaded.
    """
    native.load()
    gguf_header.read(path)
    from coder_lsp.optimise import _requantise

    others = _Others()
    cores = hardware.cores().count
    default = Way(cores, flash_attention=True, kv_type="f16")
    model = _requantise.TimedModel(str(path), _options(default))

    def timed(ways: Sequence[Way]) -> dict[Way, Timed]:
        return {each.way: each for each in _take_turns(model, ways)}

    tell("threads")
    by_threads = timed([replace(default, threads=count) for count in _thread_counts(cores)])
    found = list(by_threads.values())
    # A prompt and a token after the other need not like the same number of threads.
    decode = _fastest(by_threads, default, lambda each: each.decode)
    prefill = _fastest(by_threads, default, lambda each: each.prefill)
    tell("flash attention")
    without = replace(decode, flash_attention=False)
    by_attention = timed([decode, without])
    found.append(by_attention[without])
    best = _fastest(by_attention, decode, _both)
    tell("type of the cache")
    small = replace(decode, flash_attention=True, kv_type="q8_0")
    by_cache = timed([best, small])
    found.append(by_cache[small])
    chosen = Tuned(
        threads=decode.threads,
        threads_batch=prefill.threads,
        flash_attention=best.flash_attention,
        kv_type=_fastest(by_cache, best, _both).kv_type,
    )
    tuning = Tuning(tuple(found), chosen, round(others.share(), 3))
    if tuning.remembered:
        remember(path, chosen)
    return tuning


def remember(path: Path, chosen: Tuned) -> None:
    """Among the last entries; the engine finds it by the file."""
    entries = tuned.read_all()
    here = tuned.key(path)
    entries.pop(here, None)
    kept = dict(list(entries.items())[-(KEPT_ENTRIES - 1) :])
    files.write_text(tuned.file(), json.dumps(kept | {here: asdict(chosen)}, indent=1) + "\n")


class _Others:
    """What other programs take of the processors from here on."""

    def __init__(self) -> None:
        self._busy, self._whole = self._times()
        self._own = time.process_time()

    def share(self) -> float:
        busy, whole = self._times()
        others = (busy - self._busy) - (time.process_time() - self._own)
        return max(0.0, others / max(whole - self._whole, 1e-9))

    @staticmethod
    def _times() -> tuple[float, float]:
        times = psutil.cpu_times()
        whole = sum(times)
        return whole - times.idle - getattr(times, "iowait", 0.0), whole


def _thread_counts(cores: int) -> list[int]:
    """What the engine would take by itself comes first; the others are half, one less, and every logical processor."""
    logical = max(cores, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    others = {max(1, cores // 2), max(1, cores - 1), logical} - {cores}
    return [cores, *sorted(others)]


def _options(way: Way) -> _requantise.RunOptions:
    from coder_lsp.optimise import _requantise

    options = _requantise.RunOptions()
    options.prefill_tokens, options.decode_tokens = PREFILL_TOKENS, DECODE_TOKENS
    options.threads = options.threads_batch = way.threads
    options.flash_attention, options.kv_type = way.flash_attention, way.kv_type
    return options


def _take_turns(model: _requantise.TimedModel, ways: Sequence[Way]) -> list[Timed]:
    runners = [(way, model.otherwise(_options(way))) for way in ways]
    runs: dict[Way, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(ROUNDS + 1):
        for way, runner in runners:
            run = runner.run()
            if turn > 0:  # the first touches every page for the first time
                runs[way].append((run.prefill_ms, run.decode_ms))
    return [
        Timed(
            way,
            round(PREFILL_TOKENS * 1000 / statistics.median(prefill for prefill, _ in times), 1),
            round(DECODE_TOKENS * 1000 / statistics.median(decode for _, decode in times), 1),
        )
        for way, times in runs.items()
    ]


def _fastest(timed: dict[Way, Timed], default: Way, speed: Callable[[Timed], float]) -> Way:
    """The fastest way, or the default if none is clearly faster."""
    best = max(timed.values(), key=speed)
    return best.way if speed(best) > CLEARLY * speed(timed[default]) else default


def _both(each: Timed) -> float:
    return math.sqrt(each.prefill * each.decode)
