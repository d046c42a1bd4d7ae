"""Which engine runs a model: by what is installed, what device there is and what is asked for, each with its reason."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from support import training

from coder_lsp.config import PromptConfig
from coder_lsp.doctor.engine import check_engine
from coder_lsp.engine import choose
from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import EngineError, ModelNotFound
from coder_lsp.host.protocol import HostSettings
from coder_lsp.host.worker import ModelWorker
from coder_lsp.models import store
from coder_lsp.types import FimRequest

TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not TORCH, reason="torch is not installed: pip install 'coder-lsp[torch]'")
OPTIONS = EngineOptions(context_tokens=256, sequences=1, threads=1)


@pytest.fixture
def chosen():
    """``chosen(path, **options)``: what was loaded; closed when the test ends."""
    loaded = []

    def chosen(path, **changes):
        loaded.append(choose.load_engine(path, EngineOptions(**{**vars(OPTIONS), **changes})))
        return loaded[-1]

    yield chosen
    for each in loaded:
        each.engine.close()


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def a_device(monkeypatch):
    """One seems to be there."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(choose, "may_have_cuda", lambda: True)


@pytest.fixture
def no_torch(monkeypatch):
    """The extra is not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))


def test_without_a_device_the_native_engine_runs_and_says_so(models, chosen, no_device):
    loaded = chosen(models.random)
    assert loaded.engine.name == "llama"
    assert loaded.engine.reason.startswith("no CUDA device; ")
    assert loaded.notice == ""


def test_without_a_device_torch_is_not_even_imported(models, no_device):
    """The host of a machine without one must not wait seconds for nothing."""
    program = (
        "import sys; from pathlib import Path; from coder_lsp.engine import choose\n"
        "from coder_lsp.engine.base import EngineOptions\n"
        f"choose.load_engine(Path({str(models.random)!r}), EngineOptions(sequences=1)).engine.close()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_the_extra_the_native_engine_runs(models, chosen, a_device, no_torch):
    loaded = chosen(models.random)
    assert loaded.engine.name == "llama"
    assert "pip install 'coder-lsp[torch]'" in loaded.engine.reason


@needs_torch
def test_a_device_that_cannot_be_used_after_all_is_a_reason(models, chosen, a_device):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    loaded = chosen(models.random)
    assert loaded.engine.name == "llama"
    assert "CUDA" in loaded.engine.reason
    assert loaded.notice == ""


def test_who_asks_for_torch_and_does_not_get_it_is_told(models, chosen, no_device):
    loaded = chosen(models.random, kind="torch")
    assert loaded.engine.name == "llama"
    assert "no CUDA device" in loaded.notice


@needs_torch
def test_the_processor_serves_who_asks_for_torch_on_it(models, chosen, no_device):
    loaded = chosen(models.random, kind="torch", device="cpu")
    assert loaded.engine.name == "torch"
    assert loaded.engine.reason == "cpu, as configured, f32"
    assert loaded.notice == ""


@needs_torch
def test_what_torch_cannot_run_the_native_engine_does(models, chosen):
    loaded = chosen(models.recurrent, kind="torch", device="cpu")
    assert loaded.engine.name == "llama"
    assert "mamba" in loaded.notice


def test_a_file_that_is_not_there_is_no_matter_of_engines(chosen, tmp_path):
    with pytest.raises(ModelNotFound):
        chosen(tmp_path / "none.gguf")


@needs_torch
def test_a_folder_runs_with_torch_wherever_it_is(tmp_path, chosen, no_device):
    loaded = chosen(training.hub_base(tmp_path / "model"))
    assert loaded.engine.name == "torch"
    assert "processor" in loaded.notice


@pytest.mark.usefixtures("no_torch")
def test_a_folder_without_the_extra_says_what_to_install(tmp_path, chosen):
    with pytest.raises(EngineError, match="safetensors") as caught:
        chosen(tmp_path)
    assert "pip install 'coder-lsp[torch]'" in caught.value.hint


def test_a_folder_and_the_native_engine_do_not_go_together(tmp_path, chosen):
    with pytest.raises(EngineError, match="folder") as caught:
        chosen(tmp_path, kind="llama")
    assert "auto" in caught.value.hint


@needs_torch
def test_a_folder_of_a_hub_is_a_model_by_its_path(tmp_path):
    folder = training.hub_base(tmp_path / "my-model")
    found = store.resolve(str(folder))
    assert (found.name, found.path, found.template) == ("my-model", folder, None)
    assert found.bytes == (folder / "model.safetensors").stat().st_size


@needs_torch
def test_a_host_completes_with_a_folder_and_tells_what_is_slow(tmp_path, no_device):
    folder = training.hub_base(tmp_path / "model")
    prompts = PromptConfig(prefix_tokens=100, suffix_tokens=40, context_tokens=0, ladder_tokens=0)
    worker = ModelWorker.load(HostSettings(str(folder), "model", engine=OPTIONS, prompt=prompts))
    try:
        request = FimRequest("file:///a.py", "def f(x):\n    ret", "\n", path="a.py", max_tokens=8)
        result = worker.complete(request, None, worker.new_cancel_token())
        assert result.engine == "torch"
        assert result.tokens.generated == 8
        assert "processor" in worker.notice
    finally:
        worker.close()


@needs_torch
def test_the_doctor_says_what_the_host_would_do(models, tmp_path, no_device):
    (found,) = check_engine(models.random, OPTIONS)
    assert (found.status.value, found.detail) == ("ok", "llama: no CUDA device")
    (asked,) = check_engine(models.random, EngineOptions(kind="torch"))
    assert asked.status.value == "warn"
    assert "docs/torch.md" in asked.fix
    (folder,) = check_engine(training.hub_base(tmp_path / "model"), OPTIONS)
    assert folder.detail.startswith("torch: cpu")


def test_the_choice_and_what_is_loaded_agree(models, chosen, no_device):
    for options in ({}, {"kind": "torch"}, {"kind": "llama"}):
        expected = choose.outlook(models.random, EngineOptions(**{**vars(OPTIONS), **options}))
        assert chosen(models.random, **options).engine.name == expected.kind
