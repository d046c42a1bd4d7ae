"""Real servers on a model file, each in a process of its own (``serve_model``), and the engine that speaks with one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.remote import Formats, RemoteEngine
from coder_lsp.engine.scripted import SPECIAL_TOKENS

SCRIPT = Path(__file__).with_name("serve_model.py")
NEEDS = {"llama.cpp": "xllamacpp", "llama-cpp-python": "fastapi"}
"""Kind -> the module that must be there."""


def absent(kind):
    """Why a kind of server cannot be had here; empty if it can."""
    return "" if importlib.util.find_spec(NEEDS[kind]) else f"{NEEDS[kind]} is not installed"


class ModelServer:
    """``url`` is where it listens. Kill it with :meth:`kill`, end it with :meth:`close`."""

    _shared: ClassVar[dict] = {}

    @classmethod
    def sharing(cls, kind, model, context):
        """One that is there already for the same, else a new one; all of them end with :meth:`close_shared`."""
        key = (kind, str(model), context)
        if key not in cls._shared:
            cls._shared[key] = cls(kind, model, (), context)
        return cls._shared[key]

    @classmethod
    def close_shared(cls):
        while cls._shared:
            cls._shared.popitem()[1].close()

    def __init__(self, kind, model, adapters=(), context=256):
        arguments = [sys.executable, str(SCRIPT), kind, str(model), str(context), *map(str, adapters)]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http"), "".join(self.said)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.close_pipes()

    def close_pipes(self):
        """Of one that was killed."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.reader.join()
        self.process.stderr.close()


class RemoteSaying:
    """A remote engine with a server of its own, which ends with it, or with a shared one."""

    def __init__(self, engine, server, shared):
        self.engine, self.server, self.shared = engine, server, shared

    @classmethod
    def connect(cls, kind, model, adapters=(), context=256, *, controls=SPECIAL_TOKENS, shared=False, **config):
        server = ModelServer.sharing(kind, model, context) if shared else ModelServer(kind, model, adapters, context)
        try:
            formats = Formats(lambda _: controls, controls)
            engine = RemoteEngine.connect(RemoteConfig(url=server.url, **config), "", formats)
        except BaseException:
            if not shared:
                server.close()
            raise
        return cls(engine, server, shared)

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def close(self):
        self.engine.close()
        if not self.shared and self.server.process.poll() is None:
            self.server.close()
