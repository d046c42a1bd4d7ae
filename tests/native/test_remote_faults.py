"""A real server behind a network that misbehaves, a real model that stands in: nothing is lost, nothing is doubled."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import pytest
from support.faulty_proxy import FaultyProxy
from support.model_server import ModelServer, absent

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.base import EngineOptions
from coder_lsp.errors import RemoteBusy, RemoteError, RemoteRefused, RemoteRejected, RemoteUnreachable
from coder_lsp.host.loading import connect, load_worker
from coder_lsp.host.protocol import HostSettings
from coder_lsp.types import FimRequest, FinishReason

REQUEST = FimRequest("file:///a.py", "", "\nafter\n", max_tokens=12)
LONG = (b"the", b" server", b" says", b" a", b" long", b" line\n", b"and", b" goes", b" on", b" until", b" it")
PATIENCE_MS = 150
TIMEOUT_MS = 400


@pytest.fixture(scope="module")
def server(models):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    server = ModelServer("llama.cpp", models.chain(*LONG, loop=True), context=256)
    yield server
    server.close()


@pytest.fixture
def proxy(server):
    proxy = FaultyProxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def settings(models, proxy):
    remote = RemoteConfig(url=proxy.url, patience_ms=PATIENCE_MS, timeout_ms=TIMEOUT_MS, connect_ms=150, retries=1)
    engine = EngineOptions(context_tokens=512, sequences=2, threads=1, kv_type="f32")
    return HostSettings(str(models.ascii), "here", "qwen", engine=engine, remote=remote)


@pytest.fixture
def open_worker(settings):
    """``open_worker(**remote)``: a worker of these settings, its local model loaded."""
    workers = []

    def open_worker(**remote):
        worker = load_worker(replace(settings, remote=replace(settings.remote, **remote)))
        workers.append(worker)
        worker._local_ready.wait()
        return worker

    yield open_worker
    for worker in workers:
        worker.close()


@pytest.fixture
def alone(models, settings):
    """What the local model says by itself."""

    def alone(request=REQUEST):
        worker = load_worker(replace(settings, remote=RemoteConfig()))
        try:
            return worker.complete(request, None, worker.new_cancel_token()).text
        finally:
            worker.close()

    return alone


def ask(worker, request=REQUEST):
    """The result, and what was streamed."""
    said = []
    result = worker.complete(request, lambda delta: said.append(delta) is None, worker.new_cancel_token())
    return result, "".join(said)


SERVERS = "the server says a long line\nand goes on until it" * 3

ANSWERED_BY = {
    "none": "remote",
    "delay": "here",
    "half-open": "here",
    "close": "here",
    "429": "here",
    "429-soon": "remote",
    "500": "here",
    "503-once": "remote",
    "401": "here",
    "redirect": "here",
    "400": "here",
    "garbage": "here",
    "html": "here",
    "bad-json": "here",
    "bad-utf8": "here",
    "endless": "here",
    "drip": "remote",
    "pings": "here",
}


@pytest.mark.parametrize("fault", ANSWERED_BY)
def test_a_suggestion_comes_whatever_the_network_does_and_once(open_worker, proxy, alone, fault):
    worker = open_worker()
    proxy.fault, proxy.seconds = fault, 5.0 if fault == "delay" else 0.0
    result, said = ask(worker)
    assert said == result.text
    if ANSWERED_BY[fault] == "remote":
        assert result.engine == "remote"
        assert SERVERS.startswith(result.text)
        assert len(result.text) > 20
    else:
        assert (result.engine, result.model, result.text) == ("llama", "here", alone())


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_what_a_server_began_is_finished_here(open_worker, proxy, alone, fault):
    worker = open_worker()
    proxy.fault, proxy.cut_after = fault, 1200
    result, said = ask(worker)
    assert said == result.text
    begun = next(n for n in range(len(said), -1, -1) if SERVERS.startswith(said[:n]))
    assert begun > 2
    assert said[begun:] == alone(replace(REQUEST, prefix=said[:begun]))
    assert "broke" in worker.notice or "said nothing" in worker.notice


def test_a_killed_server_is_noticed_and_its_return_too(models, settings, alone):
    server = ModelServer("llama.cpp", models.chain(*LONG, loop=True))
    worker = load_worker(replace(settings, remote=replace(settings.remote, url=server.url)))
    try:
        worker._local_ready.wait()
        assert ask(worker)[0].engine == "remote"
        assert worker.notice == ""
        server.kill()
        for _ in range(3):
            result, said = ask(worker)
            assert (result.engine, result.text, said) == ("llama", alone(), alone())
        assert "completing with here on this machine" in worker.notice
        assert "cannot be reached" in worker.notice or "broke" in worker.notice
    finally:
        worker.close()
        server.close_pipes()


def test_a_server_that_was_not_there_is_taken_up_when_it_comes(open_worker, proxy, settings):
    proxy.fault = "close"
    worker = open_worker(retries=0)
    assert ask(worker)[0].engine == "llama"
    assert "completing with here" in worker.notice
    proxy.fault = "none"
    tried = threading.Event()
    worker._next_try = 0.0
    ask(worker)  # has the connection tried for behind it
    worker._thread.do(tried.set)
    tried.wait()
    assert ask(worker)[0].engine == "remote"
    assert worker.notice == ""


def test_one_that_never_begins_in_time_is_not_waited_for_again_and_again(open_worker, proxy):
    worker = open_worker(timeout_ms=60_000)
    proxy.fault = "half-open"
    for _ in range(3):
        assert ask(worker)[0].engine == "llama"
    assert worker._remote is None
    assert "did not begin within 150 ms, 3 times running; completing with here" in worker.notice
    asked = len(proxy.seen)
    assert ask(worker)[0].engine == "llama"
    assert len(proxy.seen) == asked


def test_who_types_on_says_nothing_of_a_server(open_worker, proxy):
    """Overtaken before anything came, ten times: it is asked again all the same."""
    worker = open_worker(timeout_ms=60_000, patience_ms=50, fallback=False)
    proxy.fault = "half-open"
    for _ in range(10):
        cancel = worker.new_cancel_token()
        timer = threading.Timer(0.08, cancel.cancel)
        timer.start()
        assert worker.complete(REQUEST, None, cancel).finish_reason is FinishReason.CANCELLED
        timer.join()
    proxy.fault = "none"
    assert ask(worker)[0].engine == "remote"


def test_what_comes_back_may_be_another(models, open_worker, proxy):
    worker = open_worker(retries=0)
    assert ask(worker)[0].model == worker.model
    before = worker.model
    proxy.fault = "close"
    while worker._remote is not None:
        assert ask(worker)[0].engine == "llama"
    other = ModelServer("llama.cpp", models.chain(b"another", b" one", loop=True), context=256)
    try:
        proxy.target, proxy.fault = other.url, "none"
        tried = threading.Event()
        worker._next_try = 0.0
        assert ask(worker)[0].engine == "llama"  # nobody waits for the connection
        worker._thread.do(tried.set)
        tried.wait()
        result, _ = ask(worker)
        assert (result.engine, result.text[:11]) == ("remote", "another one")
        assert result.model != before
        assert worker.notice == ""
    finally:
        other.close()


def test_cancelling_closes_the_connection(open_worker, proxy):
    worker = open_worker(timeout_ms=60_000, patience_ms=60_000)
    proxy.fault, proxy.cut_after = "stall", 2000
    cancel = worker.new_cancel_token()
    seen = threading.Event()

    def on_text(_delta):
        seen.set()
        cancel.cancel()
        return True

    result = worker.complete(replace(REQUEST, max_tokens=200), on_text, cancel)
    assert seen.is_set()
    assert result.finish_reason is FinishReason.CANCELLED
    assert proxy.hung_up.wait(10)


def test_cancelled_while_nobody_answers(open_worker, proxy):
    worker = open_worker(timeout_ms=600_000, patience_ms=60_000)
    proxy.fault = "half-open"
    cancel = worker.new_cancel_token()
    done = []
    thread = threading.Thread(target=lambda: done.append(worker.complete(REQUEST, None, cancel)))
    thread.start()
    cancel.cancel()
    thread.join(10)
    assert done[0].finish_reason is FinishReason.CANCELLED


def test_a_reader_that_has_enough_hangs_up(open_worker, proxy):
    worker = open_worker(timeout_ms=60_000)
    proxy.fault, proxy.cut_after = "stall", 2000
    said = []
    request = replace(REQUEST, max_tokens=200)
    result = worker.complete(request, lambda delta: not said.append(delta) and len(said) < 3, worker.new_cancel_token())
    assert result.finish_reason is FinishReason.ENOUGH
    assert proxy.hung_up.wait(10)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("half-open", RemoteUnreachable),
        ("close", RemoteUnreachable),
        ("429", RemoteBusy),
        ("500", RemoteUnreachable),
        ("401", RemoteRefused),
        ("redirect", RemoteRefused),
        ("garbage", RemoteError),
        ("html", RemoteError),
        ("bad-json", RemoteError),
        ("endless", RemoteError),
        ("pings", RemoteUnreachable),
    ],
)
def test_without_a_model_here_the_error_says_what_is_wrong(open_worker, proxy, fault, error):
    worker = open_worker(fallback=False)
    proxy.fault = fault
    with pytest.raises(error) as raised:
        ask(worker)
    assert proxy.url.removeprefix("http://") in raised.value.message or "protocol" in raised.value.message


def test_a_key_goes_to_its_origin_alone_and_is_never_said(settings, proxy, monkeypatch, caplog):
    monkeypatch.setenv("CODER_LSP_REMOTE_KEY", "sk-very-secret")
    other = FaultyProxy(proxy.url)
    caplog.set_level("DEBUG")
    try:
        worker = connect(settings)
        proxy.elsewhere = other.url
        for fault in ("none", "redirect", "401", "garbage"):
            proxy.fault = fault
            with contextlib.suppress(RemoteError):
                worker.complete(REQUEST, None, worker.new_cancel_token())
                continue
            assert fault != "none"
        assert any(b"Bearer sk-very-secret" in head for head in proxy.seen)
        assert other.seen == []
        assert "secret" not in caplog.text
        assert "secret" not in repr(worker._engine._wire.address)
        worker.close()
    finally:
        other.close()


def test_what_a_server_quotes_of_a_prompt_is_not_logged(settings, proxy, caplog):
    caplog.set_level("DEBUG")
    worker = connect(settings)
    try:
        proxy.fault = "400"
        secret = replace(REQUEST, prefix="password_of_the_house = 'correct horse battery staple'\n")
        with pytest.raises(RemoteRejected) as raised:
            worker.complete(secret, None, worker.new_cancel_token())
        assert "answers 400" in raised.value.message
        assert "horse" not in raised.value.message + caplog.text
    finally:
        worker.close()


def test_no_proxy_sees_what_stays_on_this_machine(settings, proxy, monkeypatch):
    other = FaultyProxy(proxy.url)
    try:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, other.url)
        worker = connect(settings)
        assert worker.complete(REQUEST, None, worker.new_cancel_token()).text
        worker.close()
        assert other.seen == []
    finally:
        other.close()


def test_one_that_says_what_it_is_a_byte_a_second_is_not_waited_for(settings, proxy):
    proxy.fault, proxy.seconds = "drip", 1.0
    with pytest.raises(RemoteUnreachable, match="did not answer within"):
        connect(settings)


def test_a_limit_of_requests_is_kept_by_completing_here(open_worker, proxy):
    worker = open_worker(per_minute=4)
    answers = [ask(worker)[0].engine for _ in range(4)]
    assert answers == ["remote", "llama", "llama", "llama"]
