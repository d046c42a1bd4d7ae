"""From a path to a model on its device: sources, vocabularies, options without zeros, weights and cache."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from coder_lsp.engine.torch_cuda.decoder import SPARE_CELLS, Cache, Decoder
from coder_lsp.engine.torch_cuda.runner import Runner
from coder_lsp.errors import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from coder_lsp.engine.base import EngineOptions, Vocabulary
    from coder_lsp.engine.torch_cuda.decoder import Source
    from coder_lsp.engine.torch_cuda.device import Place

CPU_SLICE = 32
"""Prompt tokens between two looks at cancellation on a processor: some 0.2 s of a 0.5B model on two cores."""
CUDA_SLICES = ((3e9, 512), (10e9, 256), (float("inf"), 128))
"""(weights up to, tokens): some 5 ms each on a device with 400 TFLOP/s of real arithmetic."""


def open_source(path: Path) -> Source:
    """The weights of a GGUF file, or of a folder with ``config.json`` and safetensors; nothing but heads is read.

    :raises ModelError: there is none that this engine runs.
    """
    if path.is_dir():
        from coder_lsp.engine.torch_cuda.hub_source import HubSource

        return HubSource(path)
    from coder_lsp.engine.torch_cuda.gguf_source import GgufSource

    return GgufSource(path)


def open_vocabulary(path: Path) -> Vocabulary:
    """That of the model's own file: of a GGUF as the native engine reads it, so that token ids are the same in both."""
    if path.is_dir():
        from coder_lsp.engine.hub_vocabulary import HubVocabulary

        return HubVocabulary.load(path)
    from coder_lsp.engine.llama import LlamaVocabulary

    return LlamaVocabulary.load(path)


def resolve(options: EngineOptions, source: Source, place: Place) -> EngineOptions:
    """Options without zeros."""
    shape = source.shape
    threads = options.threads or torch.get_num_threads()
    slice_tokens = options.slice_tokens
    if slice_tokens == 0 and place.device.type == "cpu":
        slice_tokens = CPU_SLICE
    elif slice_tokens == 0:
        slice_tokens = next(tokens for weights, tokens in CUDA_SLICES if shape.product_weights <= weights)
    return replace(
        options,
        kind="torch",
        device=str(place.device),
        precision=place.precision,
        context_tokens=min(options.context_tokens or shape.train_context, shape.train_context),
        sequences=options.sequences or 3,
        threads=threads,
        threads_batch=options.threads_batch or threads,
        slice_tokens=slice_tokens,
    )


def reason(place: Place, options: EngineOptions) -> str:
    """One phrase for the log and ``doctor``."""
    quantised = f", weights as {options.quantise}" if options.quantise != "none" else ""
    return f"{place.reason}, {options.precision}{quantised}"


def make_runner(source: Source, options: EngineOptions, place: Place, told: Callable[[float], None]) -> Runner:
    """Read the weights, make room for the cells, and get steps ready.

    :raises OutOfMemory: the device has less left than was thought.
    """
    # Steps are compiled in the last part.
    weights_part = 0.7 if place.device.type == "cuda" else 1.0
    try:
        with torch.no_grad():
            decoder = Decoder(
                source,
                positions=options.context_tokens + SPARE_CELLS,
                quantise=options.quantise,
                dtype=place.dtype,
                device=place.device,
                progress=lambda share: told(weights_part * share),
            )
            cache = Cache(source.shape, options.sequences, options.context_tokens, place.dtype, place.device)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"{source.description} does not fit on {place.device}: {str(error).splitlines()[0]}",
            hint="lower engine.context_tokens or engine.sequences, or set engine.quantise = int8",
        ) from error
    runner = Runner(decoder, cache)
    runner.prepare(lambda share: told(weights_part + (1 - weights_part) * share))
    return runner
