"""From a model to one that is faster on this machine: the steps in order, and where the result goes.

Times formats, measures what they harm, chooses, writes, measures the whole and puts it into the store. Everything is
written into the store's workspace first, on the same disk; a failure or an interrupt removes it and leaves the store as
it was. Knows no terminal: steps are told to a :class:`~coder_lsp.models.progress.Progress`.
"""

from __future__ import annotations

import shutil
import statistics
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from coder_lsp import __version__
from coder_lsp.engine import hardware
from coder_lsp.errors import EngineError, InputError, ModelUnsupported
from coder_lsp.models import files, gguf_header, store
from coder_lsp.optimise import choice, formats, measure, native, shelf, texts, vocabulary
from coder_lsp.optimise import source as sources
from coder_lsp.optimise.record import Provenance
from coder_lsp.prompt import templates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from coder_lsp.engine.llama import LlamaVocabulary
    from coder_lsp.models.progress import Progress
    from coder_lsp.models.store import InstalledModel
    from coder_lsp.optimise import _requantise
    from coder_lsp.optimise.tasks import Exact

BUDGET = 0.03
"""Nats a token; see docs/log.md for how exact matches fall with it."""
TEXT_TOKENS, CALIBRATION_TEXTS, HELD_OUT_TEXTS = 256, 16, 6
SPEED_ROUNDS = 5
ATTEMPTS = 2
OVER = 1.15
"""A whole that harms this much more than was foreseen is chosen again, with a budget lowered accordingly."""
LEAST_ROWS_SAVED = 0.15
"""Of the vocabulary; below, a smaller one is not worth being different."""


@dataclass(frozen=True)
class Request:
    """``source`` None: the most exact file of the model that is installed. ``trim`` None: where ``code`` is given."""

    model: InstalledModel
    name: str
    source: Path | None = None
    code: tuple[Path, ...] = ()
    budget: float = BUDGET
    trim: bool | None = None
    threads: int = 0


@dataclass(frozen=True)
class Speed:
    """Medians in tokens a second, of runs that took turns with those of the model it is compared with."""

    prefill: float
    decode: float


@dataclass(frozen=True)
class Optimised:
    """What came out."""

    model: InstalledModel
    provenance: Provenance
    before: Speed
    after: Speed
    options: dict[str, dict[str, dict[str, float]]]
    """Group -> format -> what it would cost and harm; for those who want to know why."""


def optimise(request: Request, progress: Progress) -> Optimised:
    """Do all of it. Minutes.

    :raises InputError: the name is taken or the catalogue's, or there is no code to measure with.
    :raises ModelCorrupt, ModelUnsupported: the file is damaged, or nothing in it can be quantised.
    :raises DiskFull: there is no room for the result and one candidate.
    """
    native.load()
    base = request.model
    shelf.check_name(request.name)
    gguf_header.read(base.path)
    if request.source is None:
        source = sources.best(base)
    else:
        source = request.source.expanduser()
        if not source.is_file():
            raise InputError(f"there is no file at {source}", hint="--source names a GGUF file")
    header = gguf_header.read(source)
    sources.check(base.path, source)
    if not header.architecture:
        raise ModelUnsupported(f"{source} states no model architecture", hint="choose a file that holds a model")
    workspace = store.workspace(request.name)
    with store.exclusive(request.name, lambda: progress.note("another process makes this model; waiting for it")):
        shelf.check_name(request.name)  # it may have been made while we waited
        workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            files.need_space(workspace, 2 * max(source.stat().st_size, base.bytes))
            with files.disk_full_as_error(workspace):
                return _Run(request, source, header, workspace, progress).run()
        except EngineError:
            # llama.cpp does not say why it could not write.
            files.need_space(workspace, 0)
            raise
        finally:
            progress.end()
            shutil.rmtree(workspace, ignore_errors=True)


def with_exact(made: Optimised, exact: Exact) -> Optimised:
    """The same with exact matches in its record. The file stays as it is: it was made before they were known."""
    provenance = replace(made.provenance, exact=asdict(exact))
    model = made.model
    with store.exclusive(model.name):
        model = store.record(
            model.name,
            model.path,
            sha256=model.sha256,
            size=model.bytes,
            source=model.source,
            template=model.template,
            derived=provenance.table(),
        )
    return replace(made, model=model, provenance=provenance)


