"""A model host's worker that does what it is told, in the host process: no model, every way to be slow or to fail.

The "model file" is a JSON script for loading, and each request's prefix is a JSON script for one generation, so that a
test says everything through the public face of a host. Waits are for files to appear: the test makes them.

Loading: ``{"progress": [0.2, 0.7], "wait": PATH, "fail": "OutOfMemory", "raise": TEXT}``
Generating: ``{"say": ["a", "b"], "wait": PATH, "hold": true, "die": true, "fail": "ContextOverflow", "raise": TEXT}``:
says each piece, then waits for the file, or holds until it is cancelled or the reader has enough, then dies by SIGKILL
or raises. ``"deaf": true`` ignores cancellation while it waits; ``"note": PATH`` appends a line of what it will say.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

from coder_lsp import errors
from coder_lsp.types import FimResult, FinishReason, PromptPreview, TokenCounts

_LOOK_SECONDS = 0.002
"""How often an engine looks at its cancel flag: this one as often as a fast one."""


class Flag:
    def __init__(self):
        self._event = threading.Event()

    def cancel(self):
        self._event.set()

    @property
    def cancelled(self):
        return self._event.is_set()


class ScriptedWorker:
    model = "scripted"
    engine = "scripted"
    adapters = ()
    notice = ""
    warmed = None

    def new_cancel_token(self):
        return Flag()

    def warm(self, request):
        """See ``work``."""
        self.warmed = json.loads(request.prefix)

    def preview(self, request):
        return PromptPreview(request.prefix, len(request.prefix))

    def work(self, cancel):
        """One piece of work for each place it was told of: as long as the script says, or until it is cancelled."""
        script, self.warmed = self.warmed, None
        if script is None:
            return False
        if "begun" in script:
            Path(script["begun"]).touch()
        while "wait" in script and not Path(script["wait"]).exists() and not cancel.cancelled:
            time.sleep(_LOOK_SECONDS)
        with Path(script["note"]).open("a") as notes:
            print("cancelled" if cancel.cancelled else "done", file=notes)
        return True

    def complete(self, request, on_text, cancel):
        script = json.loads(request.prefix)
        self.adapters = request.adapters
        said = []

        def result(reason):
            counts = TokenCounts(prompt=3, reused=1, evaluated=2, generated=len(said))
            return FimResult(
                "".join(said), reason, self.model, self.engine, counts, {"decode": 1.0}, (-0.5,) * len(said)
            )

        if "note" in script:
            with Path(script["note"]).open("a") as notes:
                print(*script["say"], file=notes)
        for piece in script.get("say", []):
            said.append(piece)
            if on_text and not on_text(piece):
                return result(FinishReason.ENOUGH)
        while "wait" in script and not Path(script["wait"]).exists():
            if cancel.cancelled and not script.get("deaf"):
                return result(FinishReason.CANCELLED)
            time.sleep(_LOOK_SECONDS)
        while script.get("hold"):
            if cancel.cancelled:
                return result(FinishReason.CANCELLED)
            if on_text and not on_text(""):
                return result(FinishReason.ENOUGH)
            time.sleep(_LOOK_SECONDS)
        if script.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        _fail(script)
        return result(FinishReason.STOP_TOKEN)

    def ask(self, request, on_text, cancel):
        """Says what of ``say`` is not begun yet, a letter at a time; waits for the file ``wait`` before ``before``."""
        script = json.loads(request.instruction)
        said = []
        if "note" in script:
            with Path(script["note"]).open("a") as notes:
                print(request.begun, file=notes)
        left = "".join(script["say"]).removeprefix(request.begun)
        for piece in left:
            while "wait" in script and piece == script["before"] and not Path(script["wait"]).exists():
                if cancel.cancelled:
                    break
                time.sleep(_LOOK_SECONDS)
            if cancel.cancelled:
                return FimResult("".join(said), FinishReason.CANCELLED, tokens=TokenCounts(generated=len(said)))
            said.append(piece)
            if on_text and not on_text(piece):
                return FimResult("".join(said), FinishReason.ENOUGH)
        _fail(script)
        return FimResult("".join(said), FinishReason.STOP_TOKEN, tokens=TokenCounts(generated=len(said)))

    def close(self):
        """Nothing is held."""


def load(settings, progress):
    """The factory a host is given with ``--worker support.scripted_worker:load``."""
    script = json.loads(Path(settings.model_path).read_text())
    for fraction in script.get("progress", []):
        progress(fraction)
    while "wait" in script and not Path(script["wait"]).exists():
        time.sleep(_LOOK_SECONDS)
    if script.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    _fail(script)
    return ScriptedWorker()


def _fail(script):
    if "fail" in script:
        raise getattr(errors, script["fail"])("scripted failure", hint="scripted hint")
    if "raise" in script:
        raise ValueError(script["raise"])
