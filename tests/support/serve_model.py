"""A real server in this process: ``python serve_model.py KIND MODEL CONTEXT [ADAPTER …]``.

Says its address in one line on stdout; ends when stdin does. Imports nothing of ours.
"""

from __future__ import annotations

import os
import socket
import sys
import threading


def serve_llama_cpp(model, context, adapters):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = context
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.port = 0
    params.ui = False
    params.warmup = False
    params.lora_init_without_apply = True
    loras = []
    for path in adapters:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = path, 0.0
        loras.append(lora)
    params.lora_adapters = loras
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    # Without waiting for a generation that nobody reads.
    os._exit(0)


def serve_llama_cpp_python(model, context, adapters):
    del adapters
    import uvicorn
    from llama_cpp.server.app import create_app
    from llama_cpp.server.settings import ModelSettings, ServerSettings

    settings = ModelSettings(model=model, n_ctx=context, n_threads=1, n_threads_batch=1, verbose=False)
    app = create_app(server_settings=ServerSettings(), model_settings=[settings])
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    _, kind, model, context, *adapters = sys.argv
    serve = {"llama.cpp": serve_llama_cpp, "llama-cpp-python": serve_llama_cpp_python}[kind]
    serve(model, int(context), adapters)
