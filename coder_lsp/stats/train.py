"""Trains the show filter on the user's own history, and says honestly whether that is any better than the fixed rule.

Split by time: a filter is judged on what came after everything it learned from. Ridge, calibration and threshold come
from the older part alone, by predictions for blocks of it that were left out. What is written is what was judged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coder_lsp.completion.show_filter import INPUTS, ShowFeatures, Weights, inputs, poor
from coder_lsp.stats.events import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from coder_lsp.stats.events import Shown
    from coder_lsp.stats.logistic import Bin, Model

    Floats = NDArray[np.float64]
    Truths = NDArray[np.bool_]

NEEDED = 200
NEEDED_EACH = 40
"""Of accepted and of rejected ones. With fewer, threshold and verdict rest on a handful."""
KEEP_ACCEPTED = 0.95
"""The trade: of twenty suggestions that would have been accepted, one may be held back."""
LEAST_KEPT = 0.90
"""What of that must hold on later suggestions, where chance has its say."""
LEAST_AUC = 0.6
"""Of 240 later suggestions whose fate is chance, 0.6 comes once in 250 times."""
HELD_OUT = 0.2
_FOLDS = 5
_RIDGES = (1.0, 10.0, 100.0)
_RESAMPLED = 2000
_SURE = 0.01
"""How likely being better may be an accident."""


@dataclass(frozen=True)
class Policy:
    """What a filter does to suggestions, as shares from 0 to 1."""

    shown: float
    accepted_kept: float
    """Of those that were accepted, how many it shows."""
    rejected_held_back: float


@dataclass(frozen=True)
class Training:
    """What came of a training. ``weights`` None: keep what there is; ``reason`` says why."""

    reason: str
    usable: int
    """Suggestions that came by themselves, were accepted or rejected, and have features."""
    accepted: int
    rejected: int
    weights: Weights | None = None
    held_out: int = 0
    auc: float | None = None
    calibration_error: float | None = None
    calibration: tuple[Bin, ...] = ()
    trained: Policy | None = None
    rule: Policy | None = None
    ridge: float | None = None
    strongest: dict[str, float] = field(default_factory=dict)
    """Inputs that move the probability most: weight times usual deviation."""


def train(history: Sequence[Shown], *, seed: int = 0) -> Training:
    """Train on ``history``, the oldest first. ``seed`` is for the comparison's resampling."""
    rows = [row for row in history if row.automatic and row.features and row.fate in {Fate.ACCEPTED, Fate.REJECTED}]
    accepted = sum(row.fate is Fate.ACCEPTED for row in rows)
    usable = (len(rows), accepted, len(rows) - accepted)
    short = _too_few(*usable)
    if short:
        return Training(short, *usable)

    import numpy as np

    from coder_lsp.stats import logistic

    features = [ShowFeatures.from_values(row.features) for row in rows]
    x = np.array([inputs(each) for each in features])
    y = np.array([row.fate is Fate.ACCEPTED for row in rows])
    weight = np.array([row.weight for row in rows])
    cut = round(len(rows) * (1.0 - HELD_OUT))
    if min(y[cut:].sum(), (~y[cut:]).sum()) < NEEDED_EACH * HELD_OUT:
        return Training("of the latest suggestions nearly all had the same fate: nothing to judge a filter by", *usable)

    model, threshold, ridge = _fitted(x[:cut], y[:cut], weight[:cut])
    probability = logistic.sigmoid(model.logits(x[cut:]))
    shown_by_trained = probability >= threshold
    shown_by_rule = np.array([not poor(each) for each in features[cut:]])
    later, later_weight = y[cut:], weight[cut:]
    trained = _policy(shown_by_trained, later, later_weight)
    rule = _policy(shown_by_rule, later, later_weight)
    error, bins = logistic.calibration(probability, later, later_weight)
    auc = logistic.auc(probability, later, later_weight)
    reason = _verdict(trained, auc, _surely_better(shown_by_trained, shown_by_rule, later, later_weight, seed))
    weights = Weights(
        tuple(map(float, model.weights)), model.bias, threshold, rows=cut, accepted=int(y[:cut].sum()), auc=auc
    )
    effect = model.weights * x[:cut].std(axis=0)
    strongest = sorted(zip(INPUTS, effect.tolist(), strict=True), key=lambda pair: -abs(pair[1]))[:6]
    return Training(
        reason or "it beats the fixed rule",
        *usable,
        weights=None if reason else weights,
        held_out=len(rows) - cut,
        auc=auc,
        calibration_error=error,
        calibration=tuple(bins),
        trained=trained,
        rule=rule,
        ridge=ridge,
        strongest=dict(strongest),
    )


