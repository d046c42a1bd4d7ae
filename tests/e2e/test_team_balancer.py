"""The balancer of ``docs/team-server`` in HAProxy itself, TLS on, before stand-ins for vLLM; our engine through it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.base import GenerateRequest
from coder_lsp.engine.remote import Formats, RemoteEngine
from coder_lsp.engine.remote_wire import Address, Wire
from coder_lsp.errors import RemoteRefused
from coder_lsp.paths import config_file

FOLDER = Path(__file__).parents[2] / "docs" / "team-server"
KEYS = {f"key-of-{name}": name for name in ("alice", "bob", "carol", "dora", "emil", "fritz", "gina", "hugo")}
PATIENCE_S = 10.0

pytestmark = pytest.mark.skipif(
    not (shutil.which("haproxy") and shutil.which("openssl")), reason="haproxy or openssl is not installed"
)


class Replica(ThreadingHTTPServer):
    """Answers as vLLM does, a piece at a time; ``gate`` closed, it stops after the first until somebody opens it."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.gate = threading.Event()
        self.gate.set()
        self.left = threading.Event()
        self.silent = threading.Event()
        self.full = threading.Event()
        self.arrived = threading.Event()
        self.asked: list[str] = []
        self.open: list[socket.socket] = []
        self.saw_key = False
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def process_request(self, request, client_address):
        self.open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *_: object) -> None:
        """A connection that the balancer resets is nothing to print."""

    def stop(self) -> None:
        """As a process that is killed: the connections that are kept end as well."""
        self.gate.set()
        self.shutdown()
        self.server_close()
        self.thread.join()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replica

    def do_GET(self):
        self.note()
        if self.path == "/v1/models":
            row = {"id": "qwen2.5-coder-7b", "owned_by": "vllm", "max_model_len": 4096}
            self.whole({"object": "list", "data": [row]})
        elif self.path == "/version":
            self.whole({"version": "0.33.0"})
        else:
            self.whole({})

    def do_POST(self):
        self.note()
        self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/completions":
            self.whole({"tokens": [1]})
            return
        self.server.arrived.set()
        if self.server.full.is_set():
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.server.silent.is_set():
            # A prompt that is being read: nothing is written, so that only the balancer can tell of a client's end.
            with contextlib.suppress(OSError):
                self.rfile.read(1)
            self.server.left.set()
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-replica", self.server.name)
        self.end_headers()
        try:
            self.piece({"choices": [{"text": "return", "index": 0, "finish_reason": None}]})
            while not self.server.gate.wait(0.01):
                # Comments, as servers send to keep a connection: the only way to notice that nobody listens.
                self.chunk(b": still here\n\n")
            self.piece({"choices": [{"text": " total", "index": 0, "finish_reason": "stop"}]})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")
        except OSError:
            self.server.left.set()
            self.close_connection = True

    def note(self) -> None:
        self.server.saw_key |= "authorization" in self.headers
        if self.path != "/health":
            self.server.asked.append(self.path)

    def whole(self, answer: dict) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def piece(self, event: dict) -> None:
        self.chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class Team:
    """The balancer over two replicas."""

    def __init__(self, folder: Path) -> None:
        self.replicas = [Replica("zero"), Replica("one")]
        self.certificate, pem = certificate(folder)
        keys = folder / "keys.map"
        keys.write_text("".join(f"{key} {name}\n" for key, name in KEYS.items()), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        variables = {
            "LISTEN_PORT": str(self.port),
            "TLS_FILE": str(pem),
            "KEYS_FILE": str(keys),
            "REPLICA_0": self.replicas[0].address,
            "REPLICA_1": self.replicas[1].address,
        }
        self.log = folder / "haproxy.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ("haproxy", "-db", "-f", FOLDER / "haproxy.cfg"),
                env={**os.environ, **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.context = ssl.create_default_context(cafile=str(self.certificate))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/v1"

    def ask(self, path: str = "/v1/completions", key: str = "key-of-alice", body: bytes = b"{}"):
        """(status, which replica answered) of a whole request."""
        connection, answer = self.begin(path, key, body)
        try:
            answer.read()
            return answer.status, answer.headers["x-replica"]
        finally:
            connection.close()

    def begin(self, path: str, key: str, body: bytes = b"{}"):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=PATIENCE_S)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        connection.request("POST", path, body, {**headers, "content-type": "application/json"})
        return connection, connection.getresponse()

    def settled(self, replicas: set[str]) -> None:
        """Wait until the balancer asks these and no others."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                if {self.ask(key=key) for key in KEYS} == {(200, name) for name in replicas}:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text(encoding="utf-8"))

    def close(self) -> None:
        for replica in self.replicas:
            replica.gate.set()
        self.process.kill()
        self.process.wait()


def certificate(folder: Path) -> tuple[Path, Path]:
    """(the certificate, the same and its key in one file)."""
    key, crt, both = folder / "key.pem", folder / "crt.pem", folder / "tls.pem"
    names = ("-subj", "/CN=models", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", crt, "-days", "2", *names),
        check=True,
        capture_output=True,
    )
    both.write_bytes(crt.read_bytes() + key.read_bytes())
    return crt, both


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("team"))
    team.settled({"zero", "one"})
    yield team
    team.close()
    for replica in team.replicas:
        replica.stop()


@pytest.mark.parametrize("key", ["", "key-of-mallory", "key-of-alic", "key-of-alicee"])
def test_without_a_key_that_is_in_the_map_there_is_401(shared, key):
    assert shared.ask(key=key)[0] == 401


@pytest.mark.parametrize(
    "path", ["/pause", "/invocations", "/v1/load_lora_adapter", "/metrics", "/v1/completions/../../pause", "/v1/Models"]
)
def test_paths_that_are_not_for_clients_do_not_reach_a_replica(shared, path):
    assert shared.ask(path)[0] == 404
    assert all(path not in replica.asked for replica in shared.replicas)


def test_a_developer_always_gets_the_same_replica_and_all_together_get_both(shared):
    homes = {key: {shared.ask(key=key)[1] for _ in range(4)} for key in KEYS}
    assert all(len(found) == 1 for found in homes.values())
    assert set.union(*homes.values()) == {"zero", "one"}


def test_pieces_arrive_while_the_answer_is_being_written(shared):
    for replica in shared.replicas:
        replica.gate.clear()
    connection, answer = shared.begin("/v1/completions", "key-of-alice")
    assert b"return" in answer.readline()
    for replica in shared.replicas:
        replica.gate.set()
    assert b" total" in answer.read()
    connection.close()


def test_a_replica_hears_that_a_client_has_gone(shared):
    home = next(each for each in shared.replicas if each.name == shared.ask()[1])
    home.left.clear()
    home.gate.clear()
    connection, answer = shared.begin("/v1/completions", "key-of-alice")
    assert b"return" in answer.readline()
    answer.close()
    connection.close()
    assert home.left.wait(PATIENCE_S)
    home.gate.set()


def test_a_replica_hears_it_before_it_has_written_anything(shared):
    home = next(each for each in shared.replicas if each.name == shared.ask()[1])
    home.left.clear()
    home.arrived.clear()
    home.silent.set()
    client = shared.context.wrap_socket(
        socket.create_connection(("127.0.0.1", shared.port)), server_hostname="127.0.0.1"
    )
    head = "POST /v1/completions HTTP/1.1\r\nhost: models\r\nauthorization: Bearer key-of-alice\r\ncontent-length: 2"
    client.sendall(f"{head}\r\n\r\n{{}}".encode())
    assert home.arrived.wait(PATIENCE_S)
    client.close()
    home.silent.clear()
    assert home.left.wait(PATIENCE_S)


def test_a_request_that_a_full_replica_refuses_is_answered_by_another(shared):
    """With a prompt of 48,000 bytes, which is more than HAProxy's buffers hold unless they are made larger."""
    home = next(each for each in shared.replicas if each.name == shared.ask()[1])
    other = next(each for each in shared.replicas if each is not home)
    home.full.set()
    found = shared.ask(body=b"x" * 48_000)
    home.full.clear()
    assert found == (200, other.name)


def test_a_prompt_and_a_key_are_in_no_log_and_replicas_get_no_key(shared):
    shared.ask(body=b'{"prompt": "def salary_of_everybody"}')
    log = shared.log.read_text(encoding="utf-8")
    assert "status=200" in log
    assert not any(word in log for word in ("salary", "key-of-", *KEYS.values()))
    assert not any(replica.saw_key for replica in shared.replicas)


def test_the_engine_completes_through_it(shared):
    config = RemoteConfig(url=shared.url, model="qwen2.5-coder-7b", ca_file=str(shared.certificate), connect_ms=5000)
    controls = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    engine = RemoteEngine.connect(config, "key-of-alice", Formats(lambda _: controls, controls))
    try:
        assert engine.server.describe() == "vllm 0.33.0, serving qwen2.5-coder-7b"
        tokens = engine.tokenize("def total(): ")
        assert engine.generate(GenerateRequest(tokens=tokens, max_tokens=8)).text == "return total"
    finally:
        engine.close()


def test_the_check_of_the_page_finds_all_well(shared, monkeypatch):
    """With the settings that the page gives a developer."""
    page = (FOLDER.parent / "team-server.md").read_text(encoding="utf-8")
    block = textwrap.dedent(page.split("```toml\n")[1].split("```")[0])
    settings = block.replace("https://models.example:8443/v1", shared.url)
    settings = settings.replace("/etc/ssl/certs/team-ca.pem", str(shared.certificate))
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(settings, encoding="utf-8")
    monkeypatch.setenv("CODER_LSP_REMOTE_KEY", "key-of-alice")
    command = (sys.executable, "-m", "coder_lsp", "remote", "check", "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vllm 0.33.0, serving qwen2.5-coder-7b" in done.stdout
    assert "key-of-alice" not in done.stdout + done.stderr


def test_a_wrong_key_is_told_as_such(shared):
    wire = Wire(Address(shared.url, "key-of-mallory"), RemoteConfig(url=shared.url, ca_file=str(shared.certificate)))
    with pytest.raises(RemoteRefused, match="key"):
        wire.get("/v1/models")
    wire.close()


def test_when_a_replica_dies_its_developers_move_and_the_others_stay(tmp_path):
    team = Team(tmp_path)
    try:
        team.settled({"zero", "one"})
        before = {key: team.ask(key=key)[1] for key in KEYS}
        team.replicas[0].stop()
        # The very next request of each is answered: one that finds no replica is asked again elsewhere.
        assert {key: team.ask(key=key) for key in KEYS} == dict.fromkeys(KEYS, (200, "one"))
        assert "zero" in before.values()
    finally:
        team.close()
        team.replicas[1].stop()
