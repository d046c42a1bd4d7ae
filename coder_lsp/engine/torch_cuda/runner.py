"""Runs the decoder: prompts in slices, new tokens in steps. On CUDA steps are captured, and compiled if possible.

A step of one token is hundreds of kernels of microseconds, and starting them from Python takes longer than they run.
So a step is captured once for each number of tokens and of cells (a *bucket*: a power of two, or all), and replayed.
Attention then reads a bucket, not the whole cache. Steps of one sequence and one token, which is most of them, are
compiled besides, a block at a time: all blocks are one piece of code, so that is done in seconds. Where compiling
fails, captured graphs of plain kernels remain; where there is no CUDA, plain calls.
"""

from __future__ import annotations

import contextlib
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from coder_lsp.engine.torch_cuda.decoder import SPARE_CELLS, Cells, Sight, attend, attend_by_sums
from coder_lsp.errors import EngineError, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coder_lsp.engine.torch_cuda.decoder import Cache, Decoder

    Tensor = Any

log = logging.getLogger(__name__)

SMALLEST_BUCKET = 512
"""Cells. Below, reading them costs nothing beside the weights of any model worth running here."""
STEPS = (1, 4, 8, SPARE_CELLS)
"""Tokens of a step: what is wanted is rounded up, and what is too much written behind the end."""
_WARM_UPS = 2
"""Runs before a capture: libraries allocate their work space in the first ones."""


@dataclass(frozen=True)
class Rows:
    """What a step says of each new token of a sequence: the likeliest next one, its logprob (natural), and by how much
    its score is above the second's. ``scores`` (t, vocabulary) stay on the device.
    """

    chosen: list[int]
    logprobs: list[float]
    margins: list[float]
    scores: Tensor