def _too_few(usable: int, accepted: int, rejected: int) -> str:
    more = [
        f"{needed - there} more {what}"
        for needed, there, what in (
            (NEEDED, usable, "suggestions that you accept or pass over"),
            (NEEDED_EACH, accepted, "accepted ones"),
            (NEEDED_EACH, rejected, "rejected ones"),
        )
        if there < needed
    ]
    return f"too little to learn from yet: {' and '.join(more)} needed" if more else ""


def _fitted(x: Floats, y: Truths, weight: Floats) -> tuple[Model, float, float]:
    """Model, calibrated; threshold; ridge."""
    import numpy as np

    from coder_lsp.stats import logistic

    blocks = np.array_split(np.arange(len(x)), _FOLDS)

    def unseen(ridge: float) -> Floats:
        """Logits of each block by a model of the others."""
        parts = []
        for block in blocks:
            rest = np.ones(len(x), dtype=bool)
            rest[block] = False
            parts.append(logistic.fit(x[rest], y[rest], weight[rest], ridge).logits(x[block]))
        return np.concatenate(parts)

    tried = {ridge: unseen(ridge) for ridge in _RIDGES}
    ridge = min(tried, key=lambda each: logistic.log_loss(tried[each], y, weight))
    logits = tried[ridge]
    slope, offset = logistic.calibration_line(logits, y, weight)
    probability = logistic.sigmoid(offset + slope * np.clip(logits, -30.0, 30.0))
    threshold = logistic.threshold_keeping(KEEP_ACCEPTED, probability[y], weight[y])
    return logistic.fit(x, y, weight, ridge).scaled(slope, offset), min(threshold, 0.99), ridge


def _policy(shown: Truths, y: Truths, weight: Floats) -> Policy:
    return Policy(
        shown=float(weight @ shown / weight.sum()),
        accepted_kept=float(weight[y] @ shown[y] / weight[y].sum()),
        rejected_held_back=float(weight[~y] @ ~shown[~y] / weight[~y].sum()),
    )


def _surely_better(trained: Truths, rule: Truths, y: Truths, weight: Floats, seed: int) -> bool:
    """Whether (rejected held back - accepted lost) is higher than the rule's in nearly every resampling of the rows.

    A filter that holds back at random has zero there, however much it holds back.
    """
    import numpy as np

    held = weight * ((~trained).astype(float) - (~rule).astype(float))
    draws = np.random.default_rng(seed).multinomial(len(y), np.full(len(y), 1.0 / len(y)), size=_RESAMPLED)
    rejected, accepted = draws @ (weight * ~y), draws @ (weight * y)
    gain = draws @ (held * ~y) / np.maximum(rejected, 1e-9) - draws @ (held * y) / np.maximum(accepted, 1e-9)
    return bool(np.quantile(gain, _SURE) > 0.0)


def _verdict(trained: Policy, auc: float, better: bool) -> str:
    """Why the trained one is not to be used, or empty."""
    if trained.accepted_kept < LEAST_KEPT:
        return f"it would hold back {1.0 - trained.accepted_kept:.0%} of what you accepted"
    if auc < LEAST_AUC:
        return f"on your latest suggestions it is hardly better than chance (AUC {auc:.2f})"
    return "" if better else "it does not beat the fixed rule on your latest suggestions"