class _Run:
    """One run: what its steps share."""

    def __init__(
        self, request: Request, source: Path, header: gguf_header.GgufHeader, workspace: Path, progress: Progress
    ) -> None:
        self.request = request
        self.source = source
        self.template = request.model.template or header.guess_template()
        self.workspace = workspace
        self.progress = progress
        self.threads = request.threads or hardware.cores().count

    def run(self) -> Optimised:
        from coder_lsp.optimise import _requantise

        code, origin = texts.find_files(self.request.code)
        contents = texts.read_texts(code)
        vocabulary_ = self._vocabulary(self.source)
        self._texts = texts.make(
            contents,
            vocabulary_,
            templates.bind(vocabulary_, self.template, vocabulary_.architecture),
            tokens=TEXT_TOKENS,
            calibration=CALIBRATION_TEXTS,
            held_out=HELD_OUT_TEXTS,
            origin=origin,
        )
        self.progress.note(f"measuring with {len(contents)} files of {origin}, {self.threads} threads")
        matrices = _requantise.read_matrices(str(self.source))
        self.groups = formats.groups(matrices)
        if not self.groups:
            raise ModelUnsupported(f"{self.source} has no matrices that can be quantised")
        self._time_formats()
        measured = self._evaluate_source()
        groups = self._weigh(measured)
        chosen, harm, whole = self._decide(groups, measured)
        trimmed, longer = self._trim(whole, contents)
        if trimmed is not None:
            whole.unlink()
            whole = trimmed
        before, after = self._speeds(whole)
        provenance = replace(
            self._origin(origin),
            formats={name: option.format for name, option in chosen.items()},
            divergence=round(harm.divergence, 5),
            agreement=round(harm.agreement, 4),
            decode_ratio=round(after.decode / before.decode, 3),
            prefill_ratio=round(after.prefill / before.prefill, 3),
            tokens_kept=len(self._kept.kept) if trimmed is not None else 0,
            longer_percent=round(longer, 3),
        )
        final = self.workspace / "final.gguf"
        _requantise.copy_model(str(whole), str(final), [], provenance.facts())
        whole.unlink()
        return Optimised(
            shelf.install(final, self.request.name, self.template, provenance),
            provenance,
            before,
            after,
            _table(groups),
        )

    def _time_formats(self) -> None:
        flat = [matrix for matrices in self.groups.values() for matrix in matrices]
        self.progress.note("timing formats")
        self.costs = formats.time_all(flat, lambda _done, _total: None)
        self.formats = {
            name: sorted({each for m in matrices for each in formats.worthwhile(m.format, _shape(m), self.costs)})
            for name, matrices in self.groups.items()
        }

    def _evaluate_source(self) -> measure.Measured:
        tokens = sum(map(len, self._texts.calibration)) + sum(map(len, self._texts.held_out))
        self.progress.note(f"evaluating {tokens} tokens of code with the source")
        return measure.source(self.source, self._texts, self.threads, lambda _share: None)

    def _weigh(self, measured: measure.Measured) -> list[choice.Group]:
        """Every group with what its formats cost and harm."""
        total = sum(1 for found in self.formats.values() if found)
        done = 0

        def tell(_number: int, group: str) -> None:
            nonlocal done
            done += 1
            self.progress.note(f"harm of {group}: {done} of {total}")

        found = measure.sensitivities(
            self.source,
            self.groups,
            self.formats,
            measured=measured,
            texts=self._texts,
            threads=self.threads,
            scratch=self.workspace / "probe.gguf",
            tell=tell,
        )
        groups = []
        for name, matrices in self.groups.items():
            options = [self._option(name, "", matrices, 0.0)]
            options += [
                self._option(name, each, matrices, found[name].harm(each))
                for each in self.formats[name]
                if all((each, _shape(matrix)) in self.costs for matrix in matrices)
            ]
            groups.append(choice.Group(name, tuple(matrix.name for matrix in matrices), tuple(options)))
        return groups

    def _option(self, group: str, name: str, matrices: Sequence[_requantise.Matrix], harm: float) -> choice.Option:
        costs = [self.costs[name or matrix.format, _shape(matrix)] for matrix in matrices]
        # Of a prompt only the last token goes through the output layer.
        prefill = 0.0 if group == "output" else sum(cost.prefill_us for cost in costs)
        return choice.Option(name or "as it is", sum(cost.decode_us for cost in costs), prefill, harm)

    def _decide(
        self, groups: list[choice.Group], measured: measure.Measured
    ) -> tuple[dict[str, choice.Option], _requantise.Harm, Path]:
        """Choose, write and measure; once more with a lower budget if the whole harms more than its parts."""
        whole = choice.Whole(
            sum(group.options[0].decode_us for group in groups), sum(group.options[0].prefill_us for group in groups)
        )
        budget = self.request.budget
        target = self.workspace / "whole.gguf"
        for attempt in range(1, ATTEMPTS + 1):
            chosen = choice.choose(groups, budget, whole)
            wanted = {
                matrix: chosen[group.name].format
                for group in groups
                if chosen[group.name] is not group.options[0]
                for matrix in group.matrices
            }
            if not wanted:
                raise EngineError(
                    f"no format makes {self.request.model.name} faster here within a harm of {self.request.budget:g}",
                    hint="it is as fast as it gets on this machine; --budget allows more harm",
                )
            decode, prefill, foreseen = choice.predicted(groups, chosen, whole)
            self.progress.note(
                f"writing {len(wanted)} matrices anew: products {decode:.2f} times as fast decoding, "
                f"{prefill:.2f} reading, harm {foreseen:.4f} foreseen"
            )
            self.progress.begin("writing", 0, self._bytes(wanted))
            measure.rewrite(
                self.source,
                target,
                wanted,
                importance=measured.importance,
                threads=self.threads,
                tell=self.progress.update,
            )
            self.progress.end()
            harm = measure.harm(target, self._texts, measured.reference, self.threads)
            self.progress.note(f"harm {harm.divergence:.4f} measured, the same first guess at {harm.agreement:.1%}")
            if harm.divergence <= self.request.budget * OVER or attempt == ATTEMPTS:
                return chosen, harm, target
            budget *= self.request.budget / harm.divergence
        raise AssertionError

    def _bytes(self, wanted: Mapping[str, str]) -> int:
        """How large the file will be."""
        from coder_lsp.optimise import _requantise

        total = 0
        for matrix in _requantise.read_matrices(str(self.source)):
            row = _requantise.row_bytes(matrix.format, matrix.shape[0])
            new = _requantise.row_bytes(wanted.get(matrix.name, matrix.format), matrix.shape[0])
            total += matrix.bytes // row * new
        return total

    def _trim(self, whole: Path, contents: Sequence[str]) -> tuple[Path | None, float]:
        """The same with a smaller vocabulary, if that is wanted; and by how many per cent the code gets longer."""
        from coder_lsp.optimise import _requantise

        if self.request.trim is False or (self.request.trim is None and not self.request.code):
            return None, 0.0
        table = _requantise.read_vocabulary(str(whole))
        before = self._vocabulary(whole)
        used = {token for text in contents for token in before.tokenize(text)}
        try:
            kept = vocabulary.choose(table.model, table.tokens, table.types, table.merges, used)
        except ModelUnsupported:
            if self.request.trim:
                raise
            return None, 0.0
        if self.request.trim is None and kept.dropped < LEAST_ROWS_SAVED * len(table.tokens):
            return None, 0.0
        self._kept = kept
        target = self.workspace / "trimmed.gguf"
        self.progress.note(f"leaving {kept.dropped} of {len(table.tokens)} tokens out of the vocabulary")
        _requantise.copy_model(str(whole), str(target), list(kept.kept), {})
        after = self._vocabulary(target)
        counts = [(len(before.tokenize(text)), len(after.tokenize(text))) for text in contents]
        for text in contents:
            if b"".join(after.token_bytes(token) for token in after.tokenize(text)) != text.encode("utf-8", "replace"):
                raise EngineError("a smaller vocabulary would lose text", hint="use --keep-vocabulary and report this")
        longer = 100 * (sum(new for _, new in counts) / max(1, sum(old for old, _ in counts)) - 1)
        return target, longer

    def _speeds(self, path: Path) -> tuple[Speed, Speed]:
        """Of the model it is an answer to, and of the new file, in turns."""
        from coder_lsp.optimise import _requantise

        options = _requantise.RunOptions()
        options.threads = options.threads_batch = self.threads
        models = [_requantise.TimedModel(str(each), options) for each in (self.request.model.path, path)]
        self.progress.note("comparing speeds")
        runs: list[list[tuple[float, float]]] = [[], []]
        for turn in range(SPEED_ROUNDS + 1):
            for model, times in zip(models, runs, strict=True):
                run = model.run()
                if turn > 0:  # the first touches every page for the first time
                    times.append((run.prefill_ms, run.decode_ms))
        before, after = (
            Speed(
                options.prefill_tokens * 1000 / statistics.median(prefill for prefill, _ in times),
                options.decode_tokens * 1000 / statistics.median(decode for _, decode in times),
            )
            for times in runs
        )
        return before, after

    def _origin(self, code: str) -> Provenance:
        base = self.request.model
        if not hasattr(self, "_digests"):
            mine = base.sha256 or files.sha256_of(base.path)
            self._digests = (mine, mine if self.source == base.path else files.sha256_of(self.source))
        return Provenance(
            derived_from=base.name,
            base_sha256=self._digests[0],
            source_sha256=self._digests[1],
            made_by=f"coder-lsp {__version__}",
            machine=f"{hardware.cpu().name}, {self.threads} threads",
            code=code,
            formats={},
            divergence=0.0,
            agreement=1.0,
            decode_ratio=1.0,
            prefill_ratio=1.0,
        )

    @staticmethod
    def _vocabulary(path: Path) -> LlamaVocabulary:
        from coder_lsp.engine.llama import LlamaVocabulary

        return LlamaVocabulary.load(path)


def _shape(matrix: _requantise.Matrix) -> formats.Shape:
    columns, rows = matrix.shape
    return columns, rows


def _table(groups: Sequence[choice.Group]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        group.name: {
            option.format: {
                "decode_us": round(option.decode_us, 1),
                "prefill_us": round(option.prefill_us, 1),
                "harm": round(option.harm, 6),
            }
            for option in group.options
        }
        for group in groups
    }
