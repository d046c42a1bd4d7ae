"""Reading: any bytes, any kind of file, at any moment."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.workspace.source import RawFile, Skipped, decode, read_raw

TEXT = "def grüße():\n    return '€'\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(encoding):
    assert decode(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("mark", "encoding"), [(b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"), (b"\0\0\xfe\xff", "utf-32-be")]
)
def test_byte_order_marks(mark, encoding):
    assert decode(mark + TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x7fELF\x02\x01\x01\0\0\0", "binary"),
        (b"int x;\n" + b"\x01\x02\x03" * 5, "binary"),
        (bytes(range(128, 250)) * 3, "unknown encoding"),
        (b"\xff\xfea", "not valid utf-16-le"),
        (b"\xef\xbb\xbf\xff", "not valid utf-8"),
        ("名前".encode("shift-jis") * 20, "unknown encoding"),
    ],
)
def test_what_is_not_text(data, reason):
    assert decode(data) == Skipped(reason)


def test_lines_keep_their_numbers():
    assert decode(b"a\r\nb\rc\nd\r") == "a\nb\nc\nd\n"


@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    assert isinstance(decode(data), (str, Skipped))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_utf8_comes_back(text):
    assert decode(text.encode()) == text.removeprefix("\ufeff")


def test_a_regular_file(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\n")
    assert read_raw(path, 100) == RawFile(b"x = 1\n", path.stat().st_mtime_ns)
    assert read_raw(path, 6) == RawFile(b"x = 1\n", path.stat().st_mtime_ns)
    assert read_raw(path, 5) == Skipped("too large")


def test_what_is_not_a_regular_file_is_not_waited_for(tmp_path):
    """A pipe without a writer blocks whoever opens it without care."""
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "link.py").symlink_to(tmp_path / "folder.py")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket.py"))
    server.close()
    for name in ("pipe.py", "folder.py", "link.py", "socket.py"):
        assert read_raw(tmp_path / name, 100) == Skipped("not a regular file")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    assert read_raw(tmp_path / "zero.py", 100) == Skipped("not a regular file")


def test_what_is_not_there(tmp_path):
    assert read_raw(tmp_path / "gone.py", 100) == Skipped("gone")
    assert read_raw(tmp_path / ("x" * 5000 + ".py"), 100) == Skipped("not a regular file")
    assert read_raw(tmp_path / "nul\0.py", 100) == Skipped("not a regular file")


def test_a_forbidden_file():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.py"
        path.write_text("x")
        path.chmod(0)
        user = os.geteuid()
        try:
            if user == 0:  # may read everything
                Path(folder).chmod(0o755)
                os.seteuid(65534)
            assert read_raw(path, 100) == Skipped("unreadable")
        finally:
            os.seteuid(user)


def test_a_large_file_is_not_read(tmp_path):
    """A sparse file of 100 MB: its size is known before its content."""
    path = tmp_path / "long.py"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    assert read_raw(path, 1_000_000) == Skipped("too large")


def test_a_file_that_grows_while_it_is_read_stays_within_the_limit():
    """``/proc`` files say that they are empty and are not."""
    maps = Path("/proc").resolve() / str(os.getpid()) / "maps"
    if not maps.exists():
        pytest.skip("needs /proc")
    assert read_raw(maps, 10) == Skipped("too large")
