"""How many people one GPU can complete for: an estimate, out of data sheets and of what typing asks for.

Nothing is measured here. A pass of the model takes as long as its weights and the caches of its sequences take to be
read, or its products to be computed (``bench.roofline``), divided by the share of the data sheet that servers reach. At
some number of people prompts and answers take so much of that time that an answer comes too late; memory for what was
read of their prompts may run out before. The smaller number counts.

    >>> found = estimate(MODELS["qwen2.5-coder-7b"], GPUS["h100"], Typing(), Limits(), "bf16")
    >>> found.cell_bytes, round(found.resident_gb, 1)  # 2 x 28 layers x 4 heads x 128 wide x 2 bytes; 7.6 x 2
    (57344, 15.2)
"""

from __future__ import annotations

from dataclasses import dataclass

from coder_lsp.bench.roofline import Work, cells

WEIGHT_BYTES = {"bf16": 2.0, "fp8": 1.0, "awq": 0.52}
"""Of one weight of a layer; AWQ's have 4 bits, and a scale and a zero for each 128. Embeddings stay in two bytes."""
_CACHE_BYTES = 2.0
_MOST = 100_000


@dataclass(frozen=True)
class Shape:
    """A dense decoder, as its ``config.json`` has it. ``tied``: one matrix is embedding and output."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = False
    head_width: int = 128

    @property
    def layer_weights(self) -> int:
        attention = 2 * self.width * self.head_width * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.width * self.inner)

    @property
    def output_weights(self) -> int:
        return self.width * self.vocabulary

    def work(self, weight_bytes: float) -> Work:
        """What each token asks for."""
        cell_bytes, cell_products = cells(self.layers, self.heads, self.kv_heads, self.head_width, _CACHE_BYTES)
        return Work(
            weight_bytes=int(self.layer_weights * weight_bytes + self.output_weights * 2),
            weights=self.layer_weights + self.output_weights,
            cell_bytes=cell_bytes,
            cell_products=cell_products,
        )

    def resident_bytes(self, weight_bytes: float) -> int:
        """Of all weights; an embedding that is looked up lies in memory too."""
        return self.work(weight_bytes).weight_bytes + (0 if self.tied else self.output_weights * 2)


@dataclass(frozen=True)
class Gpu:
    """By its data sheet: bytes of memory, its bandwidth, dense bf16 products and sums."""

    memory_bytes: float
    bytes_per_s: float
    flops_per_s: float


MODELS = {
    "qwen2.5-coder-1.5b": Shape(28, 1536, 8960, 12, 2, 151_936, tied=True),
    "qwen2.5-coder-7b": Shape(28, 3584, 18944, 28, 4, 152_064),
    "deepseek-coder-1.3b": Shape(24, 2048, 5504, 16, 16, 32_256),
    "deepseek-coder-6.7b": Shape(32, 4096, 11008, 32, 32, 32_256),
}
GPUS = {
    "l4": Gpu(24e9, 300e9, 121e12),
    "a10": Gpu(24e9, 600e9, 125e12),
    "a100": Gpu(80e9, 2039e9, 312e12),
    "h100": Gpu(80e9, 3350e9, 989e12),
}
"""NVIDIA's data sheets: L4, A10, A100 80 GB SXM, H100 SXM; figures without sparsity."""


@dataclass(frozen=True)
class Typing:
    """What one person asks for while typing, on the careful side of what ``bench replay`` counts: 27 to 55 requests a
    minute, 52 to 201 tokens read for one, 10 to 12 written (docs/team-server.md has the commands).
    """

    requests_per_minute: float = 40.0
    prompt_tokens: float = 200.0
    """Read for one request: what the server's cache does not have."""
    context_tokens: float = 1500.0
    """Of a whole prompt: what lies in the cache for it."""
    new_tokens: float = 24.0
    places: float = 3.0
    """Prompts a person goes to and fro between, all kept."""


@dataclass(frozen=True)
class Limits:
    """``answer_ms``: until the whole answer is there. The shares are assumptions, of the data sheet's figures."""

    answer_ms: float = 500.0
    bandwidth_share: float = 0.6
    arithmetic_share: float = 0.4
    pass_ms: float = 3.0
    """What a server does around each pass of the model, whatever its size."""
    memory_share: float = 0.9
    spare_bytes: float = 2e9
    """Of that for anything but weights and cache."""


@dataclass(frozen=True)
class Estimate:
    """``typing`` is how many may type at once: the smaller of ``by_time`` and ``by_memory``. ``alone``: with nobody
    else there. ``answers`` are being written at a time when so many type.
    """

    typing: int
    by_time: int
    by_memory: int
    first_token_alone_ms: float
    answer_alone_ms: float
    answers: float
    cell_bytes: int
    resident_gb: float


def estimate(shape: Shape, gpu: Gpu, typing: Typing, limits: Limits, weights: str) -> Estimate:
    """How many may type at once before answers take longer than they may, or their prompts no longer fit."""
    work = shape.work(WEIGHT_BYTES[weights])
    resident = shape.resident_bytes(WEIGHT_BYTES[weights])
    room = gpu.memory_bytes * limits.memory_share - limits.spare_bytes - resident
    by_memory = max(0, int(room / (work.cell_bytes * typing.context_tokens * typing.places)))
    first_ms, answer_ms, _ = _times(work, gpu, typing, limits, 0)
    least, most = 0, _MOST
    while least < most:
        middle = (least + most + 1) // 2
        if _times(work, gpu, typing, limits, middle)[1] <= limits.answer_ms:
            least = middle
        else:
            most = middle - 1
    people = min(least, by_memory)
    return Estimate(
        typing=people,
        by_time=least,
        by_memory=by_memory,
        first_token_alone_ms=first_ms,
        answer_alone_ms=answer_ms,
        answers=_times(work, gpu, typing, limits, people)[2],
        cell_bytes=work.cell_bytes,
        resident_gb=resident / 1e9,
    )


def _times(work: Work, gpu: Gpu, typing: Typing, limits: Limits, people: int) -> tuple[float, float, float]:
    """(ms until the first token, ms until the last, answers being written) while so many type.

    Prompts take ``busy`` of the time. The rest is left for answers: with b of them a pass takes base + b x more, and b
    is what comes in a second times how long each is there (Little), which is one linear equation.
    """
    bandwidth = gpu.bytes_per_s * limits.bandwidth_share
    arithmetic = gpu.flops_per_s * limits.arithmetic_share
    around = limits.pass_ms / 1000
    flops = 2 * typing.prompt_tokens * (work.weights + typing.context_tokens * work.cell_products)
    prompt = around + max(work.weight_bytes / bandwidth, flops / arithmetic)
    base = around + work.weight_bytes / bandwidth
    more = typing.context_tokens * work.cell_bytes / bandwidth
    rate = people * typing.requests_per_minute / 60
    busy = rate * prompt
    left = 1 - busy - rate * typing.new_tokens * more
    if busy >= 1 or left <= 0:
        return float("inf"), float("inf"), float("inf")
    answers = rate * typing.new_tokens * base / left
    # One prompt waits for those before it: half of a prompt, as often as there is one (M/D/1).
    first = prompt + prompt * busy / (2 * (1 - busy))
    last = first + typing.new_tokens * (base + max(1.0, answers) * more) / (1 - busy)
    return 1000 * first, 1000 * last, answers
