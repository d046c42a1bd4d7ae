"""From what happened to figures: one subject's, its ratios to the peer, and the goals."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.figures import quantiles
from coder_lsp.bench.goals import Goal, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.bench.replay.screen import Shown
    from coder_lsp.bench.replay.typist import ModelRequest, VisitRecord

OURS = "coder-lsp"
PEER = "llama-vim"


@dataclass
class Replayed:
    """All that was noted of one subject."""

    visits: list[VisitRecord] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    requests: list[ModelRequest] = field(default_factory=list)
    cpu_s: float = 0.0


GOALS = (
    Goal("keystroke_to_shown_ms.p50", 0.12, "keystroke to shown, p50", ratio=True),
    Goal("keystroke_to_shown_ms.p95", 0.3, "keystroke to shown, p95", ratio=True),
    Goal("prompt_tokens_per_request.p50", 0.02, "prompt tokens evaluated per request", ratio=True),
    Goal("cold_jump_ms.p50", 0.2, "first suggestion after a cold jump, p50", ratio=True),
    Goal("line_starts.share", 0.7, "line starts with a suggestion in time", least=True),
    Goal("characters.share", 0.25, "characters saved", least=True),
    Goal("fresh_prompt_tokens_per_key.median", 3, "fresh prompt tokens per keystroke, median"),
    Goal("decoding.tokens_per_pass", 1.5, "tokens per forward pass", least=True),
)
RATIOS = (
    "keystroke_to_shown_ms.p50",
    "keystroke_to_shown_ms.p95",
    "cold_jump_ms.p50",
    "cold_jump_ms.p95",
    "pauses.share",
    "line_starts.share",
    "characters.share",
    "prompt_tokens_per_request.p50",
    "prompt_tokens_per_request.mean",
    "decoded_tokens_per_request.mean",
    "fresh_prompt_tokens_per_key.mean",
    "cpu_s",
)


def figures(replayed: Replayed) -> dict[str, Any]:
    """What one subject did. Shares from 0 to 1, times in ms; a figure without anything to measure is left out."""
    visits, requests = replayed.visits, replayed.requests
    stops = [stop for visit in visits for stop in visit.stops]
    starts = [stop for stop in stops if stop.line_start]
    cold = [visit for visit in visits if not visit.returning]
    characters = sum(visit.characters for visit in visits)
    saved = sum(visit.saved for visit in visits)
    keys = sum(visit.keys for visit in visits)
    asked = [request for request in requests if not request.background]
    ahead = [request for request in requests if request.background]
    found: dict[str, Any] = {
        "keystrokes": keys,
        "typing_s": round(sum(visit.elapsed_s for visit in visits), 1),
        "suggestions": {"shown": len(replayed.shown), "accepted": sum(visit.accepted for visit in visits)},
        "characters": {"all": characters, "saved": saved, "share": _share(saved, characters)},
        "pauses": _answered(stops),
        "line_starts": _answered(starts),
        "cpu_s": round(replayed.cpu_s, 2),
        "requests": len(asked),
        "ahead": {
            "requests": len(ahead),
            "prompt_tokens": sum(request.evaluated for request in ahead),
            "decoded_tokens": sum(request.generated for request in ahead),
        },
        "fresh_prompt_tokens_per_key": _per_key([request.evaluated for request in asked], keys),
    }
    if replayed.shown:
        found["keystroke_to_shown_ms"] = quantiles([shown.waited_ms for shown in replayed.shown])
    if cold:
        # Where nothing ever came, the time that was waited for it: less than it would have taken.
        waited = [1000 * (visit.elapsed_s if visit.first_shown_s is None else visit.first_shown_s) for visit in cold]
        never = sum(visit.first_shown_s is None for visit in cold)
        found["cold_jump_ms"] = {**quantiles(waited), "count": len(cold), "never": never}
    answered = [request for request in asked if not request.cancelled]
    found["cancelled"] = len(asked) - len(answered)
    if answered:
        found["prompt_tokens_per_request"] = _spread([request.evaluated for request in answered])
        found["decoded_tokens_per_request"] = _spread([request.generated for request in answered])
    passes = sum(request.passes for request in requests)
    if passes:
        drafted = sum(request.drafted for request in requests)
        found["decoding"] = {
            "passes": passes,
            "tokens_per_pass": round(sum(request.generated for request in requests if request.passes) / passes, 2),
            "drafted": drafted,
            "drafts_right_share": _share(sum(request.accepted for request in requests), drafted),
        }
    return found


def ratios(subject: dict[str, Any], peer: dict[str, Any]) -> dict[str, float]:
    """The subject's figures divided by the peer's, where both have them and the peer's is not zero."""
    found = {}
    for name in RATIOS:
        ours, theirs = look_up(subject, name), look_up(peer, name)
        if ours is not None and theirs:
            found[name] = round(ours / theirs, 4)
    return found


def judge(subjects: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Each goal that can be judged, with ours, the limit and whether it is met."""
    if OURS not in subjects:
        return []
    against = ratios(subjects[OURS], subjects[PEER]) if PEER in subjects else {}
    judged = []
    for goal in GOALS:
        value = against.get(goal.figure) if goal.ratio else look_up(subjects[OURS], goal.figure)
        if value is not None:
            judged.append(goal.judge(value))
    return judged


def _answered(stops: Sequence[Any]) -> dict[str, Any]:
    with_suggestion = sum(stop.waited_s is not None for stop in stops)
    return {"all": len(stops), "with_suggestion": with_suggestion, "share": _share(with_suggestion, len(stops))}


def _per_key(evaluated: list[int], keys: int) -> dict[str, float]:
    """Keys that the model was not asked about evaluated nothing."""
    padded = evaluated + [0] * max(0, keys - len(evaluated))
    return {"median": median(padded), "mean": round(fmean(padded), 1)} if padded else {}


def _spread(values: list[int]) -> dict[str, float]:
    return {**quantiles(values), "mean": round(fmean(values), 1)}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
