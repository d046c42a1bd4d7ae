"""Bounds by arithmetic that can be done by hand."""

from __future__ import annotations

import doctest

import pytest

from coder_lsp.bench import roofline
from coder_lsp.bench.roofline import Machine, Work, cells, decode_bound, prefill_bound, shares

WORK = Work(weight_bytes=1000, weights=2000, cell_bytes=10, cell_products=5)


def test_the_worked_example_is_right():
    assert doctest.testmod(roofline).failed == 0


def test_memory_bounds_decoding_where_arithmetic_is_plenty():
    assert decode_bound(WORK, Machine(bytes_per_s=10_000, flops_per_s=1e12), cells=0) == pytest.approx(10)
    assert decode_bound(WORK, Machine(bytes_per_s=10_000, flops_per_s=1e12), cells=100) == pytest.approx(5)


def test_arithmetic_bounds_decoding_where_memory_is_fast():
    assert decode_bound(WORK, Machine(bytes_per_s=1e12, flops_per_s=8000), cells=0) == pytest.approx(2)


def test_a_prompt_reads_the_weights_once():
    """One token: as decoding. Many: 2 x (2000 + half of them x 5) a token."""
    slow_memory = Machine(bytes_per_s=100, flops_per_s=1e9)
    assert prefill_bound(WORK, slow_memory, tokens=1) == pytest.approx(0.1)
    assert prefill_bound(WORK, slow_memory, tokens=50) == pytest.approx(5)
    assert prefill_bound(WORK, Machine(1e12, 9000), tokens=100) == pytest.approx(9000 / (2 * (2000 + 250)))


def test_cells_of_grouped_heads():
    """Qwen2.5-Coder 7B: 28 layers, 28 heads on 4, 128 wide, two bytes: 57,344 bytes a token."""
    assert cells(28, 28, 4, 128, 2.0) == (57_344, 200_704)


def test_shares_are_of_the_bounds():
    found = shares(WORK, Machine(10_000, 1e12), prompt_tokens=1, prefill=5.0, decode_cells=100, decode=4.0)
    assert found["prefill"] == {"bound_tokens_per_s": 10.0, "share": 0.5}
    assert found["decode"] == {"bound_tokens_per_s": 5.0, "share": 0.8}
