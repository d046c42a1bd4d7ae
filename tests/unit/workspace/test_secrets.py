"""Secrets do not get into an index or a prompt: by name, by content, over a corpus of the shapes they have."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import secret_shapes as corpus

from coder_lsp.workspace.detectors import SCREENS, library_detector, screened
from coder_lsp.workspace.folder import Folder
from coder_lsp.workspace.secrets import is_secret, mask

SHAPES = corpus.shapes()
CLEAN = '''def total(items: list[Item], *, token: str = "") -> int:
    """Sum of the prices, see https://docs.internal/prices for the key figures."""
    secret = self.secrets.get("prices")
    return sum(item.price for item in items if item.key == token)


class Author(Base):
    password = Column(String(60), nullable=False)
'''


def test_the_corpus_is_large_and_varied():
    assert len(SHAPES) >= 100
    assert len({shape.secret for shape in SHAPES}) >= 60
    assert len({shape.path.rpartition(".")[2] for shape in SHAPES}) >= 15


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_line_with_a_secret_becomes_empty(shape):
    before, after = "first = 1\n", "\nlast = 2\n"
    masked, lines = mask(before + shape.line + after, shape.path)
    assert shape.secret not in masked
    assert (masked, lines) == (before + after, 1)


@pytest.mark.parametrize(("path", "line"), corpus.LOOK_ALIKES, ids=lambda value: value[:50])
def test_what_only_looks_like_a_secret_stays(path, line):
    assert mask(line, path) == (line, 0)


@pytest.mark.parametrize("name", corpus.private_keys())
def test_a_private_key_is_blank_from_its_beginning_to_its_end(name):
    key = corpus.private_keys()[name]
    masked, lines = mask(f"first = 1\n{key}\nlast = 2\n", "a.py")
    shown = [line for line in masked.split("\n") if line]
    kept = [line for line in ("first = 1", "key: |", "last = 2") if line in shown]
    assert shown == kept
    assert masked.count("\n") == key.count("\n") + 3
    assert lines >= 7


def test_a_key_on_one_line_takes_no_other_with_it():
    line = '"private_key": "-----BEGIN PRIVATE ' + 'KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n",'
    assert mask(f"{{\n{line}\n  a: 1\n}}", "a.json") == ("{\n\n  a: 1\n}", 1)


def test_code_that_looks_for_keys_is_code():
    code = 'if text.startswith("-----BEGIN PRIVATE ' + 'KEY-----"):\n    return parse(text, strict=True)\nother = 1\n'
    assert mask(code, "a.py") == ("\n    return parse(text, strict=True)\nother = 1\n", 1)


@pytest.mark.parametrize(
    "screen", SCREENS, ids=lambda screen: f"{screen.module} {screen.words or screen.shape or screen.named}"
)
def test_no_screen_hides_what_its_detector_finds(screen):
    """A detector has one or more screens; together they let every line through on which it finds something."""
    detector = library_detector(screen)
    siblings = [one for one in SCREENS if one.name == screen.name]
    lines = [shape.line for shape in SHAPES] + [line for _, line in corpus.LOOK_ALIKES]
    lines += (
        [line.upper() for line in lines] + [line.lower() for line in lines] + [f"export X={line};#" for line in lines]
    )
    lines += [line for key in corpus.private_keys().values() for line in key.split("\n")]
    found = [number for number, line in enumerate(lines) if any(True for _ in detector.analyze_string(line))]
    passed = {number for one in siblings for number in screened(one, "\n".join(lines))}
    assert passed.issuperset(found), [lines[number] for number in found if number not in passed]


def test_every_detector_of_the_library_is_used_or_left_out_on_purpose():
    plugins = Path(importlib.util.find_spec("detect_secrets.plugins").origin).parent.glob("*.py")
    left_out = {"__init__", "base", "high_entropy_strings", "ip_public", "keyword"}
    assert {path.stem for path in plugins} - left_out == {screen.module for screen in SCREENS}


def test_the_network_is_not_asked(monkeypatch):
    """Verification would send the secret away."""
    import socket

    def refuse(*_args, **_kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert mask("\n".join(shape.line for shape in SHAPES), "a.yaml")[1] == len(SHAPES)


NETWORKS = ("requests", "urllib3", "http.client", "ssl")
LOADS_ALL = f"""
import sys
from coder_lsp.workspace.detectors import SCREENS, library_detector
assert [library_detector(screen) for screen in SCREENS]
assert sys.modules["detect_secrets.plugins.aws"]
print([name for name in {NETWORKS} if name in sys.modules])
try:
    list(sys.modules["detect_secrets.plugins.aws"].verify_aws_secret_access_key("AKIA", "secret"))
except AttributeError:
    print("cannot ask")
"""


def test_the_library_cannot_verify_what_it_finds_as_it_has_no_network_to_ask():
    """Each server held 7 MB of an HTTP client from the first line that looked like a key."""
    done = subprocess.run([sys.executable, "-c", LOADS_ALL], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\ncannot ask\n"


def test_overlong_lines_are_not_searched_but_blanked():
    line = "x = '" + "a:b@" * 200_000 + "', password"
    began = time.thread_time()
    assert mask(f"a = 1\n{line}\nb = 2", "a.py") == ("a = 1\n\nb = 2", 1)
    assert time.thread_time() - began < 2


def test_characters_that_grow_in_lower_case_keep_lines_in_step():
    line = next(shape.line for shape in SHAPES if shape.name.startswith("github personal"))
    assert mask(f"İİİ = 'İ'\n{line}\nİ = 1", "a.py") == ("İİİ = 'İ'\n\nİ = 1", 1)


def test_clean_code_is_cheap():
    text = CLEAN * (6000 // len(CLEAN))
    mask(text, "a.py")
    best = min(_seconds(text) for _ in range(7))
    assert mask(text, "a.py") == (text, 0)
    assert best < 0.01  # about 0.0005 s


def _seconds(text: str) -> float:
    began = time.thread_time()
    mask(text, "a.py")
    return time.thread_time() - began


@pytest.mark.parametrize(
    "path", [".env", "prod.env", "id_rsa", "server.pem", ".npmrc", "config/secrets.yaml", ".aws/config"]
)
def test_files_of_secrets_by_name(path):
    assert is_secret(path)


def test_no_file_of_the_corpus_gives_anything_away(tmp_path):
    """Through the folder, as the index reads it: every secret, in files of its format."""
    filler = "def area(width, height):\n    return width * height\n" * 20
    folder = Folder(tmp_path)
    for number, shape in enumerate(SHAPES):
        suffix = shape.path.rpartition(".")[2]
        name = f"file{number}.{suffix}" if suffix != shape.path else f"{number}/{shape.path}"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{filler}{shape.line}\n{filler}", encoding="utf-8")
        source = folder.read(name)
        assert shape.secret not in getattr(source, "text", "")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "value", ["naver-hyperclovax/HyperCLOVAX-SEED-Think-14B", "a" * 900 + "!", "ab-" * 300 + "!", "a.b:" * 200 + "14B"]
)
def test_names_that_are_almost_only_words_take_no_longer_than_others(value):
    """A pattern with two ways to match tried all of them: hours for the first of these, which is a model's name."""
    assert mask(f"token = '{value}'\nx = 1\n")[0].endswith("x = 1\n")
