"""Canaries: words planted where nothing may be taken from, looked for wherever anything is kept, written or sent.

A session does all that an editor can ask for, with a server elsewhere as the engine, so that whatever any model is
shown passes a recorder. Words that are allowed at a place are looked for too: without them a canary proves nothing.
"""

from __future__ import annotations

import sqlite3
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from support.faulty_proxy import FaultyProxy
from support.model_server import ModelServer, absent
from support.session import Session, session
from support.tiny_gguf import write_chain

from coder_lsp import paths

SHOWN = "goldfinchledger"
"""In another file of the workspace: the model is to see it."""
TYPED = "bullfinchledger"
"""In the text that is typed: the model is to see it, no log and no statistics are."""
SAID = "chaffinchledger"
"""What the model writes: the same."""
KEY = "sk-hawfinchledger"
"""The key for the server."""

LEDGER = "def settle_account(ledger, owner):\n    {word} = ledger.close(owner)\n    return {word}\n"
TEXT = (
    "from books import settle_account\n\n\ndef close_books(ledger, owner):\n"
    f"    {TYPED} = settle_account(ledger, owner)\n\n\ndef after():\n    pass\n"
)
OTHER = "\n\ndef after():\n    pass\n"


@dataclass(frozen=True)
class Canary:
    """A word that nothing but its own file may hold. ``path`` is relative to the workspace."""

    word: str
    path: str
    text: str = LEDGER


CANARIES = (
    Canary("canaryone", "private/books_one.py"),  # .gitignore
    Canary("canarytwo", "books_two.py"),  # .coderlspignore
    Canary("canarythree", "vault/books_three.py"),  # excluded by the user's settings
    Canary("canaryfour", ".env", "SETTLE_ACCOUNT={word}\n"),
    Canary("canaryfive", "secrets.json", '{{"settle_account": "{word}"}}\n'),
    Canary("canarysix", "books_six.py", 'def settle_account():\n    password = "{word}9X8z7"\n    return password\n'),
    Canary("canaryseven", "../elsewhere/books_seven.py"),  # behind a link
    Canary("canaryeight", "../elsewhere/deep/books_eight.py"),  # behind a link to its folder
    Canary("canarynine", ".git/books_nine.py"),
    Canary("canaryten", "old_books.py"),  # in the history alone
    Canary("canaryeleven", "id_rsa", "settle_account {word}\n"),
)
ENVIRONMENT = "canarytwelve"
UNSAVED = "canarythirteen"
"""In the unsaved text of .env, which is open."""
FORBIDDEN = (*(each.word for each in CANARIES), ENVIRONMENT, UNSAVED)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if missing := absent("llama.cpp"):
        pytest.skip(missing)
    model = write_chain(tmp_path_factory.mktemp("models") / "theirs.gguf", [SAID.encode(), b" = 1", b"\n"])
    server = ModelServer("llama.cpp", model, context=4096)
    yield server
    server.close()


@pytest.fixture
def root(tmp_path):
    """A repository with canaries, each in a file that would be the best context of all, were it allowed."""
    root = tmp_path / "workspace"
    root.mkdir()
    _git(root, "init", "-q")
    for canary in CANARIES:
        file = root / canary.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(canary.text.format(word=canary.word))
    _git(root, "add", "-f", "old_books.py")
    _git(root, "-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-qm", "Old")
    (root / "old_books.py").unlink()
    (root / ".gitignore").write_text("private/\n")
    (root / ".coderlspignore").write_text("books_two.py\n")
    (root / "linked_books.py").symlink_to(root / "../elsewhere/books_seven.py")
    (root / "linked").symlink_to(root / "../elsewhere/deep", target_is_directory=True)
    (root / "books.py").write_text(LEDGER.format(word=SHOWN))
    (root / "main.py").write_text("pass\n")
    return root


@pytest.fixture
def configured(proxy, tmp_path, monkeypatch):
    ours = write_chain(tmp_path / "ours.gguf", [b"local", b"\n"])
    file = paths.config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f'model = "{ours}"\n[remote]\nurl = "{proxy.url}"\nprotocol = "openai"\npatience_ms = 20000\n'
        '[context]\nexclude = ["vault/"]\n[completion]\nexclude = ["vault/"]\n'
    )
    monkeypatch.setenv("CODER_LSP_REMOTE_KEY", KEY)
    monkeypatch.setenv("SETTLE_ACCOUNT_TOKEN", ENVIRONMENT)


