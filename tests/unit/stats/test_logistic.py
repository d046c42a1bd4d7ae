"""The regression against naive gradient descent and known users, and its figures against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from coder_lsp.stats.logistic import (
    auc,
    calibration,
    calibration_line,
    fit,
    log_loss,
    sigmoid,
    threshold_keeping,
)

TRUE_WEIGHTS = np.array([1.5, -0.8, 0.0, 0.4])
TRUE_BIAS = -0.5


@pytest.fixture
def data():
    """A user whose log-odds are linear in four inputs of very different size."""
    chance = np.random.default_rng(5)
    x = chance.normal(size=(4000, 4)) * np.array([1.0, 0.5, 3.0, 2.0]) + np.array([0.0, 4.0, -1.0, 10.0])
    y = chance.random(4000) < sigmoid(TRUE_BIAS + x @ TRUE_WEIGHTS - 0.8)
    return x, y, np.ones(4000)


def test_the_weights_of_a_known_user_are_found(data):
    model = fit(*data, ridge=1e-6)
    assert model.weights == pytest.approx(TRUE_WEIGHTS, abs=0.15)
    assert model.bias == pytest.approx(TRUE_BIAS - 0.8, abs=0.6)


@pytest.mark.parametrize("ridge", [0.1, 10.0, 300.0])
def test_newton_and_naive_gradient_descent_agree(data, ridge):
    x, y, weight = (each[:300] for each in data)
    weight = weight + (np.arange(300) % 3)
    model = fit(x, y, weight, ridge)

    mean = np.average(x, axis=0, weights=weight)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))
    scaled, beta, bias = (x - mean) / deviation, np.zeros(4), 0.0
    for _ in range(20_000):
        wrong = weight * (1 / (1 + np.exp(-(scaled @ beta + bias))) - y)
        beta -= 0.002 * (scaled.T @ wrong + ridge * beta)
        bias -= 0.002 * wrong.sum()
    assert model.weights == pytest.approx(beta / deviation, abs=1e-6)
    assert model.bias == pytest.approx(bias - mean @ (beta / deviation), abs=1e-6)


def test_a_row_of_weight_three_is_three_rows(data):
    x, y, _ = (each[:100] for each in data)
    weight = 1.0 + 2.0 * (np.arange(100) < 30)
    repeated = np.repeat(np.arange(100), weight.astype(int))
    one, other = fit(x, y, weight, 1.0), fit(x[repeated], y[repeated], np.ones(len(repeated)), 1.0)
    assert one.weights == pytest.approx(other.weights, abs=1e-8)
    assert one.bias == pytest.approx(other.bias, abs=1e-8)


def test_an_input_that_never_changes_gets_no_weight(data):
    x, y, weight = data
    same = np.column_stack([x, np.full(len(x), 7.0), np.zeros(len(x))])
    model, plain = fit(same, y, weight, 1.0), fit(x, y, weight, 1.0)
    assert model.weights[4:].tolist() == [0.0, 0.0]
    assert model.weights[:4] == pytest.approx(plain.weights)


def test_outcomes_that_a_line_separates_still_have_an_optimum():
    x = np.linspace(-1, 1, 50)[:, None]
    model = fit(x, x[:, 0] > 0, np.ones(50), ridge=0.01)
    assert np.isfinite(model.weights).all()
    assert auc(model.logits(x), x[:, 0] > 0, np.ones(50)) == 1.0


@pytest.mark.parametrize("outcome", [True, False])
def test_one_outcome_alone_is_its_odds(outcome):
    model = fit(np.ones((9, 2)), np.full(9, outcome), np.ones(9), 1.0)
    assert model.weights.tolist() == [0.0, 0.0]
    assert (model.bias > 0) is outcome
    assert np.isfinite(model.bias)


def test_inputs_that_depend_on_each_other_are_no_trouble(data):
    x, y, weight = data
    model = fit(np.column_stack([x, x[:, 0], x[:, 0] + x[:, 1]]), y, weight, 1e-3)
    assert np.isfinite(model.weights).all()


def test_auc_is_the_share_of_pairs_in_order():
    chance = np.random.default_rng(1)
    score, y, weight = chance.integers(0, 8, 60).astype(float), chance.random(60) < 0.4, chance.integers(1, 4, 60)
    pairs = [
        (weight[i] * weight[j], 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
        for i in np.flatnonzero(y)
        for j in np.flatnonzero(~y)
    ]
    expected = sum(size * good for size, good in pairs) / sum(size for size, _ in pairs)
    assert auc(score, y, weight.astype(float)) == pytest.approx(expected)
    assert auc(score, np.ones(60, dtype=bool), np.ones(60)) == 0.5


def test_log_loss_is_the_mean_surprise():
    assert log_loss(np.zeros(4), np.array([True, False, True, True]), np.ones(4)) == pytest.approx(np.log(2))


def test_calibration_finds_overconfidence_and_the_line_mends_it(data):
    x, y, weight = data
    logits = 3 * fit(x, y, weight, 1.0).logits(x) + 1
    before, bins = calibration(sigmoid(logits), y, weight)
    slope, offset = calibration_line(logits, y, weight)
    after, _ = calibration(sigmoid(offset + slope * logits), y, weight)
    assert slope == pytest.approx(1 / 3, abs=0.03)
    assert after < 0.03 < before
    assert sum(each.weight for each in bins) == len(y)


def test_the_threshold_keeps_the_share_and_not_one_less():
    probability = np.arange(1, 101) / 200
    threshold = threshold_keeping(0.95, probability, np.ones(100))
    assert (probability >= threshold).sum() == 95
    heavy = np.ones(100)
    heavy[0] = 10.0
    assert threshold_keeping(0.95, probability, heavy) == probability[0], "one row that stands for ten must not go"
    assert threshold_keeping(0.95, np.full(7, 0.3), np.ones(7)) == pytest.approx(0.3)
