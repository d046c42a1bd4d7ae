"""How fast the torch engine is: beside what its device allows, and beside transformers' ``generate``.

Figures of one sequence, as one person who types has it. Bounds are two: by the memory speed and arithmetic that copying
and one large product reach on the device in this very run, and by the vendor's data sheet. transformers works in turns
with the engine, the order changing from round to round. Weights are random (``random_model``) or a model's own.

Runs from the source tree with torch alone, where nothing can be installed::

    python3 -m coder_lsp.bench.torch_engine --shape deepseek-1.3b
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.bench import roofline
from coder_lsp.bench.figures import quantiles
from coder_lsp.bench.goals import Goal, look_up
from coder_lsp.bench.goals import rows as goal_rows
from coder_lsp.bench.random_model import SHAPES, PlainVocabulary, RandomSource, shape_of
from coder_lsp.bench.torch_peer import TransformersPeer
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.torch_cuda import device as devices
from coder_lsp.engine.torch_cuda.engine import TorchEngine
from coder_lsp.errors import CoderLspError
from coder_lsp.types import FinishReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.engine.torch_cuda.device import Place

    Note = Callable[[str], None]

DATA_SHEETS = (
    ("H200", 4.8e12, 989e12),
    ("H100 PCIe", 2.0e12, 756e12),
    ("H100 NVL", 3.9e12, 835e12),
    ("H100", 3.35e12, 989e12),
    ("A100-SXM4-80GB", 2.039e12, 312e12),
    ("A100 80GB PCIe", 1.935e12, 312e12),
    ("A100", 1.555e12, 312e12),
    ("L40S", 0.864e12, 362e12),
    ("L4", 0.3e12, 121e12),
    ("RTX 4090", 1.008e12, 165e12),
    ("RTX 3090", 0.936e12, 71e12),
)
"""(part of the device's name, bytes/s, half precision flop/s without sparsity), the first that fits counts."""
GOALS = (
    Goal("decode.share_of_measured", 0.6, "decode, of what memory was measured to allow", least=True),
    Goal("decode.share_of_data_sheet", 0.6, "decode, of what the data sheet says", least=True),
    Goal("fresh.ms.p50", 60, "1,000 fresh tokens and 24 new", unit="ms"),
    Goal("transformers.decode_ratio", 3.0, "decode against generate()", least=True),
    Goal("keystroke.first_token_ms.p50", 25, "a key on a warm prompt, to the first token", unit="ms"),
    Goal("cancel.ms.p95", 10, "from a cancel to a free engine", unit="ms"),
)
"""For the 1.3B; 6.7B is to reach 0.7 of its bound."""
LARGE_SHARE = 0.7
_LARGE_WEIGHTS = 5e9


@dataclass(frozen=True)
class TorchBenchOptions:
    """How much to measure."""

    rounds: int = 7
    prompt_tokens: int = 1000
    decode_tokens: int = 128
    fresh_tokens: int = 24
    keystrokes: int = 20
    cancels: int = 30
    seed: int = 0
    peer: bool = True
    context_tokens: int = 4096
    sequences: int = 4


def measure_torch(
    model: str | Path,
    engine_options: EngineOptions,
    options: TorchBenchOptions = TorchBenchOptions(),
    note: Note = lambda _: None,
) -> dict[str, Any]:
    """Figures of a shape (by name) or of a model (a path). Times in ms, speeds in tokens/s.

    :raises CoderLspError: there is no such shape or device, or no room.
    """
    note("loading")
    place = devices.choose(engine_options)
    began = time.perf_counter()
    with closing(_load(model, engine_options, options, place)) as engine:
        load_s = time.perf_counter() - began
        figures: dict[str, Any] = {
            "hardware": _hardware(place),
            "torch": torch.__version__,
            "model": str(model) if isinstance(model, str) else model.name,
            "reason": engine.reason,
            "parameters": engine.info.parameters,
            "steps": "compiled" if engine.runner.compiles else "captured" if engine.runner.captures else "plain",
            "options": asdict(options),
            "load_s": round(load_s, 1),
        }
        note("memory speed and arithmetic")
        machines = _machines(place)
        _warm(engine, options)
        peer = TransformersPeer(engine.runner.decoder.shape, place) if options.peer else None
        figures |= _speeds(engine, peer, options, machines, note)
        note("keys")
        figures["keystroke"] = _keystrokes(engine, options)
        note("texts at once")
        figures["at_once"] = _at_once(engine, options)
        note("guesses")
        figures["guesses"] = _guesses(engine, options)
        note("cancels")
        figures["cancel"] = _cancels(engine, options)
        if place.device.type == "cuda":
            figures["memory_mb"] = round(torch.cuda.max_memory_allocated(place.device) / 1e6)
        figures["goals"] = list(_goals(figures, engine))
    return figures


def _load(model: str | Path, engine_options: EngineOptions, options: TorchBenchOptions, place: Place) -> TorchEngine:
    from dataclasses import replace

    wanted = replace(
        engine_options, context_tokens=options.context_tokens, sequences=options.sequences, device=str(place.device)
    )
    if isinstance(model, Path):
        return TorchEngine.load(model, wanted)
    source = RandomSource(shape_of(model), str(place.device), options.seed)
    return TorchEngine.of(source, PlainVocabulary(), wanted, place)


def _hardware(place: Place) -> str:
    if place.device.type == "cuda":
        facts = torch.cuda.get_device_properties(place.device)
        return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _machines(place: Place) -> dict[str, roofline.Machine]:
    """By name: what this device was measured to do, and what its data sheet says, if there is one here."""
    cuda = place.device.type == "cuda"
    count = (1 << 30 if cuda else 1 << 27) // 4
    source, target = (torch.ones(count, device=place.device) for _ in range(2))
    # A copy reads and writes.
    bytes_per_s = 2 * 4 * count / _fastest(lambda: target.copy_(source), place)
    side = 8192 if cuda else 1024
    left, right = (torch.ones(side, side, device=place.device, dtype=place.dtype) for _ in range(2))
    flops_per_s = 2 * side**3 / _fastest(lambda: left @ right, place)
    found = {"measured": roofline.Machine(bytes_per_s, flops_per_s)}
    name = torch.cuda.get_device_name(place.device) if cuda else ""
    for part, sheet_bytes, sheet_flops in DATA_SHEETS:
        if part in name:
            return found | {"data_sheet": roofline.Machine(sheet_bytes, sheet_flops)}
    return found


def _fastest(work: Callable[[], Any], place: Place, rounds: int = 10) -> float:
    """Seconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(rounds):
        _wait(place.device)
        began = time.perf_counter()
        work()
        _wait(place.device)
        best = min(best, time.perf_counter() - began)
    return best


def _wait(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def work_of(engine: TorchEngine) -> roofline.Work:
    """What a token asks for, by the weights as they lie in memory."""
    decoder = engine.runner.decoder
    shape = decoder.shape
    element = torch.empty(0, dtype=decoder.dtype).element_size()
    cell_bytes, cell_products = roofline.cells(shape.layers, shape.heads, shape.kv_heads, shape.head_width, element)
    return roofline.Work(decoder.weight_bytes(), shape.product_weights, cell_bytes, cell_products)


def _prompt(engine: TorchEngine, count: int, seed: int) -> list[int]:
    choose = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
    return [choose.randrange(engine.info.vocab_size) for _ in range(count)]


def _fresh(engine: TorchEngine) -> None:
    for sequence in range(engine.options.sequences):
        engine.clear(sequence)


def _once(engine: TorchEngine, prompt: Sequence[int], count: int) -> dict[str, float]:
    """Times of one text with a prompt that nothing is known of."""
    _fresh(engine)
    done = engine.generate(GenerateRequest(prompt, max_tokens=count, draft=False))
    assert done.tokens.reused == 0
    assert done.tokens.generated == count, "an end token came; choose another seed"
    return done.timings_ms


def _warm(engine: TorchEngine, options: TorchBenchOptions) -> None:
    """Whatever is allocated, compiled or captured later."""
    prompt = _prompt(engine, options.prompt_tokens, options.seed)
    for _ in range(2):
        _once(engine, prompt, options.fresh_tokens)
    _fresh(engine)
    engine.generate(GenerateRequest(prompt, max_tokens=32, hints=[prompt]))


def _speeds(
    engine: TorchEngine,
    peer: TransformersPeer | None,
    options: TorchBenchOptions,
    machines: dict[str, roofline.Machine],
    note: Note,
) -> dict[str, Any]:
    """Prefill, decode and both together, in turns with the peer."""
    prompt = _prompt(engine, options.prompt_tokens, options.seed)
    works = peer is not None and peer.available
    long: list[dict[str, float]] = []
    fresh: list[float] = []
    theirs: list[tuple[float, float]] = []
    if peer is not None and works:
        peer.seconds(prompt, 4)
    for turn in range(options.rounds):
        note(f"speed, round {turn + 1} of {options.rounds}")
        for ours in (True, False) if turn % 2 else (False, True):
            if ours:
                long.append(_once(engine, prompt, options.decode_tokens))
                fresh.append(_once(engine, prompt, options.fresh_tokens)["total"])
            elif peer is not None and works:
                theirs.append((peer.seconds(prompt, 1), peer.seconds(prompt, options.decode_tokens)))
    decode = (options.decode_tokens - 1) * 1e3 / statistics.median(each["decode"] for each in long)
    prefill = options.prompt_tokens * 1e3 / statistics.median(each["prefill"] for each in long)
    cells = options.prompt_tokens + options.decode_tokens // 2
    found: dict[str, Any] = {
        "decode": {"tokens_per_s": round(decode, 1), "ms": quantiles([each["decode"] for each in long])},
        "prefill": {"tokens_per_s": round(prefill, 1), "ms": quantiles([each["prefill"] for each in long])},
        "fresh": {"prompt": options.prompt_tokens, "new": options.fresh_tokens, "ms": quantiles(fresh)},
        "roofline": {},
    }
    for name, machine in machines.items():
        shares = roofline.shares(
            work_of(engine),
            machine,
            prompt_tokens=options.prompt_tokens,
            prefill=prefill,
            decode_cells=cells,
            decode=decode,
        )
        found["roofline"][name] = shares
        found["decode"][f"share_of_{name}"] = shares["decode"]["share"]
        found["prefill"][f"share_of_{name}"] = shares["prefill"]["share"]
    if theirs:
        speeds = [(options.decode_tokens - 1) / (whole - first) for first, whole in theirs]
        their_speed = statistics.median(speeds)
        found["transformers"] = {
            "decode_tokens_per_s": round(their_speed, 1),
            "first_token_ms": quantiles([first * 1e3 for first, _ in theirs]),
            "decode_ratio": round(decode / their_speed, 2),
        }
    elif peer is not None:
        found["transformers"] = {"absent": peer.reason}
    return found


def _keystrokes(engine: TorchEngine, options: TorchBenchOptions) -> dict[str, Any]:
    """One more token on a prompt that is evaluated: until the first token of the answer, and until a line of 12."""
    prompt = _prompt(engine, options.prompt_tokens, options.seed + 1)
    _fresh(engine)
    engine.prefill(prompt)
    first, line = [], []
    for key in _prompt(engine, options.keystrokes, options.seed + 2):
        prompt = [*prompt, key]
        done = engine.generate(GenerateRequest(prompt, max_tokens=1))
        assert done.tokens.evaluated == 1
        first.append(done.timings_ms["total"])
        line.append(engine.generate(GenerateRequest(prompt, max_tokens=12)).timings_ms["total"])
    return {"first_token_ms": quantiles(first), "line_of_12_ms": quantiles(line)}


def _at_once(engine: TorchEngine, options: TorchBenchOptions) -> dict[str, Any]:
    """As many texts as there are sequences: decoded one by one, and in one step of all."""
    count = engine.options.sequences
    prompts = [_prompt(engine, 128, options.seed + 10 + number) for number in range(count)]
    requests = [GenerateRequest(prompt, max_tokens=options.decode_tokens, draft=False) for prompt in prompts]
    seconds: dict[str, list[float]] = {"alone": [], "together": []}
    # The first round captures.
    for turn in range(1 + min(3, options.rounds)):
        for way in ("alone", "together"):
            for sequence, prompt in enumerate(prompts):
                engine.prefill(prompt, sequence)
            began = time.perf_counter()
            if way == "together":
                engine.generate_many(requests)
            else:
                for request in requests:
                    engine.generate(request)
            if turn:
                seconds[way].append(time.perf_counter() - began)
    alone, together = (statistics.median(seconds[way]) for way in ("alone", "together"))
    return {
        "texts": count,
        "tokens_per_s": round(count * options.decode_tokens / together, 1),
        "tokens_per_s_alone": round(count * options.decode_tokens / alone, 1),
        "ratio": round(alone / together, 2),
    }


def _guesses(engine: TorchEngine, options: TorchBenchOptions) -> dict[str, Any]:
    """A text that was suggested before, offered as a hint: what right guesses save, and that they change nothing."""
    prompt = _prompt(engine, options.prompt_tokens, options.seed)
    _fresh(engine)
    plain = engine.generate(GenerateRequest(prompt, max_tokens=options.decode_tokens, draft=False))
    request = GenerateRequest(prompt, max_tokens=options.decode_tokens, hints=[plain.token_ids])
    engine.generate(request)
    guessed = engine.generate(request)
    return {
        "same_text": guessed.token_ids == plain.token_ids,
        "passes": guessed.tokens.passes,
        "tokens": guessed.tokens.generated,
        "accepted": guessed.tokens.accepted,
        "ratio": round(plain.timings_ms["decode"] / guessed.timings_ms["decode"], 2),
    }


def _cancels(engine: TorchEngine, options: TorchBenchOptions) -> dict[str, Any]:
    """From ``cancel()`` to the engine being free, at random moments of prefill and of decode by turns."""
    choose = random.Random(options.seed)  # noqa: S311  (moments, not secrets)
    prompt = _prompt(engine, min(4 * options.prompt_tokens, options.context_tokens - 300), options.seed + 3)
    whole = _once(engine, prompt, options.decode_tokens)
    late: dict[str, list[float]] = {"prefill": [], "decode": []}
    tries = 0
    while sum(map(len, late.values())) < options.cancels and tries < 10 * options.cancels:
        tries += 1
        phase = "prefill" if len(late["prefill"]) <= len(late["decode"]) else "decode"
        _fresh(engine)
        if phase == "decode":
            engine.prefill(prompt)
        reason, milliseconds = _cancel_after(engine, prompt, options.decode_tokens, choose.random() * whole[phase])
        # A text that was through before the cancel came measures nothing.
        if reason is FinishReason.CANCELLED:
            late[phase].append(milliseconds)
        else:
            # It is quicker than when it was measured: on a busy machine by far.
            whole[phase] *= 0.8
    every = [*late["prefill"], *late["decode"]]
    return {
        "count": len(every),
        **({"ms": quantiles(every)} if every else {}),
        **{f"{phase}_ms": quantiles(late[phase]) for phase in late if late[phase]},
    }


def _cancel_after(
    engine: TorchEngine, prompt: Sequence[int], count: int, milliseconds: float
) -> tuple[FinishReason, float]:
    cancel = engine.new_cancel_token()
    ended: list[tuple[FinishReason, float]] = []

    def generate() -> None:
        done = engine.generate(GenerateRequest(prompt, max_tokens=count, draft=False), cancel=cancel)
        ended.append((done.finish_reason, time.perf_counter()))

    thread = threading.Thread(target=generate)
    thread.start()
    thread.join(milliseconds / 1000)
    at = time.perf_counter()
    cancel.cancel()
    thread.join()
    reason, free_at = ended[0]
    return reason, (free_at - at) * 1000


def _goals(figures: dict[str, Any], engine: TorchEngine) -> Iterator[dict[str, Any]]:
    """Judged on CUDA; elsewhere the figures stand beside them unjudged."""
    judged = engine.runner.captures
    large = engine.info.parameters > _LARGE_WEIGHTS
    for goal in GOALS:
        value = look_up(figures, goal.figure)
        if value is None:
            continue
        if goal.figure.startswith("decode.") and large:
            goal = Goal(goal.figure, LARGE_SHARE, goal.title, least=True)  # noqa: PLW2901  (another limit)
        said = goal.judge(value)
        yield said if judged else {**said, "met": None}


def report(figures: dict[str, Any]) -> Iterator[str]:
    """As lines of text."""
    yield figures["hardware"]
    billions = figures["parameters"] / 1e9
    yield f"{figures['model']}, {billions:.2f}B weights, steps {figures['steps']}: {figures['reason']}"
    for name in ("decode", "prefill", "fresh", "keystroke", "at_once", "guesses", "cancel", "transformers"):
        if name in figures:
            yield f"  {name:<14}{figures[name]}"
    for name, shares in figures["roofline"].items():
        yield f"  {name:<14}{shares}"
    yield from ("  " + "  ".join(row) for row in goal_rows(figures["goals"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """For machines with torch alone; ``coder-lsp bench torch`` is the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="deepseek-1.3b")
    parser.add_argument("--model", type=Path, help="a folder of safetensors or a GGUF file instead")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp16", "f32"])
    parser.add_argument("--quantise", default="none", choices=["none", "int8", "int4"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-peer", action="store_true", help="without transformers")
    given = parser.parse_args(arguments)
    wanted = EngineOptions(device=given.device, precision=given.precision, quantise=given.quantise)
    options = TorchBenchOptions(rounds=given.rounds, peer=not given.no_peer)
    try:
        figures = measure_torch(
            given.model or given.shape, wanted, options, lambda text: print(text, file=sys.stderr, flush=True)
        )
    except CoderLspError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for line in report(figures):
        print(line)
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
