"""Logistic regression by Newton's method with a ridge, and the figures that judge it. Arrays in, numbers out.

Every function takes row weights: a row of weight ten counts as ten rows. Loads numpy, so it is imported late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Truths = NDArray[np.bool_]

_STEPS = 60
_CLOSE = 1e-9
_LOGIT_LIMIT = 30.0


@dataclass(frozen=True)
class Model:
    """``logit = bias + x @ weights``, on inputs as they come."""

    weights: Floats
    bias: float

    def logits(self, x: Floats) -> Floats:
        found: Floats = self.bias + x @ self.weights
        return found

    def scaled(self, slope: float, offset: float) -> Model:
        """The model whose logits are ``offset + slope * logits``."""
        return Model(slope * self.weights, offset + slope * self.bias)


def sigmoid(logits: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -500.0, 500.0)))
    return found


def fit(x: Floats, y: Truths, weight: Floats, ridge: float) -> Model:
    """The maximum of ``sum(weight * log p) - ridge / 2 * sum(scaled weights ** 2)``; the bias goes free.

    Inputs are brought to mean 0 and deviation 1 first, so that one ridge suits all of them; an input that never
    changes gets no weight. With one outcome only the model is that outcome's odds.
    """
    total, positive = float(weight.sum()), float(weight[y].sum())
    if not 0.0 < positive < total:
        return Model(np.zeros(x.shape[1]), float(np.log((positive + 0.5) / (total - positive + 0.5))))
    mean = weight @ x / total
    deviation = np.sqrt(weight @ (x - mean) ** 2 / total)
    varies = deviation > 1e-9 * (1.0 + np.abs(mean))
    scale = np.where(varies, deviation, 1.0)
    scaled = np.where(varies, (x - mean) / scale, 0.0)
    design = np.column_stack([scaled, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1], ridge), 0.0)
    # An input that never changes has no curvature of its own; any number there keeps its weight at zero.
    floor = np.diag(np.append(np.where(varies, 0.0, 1.0), 0.0)) + 1e-10 * np.eye(design.shape[1])

    beta = np.zeros(design.shape[1])
    beta[-1] = np.log(positive / (total - positive))
    loss = _loss(design, y, weight, penalty, beta)
    for _ in range(_STEPS):
        p = sigmoid(design @ beta)
        gradient = design.T @ (weight * (p - y)) + penalty * beta
        curvature = (design * (weight * p * (1.0 - p))[:, None]).T @ design + np.diag(penalty) + floor
        step = np.linalg.solve(curvature, gradient)
        # Far from the optimum a whole step may overshoot.
        size = 1.0
        while size > 1e-6 and _loss(design, y, weight, penalty, beta - size * step) > loss:
            size /= 2
        beta = beta - size * step
        loss = _loss(design, y, weight, penalty, beta)
        if float(np.abs(size * step).max()) < _CLOSE:
            break
    weights = beta[:-1] / scale
    return Model(weights, float(beta[-1] - mean @ weights))


def calibration_line(logits: Floats, y: Truths, weight: Floats) -> tuple[float, float]:
    """Slope and offset that make ``sigmoid(offset + slope * logits)`` true to the odds (Platt)."""
    line = fit(np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT)[:, None], y, weight, ridge=1e-3)
    return float(line.weights[0]), line.bias


def log_loss(logits: Floats, y: Truths, weight: Floats) -> float:
    """Mean of a row, in nats."""
    return float(weight @ (np.logaddexp(0.0, logits) - np.where(y, logits, 0.0)) / weight.sum())


def auc(score: Floats, y: Truths, weight: Floats) -> float:
    """How likely an accepted one has the higher score than a rejected one; a tie is half. 0.5 without both."""
    _, place = np.unique(score, return_inverse=True)
    accepted = np.bincount(place, weights=weight * y)
    rejected = np.bincount(place, weights=weight * ~y)
    below = np.cumsum(rejected) - rejected
    pairs = float(accepted.sum() * rejected.sum())
    return float(accepted @ (below + rejected / 2)) / pairs if pairs else 0.5


@dataclass(frozen=True)
class Bin:
    """Suggestions of about the same probability: how many, what was predicted, what came."""

    weight: float
    predicted: float
    observed: float


def calibration(probability: Floats, y: Truths, weight: Floats, bins: int = 5) -> tuple[float, list[Bin]]:
    """Mean distance between predicted and observed over bins of equally many rows, and the bins."""
    found = []
    for part in np.array_split(np.argsort(probability, kind="stable"), bins):
        size = float(weight[part].sum())
        if size:
            predicted = float(weight[part] @ probability[part]) / size
            found.append(Bin(size, predicted, float(weight[part] @ y[part]) / size))
    total = sum(each.weight for each in found)
    return sum(each.weight * abs(each.predicted - each.observed) for each in found) / (total or 1.0), found


def threshold_keeping(share: float, probability: Floats, weight: Floats) -> float:
    """The highest threshold with at least ``share`` of these at or above it.

    >>> threshold_keeping(0.5, np.array([0.1, 0.2, 0.3, 0.4]), np.ones(4))
    0.3
    """
    order = np.argsort(probability)
    lost = np.cumsum(weight[order])
    # Rounding must not lose one more than is allowed.
    first_kept = int(np.searchsorted(lost, (1.0 - share) * lost[-1] + 1e-9, side="right"))
    return float(probability[order[min(first_kept, len(order) - 1)]])


def _loss(design: Floats, y: Truths, weight: Floats, penalty: Floats, beta: Floats) -> float:
    logits = design @ beta
    return float(weight @ (np.logaddexp(0.0, logits) - np.where(y, logits, 0.0)) + 0.5 * penalty @ beta**2)
