"""Who may be completed: settings, pauses, patterns, secrets, size."""

from __future__ import annotations

import pytest

from coder_lsp.completion.gate import Gate
from coder_lsp.config import CompletionConfig, Config
from coder_lsp.types import CompletionRequest
from coder_lsp.workspace.secrets import is_secret


def gate(**completion) -> Gate:
    return Gate(Config(completion=CompletionConfig(**completion)))


def request(text: str = "x = 1", cursor: int = 5, **fields) -> CompletionRequest:
    return CompletionRequest(uri="file:///w/a.py", text=text, cursor=cursor, **{"language": "python", **fields})


def test_an_ordinary_file_passes():
    assert gate().check(request(path="src/a.py", root="/w")) == ""


def test_disabled_everywhere_and_by_language():
    assert gate(enabled=False).check(request()) == "disabled"
    assert gate(disabled_languages=("python",)).check(request()) == "disabled for python"
    assert gate(disabled_languages=("go",)).check(request()) == ""


def test_a_language_is_meant_by_any_of_its_names():
    """Neovim says ``sh`` where VS Code says ``shellscript``."""
    assert gate(disabled_languages=("shellscript",)).check(request(language="sh")) == "disabled for shellscript"
    assert gate(disabled_languages=("Klingon",)).check(request(language="klingon")) == "disabled for klingon"
    assert gate(disabled_languages=("plaintext",)).check(request(language="klingon")) == ""


def test_pause_and_resume_by_scope():
    one = gate()
    one.pause()
    assert (one.check(request()), one.paused) == ("paused", True)
    one.resume()
    one.pause(language="go")
    one.pause(uri="file:///w/a.py")
    assert one.check(request()) == "paused for this file"
    one.resume(uri="file:///w/a.py")
    assert one.check(request()) == ""
    assert one.check(request(language="go")) == "paused for go"
    one.resume()
    assert one.check(request(language="go")) == ""


def test_pauses_survive_new_settings():
    one = gate()
    one.pause(language="go")
    one.configure(Config(completion=CompletionConfig(exclude=("*.min.js",))))
    assert one.check(request(language="go")) == "paused for go"
    assert one.check(request(path="a.min.js")) == "excluded"


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("*.min.js", "dist/a.min.js", True),
        ("/build", "build/x/y.c", True),
        ("/build", "src/build/y.c", False),
        ("docs/**/draft", "docs/a/b/draft/x.py", True),
        ("vendor/", "a/vendor/b.go", True),
        ("src/*.py", "src/deep/a.py", False),
        ("*.py", "C:\\w\\a.py", True),
    ],
)
def test_patterns_are_gitignores(pattern, path, excluded):
    assert (gate(exclude=(pattern,)).check(request(path=path)) == "excluded") is excluded


def test_patterns_are_relative_to_the_root_and_may_be_taken_back():
    one = gate(exclude=("/lib/*", "!/lib/ours.py"))
    assert one.check(request(path="/w/lib/theirs.py", root="/w")) == "excluded"
    assert one.check(request(path="/w/lib/ours.py", root="/w/")) == ""


def test_a_pattern_nobody_understands_is_passed_over():
    assert gate(exclude=("!", "*.sql")).check(request(path="a.sql")) == "excluded"


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "app/.env.production",
        ".envrc",
        "prod.env",
        "/home/u/.ssh/config",
        "keys/id_rsa",
        "ID_ED25519.pub",
        "tls/server.KEY",
        "ca.pem",
        ".npmrc",
        "C:\\Users\\u\\.netrc",
        ".pypirc",
        ".git-credentials",
        "config/credentials.json",
        "credentials",
        "secrets.yaml",
        ".aws/credentials",
        ".kube/config",
        "terraform.tfstate.backup",
        "prod.auto.tfvars",
        "service-account-prod.json",
        "config/master.key",
    ],
)
def test_secrets_are_never_completed(path):
    assert is_secret(path)
    assert gate().check(request(path=path)) == "looks like a secret"


@pytest.mark.parametrize(
    "path",
    [
        "environment.py",
        "credentials.py",
        "src/secrets.rs",
        "keys.ts",
        "env/main.go",
        "tokens.json",
        "kube/config.py",
        "",
    ],
)
def test_code_about_secrets_is_code(path):
    assert not is_secret(path)


def test_without_a_path_the_uri_tells():
    assert gate().check(CompletionRequest(uri="file:///w/%2Eenv", text="A=", cursor=2)) == "looks like a secret"


def test_a_uri_that_is_none_tells_by_its_last_part():
    assert gate().check(CompletionRequest(uri="file://[::1/.env", text="A=", cursor=2)) == "looks like a secret"
    assert gate().check(CompletionRequest(uri="file://[::1/a.py", text="A=", cursor=2)) == ""


def test_size_limits():
    assert gate().check(request("x" * 10_001, 3)) == "line too long"
    assert gate().check(request("x\n" * 2_500_001, 3)) == "file too large"
    assert gate().check(request("y = 1\n" + "x" * 10_001, 3)) == "", "only the cursor's line counts"
