"""Is a suggestion worth the user's eyes? A small logistic regression over numbers, or a fixed rule until it is trained.

Pure Python and a few microseconds a judgement; :func:`load_weights` alone reads a file, once. Sees figures of the
request and of the model's confidence, and keeps no text. Judge what is new on screen only: the rest of a suggestion
that the user is typing through must not disappear under his hands. What he asked for is always shown.

Whoever holds back learns nothing about what he holds back, and would hold back more with each training. So of ten that
would be held back one is shown, and counts for ten in training.
"""

from __future__ import annotations

import enum
import json
import logging
import math
import zlib
from collections import deque
from dataclasses import dataclass, fields
from operator import attrgetter, mul
from typing import TYPE_CHECKING, Any

from coder_lsp.languages import resolve
from coder_lsp.paths import state_dir
from coder_lsp.types import Judgement, Shape, Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coder_lsp.types import CompletionOutcome, CompletionRequest, FimResult

logger = logging.getLogger(__name__)

FEATURE_VERSION = 1
"""Of :class:`ShowFeatures` and :data:`INPUTS`. What was stored or trained under another one is not used."""
UNSURE_LOGPROB = -1.2
"""Nats. Below it on average (0.3 of the probability a token) the first line is a guess. Of 38 lines cut anywhere (0.5B
Q4_K_M) the 18 that were completed to the letter had -0.57 or more."""
TINY_CHARACTERS = 2
FAST_GAP_MS = 250.0
"""About 48 words a minute. Who types like that has written two letters before he has read them."""
SHOWN_OF_HELD = 10
"""One in so many of those that would be held back is shown."""

_PRIOR_SHARE, _PRIOR_COUNT = 0.3, 5.0
"""Acceptance before anything is known, and how many suggestions that is worth (figures of other tools: 0.2 to 0.38)."""
_RECENT = 20
_NEAR_CHARACTERS = 2000
"""Text around the cursor that is searched for the suggestion's first line."""
_LEAST_REPEAT = 4
"""Characters; shorter lines repeat by chance (``}``, ``else``)."""
_LOWEST_LOGPROB = -20.0
_LANGUAGES = 8
_OPENERS = "([{:"
_OPERATORS = "=+-*/%<>&|!^~?,"


class Place(enum.IntEnum):
    """What stands before the cursor on its line."""

    LINE_START = 0
    WORD = 1
    """A letter, a digit or an underscore: a word goes on, or ended just now."""
    DOT = 2
    OPENER = 3
    OPERATOR = 4
    SPACE = 5
    OTHER = 6


@dataclass(frozen=True)
class Typing:
    """How the user types; 0 is unknown. ``pause_ms`` lay before the last key, ``mean_gap_ms`` between recent ones."""

    since_key_ms: float = 0.0
    pause_ms: float = 0.0
    mean_gap_ms: float = 0.0


@dataclass(frozen=True)
class ShowFeatures:
    """Numbers only, in the order in which they are stored. Truth values are 0 and 1; log-probabilities are nats.

    ``scored`` is 0 where there are no log-probabilities; they are 0 then. The front knows how many tokens there are and
    not which, so the first line's are taken by its share of the characters. Within a word the first token is left out:
    it begins with what the user typed, and says how likely that was ("Forw" + "ardRef", certain, came with -8.6).
    """

    automatic: float
    scored: float
    first_logprob: float
    line_mean_logprob: float
    line_least_logprob: float
    mean_logprob: float
    least_logprob: float
    tokens: float
    lines: float
    characters: float
    line_characters: float
    since_key_ms: float
    pause_ms: float
    mean_gap_ms: float
    latency_ms: float
    place: float
    text_behind: float
    """Something other than white space follows on the cursor's line."""
    block: float
    snippets: float
    in_suffix: float
    """The first line stands nearby already, below or above the cursor."""
    in_prefix: float
    acceptance: float
    """Share of the latest suggestions of this session that were accepted."""
    language: float
    """A bucket of the language's name."""

    @classmethod
    def of(
        cls,
        request: CompletionRequest,
        outcome: CompletionOutcome,
        typing: Typing = Typing(),
        *,
        latency_ms: float = 0.0,
        acceptance: float = _PRIOR_SHARE,
    ) -> ShowFeatures:
        """Figures of the first suggestion of ``outcome``, which must have one."""
        text = outcome.suggestions[0].text
        line = _first_line(text)
        shown = line.strip()
        before = request.text[max(0, request.cursor - _NEAR_CHARACTERS) : request.cursor]
        after = request.text[request.cursor : request.cursor + _NEAR_CHARACTERS]
        result = outcome.result
        place = place_of(before.rpartition("\n")[2])
        logprobs, of_line = _logprobs(result, healed=place is Place.WORD)
        repeats = len(shown) >= _LEAST_REPEAT
        language = resolve(request.language, request.path).id
        return cls(
            automatic=float(request.trigger is Trigger.AUTOMATIC),
            scored=float(bool(logprobs)),
            first_logprob=logprobs[0] if logprobs else 0.0,
            line_mean_logprob=sum(of_line) / len(of_line) if of_line else 0.0,
            line_least_logprob=min(of_line, default=0.0),
            mean_logprob=sum(logprobs) / len(logprobs) if logprobs else 0.0,
            least_logprob=min(logprobs, default=0.0),
            tokens=float(result.tokens.generated if result is not None else 0),
            lines=float(text.count("\n") + 1),
            characters=float(len(text)),
            line_characters=float(len(shown)),
            since_key_ms=_amount(typing.since_key_ms),
            pause_ms=_amount(typing.pause_ms),
            mean_gap_ms=_amount(typing.mean_gap_ms),
            latency_ms=_amount(latency_ms),
            place=float(place),
            text_behind=float(bool(after.partition("\n")[0].strip())),
            block=float(outcome.shape is Shape.BLOCK),
            snippets=float(len(result.snippets if result is not None else outcome.snippets)),
            in_suffix=float(repeats and shown in after),
            in_prefix=float(repeats and shown in before),
            acceptance=acceptance if 0.0 <= acceptance <= 1.0 else _PRIOR_SHARE,
            language=float(zlib.crc32(language.encode()) % _LANGUAGES),
        )

    @classmethod
    def from_values(cls, values: Sequence[float]) -> ShowFeatures:
        """The opposite of :meth:`values`. ValueError for another number of them."""
        if len(values) != len(FEATURES):
            raise ValueError(f"{len(values)} features, not {len(FEATURES)}")
        return cls(*values)

    def values(self) -> tuple[float, ...]:
        return _values_of(self)


