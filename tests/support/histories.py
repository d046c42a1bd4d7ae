"""Synthetic users: suggestions with features, and a known rule by which they are accepted."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace

from coder_lsp.completion.show_filter import Place, ShowFeatures
from coder_lsp.stats.events import Fate, Shown

AT = int(time.time()) // 600 * 600
"""Now, as the history counts time."""
PLAIN = ShowFeatures(
    automatic=1.0,
    scored=1.0,
    first_logprob=-0.2,
    line_mean_logprob=-0.3,
    line_least_logprob=-0.9,
    mean_logprob=-0.35,
    least_logprob=-1.2,
    tokens=12.0,
    lines=1.0,
    characters=24.0,
    line_characters=24.0,
    since_key_ms=120.0,
    pause_ms=200.0,
    mean_gap_ms=180.0,
    latency_ms=150.0,
    place=float(Place.SPACE),
    text_behind=0.0,
    block=0.0,
    snippets=3.0,
    in_suffix=0.0,
    in_prefix=0.0,
    acceptance=0.3,
    language=2.0,
)
"""An ordinary suggestion, as the filter sees it."""


def row(key: int = 1, fate: Fate = Fate.ACCEPTED, **changes) -> Shown:
    plain = Shown(
        key=key,
        at=AT,
        language="python",
        shape="line",
        source="model",
        automatic=True,
        fate=fate,
        accepted_characters=10 if fate is Fate.ACCEPTED else 0,
        shown_ms=900.0,
        latency_ms=150.0,
        characters=24,
        lines=1,
        features=PLAIN.values(),
    )
    return replace(plain, **changes)


def odds_of_a_careful_user(features: ShowFeatures) -> float:
    """Takes what the model is sure of, at the start of lines more than in words. The true log-odds."""
    at_start = 1.5 if features.place == Place.LINE_START else 0.0
    return 2.0 + 4.0 * features.line_mean_logprob + at_start


def history(count: int, odds=odds_of_a_careful_user, *, seed: int = 1) -> list[Shown]:
    """``count`` suggestions of random kinds; each is accepted with the probability that ``odds`` says."""
    chance = random.Random(seed)
    rows = []
    for key in range(1, count + 1):
        mean = -chance.expovariate(1.4)
        features = replace(
            PLAIN,
            first_logprob=mean * chance.random(),
            line_mean_logprob=mean,
            line_least_logprob=mean * (1 + chance.random()),
            mean_logprob=mean * (0.8 + 0.4 * chance.random()),
            least_logprob=mean * (1 + 2 * chance.random()),
            tokens=float(chance.randint(2, 60)),
            characters=float(chance.randint(3, 200)),
            line_characters=float(chance.randint(3, 60)),
            mean_gap_ms=chance.uniform(80, 500),
            pause_ms=chance.uniform(50, 3000),
            latency_ms=chance.uniform(5, 1500),
            place=float(chance.choice(list(Place))),
            acceptance=chance.uniform(0.1, 0.6),
            language=float(chance.choice((2, 5))),
        )
        taken = chance.random() < 1 / (1 + math.exp(-odds(features)))
        fate = Fate.ACCEPTED if taken else Fate.REJECTED
        rows.append(row(key, fate, features=features.values()))
    return rows
