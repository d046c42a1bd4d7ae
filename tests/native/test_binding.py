"""The extension as a Python module: its stub, its references, its behaviour when the interpreter ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import psutil
import pytest

from coder_lsp.engine import llama
from coder_lsp.engine.base import GenerateRequest

ENGINE = Path(llama.__file__).parent
ROOT = Path(__file__).parents[2]


def tool(*arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_in_the_tree_is_the_one_the_module_has(tmp_path):
    """After a change of the bindings: run these three on coder_lsp/engine/_native.pyi."""
    stub = tmp_path / "_native.pyi"
    tool("nanobind.stubgen", "-q", "-D", "--exclude-values", "-m", "coder_lsp.engine._native", "-o", str(stub))
    tool("ruff", "format", "-q", "--config", str(ROOT / "pyproject.toml"), str(stub))
    tool("ruff", "check", "-q", "--fix", "--select", "I", "--config", str(ROOT / "pyproject.toml"), str(stub))
    assert stub.read_text() == (ENGINE / "_native.pyi").read_text()


SCENARIO = """
import sys, threading
from pathlib import Path
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.errors import CoderLspError

engine = LlamaEngine.load(Path(sys.argv[1]), EngineOptions(context_tokens=256, threads=1), lambda fraction: None)
tokens = engine.tokenize("def f(self):")
cancel = engine.new_cancel_token()

class Reader:
    def __init__(self):
        self.engine, self.me = engine, self  # a cycle through the engine
    def __call__(self, delta):
        return True

engine.generate(GenerateRequest(tokens=tokens, max_tokens=4), Reader(), cancel)

def raising(delta):
    raise ValueError(delta)

for call in (
    lambda: engine.generate(GenerateRequest(tokens=tokens), raising),
    lambda: engine.generate(GenerateRequest(tokens=[])),
    lambda: LlamaEngine.load(Path(__file__ if "__file__" in globals() else sys.executable), EngineOptions(threads=1)),
):
    try:
        call()
    except (ValueError, CoderLspError):
        pass
if sys.argv[2] == "closed":
    engine.close()
if sys.argv[2] == "running":
    threading.Thread(
        target=engine.generate, args=(GenerateRequest(tokens=tokens, max_tokens=50), Reader()), daemon=False
    ).start()
"""


@pytest.mark.parametrize("ending", ["closed", "open", "running"])
def test_nothing_leaks_and_nothing_is_said_at_the_end(models, ending):
    """nanobind reports what outlives the interpreter on stderr."""
    command = [sys.executable, "-c", SCENARIO, str(models.random), ending]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_engine_dropped_without_close_frees_its_session(load, models):
    engine = llama.LlamaEngine.load(models.random, llama.EngineOptions(threads=1))
    session = weakref.finalize(engine, int)
    del engine
    gc.collect()
    assert not session.alive


def test_memory_does_not_grow_with_loads_and_generations(models):
    """Two hundred kilobytes a load would show as 12 MB; the allocator's own slack is a few."""
    process = psutil.Process()

    def work():
        for _ in range(20):
            engine = llama.LlamaEngine.load(models.random, llama.EngineOptions(context_tokens=256, threads=1))
            for seed in range(5):
                request = GenerateRequest(tokens=engine.tokenize("def f"), temperature=1.0, seed=seed, max_tokens=10)
                engine.generate(request, lambda _delta: True)
            engine.close()
        gc.collect()
        return process.memory_info().rss

    work()
    before = work()
    work()
    assert work() - before < 8e6


def test_importing_the_engine_module_loads_nothing_native():
    script = "import coder_lsp.engine.llama, sys; print('coder_lsp.engine._native' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_libraries_are_those_of_the_llama_cpp_package():
    """A process that imported llama_cpp before maps no second libllama."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("reads /proc")
    script = """
import sys
from pathlib import Path
import llama_cpp
import coder_lsp.engine._native
lines = Path("/proc/self/maps").read_text().splitlines()
print(len({line.split()[-1] for line in lines if "libllama.so" in line}))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