FEATURES = tuple(field.name for field in fields(ShowFeatures))
_values_of = attrgetter(*FEATURES)
_PLAIN = (
    "scored",
    "first_logprob",
    "line_mean_logprob",
    "line_least_logprob",
    "mean_logprob",
    "least_logprob",
    "text_behind",
    "block",
    "in_suffix",
    "in_prefix",
    "acceptance",
)
_LOGARITHMIC = (
    "tokens",
    "lines",
    "characters",
    "line_characters",
    "since_key_ms",
    "pause_ms",
    "mean_gap_ms",
    "latency_ms",
    "snippets",
)
"""Counts and times, whose ratios matter and not their differences: ``log(1 + x)``."""
INPUTS = (
    *_PLAIN,
    *(f"log_{name}" for name in _LOGARITHMIC),
    *(f"place_{place.name.lower()}" for place in Place),
    *(f"language_{bucket}" for bucket in range(_LANGUAGES)),
)
"""What the regression sees. Whether it was automatic is left out: nothing else is ever judged."""
_plain_of = attrgetter(*_PLAIN)
_logarithmic_of = attrgetter(*_LOGARITHMIC)


def inputs(features: ShowFeatures) -> list[float]:
    """The regression's inputs, in the order of :data:`INPUTS`."""
    places, languages = [0.0] * len(Place), [0.0] * _LANGUAGES
    places[int(features.place)] = 1.0
    languages[int(features.language)] = 1.0
    return [*_plain_of(features), *map(math.log1p, _logarithmic_of(features)), *places, *languages]


@dataclass(frozen=True)
class Weights:
    """A trained filter: ``probability = 1 / (1 + exp(-(bias + weights · inputs)))``, shown from ``threshold`` on."""

    weights: tuple[float, ...]
    bias: float
    threshold: float
    rows: int = 0
    """What it was trained on: suggestions, and how many of them were accepted."""
    accepted: int = 0
    auc: float = 0.5
    """On suggestions that came later than those it was trained on."""

    def probability(self, features: ShowFeatures) -> float:
        score = self.bias + sum(map(mul, self.weights, inputs(features)))
        # exp() of more than 709 is no float any more.
        return 1.0 / (1.0 + math.exp(-min(max(score, -500.0), 500.0)))

    def to_json(self) -> str:
        return json.dumps(
            {
                "feature_version": FEATURE_VERSION,
                "weights": dict(zip(INPUTS, self.weights, strict=True)),
                "bias": self.bias,
                "threshold": self.threshold,
                "rows": self.rows,
                "accepted": self.accepted,
                "auc": self.auc,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Weights:
        """ValueError, with what is wrong, for everything that :meth:`to_json` did not write."""
        data = json.loads(text)
        if not isinstance(data, dict) or not isinstance(data.get("weights"), dict):
            raise ValueError("not a show filter")  # noqa: TRY004  (one error for whatever a file may hold)
        if data.get("feature_version") != FEATURE_VERSION or tuple(data["weights"]) != INPUTS:
            raise ValueError("it was trained for other features")
        weights = tuple(_finite(weight) for weight in data["weights"].values())
        threshold = _finite(data.get("threshold"))
        if not 0.0 <= threshold < 1.0:
            raise ValueError("its threshold is no probability")
        rows, accepted = int(_finite(data.get("rows"))), int(_finite(data.get("accepted")))
        return cls(weights, _finite(data.get("bias")), threshold, rows, accepted, _finite(data.get("auc")))


def weights_path() -> Path:
    return state_dir() / "show_filter.json"


def load_weights(path: Path | None = None) -> Weights | None:
    """The trained filter; None if there is none or it cannot be used, which the log says."""
    path = path or weights_path()
    try:
        return Weights.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        reason = "it is damaged" if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)) else str(error)
        logger.warning("show_filter=rule: %s is not used: %s", path, reason)
        return None


