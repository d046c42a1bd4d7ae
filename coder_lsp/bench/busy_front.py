"""What an editor waits for while the workspace is indexed: requests to the shipped server, whose model answers at once.

A user types in one file after another. Most requests follow a keystroke and show the block of other files that was
frozen before; one in ten comes from another file and has a block made for it. What is waited for is everything but the
model: both pipes, both JSON-RPC ends, the policy, the block, template and tokens. The same is measured twice, by the
caller: with nothing indexed, so that indexing begins with the session and goes on meanwhile, and with all indexed.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coder_lsp.bench.figures import spread
from coder_lsp.bench.stand_in import stand_in_host
from coder_lsp.demo.editor import editor
from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.interpreter import module_command
from coder_lsp.languages import by_path

if TYPE_CHECKING:
    from coder_lsp.bench.fresh import Note
    from coder_lsp.demo.editor import Editor

TYPED = "\n    value = sum(item.total for item in items if item.name != name)"
"""Typed key by key, again and again; every key asks for a suggestion."""
KEYS_A_FILE = 10
KEY_PAUSE_S = 0.05
"""Between an answer and the next key: twenty keys a second are more than anybody types."""
WARM_UP = 10
"""Requests left out: modules load with the first ones."""

_DOCUMENTS = 8
_BEGIN_S = 30.0
_SETTLE_S = 3600.0
_LOOK_S = 0.05


def requests(root: str, files: int, most: int, seed: int, *, settled: bool, note: Note) -> dict[str, Any]:
    """Up to ``most`` requests: with ``settled`` once the workspace is indexed, without it until it is.

    :raises HostUnavailable: the server or the host does not come up.
    """
    note(f"requests {'with everything indexed' if settled else 'while indexing'}")
    return asyncio.run(_requests(Path(root), files, most, _documents(Path(root), seed), settled=settled))


async def _requests(root: Path, files: int, most: int, documents: dict[str, str], *, settled: bool) -> dict[str, Any]:
    # Short: the path of the server's socket depends on it.
    with tempfile.TemporaryDirectory(prefix="coder-lsp-bench-") as folder, stand_in_host(Path(folder)) as model:
        command = module_command("coder_lsp", "serve", "--offline", "--log-level", "warning")
        settings = {"context": {"maxFiles": files}}
        async with editor([*command, "--model", str(model)], root, settings, Path(folder) / "serve.log") as window:
            await window.ready()
            if settled:
                await _indexed(window)
            return await _type(window, documents, most, until_indexed=not settled)


async def _type(window: Editor, documents: dict[str, str], most: int, *, until_indexed: bool) -> dict[str, Any]:
    keys: list[float] = []
    switches: list[float] = []
    texts = dict(documents)
    for path, text in texts.items():
        window.show(path, by_path(path).id, text)
    paths = list(texts)
    for turn in range(most + WARM_UP):
        if until_indexed and _index_state(window) == "ready":
            break
        file, key = divmod(turn, KEYS_A_FILE)
        path = paths[file % len(paths)]
        typed = TYPED[turn % len(TYPED)]
        window.type_text(path, texts[path], typed)
        texts[path] += typed
        began = time.perf_counter()
        await window.ghost(path, texts[path])
        waited_ms = (time.perf_counter() - began) * 1000
        if turn >= WARM_UP:
            (keys if key else switches).append(waited_ms)
        await asyncio.sleep(KEY_PAUSE_S)
    if _index_state(window) not in {"indexing", "ready"}:
        raise _not_indexed(window)
    figures: dict[str, Any] = {"requests": len(keys) + len(switches), "index": _index_state(window)}
    for name, waited in (("request_ms", keys + switches), ("keystroke_ms", keys), ("other_file_ms", switches)):
        if waited:
            figures[name] = spread(waited)
    return figures


def _documents(root: Path, seed: int) -> dict[str, str]:
    """Some files, each up to a line in its middle: what is typed comes behind that line."""
    choose = random.Random(seed)  # noqa: S311  (reproducible inputs, not secrets)
    paths = sorted(path for path in root.rglob("*.py") if path.is_file())
    choose.shuffle(paths)
    found: dict[str, str] = {}
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = text.split("\n")
        # The editor counts characters, not UTF-16 units.
        if text.isascii() and 40 <= len(lines) <= 1000:
            found[path.relative_to(root).as_posix()] = "\n".join(lines[: len(lines) // 2])
        if len(found) == _DOCUMENTS:
            break
    if not found:
        raise InputError(f"there is no Python file of a common size under {root}")
    return found


async def _indexed(window: Editor) -> None:
    began = time.monotonic()
    while (state := _index_state(window)) != "ready":
        if time.monotonic() - began > (_SETTLE_S if state == "indexing" else _BEGIN_S):
            raise _not_indexed(window)
        await asyncio.sleep(_LOOK_S)


def _not_indexed(window: Editor) -> CoderLspError:
    return CoderLspError(f"the server did not index the workspace; of its index it says {_index_state(window)!r}")


def _index_state(window: Editor) -> str:
    return str(getattr(window.status.get("index"), "state", ""))
