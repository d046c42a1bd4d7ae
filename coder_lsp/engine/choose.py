"""Which engine runs a model on this machine, and why.

Torch where it is installed and a CUDA device has room, else the native engine. Importing torch takes seconds, so what
can be known without it is asked first: whether there is a device at all. Whoever asked for torch and does not get it is
told so (:attr:`Loaded.notice`); where nobody asked, the log has the reason.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.errors import EngineError, ModelUnsupported

if TYPE_CHECKING:
    from coder_lsp.engine.base import Engine, EngineOptions, LoadProgress

log = logging.getLogger(__name__)

_DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Of NVIDIA's driver, of Windows' under its Linux, of AMD's, for which torch is built with the same names."""
_INSTALL = "pip install 'coder-lsp[torch]'"


@dataclass(frozen=True)
class Outlook:
    """Which engine would run a model. ``unwanted``: it is not the one that the settings ask for."""

    kind: str
    reason: str
    unwanted: bool = False


@dataclass(frozen=True)
class Loaded:
    """``notice``: what the user should know; empty if all is as asked for."""

    engine: Engine
    notice: str = ""


def load_engine(path: Path, options: EngineOptions, progress: LoadProgress | None = None) -> Loaded:
    """Load a GGUF file, or a folder of safetensors, with the engine that ``options.kind`` and this machine call for.

    :raises ModelError, EngineError: no engine can run it; of a GGUF file what the native engine says.
    """
    if path.is_dir():
        return _load_folder(path, options, progress)
    why_not = _against_torch(options)
    if not why_not:
        from coder_lsp.engine.torch_cuda.engine import TorchEngine

        try:
            return Loaded(TorchEngine.load(path, options, progress))
        except (EngineError, ModelUnsupported) as error:
            why_not = error.message
    from coder_lsp.engine.llama import LlamaEngine

    engine = LlamaEngine.load(path, replace(options, kind="llama"), progress)
    engine.reason = f"{why_not}; {engine.reason}"
    if options.kind != "torch":
        return Loaded(engine)
    notice = f"the model runs on the processor: {why_not}"
    log.warning("engine.kind is torch, but %s", notice)
    return Loaded(engine, notice)


def outlook(path: Path, options: EngineOptions) -> Outlook:
    """What :func:`load_engine` would do, without reading a weight.

    :raises ModelError, EngineError: as it does.
    """
    folder = path.is_dir()
    if folder:
        _check_folder(options)
    why_not = "" if folder else _against_torch(options)
    if why_not:
        return Outlook("llama", why_not, options.kind == "torch")
    from coder_lsp.engine.torch_cuda.engine import TorchEngine

    try:
        return Outlook("torch", TorchEngine.check(path, _on_something(options) if folder else options))
    except (EngineError, ModelUnsupported) as error:
        if folder:
            raise
        return Outlook("llama", error.message, options.kind == "torch")


def may_have_cuda() -> bool:
    """Whether it is worth asking torch; wrong only in saying yes."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        return False
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    return any(Path(file).exists() for file in _DEVICE_FILES)


def _load_folder(path: Path, options: EngineOptions, progress: LoadProgress | None) -> Loaded:
    _check_folder(options)
    from coder_lsp.engine.torch_cuda.engine import TorchEngine

    engine = TorchEngine.load(path, _on_something(options), progress)
    if engine.options.device == "cpu" and options.device != "cpu":
        return Loaded(
            engine, "the model runs on the processor, which is slow with safetensors: there is no CUDA device"
        )
    return Loaded(engine)


def _check_folder(options: EngineOptions) -> None:
    if options.kind == "llama":
        raise EngineError(
            "the model is a folder of safetensors, which the engine llama cannot run",
            hint="set engine.kind = auto, or choose a GGUF file",
        )
    missing = _missing()
    if missing:
        raise EngineError(f"a folder of safetensors runs with torch, and {missing}", hint=_INSTALL)


def _on_something(options: EngineOptions) -> EngineOptions:
    """Nothing else can run a folder, so where there is no device the processor does."""
    return replace(options, device="cpu") if options.device == "auto" and not may_have_cuda() else options


def _against_torch(options: EngineOptions) -> str:
    """Why a GGUF file is not even tried with torch; empty if it is."""
    if options.kind not in {"auto", "torch"}:
        return "as configured"
    if options.kind == "auto" and options.device == "cpu":
        return "engine.device is cpu"
    if options.device != "cpu" and not may_have_cuda():
        return "no CUDA device"
    return _missing()


def _missing() -> str:
    """What of the extra is not installed, or not for CUDA; nothing is imported."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("safetensors") is None:
        return f"the extra torch is not installed ({_INSTALL})"
    return ""