def stored_filter(mode: str) -> ShowFilter:
    """The filter for the setting ``completion.show_filter``, with what was trained, where it is wanted."""
    return ShowFilter(load_weights() if mode == "auto" else None, mode)


class ShowFilter:
    """Judges by ``weights``, by the fixed rule without them. ``mode`` is the setting: with ``rule`` always by the rule,
    with ``off`` not at all.
    """

    def __init__(self, weights: Weights | None = None, mode: str = "auto") -> None:
        self._weights = weights if mode == "auto" else None
        self._off = mode == "off"
        self._held = 0

    def judge(self, features: ShowFeatures) -> Judgement:
        """Whether to show it. Features that come with the judgement are what the statistics keep."""
        values = features.values()
        if not features.automatic:
            return Judgement(show=True, reason="asked for", features=values)
        if self._off:
            return Judgement(show=True, reason="show filter is off", features=values)
        if self._weights is None:
            probability, fault = None, poor(features)
        else:
            probability = self._weights.probability(features)
            fault = "likely to be ignored" if probability < self._weights.threshold else ""
        if not fault:
            return Judgement(True, probability, "", values)
        self._held += 1
        if self._held % SHOWN_OF_HELD == 0:
            reason = f"shown to learn from, though {fault}"
            return Judgement(True, probability, reason, values, float(SHOWN_OF_HELD))
        return Judgement(False, probability, fault, values)


def poor(features: ShowFeatures) -> str:
    """The fixed rule: why a suggestion is clearly poor, or empty."""
    if features.scored and features.line_mean_logprob < UNSURE_LOGPROB:
        return "the model is unsure"
    if (
        features.place == Place.WORD
        and features.characters <= TINY_CHARACTERS
        and 0.0 < features.mean_gap_ms <= FAST_GAP_MS
    ):
        return "less than is typed before it is read"
    return ""


class RecentAcceptance:
    """How much of what this session showed lately was accepted; the user's mood of the hour, as a number."""

    def __init__(self) -> None:
        self._latest: deque[bool] = deque(maxlen=_RECENT)

    def settled(self, accepted: bool) -> None:
        self._latest.append(accepted)

    @property
    def share(self) -> float:
        return (sum(self._latest) + _PRIOR_SHARE * _PRIOR_COUNT) / (len(self._latest) + _PRIOR_COUNT)


def place_of(head: str) -> Place:
    """What the cursor stands behind; ``head`` is its line up to it."""
    visible = head.rstrip()
    if not visible:
        return Place.LINE_START
    last = head[-1]
    if last.isalnum() or last == "_":
        return Place.WORD
    if last == ".":
        return Place.DOT
    if visible[-1] in _OPENERS:
        return Place.OPENER
    if visible[-1] in _OPERATORS:
        return Place.OPERATOR
    return Place.SPACE if last.isspace() else Place.OTHER


def _first_line(text: str) -> str:
    """Up to the end of the first line that shows anything; ghost text may begin with a line break."""
    start = len(text) - len(text.lstrip())
    end = text.find("\n", start)
    return text if end < 0 else text[:end]


def _logprobs(result: FimResult | None, *, healed: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of all tokens, and of those of the first line."""
    values = () if result is None else result.logprobs[1:] if healed else result.logprobs
    if result is None or not values:
        return (), ()
    # A comparison with NaN is false, so NaN becomes the lowest.
    known = tuple(min(value, 0.0) if value > _LOWEST_LOGPROB else _LOWEST_LOGPROB for value in values)
    share = len(_first_line(result.text)) / max(1, len(result.text))
    return known, known[: max(1, math.ceil(len(known) * share))]


def _amount(value: float) -> float:
    """At least zero, at most a day in milliseconds; zero for what is no number."""
    return min(value, 86_400_000.0) if value > 0.0 else 0.0


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("a number is missing or none")
    return float(value)