class Runner:
    """One decoder on its device. ``compiles``: whether steps may be compiled."""

    def __init__(self, decoder: Decoder, cache: Cache, *, compiles: bool = True) -> None:
        self.decoder, self.cache = decoder, cache
        self.sequences = int(cache.keys[0].shape[0])
        self.captures = decoder.device.type == "cuda"
        self.compiles = compiles and self.captures
        self.rank = 0
        """Of what lies over the model; graphs are captured for one rank."""
        self._graphs: dict[tuple[Any, ...], _Captured] = {}
        self._pool: Any = None
        self._compiled: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def buckets(self) -> list[int]:
        sizes = []
        size = SMALLEST_BUCKET
        while size < self.cache.cells:
            sizes.append(size)
            size *= 2
        return [*sizes, self.cache.cells]

    @property
    def cheap_step(self) -> int:
        """Tokens up to which a step is cheaper than a slice, though it says what follows each of them."""
        return STEPS[-1] if self.captures else 1

    def prepare(self, progress: Callable[[float], None] = lambda _: None) -> None:
        """Compile and capture all steps of one sequence, so that nobody who types waits for it."""
        if not self.captures:
            return
        places = [(sequence, cells) for cells in self.buckets() for sequence in range(self.sequences)]
        work = [(count, *place) for count in STEPS for place in places]
        for number, (count, sequence, cells) in enumerate(work):
            self._step([[0] * count], [0], sequence, cells)
            progress((number + 1) / len(work))

    def slice(self, sequence: int, tokens: Sequence[int], start: int, *, last: bool) -> Tensor | None:
        """Evaluate some tokens of a prompt; ``last``: the scores of what follows them (1, vocabulary)."""
        with self._guarded():
            count = len(tokens)
            cells = start + count
            device = self.decoder.device
            ids = torch.tensor([tokens], device=device)
            positions = torch.arange(start, cells, device=device)[None]
            mask: Any = None
            if count > 1:
                mask = "causal" if start == 0 else _mask(positions, cells)
            x, added = self._blocks(ids, positions, sequence=sequence, cells=cells, sight=Sight(attend, mask))
            if not last:
                self.wait()
                return None
            return self.decoder.scores(x[:, -1:], added[:, -1:])[0]

    def step(self, sequence: int, tokens: Sequence[int], start: int) -> Rows:
        """Evaluate few new tokens of one sequence, and say what follows each.

        :raises EngineError: the scores are no numbers.
        """
        count = len(tokens)
        padded = next(size for size in STEPS if size >= count) if self.captures else count
        ids = [*tokens, *([tokens[-1]] * (padded - count))]
        return self._step([ids], [start], sequence, self._bucket(start + padded), count)[0]

    def step_all(self, tokens: Sequence[int | None], starts: Sequence[int]) -> list[Rows | None]:
        """One new token of each sequence, None for those that have nothing to do: they write behind their end."""
        rows = self._step([[token or 0] for token in tokens], list(starts), None, self._bucket(max(starts) + 1))
        return [None if token is None else row for token, row in zip(tokens, rows, strict=True)]

    def wait(self) -> None:
        """Until the device has done what it was told: a cancel must not find a queue."""
        if self.captures:
            torch.cuda.synchronize(self.decoder.device)

    def forget_graphs(self) -> None:
        """Those of another rank read memory that is no longer used."""
        self._graphs = {key: graph for key, graph in self._graphs.items() if key[-1] == 0}

    def release(self) -> None:
        """Give the memory back; nothing can be run any more."""
        self._graphs.clear()
        self.cache.keys.clear()
        self.cache.values.clear()
        self.decoder.blocks = None
        self.decoder.embedding = self.decoder.head = None
        if self.captures:
            torch.cuda.empty_cache()

    def _bucket(self, cells: int) -> int:
        if not self.captures:
            return min(cells, self.cache.cells)
        return next(size for size in self.buckets() if size >= cells)

    def _step(
        self, ids: list[list[int]], starts: list[int], sequence: int | None, cells: int, count: int | None = None
    ) -> list[Rows]:
        with self._guarded():
            width = len(ids[0])
            given = torch.tensor([ids, [list(range(start, start + width)) for start in starts]])
            if self.captures:
                packed, scores = self._captured(given, sequence, cells)
            else:
                packed, scores = self._plain(given, sequence, cells)
            figures = packed[:, : count or width].tolist()
        if any(math.isnan(row[1]) for rows in figures for row in rows):
            raise EngineError(
                "the model produced no finite scores", hint="the model may be damaged, or need engine.precision = f32"
            )
        return [
            Rows(
                [int(row[0]) for row in rows], [min(row[1], 0.0) for row in rows], [row[2] for row in rows], scores[at]
            )
            for at, rows in enumerate(figures)
        ]

    def _plain(self, given: Tensor, sequence: int | None, cells: int) -> tuple[Tensor, Tensor]:
        ids, positions = given.to(self.decoder.device)
        # One token looks at all cells there are, unless there are more of them than tokens.
        mask = None if ids.numel() == 1 and not self.captures else _mask(positions, cells)
        x, added = self._blocks(ids, positions, sequence=sequence, cells=cells, sight=Sight(attend, mask))
        return _decided(self.decoder.scores(x, added))

    def _captured(self, given: Tensor, sequence: int | None, cells: int) -> tuple[Tensor, Tensor]:
        key = (sequence, given.shape[2], cells, self.rank)
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = self._capture(given, sequence, cells)
        return graph.replay(given)

    def _capture(self, given: Tensor, sequence: int | None, cells: int) -> _Captured:
        alone = sequence is not None and given.shape[2] == 1
        if alone and self.compiles and not self.rank:
            try:
                return self._record(given, sequence, cells, compiled=True)
            except OutOfMemory:
                raise
            except Exception as error:  # noqa: BLE001  (a compiler fails in ways of its own, and nothing depends on it)
                self.compiles = False
                log.warning("torch: steps are not compiled: %s: %s", type(error).__name__, str(error).split("\n")[0])
        return self._record(given, sequence, cells, compiled=False)

    def _record(self, given: Tensor, sequence: int | None, cells: int, *, compiled: bool) -> _Captured:
        """Nothing is evaluated that the caller did not ask for: what is run to warm up writes the same cells."""
        device = self.decoder.device
        buffer = given.to(device)

        def run() -> tuple[Tensor, Tensor]:
            ids, positions = buffer
            mask = _mask(positions, cells)
            if not compiled:
                return _decided(
                    self.decoder.scores(
                        *self._blocks(ids, positions, sequence=sequence, cells=cells, sight=Sight(attend, mask))
                    )
                )
            block, decide = self._compilation()
            sight = Sight(attend_by_sums, mask)
            x, added = self._blocks(ids, positions, sequence=sequence, cells=cells, sight=sight, call=block)
            packed, scores = decide(self.decoder, x, added)
            return packed, scores

        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                run()
        torch.cuda.current_stream(device).wait_stream(side)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=side):
            packed, scores = run()
        return _Captured(graph, buffer, packed, scores)

    def _compilation(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        if self._compiled is None:
            self._compiled = compiled_parts()
        return self._compiled

    def _blocks(
        self,
        ids: Tensor,
        positions: Tensor,
        *,
        sequence: int | None,
        cells: int,
        sight: Sight,
        call: Callable[..., Any] | None = None,
    ) -> tuple[Tensor, Tensor]:
        decoder, cache = self.decoder, self.cache
        rows = torch.arange(ids.shape[0], device=ids.device)[:, None]
        chosen = slice(None) if sequence is None else slice(sequence, sequence + 1)
        x = decoder.embedding[ids]
        added = torch.zeros_like(x)
        turn = decoder.turn(positions)
        for block, keys, values in zip(decoder.blocks, cache.keys, cache.values, strict=True):
            room = Cells(rows, positions, keys[chosen, :, :cells], values[chosen, :, :cells])
            given = (x, added, turn, room, sight)
            x, added = block(*given) if call is None else call(block, *given)
        return x, added

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """:raises OutOfMemory: the device has none left."""
        device = self.decoder.device
        here = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
        try:
            with torch.no_grad(), here:
                yield
        except torch.OutOfMemoryError as error:
            self._graphs.clear()
            raise OutOfMemory(
                f"{self.decoder.device} ran out of memory: {str(error).splitlines()[0]}",
                hint="close what else uses the device, or lower engine.context_tokens or engine.sequences",
            ) from error


class _Captured:
    """A recorded step: its input, and what it leaves where."""

    def __init__(self, graph: Any, buffer: Tensor, packed: Tensor, scores: Tensor) -> None:
        self._graph, self._buffer, self._packed, self._scores = graph, buffer, packed, scores

    def replay(self, given: Tensor) -> tuple[Tensor, Tensor]:
        self._buffer.copy_(given)
        self._graph.replay()
        return self._packed, self._scores


def compiled_parts() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A block, and what decides behind the last one, compiled for the shapes they are called with."""
    options = {
        # Products with one row become sums that read a matrix at the speed of memory, once tiles are searched for.
        "coordinate_descent_tuning": True,
        "triton.cudagraphs": False,
    }
    # A compilation for each bucket. The limit had another name before torch 2.7.
    config = torch._dynamo.config  # noqa: SLF001
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, limit, max(64, getattr(config, limit)))
    return (
        torch.compile(_call, fullgraph=True, dynamic=False, options=options),
        torch.compile(_decide, fullgraph=True, dynamic=False, options=options),
    )


def _call(block: Any, *given: Any) -> Any:
    return block(*given)


def _decide(decoder: Any, x: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    return _decided(decoder.scores(x, added))


def _decided(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(b, t, 3) of :class:`Rows` in one tensor, since each copy from a device is waited for; and the scores."""
    if scores.shape[1] == 1:
        best, chosen = scores.max(dim=-1)
        second = best
    else:
        (best, second), (chosen, _) = (each.unbind(dim=-1) for each in scores.topk(2, dim=-1))
    logprobs = best - scores.logsumexp(dim=-1)
    # Exact: a float32 holds whole numbers up to 2^24, vocabularies have less than 2^18.
    return torch.stack((chosen.float(), logprobs, best - second), dim=-1), scores


def _mask(positions: Tensor, cells: int) -> Tensor:
    """(b, 1, t, n): a token looks at cells up to its own."""
    return (torch.arange(cells, device=positions.device)[None, None] <= positions[:, :, None])[:, None]
