"""What a format does to a model's predictions: importance of inputs, errors of formats, and the harm they do.

Harm is measured once a group, by giving that group alone a coarse format and comparing predictions with the source's on
held-out code. What a finer format would do follows from the error it leaves: for small errors the divergence is
proportional to their squares. Two dozen evaluations instead of a hundred; the chosen whole is measured again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.optimise.texts import SKIP_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from coder_lsp.optimise import _requantise
    from coder_lsp.optimise.texts import Texts

PROBE = "q4_0"
"""The coarsest candidate: its harm stands out best, and every matrix can have it."""
PROBE_TEXTS = 3
"""Of the held-out ones: some 700 places, a few seconds a group with a small model on two cores."""
LOOK_SECONDS = 0.25
"""Between two looks at how much is written, and the longest an interrupt waits."""
SAMPLED_ROWS = 64
"""Of each matrix, for errors: their mean over a group is good to a few per cent."""


@dataclass(frozen=True)
class Sensitivity:
    """Harm of one group: ``harm_per_error`` times the error that a format leaves in it, by format in ``errors``."""

    harm_per_error: float
    errors: Mapping[str, float]

    def harm(self, format_name: str) -> float:
        return self.harm_per_error * self.errors[format_name]


@dataclass(frozen=True)
class Measured:
    """A model's importance of inputs and its predictions on the held-out code, to be compared with."""

    importance: dict[str, list[float]]
    reference: _requantise.Predictions
    probe_reference: _requantise.Predictions
    """Of the first texts alone: harms of single groups are compared with each other, which takes fewer places."""


def source(path: Path, texts: Texts, threads: int, tell: Callable[[float], None]) -> Measured:
    """Evaluate the source: its importance on one half of the texts, its predictions on the other."""
    from coder_lsp.optimise import _requantise as native

    model = native.MeasuredModel(str(path), threads)
    importance = native.collect_importance(model, texts.calibration, lambda share: tell(0.8 * share))
    reference = native.predict(model, texts.held_out, SKIP_TOKENS, lambda share: tell(0.8 + 0.15 * share))
    probe = native.predict(model, texts.held_out[:PROBE_TEXTS], SKIP_TOKENS)
    return Measured(importance, reference, probe)


def harm(path: Path, texts: Texts, reference: _requantise.Predictions, threads: int) -> _requantise.Harm:
    """How far another file's predictions are from the reference."""
    from coder_lsp.optimise import _requantise as native

    return native.compare(native.MeasuredModel(str(path), threads), texts.held_out, SKIP_TOKENS, reference)


def rewrite(
    source_file: Path,
    target: Path,
    formats: Mapping[str, str],
    *,
    importance: Mapping[str, Sequence[float]],
    threads: int,
    tell: Callable[[int], object] = lambda _bytes: None,
) -> None:
    """Write the model with other formats for some matrices, by name; ``tell`` is told how many bytes there are.

    An interrupt does not wait for the quantiser, which takes minutes for some formats and cannot be stopped: it goes on
    in its thread until the process ends, into a file that is deleted by then.
    """
    from coder_lsp.optimise import _requantise as native

    job = native.Requantisation()
    job.source, job.target, job.threads = str(source_file), str(target), threads
    job.formats = dict(formats)
    # Only what is rewritten needs it; the rest would be copied into the job for nothing.
    job.importance = {name: list(importance[name]) for name in formats if name in importance}
    faults: list[BaseException] = []

    def work() -> None:
        try:
            native.requantise(job)
        except BaseException as error:  # noqa: BLE001  # raised again below, where it is waited for
            faults.append(error)

    worker = threading.Thread(target=work, name="requantise", daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(LOOK_SECONDS)
        tell(target.stat().st_size if target.exists() else 0)
    for fault in faults:
        raise fault


def sensitivities(
    source_file: Path,
    groups: Mapping[str, Sequence[_requantise.Matrix]],
    formats: Mapping[str, Sequence[str]],
    *,
    measured: Measured,
    texts: Texts,
    threads: int,
    scratch: Path,
    tell: Callable[[int, str], None],
) -> dict[str, Sensitivity]:
    """For each group that has ``formats`` to choose from. ``scratch`` is a file that is written again and again."""
    from coder_lsp.optimise import _requantise as native

    asked = {
        matrix.name: sorted({PROBE, *formats[group]})
        for group, matrices in groups.items()
        if formats[group]
        for matrix in matrices
    }
    errors = native.quantisation_errors(str(source_file), asked, measured.importance, SAMPLED_ROWS, threads)
    found: dict[str, Sensitivity] = {}
    for number, (group, matrices) in enumerate(groups.items()):
        if not formats[group]:
            continue
        tell(number, group)
        means = {
            name: sum(errors[matrix.name, name] for matrix in matrices) / len(matrices)
            for name in {PROBE, *formats[group]}
        }
        probe = {matrix.name: PROBE for matrix in matrices}
        rewrite(source_file, scratch, probe, importance=measured.importance, threads=threads)
        model = native.MeasuredModel(str(scratch), threads)
        held_out = texts.held_out[:PROBE_TEXTS]
        divergence = native.compare(model, held_out, SKIP_TOKENS, measured.probe_reference).divergence
        found[group] = Sensitivity(max(divergence, 0.0) / max(means[PROBE], 1e-12), means)
    scratch.unlink(missing_ok=True)
    return found
