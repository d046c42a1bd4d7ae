"""A language server that says what the test tells it to. Run as a program, speaks LSP over stdio, needs nothing.

The second argument is the position encoding that it picks. Notification ``test/script`` sets what an inline completion
is answered with; request ``test/log`` returns all that came in and when (nanoseconds of the monotonic clock). Keys of a
script:

``items``    the items: ``text``; ``before`` and ``after`` are lengths of the range around the cursor, in the units
``full``     with ``line``: the document's lines from that one on as they should become; the answer is what is missing
``hold``     answer nothing until ``test/release``
``writes``   what a command writes that is given an id: ``range``, its previews' (``texts``), and the ``answer``
``replies``  results of commands, by name; one with the key ``error`` is refused with that message
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

UNITS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
WIDTHS = {"utf-8": 1, "utf-16": 2, "utf-32": 4}

script: dict[str, Any] = {"items": []}
log: list[dict[str, Any]] = []
documents: dict[str, str] = {}
held: dict[Any, dict[str, Any]] = {}
encoding = "utf-16"
answers = 0


def main() -> None:
    global encoding  # noqa: PLW0603  (one process, one session)
    if sys.argv[1] != "serve":
        print("coder-lsp  scripted", *sys.argv[1:])
        return
    encoding = sys.argv[2]
    # As the real one ends.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    while True:
        message = read()
        if message is None:
            return
        method, params = message.get("method", ""), message.get("params")
        if method != "test/log":
            log.append({"method": method, "params": params, "id": message.get("id"), "ns": time.monotonic_ns()})
        handle(message, method, params if isinstance(params, dict) else {})


def handle(message: dict[str, Any], method: str, params: dict[str, Any]) -> None:
    identity = message.get("id")
    if method == "initialize":
        capabilities = {
            "positionEncoding": encoding,
            "textDocumentSync": 1,
            "inlineCompletionProvider": True,
            "executeCommandProvider": {"commands": ["coder-lsp.accepted"]},
        }
        reply(identity, {"capabilities": capabilities})
    elif method == "initialized":
        status = {"state": "ready", "model": "scripted", "engine": "none", "message": "", "progress": None}
        notify("coder-lsp/status", status | {"offline": False})
    elif method == "textDocument/didOpen":
        documents[params["textDocument"]["uri"]] = params["textDocument"]["text"]
    elif method == "textDocument/didChange":
        documents[params["textDocument"]["uri"]] = params["contentChanges"][-1]["text"]
    elif method == "textDocument/inlineCompletion":
        if script.get("hold"):
            held[identity] = params
        else:
            complete(identity, params)
    elif method == "$/cancelRequest":
        if held.pop(params["id"], None) is not None:
            fail(params["id"], -32800, "cancelled")
    elif method == "workspace/executeCommand":
        execute(identity, params)
    elif method == "test/script":
        script.clear()
        script.update(params)
    elif method == "test/status":
        notify("coder-lsp/status", params)
    elif method == "test/release":
        for waiting in list(held):
            given = held.pop(waiting)
            written(waiting) if "command" in given else complete(waiting, given)
    elif method == "test/log":
        reply(identity, log)
    elif method == "test/document":
        reply(identity, documents.get(params["uri"]))
    elif method == "shutdown":
        reply(identity, None)
    elif method == "exit":
        os._exit(0)
    elif identity is not None and method:
        reply(identity, None)


def complete(identity: Any, params: dict[str, Any]) -> None:
    global answers  # noqa: PLW0603
    answers += 1
    text = documents[params["textDocument"]["uri"]]
    position = params["position"]
    items = []
    for number, given in enumerate(given_items(text, position)):
        item: dict[str, Any] = {"insertText": given["text"]}
        start = position["character"] - given.get("before", 0)
        end = position["character"] + given.get("after", 0)
        item["range"] = {
            "start": {"line": position["line"], "character": start},
            "end": {"line": position["line"], "character": end},
        }
        item["command"] = {"title": "", "command": "coder-lsp.accepted", "arguments": [f"{answers}.{number}"]}
        items.append(item)
    log.append({"method": "answer", "params": {"count": len(items)}, "id": identity, "ns": time.monotonic_ns()})
    reply(identity, {"items": items})


def given_items(text: str, position: dict[str, int]) -> list[dict[str, Any]]:
    if "full" not in script:
        return script.get("items", [])
    lines = text.replace("\r\n", "\n").split("\n")[script["line"] : position["line"] + 1]
    data = lines[-1].encode(UNITS[encoding])[: position["character"] * WIDTHS[encoding]]
    lines[-1] = data.decode(UNITS[encoding])
    before, full = "\n".join(lines), script["full"]
    return [{"text": full[len(before) :]}] if full.startswith(before) and full != before else []


def execute(identity: Any, params: dict[str, Any]) -> None:
    if "writes" in script and "id" in (params.get("arguments") or [{}])[0]:
        writes, argument = script["writes"], params["arguments"][0]
        for text in writes.get("texts", []):
            shown = {"id": argument["id"], "uri": argument["uri"], "version": 0, "done": False}
            notify("coder-lsp/preview", {**shown, "range": writes["range"], "text": text})
        if script.get("hold"):
            held[identity] = params
        else:
            written(identity)
        return
    answer = script.get("replies", {}).get(params["command"])
    if isinstance(answer, dict) and "error" in answer:
        fail(identity, -32803, answer["error"])
        return
    for value in answer.pop("progress", []) if isinstance(answer, dict) else []:
        notify("$/progress", {"token": params["workDoneToken"], "value": value})
    reply(identity, answer)


def written(identity: Any) -> None:
    writes = script["writes"]
    answer = {"applied": False, "reason": "", "version": 0, "model": "scripted", "engine": "none"}
    reply(identity, {**answer, "range": writes["range"], **writes["answer"]})


def read() -> dict[str, Any] | None:
    length = 0
    while line := sys.stdin.buffer.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return json.loads(sys.stdin.buffer.read(length)) if length else None


def send(message: dict[str, Any]) -> None:
    data = json.dumps({"jsonrpc": "2.0", **message}).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
    sys.stdout.buffer.flush()


def reply(identity: Any, result: Any) -> None:
    send({"id": identity, "result": result})


def fail(identity: Any, code: int, message: str) -> None:
    send({"id": identity, "error": {"code": code, "message": message}})


def notify(method: str, params: Any) -> None:
    send({"method": method, "params": params})


if __name__ == "__main__":
    main()
