"""A model that answers at once, behind a real model host: what is left of a request's time is everything but the model.

The front finds this host where it would find the model's: the address of a host follows from its settings, and these
are the ones that the front computes for the same model file. Template, budgets and tokens (bytes here) are the real
ones. Needs a CODER_LSP_HOME that no real host uses.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coder_lsp.errors import HostUnavailable
from coder_lsp.interpreter import module_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coder_lsp.engine.base import LoadProgress
    from coder_lsp.host.protocol import HostSettings
    from coder_lsp.host.worker import ModelWorker

REPLY = "value = 0\n"

_END_SECONDS = 10.0


@contextmanager
def stand_in_host(folder: Path) -> Iterator[Path]:
    """A host that runs as long as the block; yields the "model file" in ``folder`` to serve with ``--model``.

    :raises HostUnavailable: it did not start.
    """
    from coder_lsp.app import host_settings
    from coder_lsp.config import Config
    from coder_lsp.host.launch import LISTENING
    from coder_lsp.host.protocol import to_json

    model = folder / "stand-in.gguf"
    model.write_bytes(b"GGUF")  # Nobody loads it.
    settings = json.dumps(to_json(host_settings(Config(model=str(model)))))
    command = module_command("coder_lsp", "host", "--settings-stdin", "--worker", f"{__name__}:load")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8") as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(settings)
            process.stdin.close()
            said = process.stdout.readline().split()
            if said[:1] != [LISTENING]:
                raise HostUnavailable(
                    "the host of the stand-in model did not start", hint=process.stderr.read().strip()
                )
            yield model
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def load(settings: HostSettings, _progress: LoadProgress | None) -> ModelWorker:
    """What ``coder-lsp host --worker`` is given."""
    from coder_lsp.engine.scripted import ScriptedEngine
    from coder_lsp.host.worker import ModelWorker

    return ModelWorker(ScriptedEngine(REPLY, options=settings.engine), settings)
