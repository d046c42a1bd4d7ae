"""Runs a completion through each fault of a network and prints what became of it as a Markdown table: a row a fault.

.venv/bin/python tests/support/fault_table.py [MODEL.gguf]

A real llama.cpp server behind ``faulty_proxy``, a real model that stands in. By themselves the models are tiny and say
different things, so that it shows who wrote what; with MODEL both are that one. A row of its own worker each.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny_gguf
from support.faulty_proxy import FAULTS, FaultyProxy
from support.model_server import ModelServer, absent

from coder_lsp.bench.outage import ask, judge
from coder_lsp.config import RemoteConfig
from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import CoderLspError
from coder_lsp.host.fallback import FallbackWorker
from coder_lsp.host.loading import connect, load_worker
from coder_lsp.host.protocol import HostSettings
from coder_lsp.types import FimRequest

SAYS = (b"the", b" server", b" says", b" a", b" long", b" line\n", b"and", b" goes", b" on", b" until", b" it")
REQUEST = FimRequest("file:///a.py", "", "\nafter\n", max_tokens=12)
CODE = FimRequest(
    "file:///a.py", "def total(levels: dict[str, int]) -> int:\n    ", "\n", "python", "a.py", max_tokens=12
)
TIMEOUT_MS = 2000
"""Of silence within an answer; shipped is more, and a row of it would take as long."""
DELAY_S = 2.0
VERDICTS = {
    "server": "server",
    "here": "this machine",
    "both": "server, then this machine",
    "unlike": "**neither**",
    "lost": "**nobody: lost**",
    "doubled": "**doubled**",
}
PROMISED = {"server": "the server's", "here": "the local model's", "both": "both, joined"}


class Kept:
    """A worker that several others stand behind; closed by its owner."""

    def __init__(self, worker):
        self.worker = worker

    def __getattr__(self, name):
        return getattr(self.worker, name)

    def close(self):
        """Not yet."""


def rows(settings, request, proxy, cut_after):
    """Fault, what it does, verdict, milliseconds to the first text and to the end, what the user is told."""
    here = Kept(load_worker(replace(settings, remote=RemoteConfig())))
    alone = connect(settings)
    servers, heres = ask(alone, request).text, ask(here, request).text
    alone.close()
    try:
        for fault, what in FAULTS.items():
            worker = FallbackWorker(lambda: connect(settings), lambda: here, patience_ms=settings.remote.patience_ms)
            ask(worker, request)
            proxy.seconds, proxy.cut_after = DELAY_S if fault == "delay" else 0.0, cut_after
            proxy.fault = fault
            try:
                answered = ask(worker, request)
                verdict = judge(
                    answered,
                    servers,
                    heres,
                    lambda begun: ask(here, replace(request, prefix=request.prefix + begun)).text,
                )
                times = answered.first_ms, answered.total_ms
            except CoderLspError:
                verdict, times = "lost", (0.0, 0.0)
            told = worker.notice
            proxy.fault = "none"
            worker.close()
            yield fault, what, verdict, *times, told.replace(proxy.url, "http://server")
    finally:
        here.worker.close()


def table(found):
    lines = [
        "| fault | who answers | first text, ms | end, ms | text | what the user is told |",
        "|---|---|---|---|---|---|",
    ]
    for fault, what, verdict, first, total, told in found:
        text = PROMISED.get(verdict, f"**{verdict}**")
        lines.append(
            f"| `{fault}`: {what} | {VERDICTS[verdict]} | {first:.0f} | {total:.0f} | {text} | {told or '–'} |"
        )
    return lines


def main(arguments):
    if missing := absent("llama.cpp"):
        sys.exit(missing)
    with tempfile.TemporaryDirectory() as folder:
        if arguments:
            served = local = Path(arguments[0])
            request, context, cut_after, name = CODE, 2048, 2600, served.stem
        else:
            served, local = Path(folder) / "served.gguf", Path(folder) / "local.gguf"
            tiny_gguf.write_chain(served, list(SAYS), loop=True)
            tiny_gguf.write_random(local, ascii_only=True)
            request, context, cut_after, name = REQUEST, 256, 1200, "here"
        server = ModelServer("llama.cpp", served, context=context)
        proxy = FaultyProxy(server.url)
        remote = RemoteConfig(url=proxy.url, timeout_ms=TIMEOUT_MS)
        engine = EngineOptions(context_tokens=2 * context, sequences=2, threads=2 if arguments else 1)
        settings = HostSettings(str(local), name, "qwen", engine=engine, remote=remote)
        try:
            found = list(rows(settings, request, proxy, cut_after))
        finally:
            proxy.close()
            server.close()
        print("\n".join(table(found)))
        return sum(verdict not in PROMISED for _, _, verdict, *_ in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
