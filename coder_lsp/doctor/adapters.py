"""The adapters that the settings choose: for all files, and by folder. Is each here, whole, and does it fit the model?

Reads headers and hashes; loads nothing. A server leaves out an adapter that it cannot find and goes on, so that without
this nobody might notice that suggestions come from the bare model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coder_lsp.doctor.finding import fail, ok, warn
from coder_lsp.doctor.model import digest
from coder_lsp.errors import ModelError
from coder_lsp.models import adapter_fit, adapters, files, gguf_header, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coder_lsp.config import Config
    from coder_lsp.doctor.finding import Finding

_NAME = "adapter"


def check_adapters(config: Config, model: Path | None, *, full: bool) -> Iterator[Finding]:
    """``model``: the file they are to fit; None where it could not be found, which is told elsewhere."""
    chosen: list[tuple[str, Path | None]] = [(each, None) for each in config.engine.loras if each.strip()]
    chosen += [(each, Path(folder)) for folder, each in config.adapters]
    if not chosen:
        yield ok(_NAME, "none is laid over the model")
    header = None
    # A folder of safetensors has no header; whoever loads it says what does not fit.
    if model is not None and not model.is_dir() and any(setting.strip() for setting, _ in chosen):
        try:
            header = gguf_header.read(model)
        except ModelError:
            # Said of the model already.
            header = None
    for setting, folder in chosen:
        where = "everywhere" if folder is None else f"in {folder}"
        if folder is not None and not folder.expanduser().is_dir():
            yield warn(
                _NAME,
                f"{setting.strip() or 'none'} {where}: there is no such folder",
                "Correct it in [adapters] of the settings, or take it out there.",
            )
        if not setting.strip():
            yield ok(_NAME, f"none {where}")
            continue
        yield _checked(setting.strip(), where, folder, header, full=full)


def _checked(
    setting: str, where: str, folder: Path | None, model: gguf_header.GgufHeader | None, *, full: bool
) -> Finding:
    name, scale = adapters.split_scale(setting)
    instead = "coder-lsp models use --no-adapter" + (f" --workspace '{folder}'" if folder is not None else "")
    try:
        adapter = adapters.resolve(name)
        header = gguf_header.read(adapter.path)
    except (ModelError, OSError) as error:
        said = error.message if isinstance(error, ModelError) else f"its file cannot be read: {error}"
        hint = error.hint if isinstance(error, ModelError) else ""
        return fail(_NAME, f"{name} {where} is left out: {said}", f"{_sentence(hint)}Or use none: {instead}")
    by_path = store.looks_like_path(name)
    # A file of the user's own has no digest that it should have.
    if not by_path and (found := digest(adapter.path, full=full)[0]) != adapter.sha256:
        return fail(
            _NAME,
            f"{name} {where} is damaged: sha256 {found}, but it should be {adapter.sha256}",
            f"Add its file again: coder-lsp models add --adapter --replace {name} FILE. Or use none: {instead}",
        )
    if model is not None and (why := adapter_fit.misfit(header, model)):
        return fail(
            _NAME,
            f"{name} {where} does not fit the model, completions there fail: {why}",
            f"Serve the model it was made for{f' ({adapter.base})' if adapter.base else ''}, "
            f"train one for this model, or use none: {instead}",
        )
    strength = "" if scale == 1.0 else f", at {scale:g} of its strength"
    fits = ", fits the model" if model is not None else ""
    return ok(_NAME, f"{name} {where}: rank {adapter.rank}, {files.human(adapter.bytes)}, whole{fits}{strength}")


def _sentence(hint: str) -> str:
    return f"{hint[:1].upper()}{hint[1:].rstrip('.')}. " if hint else ""
