"""Which error a status is, and what of a server's words is repeated: never a piece of what it was sent."""

from __future__ import annotations

import json

import pytest

from coder_lsp.engine.remote_refusals import refusal
from coder_lsp.errors import RemoteBusy, RemoteRefused, RemoteRejected, RemoteUnreachable

ORIGIN = "https://models.example"
BODY = {
    "model": "m",
    "prompt": "def secret():\n    return  'correct horse'",
    "extra": [{"text": "battery staple, too"}],
}


def refused(status, content=b"", **options):
    return refusal(ORIGIN, "/v1/completions", status, content, BODY, **options)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (301, RemoteRefused, "redirects are not followed"),
        (400, RemoteRejected, "answers 400"),
        (401, RemoteRefused, "refuses the key"),
        (403, RemoteRefused, "refuses the key"),
        (404, RemoteRefused, "answers 404"),
        (413, RemoteRejected, "answers 413"),
        (422, RemoteRejected, "answers 422"),
        (429, RemoteBusy, "answers 429"),
        (500, RemoteUnreachable, "answers 500"),
        (501, RemoteRefused, "answers 501"),
        (503, RemoteUnreachable, "answers 503"),
        (599, RemoteUnreachable, "answers 599"),
    ],
)
def test_a_status_is_an_error_that_names_the_origin(status, error, words):
    found = refused(status)
    assert type(found) is error
    assert found.message.startswith(ORIGIN)
    assert words in found.message
    assert found.retry_after_s is None


@pytest.mark.parametrize(
    "content",
    [
        {"error": {"message": "out  of\nmemory", "type": "x"}},
        {"error": "out of memory"},
        {"message": "out of memory"},
        {"detail": "out of memory"},
        {"object": "error", "message": "out of memory"},
    ],
)
def test_a_servers_words_are_repeated_in_one_line(content):
    assert refused(500, json.dumps(content).encode()).message.endswith("answers 500: out of memory")


@pytest.mark.parametrize(
    "said",
    [
        "bad: def secret():",
        "input was 'return 'correct horse''",
        "x" * 150 + "battery staple",
        "     def   secret():\n",
    ],
)
def test_words_that_quote_what_was_sent_are_not(said):
    assert refused(400, json.dumps({"error": said}).encode()).message == f"{ORIGIN}/v1/completions answers 400"


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"\xff", b"[" * 1600, b"3", b"null", b'{"error": 3}', b'{"error": {"message": []}}', b"{}"],
)
def test_words_that_are_none_are_left_out(content):
    assert refused(500, content).message == f"{ORIGIN}/v1/completions answers 500"


def test_long_words_are_cut():
    assert len(refused(500, json.dumps({"error": "y" * 1500}).encode()).message) < 300


@pytest.mark.parametrize(
    ("said", "seconds"), [("3", 3.0), ("0.5", 0.5), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None), (None, None)]
)
def test_when_it_wants_to_be_asked_again(said, seconds):
    assert refused(429, retry_after=said).retry_after_s == seconds
    assert refused(503, retry_after=said).retry_after_s == seconds
