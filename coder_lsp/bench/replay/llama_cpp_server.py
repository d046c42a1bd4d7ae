"""Runs a llama.cpp server out of ``xllamacpp``, under whichever interpreter has it; imports nothing of ours.

Arguments: model file, threads, seed, and a port if it is to be a certain one. Says its address in one line on stdout
and ends when stdin does. The settings are those of llama.cpp's own preset for small models
(``--fim-qwen-1.5b-default``): batches of 1024, the model's whole context, parts of at least 256 tokens reused.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def serve(path: str, threads: int, seed: int, port: int = 0) -> None:
    """Serve until stdin ends."""
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_batch = params.n_ubatch = 1024
    params.n_ctx = 0
    params.n_cache_reuse = 256
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.sampling.seed = seed
    params.port = port
    params.ui = False
    server = xllamacpp.Server(params)
    print(json.dumps({"address": server.listening_address}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1], *map(int, sys.argv[2:]))
    # Without waiting for a generation that nobody reads.
    os._exit(0)
