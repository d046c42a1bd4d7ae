"""``coder-lsp eval gate``: a small fixed set that notices when completions became worse than they were.

The tasks are in ``gate.toml`` and come with the package; the baseline beside it says what the default model filled in
when the set was last measured. Both are compared in pairs, gap by gap. The same model on the same machine writes the
same again; on another processor a few answers tip over either way. So the gate fails when more gaps became wrong than
right, or similarity fell, by more than a fair coin would do once in forty times.

A third of the gaps are first lines of files. Elsewhere the lines above the cursor stand at the end of the prompt, and
the model goes on from them however the rest is put: with prefix and suffix swapped, or without the token that asks for
the middle, it lost 1 and 2 of 16 such gaps.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.config import Config
from coder_lsp.errors import InputError
from coder_lsp.evaluate.fim import GATE, FimTask
from coder_lsp.evaluate.paired import Difference, compare, worse_by_chance
from coder_lsp.evaluate.ways import measuring
from coder_lsp.languages import by_path
from coder_lsp.types import Snippet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coder_lsp.evaluate.fim import FimSample

_toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

TASKS = Path(__file__).with_name("gate.toml")
BASELINE = Path(__file__).with_name("gate_baseline.json")
_CHANCE = 0.025
"""Of failing without a cause, for each of the two figures: one run in twenty on a machine that differs, at most."""
_GAP = re.compile(r"⟦(.*?)⟧")


@dataclass(frozen=True)
class Baseline:
    """What a model filled in once: gap -> exactly right, and how similar (None where rapidfuzz was not installed)."""

    model: str
    tasks: str
    """Digest of the set it was measured on."""
    exact: Mapping[str, bool]
    similarity: Mapping[str, float | None]

    @classmethod
    def of(cls, model: str, samples: Sequence[FimSample]) -> Baseline:
        return cls(
            model,
            digest(),
            {sample.task_id: sample.exact for sample in samples},
            {sample.task_id: sample.edit_similarity for sample in samples},
        )

    @classmethod
    def read(cls, path: Path = BASELINE) -> Baseline:
        """:raises InputError: there is none, or the file is something else."""
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            gaps = {name: (bool(one[0]), one[1]) for name, one in row["gaps"].items()}
            return cls(
                row["model"],
                row["tasks"],
                {name: right for name, (right, _) in gaps.items()},
                {name: similar for name, (_, similar) in gaps.items()},
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} holds no baseline ({error})", hint="measure one: coder-lsp eval gate --write-baseline FILE"
            ) from error

    def write(self, path: Path) -> None:
        """:raises InputError: it cannot be written."""
        gaps = {name: [right, self.similarity[name]] for name, right in sorted(self.exact.items())}
        text = json.dumps({"model": self.model, "tasks": self.tasks, "gaps": gaps}, indent=1) + "\n"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error


@dataclass(frozen=True)
class Verdict:
    """``reasons`` say what fell too far, none if nothing did. ``chance``: of so bad a balance of exact gaps."""

    exact: Difference
    similarity: Difference | None
    chance: float
    reasons: tuple[str, ...]
    lost: tuple[str, ...]
    """Gaps that were right and are not."""

    @property
    def passed(self) -> bool:
        return not self.reasons


def settings(config: Config) -> Config:
    """What is measured with: the defaults whatever the user has set, and of theirs the model and what it runs on."""
    default = Config()
    engine = replace(default.engine, threads=config.engine.threads)
    return measuring(replace(default, model=config.model, engine=engine))


def load(path: Path = TASKS, *, limit: int | None = None) -> list[FimTask]:
    """The tasks, in the order of the file; with a limit so many from all over it.

    :raises InputError: a text has no gap, or no language.
    """
    tasks: list[FimTask] = []
    for text in _toml.loads(path.read_text(encoding="utf-8"))["text"]:
        tasks += _gaps(text["path"], text["text"].lstrip("\n"), _others(text.get("other", ())))
    if limit is None or limit >= len(tasks):
        return tasks
    return [tasks[number * len(tasks) // limit] for number in range(limit)]


def digest(path: Path = TASKS) -> str:
    """Of the set: another one has another baseline."""
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()


def check(baseline: Baseline, model: str) -> None:
    """:raises InputError: the baseline is of another model, or of another set than the one here."""
    if baseline.model != model:
        raise InputError(
            f"the baseline is of {baseline.model}, not of {model}",
            hint=f"--model {baseline.model}, or measure another one: --write-baseline FILE",
        )
    if baseline.tasks != digest():
        raise InputError(
            "the baseline is of another set of gaps than the one here",
            hint="measure it again: coder-lsp eval gate --write-baseline FILE",
        )


def judge(baseline: Baseline, samples: Sequence[FimSample], *, seed: int = 1) -> Verdict:
    """Whether the samples are as good as the baseline, as far as chance can tell."""
    now = {sample.task_id: float(sample.exact) for sample in samples}
    exact = compare({name: float(right) for name, right in baseline.exact.items()}, now, seed=seed)
    chance = worse_by_chance(exact.better, exact.worse)
    reasons = []
    if exact.worse > exact.better and chance < _CHANCE:
        reasons.append(f"exact gaps fell: {exact.worse} became wrong, {exact.better} right (by chance: {chance:.2g})")
    similarity = _similarity(baseline, samples, seed)
    if similarity is not None and similarity.difference < 0 and similarity.p_value / 2 < _CHANCE:
        reasons.append(
            f"similarity fell from {similarity.before:.3f} to {similarity.after:.3f} "
            f"(by chance: {similarity.p_value / 2:.2g})"
        )
    lost = tuple(name for name, right in baseline.exact.items() if right and not now.get(name, 1.0))
    return Verdict(exact, similarity, chance, tuple(reasons), lost)


def _similarity(baseline: Baseline, samples: Sequence[FimSample], seed: int) -> Difference | None:
    before = {name: value for name, value in baseline.similarity.items() if value is not None}
    after = {sample.task_id: sample.edit_similarity for sample in samples if sample.edit_similarity is not None}
    return compare(before, after, seed=seed) if before.keys() & after.keys() else None


def _others(texts: Sequence[Mapping[str, str]]) -> tuple[Snippet, ...]:
    found = []
    for each in texts:
        text = each["text"].lstrip("\n")
        found.append(Snippet(each["path"], text, 0, text.count("\n"), "gate", 1.0))
    return tuple(found)


def _gaps(path: str, text: str, snippets: tuple[Snippet, ...]) -> list[FimTask]:
    language = by_path(path)
    gaps = list(_GAP.finditer(text))
    if not gaps or not language.line_comments:
        raise InputError(f"{path} of the gate has no gaps, or no language")

    def filled(piece: str) -> str:
        return _GAP.sub(r"\1", piece)

    return [
        FimTask(
            task_id=f"{path}:{number}",
            set=GATE,
            language=language.id,
            prefix=filled(text[: gap.start()]),
            suffix=filled(text[gap.end() :]),
            truth=gap[1],
            path=path,
            snippets=snippets,
        )
        for number, gap in enumerate(gaps, start=1)
    ]
