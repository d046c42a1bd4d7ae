from __future__ import annotations

from dataclasses import dataclass, field

from coder_lsp.optimise.formats import Cost, groups, worthwhile

SHAPE = (256, 256)


@dataclass
class Matrix:
    name: str
    shape: list[int] = field(default_factory=lambda: [256, 256])
    format: str = "f16"


def costs(**times: float) -> dict[tuple[str, tuple[int, int]], Cost]:
    return {(name, SHAPE): Cost(time, time / 10, repacked=True) for name, time in times.items()}


def test_only_faster_formats_are_candidates_and_the_more_exact_first():
    found = worthwhile("f16", SHAPE, costs(f16=10, q8_0=6, q6_K=12, iq4_nl=4, q4_0=5))
    assert found == ["q8_0", "iq4_nl", "q4_0"]


def test_a_format_that_a_more_exact_one_equals_in_speed_is_none():
    assert worthwhile("f16", SHAPE, costs(f16=10, q8_0=5, q6_K=5, q5_K=7, q4_0=4)) == ["q8_0", "q4_0"]


def test_a_matrix_that_is_as_fast_as_it_gets_has_no_candidates():
    assert worthwhile("q4_0", SHAPE, costs(q4_0=3, q8_0=6, iq4_nl=4)) == []


def test_layers_are_grouped_by_kind_and_third_and_the_embedding_stays():
    matrices = [Matrix(f"blk.{i}.attn_q.weight") for i in range(6)]
    matrices += [Matrix("token_embd.weight"), Matrix("output.weight"), Matrix("blk.0.norm.weight", [256])]
    found = {name: [matrix.name for matrix in each] for name, each in groups(matrices).items()}
    assert found == {
        "attn_q 1/3": ["blk.0.attn_q.weight", "blk.1.attn_q.weight"],
        "attn_q 2/3": ["blk.2.attn_q.weight", "blk.3.attn_q.weight"],
        "attn_q 3/3": ["blk.4.attn_q.weight", "blk.5.attn_q.weight"],
        "output": ["output.weight"],
    }


def test_an_embedding_that_is_the_output_layer_as_well_is_a_group():
    assert list(groups([Matrix("token_embd.weight")])) == ["output"]


def test_matrices_of_experts_stay_as_they_are():
    assert groups([Matrix("blk.0.ffn_up_exps.weight", [256, 256, 8])]) == {}
