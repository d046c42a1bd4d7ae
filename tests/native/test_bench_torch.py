"""The benchmarks of the torch engine on small models and the processor: every figure is there, and they are right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'coder-lsp[torch]'")

from coder_lsp.bench import torch_engine  # noqa: E402
from coder_lsp.bench.agreement import measure_agreement, write_exact  # noqa: E402
from coder_lsp.bench.random_model import SHAPES, PlainVocabulary, RandomSource  # noqa: E402
from coder_lsp.bench.torch_engine import TorchBenchOptions, measure_torch, report, work_of  # noqa: E402
from coder_lsp.bench.torch_peer import TransformersPeer  # noqa: E402
from coder_lsp.cli.bench import bench  # noqa: E402
from coder_lsp.engine.base import EngineOptions, GenerateRequest  # noqa: E402
from coder_lsp.engine.llama import LlamaEngine  # noqa: E402
from coder_lsp.engine.torch_cuda import device, loading  # noqa: E402
from coder_lsp.engine.torch_cuda.engine import TorchEngine  # noqa: E402
from coder_lsp.errors import InputError  # noqa: E402

SMALL = TorchBenchOptions(
    rounds=1,
    prompt_tokens=200,
    decode_tokens=16,
    fresh_tokens=4,
    keystrokes=3,
    cancels=4,
    context_tokens=1200,
    sequences=2,
)
CPU = EngineOptions(device="cpu")


def test_every_figure_is_there():
    notes = []
    figures = measure_torch("tiny", CPU, SMALL, notes.append)
    assert figures["decode"]["tokens_per_s"] > 0
    for machine in figures["roofline"].values():
        for stage in ("decode", "prefill"):
            share = figures[stage]["tokens_per_s"] / machine[stage]["bound_tokens_per_s"]
            assert machine[stage]["share"] == pytest.approx(share, abs=1e-3)
    assert figures["transformers"]["decode_ratio"] > 0
    assert figures["guesses"]["same_text"]
    assert figures["guesses"]["passes"] < figures["guesses"]["tokens"]
    assert figures["at_once"]["texts"] == 2
    assert figures["cancel"]["count"] == 4
    assert {goal["met"] for goal in figures["goals"]} == {None}, "goals are those of a CUDA device"
    assert len(list(report(figures))) > 10
    assert notes
    json.dumps(figures)


def test_the_module_alone_is_a_program():
    """As on a machine where nothing is installed but torch; the last line is JSON."""
    command = [sys.executable, "-m", "coder_lsp.bench.torch_engine", "--shape", "tiny", "--device", "cpu"]
    # One thread: on a busy machine several wait for each other in every product.
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--rounds", "1", "--no-peer"], capture_output=True, text=True, check=True, env=alone
    )
    assert json.loads(done.stdout.splitlines()[-1])["model"] == "tiny"
    refused = subprocess.run([*command, "--device", "nowhere"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "nowhere" in refused.stderr


def test_nothing_that_is_compiled_here_is_needed():
    """Nor anything but torch and what comes with it: ``scripts/gpu-check`` runs out of the source tree."""
    program = """
import sys
from pathlib import Path
absent = {"psutil", "click", "gguf", "llama_cpp", "pygls", "platformdirs", "rich", "huggingface_hub", "tree_sitter"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent or name.startswith(("coder_lsp.engine._native", "coder_lsp.engine._build")):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import coder_lsp.bench.torch_engine, coder_lsp.engine.torch_cuda.hub_source
"""
    subprocess.run((sys.executable, "-c", program), check=True)


def test_the_verb_prints_its_json_last(monkeypatch):
    monkeypatch.setattr(torch_engine, "TorchBenchOptions", lambda: SMALL)
    done = CliRunner().invoke(bench, ["torch", "--shape", "tiny", "--device", "cpu", "--rounds", "1", "--no-peer"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == "plain"


def test_a_shape_that_is_none_is_refused():
    with pytest.raises(InputError, match="huge") as caught:
        measure_torch("huge", CPU, SMALL)
    assert "deepseek-6.7b" in caught.value.hint


def test_the_shapes_are_those_of_the_models():
    """Weights as their papers count them: 1.3B and 6.7B; bytes of a token as they are read."""
    billions = {name: shape.parameters / 1e9 for name, shape in SHAPES.items()}
    assert billions["deepseek-1.3b"] == pytest.approx(1.346, abs=0.001)
    assert billions["deepseek-6.7b"] == pytest.approx(6.740, abs=0.001)


@pytest.mark.parametrize(
    ("precision", "quantise", "each"), [("f32", "none", 4), ("bf16", "none", 2), ("f32", "int8", 1)]
)
def test_what_a_token_reads_is_what_lies_in_memory(precision, quantise, each):
    shape = SHAPES["tiny"]
    options = EngineOptions(device="cpu", precision=precision, quantise=quantise, context_tokens=64, sequences=1)
    place = device.choose(options)
    source = RandomSource(shape, "cpu")
    engine = TorchEngine.of(source, PlainVocabulary(), loading.resolve(options, source, place), place)
    work = work_of(engine)
    engine.close()
    head = shape.vocab_size * shape.width
    whole = 4 if precision == "f32" else 2
    assert work.weights == shape.product_weights
    assert work.weight_bytes == pytest.approx((work.weights - head) * each + head * whole, rel=0.03)


def test_the_peer_is_of_the_same_size():
    shape = SHAPES["tiny"]
    peer = TransformersPeer(shape, device.choose(CPU))
    assert peer.available
    norms = (2 * shape.layers + 1) * shape.width
    assert sum(weights.numel() for weights in peer.model.parameters()) == shape.parameters + norms
    assert peer.seconds([1, 2, 3], 5) > 0


def test_an_exact_copy_says_what_the_file_says(models, tmp_path):
    exact = tmp_path / "exact.gguf"
    write_exact(models.random, exact)
    texts = []
    for path in (models.random, exact):
        engine = LlamaEngine.load(path, EngineOptions(context_tokens=256, sequences=1, threads=1))
        texts.append(engine.generate(GenerateRequest(engine.tokenize("def f(self):\n"), max_tokens=12)).token_ids)
        engine.close()
    assert texts[0] == texts[1]


def test_both_engines_agree_on_a_small_model(models, tmp_path):
    """Random weights of the tests; the default model's figures are in docs/benchmarks.md."""
    (tmp_path / "code.py").write_text("".join(f"def f{i}(self):\n    return self.x{i}\n\n" for i in range(60)))
    measured = measure_agreement(models.slow, [tmp_path], prompts=6, new_tokens=8)
    assert measured["exact_weights"]["same_text"] == 6
    assert measured["exact_weights"]["logprob_difference"]["max"] < 1e-3
    json.dumps(measured)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_check_for_cuda_machines_says_so_where_there_is_none():
    script = Path(__file__).parents[2] / "scripts" / "gpu-check"
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.strip() == "there is no CUDA device that this torch can use"
