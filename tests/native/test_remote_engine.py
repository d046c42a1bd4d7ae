"""The remote engine on real servers where the contract suite does not look: what is asked, how often, by which wire."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace

import pytest
from support.faulty_proxy import FaultyProxy
from support.model_server import ModelServer, absent

from coder_lsp.config import RemoteConfig
from coder_lsp.engine.base import EngineOptions, GenerateRequest
from coder_lsp.engine.remote import Formats, RemoteEngine
from coder_lsp.engine.scripted import SPECIAL_TOKENS
from coder_lsp.errors import ConfigError, RemoteRefused
from coder_lsp.host.loading import connect
from coder_lsp.host.protocol import HostSettings
from coder_lsp.types import FimRequest, FinishReason, Snippet


@pytest.fixture(scope="module")
def server(models):
    """Says ``return x`` behind the middle token, and goes on."""
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    server = ModelServer("llama.cpp", models.chain(b"ret", b"urn", b" x", b"\n", loop=True), context=512)
    yield server
    server.close()


@pytest.fixture
def proxy(server):
    proxy = FaultyProxy(server.url)
    yield proxy
    proxy.close()


@pytest.fixture
def open_engine():
    """``open_engine(url, **remote)``"""
    engines = []

    def open_engine(url, key="", **remote):
        formats = Formats(lambda _: SPECIAL_TOKENS, SPECIAL_TOKENS)
        engines.append(RemoteEngine.connect(RemoteConfig(url=url, **remote), key, formats))
        return engines[-1]

    yield open_engine
    for engine in engines:
        engine.close()


def asked(proxy, path):
    """How often."""
    return sum(head.startswith(b"POST " + path) for head in proxy.seen)


def prompt(engine, text="def f(self):\n    "):
    return [*engine.tokenize(text), engine.special("<|fim_middle|>")]


@pytest.mark.parametrize("forced", [b"r", b"ret", b"retu", b"return x\nre"])
def test_an_answer_that_begins_as_it_must_is_asked_for_once(open_engine, proxy, forced):
    engine = open_engine(proxy.url, protocol="openai")
    assert not engine.dialect.forces
    done = engine.generate(GenerateRequest(prompt(engine), forced=forced, max_tokens=8))
    assert ("return x\n" * 4).encode().startswith(forced + done.text.encode())
    assert len(done.text) > 3
    assert asked(proxy, b"/v1/completions") == 1


def test_one_that_does_not_is_asked_for_behind_the_forced_bytes(open_engine, proxy):
    engine = open_engine(proxy.url, protocol="openai")
    said = []
    request = GenerateRequest(prompt(engine), forced=b"ret  ", max_tokens=8)
    done = engine.generate(request, lambda delta: said.append(delta) is None)
    # The model knows what follows a piece, whatever stood before it.
    assert "".join(said) == done.text
    assert b"".join(map(engine.token_bytes, done.token_ids)).startswith(b"ret  ")
    assert asked(proxy, b"/v1/completions") == 2


def test_a_grammar_costs_no_second_question(open_engine, proxy):
    engine = open_engine(proxy.url)
    done = engine.generate(GenerateRequest(prompt(engine), forced=b"xyz", max_tokens=8))
    assert b"".join(map(engine.token_bytes, done.token_ids)).startswith(b"xyz")
    assert asked(proxy, b"/completion ") == 1


@pytest.mark.parametrize("protocol", ["auto", "openai"])
def test_a_control_token_that_a_file_spells_is_none_at_the_server(open_engine, server, protocol):
    engine = open_engine(server.url, protocol=protocol)
    spelled = engine.generate(GenerateRequest(engine.tokenize("a <|fim_middle|>"), max_tokens=4))
    meant = engine.generate(GenerateRequest(prompt(engine, "a "), max_tokens=4))
    assert meant.text == "return x\n"
    assert spelled.text != meant.text


def test_the_server_counts_tokens_and_says_what_it_had(open_engine, server):
    engine = open_engine(server.url)
    text = "x = 1\n" * 20
    engine.generate(GenerateRequest(prompt(engine, text), max_tokens=1))
    again = engine.generate(GenerateRequest(prompt(engine, text + "y"), max_tokens=1))
    assert again.tokens.reused > 20
    assert again.tokens.prompt == again.tokens.reused + again.tokens.evaluated


def test_a_reader_that_waits_for_a_line_takes_no_more(open_engine, proxy):
    engine = open_engine(proxy.url)
    request = GenerateRequest(prompt(engine), stop=("\n",), max_tokens=400)
    done = engine.generate(request)
    assert (done.text, done.finish_reason) == ("return x", FinishReason.STOP_STRING)


REQUEST = FimRequest("file:///a.py", "", "\nafter\n", max_tokens=8, snippets=(Snippet("other.py", "def other(): ..."),))


@pytest.mark.parametrize("protocol", ["auto", "llama.cpp", "openai", "infill"])
def test_every_protocol_completes_in_the_models_format(proxy, protocol):
    remote = RemoteConfig(url=proxy.url, protocol=protocol, template="qwen" if protocol != "infill" else "")
    worker = connect(HostSettings("", "here", "qwen", engine=EngineOptions(), remote=remote))
    try:
        result = worker.complete(REQUEST, None, worker.new_cancel_token())
        assert result.text == "return x\nreturn x\n"
        assert result.engine == "remote"
        path = {"openai": b"/v1/completions", "infill": b"/infill"}.get(protocol, b"/completion ")
        assert asked(proxy, path) == 1
    finally:
        worker.close()


@pytest.mark.parametrize(("tokens", "template"), [("unusual", "infill"), ("plain", "none")])
def test_a_format_that_is_none_of_ours_is_left_to_the_server_if_it_has_one(models, tokens, template):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    server = ModelServer("llama.cpp", getattr(models, tokens), context=512)
    try:
        worker = connect(HostSettings("", "here", None, engine=EngineOptions(), remote=RemoteConfig(url=server.url)))
        assert worker.describe_format().startswith(f"template {template}")
        assert worker.complete(REQUEST, None, worker.new_cancel_token()).text
        worker.close()
    finally:
        server.close()


# TLS


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder: ``ca.pem`` has signed ``here.pem`` for this machine and ``elsewhere.pem`` for another name."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    for name, alternative in (("here", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere.example")):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName={alternative}")
        openssl(
            folder, "req", "-x509", *key, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", "/CN=x"
        )
    return folder


@pytest.fixture
def behind_tls(server, certificates):
    """``behind_tls(name)``: the server behind that certificate."""
    proxies = []

    def behind_tls(name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        proxies.append(FaultyProxy(server.url, tls=context))
        return proxies[-1]

    yield behind_tls
    for proxy in proxies:
        proxy.close()


SLOW = {"connect_ms": 5000}
"""A handshake may take its time on a busy machine."""


def test_a_certificate_that_nobody_trusts_gets_neither_key_nor_text(open_engine, behind_tls):
    proxy = behind_tls("here")
    with pytest.raises(RemoteRefused, match="is not trusted") as raised:
        open_engine(proxy.url, "sk-secret", **SLOW)
    assert "remote.ca_file" in raised.value.hint
    assert proxy.seen == []


def test_one_of_the_teams_own_authority_is_trusted_where_it_is_named(open_engine, behind_tls, certificates):
    proxy = behind_tls("here")
    engine = open_engine(proxy.url, "sk-secret", ca_file=str(certificates / "ca.pem"), **SLOW)
    assert engine.generate(GenerateRequest(prompt(engine), max_tokens=4)).text == "return x\n"
    assert any(b"Bearer sk-secret" in head for head in proxy.seen)


def test_one_for_another_name_is_not(open_engine, behind_tls, certificates):
    proxy = behind_tls("elsewhere")
    with pytest.raises(RemoteRefused, match="is not trusted"):
        open_engine(proxy.url, "sk-secret", ca_file=str(certificates / "ca.pem"), **SLOW)
    assert proxy.seen == []


def test_certificates_that_cannot_be_read_are_a_fault_of_the_settings(open_engine, tmp_path):
    for name, content in (("absent.pem", None), ("empty.pem", "no certificate")):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(ConfigError, match=r"remote\.ca_file"):
            open_engine("https://127.0.0.1:9", ca_file=str(tmp_path / name))


def test_a_key_that_no_header_can_have_is_refused_without_being_said(open_engine):
    with pytest.raises(ConfigError) as raised:
        open_engine("http://127.0.0.1:9", "schlüssel\r\n")
    assert "schl" not in str(raised.value)


def test_settings_say_how_long_a_server_may_take_to_connect(open_engine, server):
    """Nothing listens at a port that was given back a moment ago."""
    gone = replace(RemoteConfig(url="http://127.0.0.1:1"), connect_ms=100)
    with pytest.raises(Exception, match="cannot be reached"):
        open_engine(gone.url, connect_ms=gone.connect_ms)
    assert server.process.poll() is None