@pytest.mark.usefixtures("configured")
async def test_no_canary_is_sent_kept_or_logged(root, proxy, tmp_path):
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log), "--log-level", "debug") as it:
        answers = await _do_everything(it, proxy)
    sent = b"\n".join(proxy.bodies).decode("utf-8", "replace")
    assert SHOWN in sent, "what is allowed was not shown, so nothing was tried"
    assert TYPED in sent
    assert _found(FORBIDDEN, sent) == []
    assert _found([*FORBIDDEN, KEY], answers) == []

    heads = b"\n".join(proxy.seen).decode()
    assert f"Authorization: Bearer {KEY}" in heads
    assert _found(FORBIDDEN, heads) == []
    assert KEY not in sent

    kept = _kept(log)
    index = [text for name, text in kept.items() if name.startswith("cache/index")]
    assert any(SHOWN in text for text in index), "the index holds nothing, so nothing was tried"
    for name, text in kept.items():
        assert _found([*FORBIDDEN, KEY], text) == [], name
    for name, text in kept.items():
        if not name.startswith("cache/"):
            # Code of the user's: the index and what was read ahead have it, nothing else.
            assert _found([SHOWN, TYPED, SAID], text) == [], name
    assert any(name.endswith("serve.log") and text for name, text in kept.items())
    assert any("suggestions" in name and text for name, text in kept.items())


@pytest.mark.usefixtures("configured")
async def test_what_is_kept_is_for_the_user_alone(root, proxy, tmp_path):
    log = tmp_path / "serve.log"
    async with session(root, "--log-file", str(log), "--log-level", "debug") as it:
        await _do_everything(it, proxy)
    for kind in ("cache", "state", "data", "run"):
        top = paths.config_file().parents[1] / kind
        for place in [top, *top.rglob("*")]:
            if place.is_symlink():
                continue
            mode = stat.S_IMODE(place.stat().st_mode)
            private_folder = any(not parent.stat().st_mode & 0o077 for parent in place.parents)
            assert not mode & 0o077 or private_folder, f"{place.name}: {mode:o}"
        if top.exists():
            assert stat.S_IMODE(top.stat().st_mode) == 0o700, kind
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def _do_everything(it: Session, proxy: FaultyProxy) -> str:
    """All that an editor asks for, also while the server misbehaves; what was answered, as one text."""
    assert await it.indexed() > 0
    it.open("main.py", TEXT)
    it.open("other.py", OTHER)
    it.open(".env", f"SETTLE_ACCOUNT={UNSAVED}\n", "shellscript")
    it.open("vault/books_three.py", LEDGER.format(word="canarythree"))
    answers: list[object] = []

    answers.append(await it.ghost("main.py", 5, 0))
    assert SAID in await it.ghost("other.py", 0, 0)
    assert await it.ghost(".env", 0, 15) == ""
    assert await it.ghost("vault/books_three.py", 1, 4) == ""
    item = (await it.request("other.py", 0, 0)).items[0]
    answers.append(item)
    identity = item.command.arguments[0]
    it.client.protocol.notify("coder-lsp/didShow", {"id": identity})
    answers.append(await _command(it, "coder-lsp.accepted", identity))

    place = {"uri": it.uri("main.py"), "position": {"line": 4, "character": 8}}
    lines = {"start": {"line": 3, "character": 0}, "end": {"line": 5, "character": 0}}
    for name, arguments in (
        ("coder-lsp.context", [place]),
        ("coder-lsp.explain", [{"uri": it.uri("main.py"), "range": lines}]),
        ("coder-lsp.rewrite", [{"uri": it.uri("main.py"), "range": lines, "instruction": "simplify", "apply": False}]),
        ("coder-lsp.explain", [{"uri": it.uri(".env"), "range": {**lines, "start": {"line": 0, "character": 0}}}]),
        ("coder-lsp.stats", []),
        ("coder-lsp.statsPage", []),
        ("coder-lsp.models", []),
        ("coder-lsp.status", []),
        ("coder-lsp.unknown", [TYPED]),
        ("coder-lsp.context", [{"uri": it.uri("main.py"), "position": {"line": TYPED}}]),
    ):
        answers.append(await _command(it, name, *arguments))
    for number, fault in enumerate(("400", "500", "garbage", "cut", "bad-utf8", "close")):
        proxy.fault = fault
        it.insert("main.py", 4, 4, f"x{number}")
        answers.append(await it.ghost("main.py", 4, 6))
    proxy.fault = "none"
    return repr(answers) + repr(it.messages) + repr(it.statuses)


async def _command(it: Session, name: str, *arguments: object) -> object:
    params = lsp.ExecuteCommandParams(name, list(arguments))
    try:
        return await it.client.workspace_execute_command_async(params)
    except Exception as error:  # noqa: BLE001  # what is refused is an answer as well
        return str(error)


def _kept(*more: Path) -> dict[str, str]:
    """Every file below the user's folders, by its name there, as text; of databases all that their tables hold."""
    home = paths.config_file().parents[1]
    kept = {}
    for file in [*home.rglob("*"), *more]:
        if file.is_file() and file != paths.config_file() and not file.is_symlink():
            name = str(file.relative_to(home)) if file.is_relative_to(home) else file.name
            kept[name] = file.read_bytes().decode("latin-1") + (_rows(file) if file.suffix == ".sqlite3" else "")
    return kept


def _rows(database: Path) -> str:
    """All values: on its pages a long text lies in pieces."""
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [value for table in tables for row in connection.execute(f"SELECT * FROM {table}") for value in row]
    connection.close()
    return "\n".join(value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values)


def _found(words, text: str) -> list[str]:
    """In whatever case: terms are kept in lower case."""
    folded = text.lower()
    return [word for word in words if word in folded]


def _git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)
