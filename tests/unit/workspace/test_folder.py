"""A root: which files it lists, what it says of a path, and what it reads, whatever is on the disk."""

from __future__ import annotations

import os
import time

import pytest

from coder_lsp.workspace.folder import MAX_DEPTH, FileStat, Folder, open_folders
from coder_lsp.workspace.source import Skipped, SourceText

CODE = "def area(width, height):\n    return width * height\n"


def write(root, *names, text=CODE):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def walked(folder):
    return [file.path for file in folder.walk()]


def test_files_in_a_fixed_order(tmp_path):
    write(tmp_path, "b/c.py", "b.py", "a/z.go", "a/y/x.rs", "a.py", "README", "photo.png")
    assert walked(Folder(tmp_path)) == ["a.py", "b.py", "a/z.go", "a/y/x.rs", "b/c.py"]
    stat = (tmp_path / "a.py").stat()
    assert next(Folder(tmp_path).walk()) == FileStat("a.py", stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("src/a.py", ""),
        ("not/there/a.py", ""),
        (".env", "not source code"),
        ("config/secrets.yaml", "looks like a secret"),
        (".ssh/tool.py", "looks like a secret"),
        ("node_modules/x/index.js", "installed packages or a cache"),
        ("a/.git/hooks/a.py", "installed packages or a cache"),
        ("src/gen/a.py", "ignored"),
        ("src/gen/deep/a.py", "ignored"),
        ("a.min.js", "generated"),
        ("../a.py", "outside of the root"),
        ("/etc/a.py", "outside of the root"),
        ("", "outside of the root"),
        ("a\nb.py", "unusable name"),
        ("a\nb/c.py", "unusable name"),
        ("\udcff.py", "unusable name"),
        ("a\xa0b/größe.py", ""),
        ("/".join(["d"] * 70) + "/a.py", "too deep"),
    ],
)
def test_admits(tmp_path, path, reason):
    write(tmp_path, "src/a.py")
    (tmp_path / ".gitignore").write_text("gen/\n")
    folder = Folder(tmp_path)
    assert folder.admits(path) == reason
    assert isinstance(folder.read(path), Skipped if reason else (SourceText, Skipped))


def test_walking_and_asking_agree(tmp_path):
    names = ["a.py", "b/a.py", "b/build/a.py", "b/c/node_modules/a.js", "venv3/lib/a.py", "cache/x/a.py", "b/.hg/a.py"]
    write(tmp_path, *names)
    write(tmp_path, "venv3/pyvenv.cfg", "cache/CACHEDIR.TAG")
    (tmp_path / "b" / ".gitignore").write_text("/build\n")
    asked, walking = Folder(tmp_path), Folder(tmp_path)
    assert [name for name in sorted(names) if not asked.admits(name)] == sorted(walked(walking)) == ["a.py", "b/a.py"]
    assert asked.admits("venv3/lib/a.py") == asked.admits("cache/x/a.py") == "installed packages or a cache"
    assert list(walking.folders()) == ["", "b", "b/c"]


def test_symbolic_links_are_not_followed(tmp_path):
    """Neither round in circles, nor out of the root, nor to what is listed under its own name already."""
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    write(outside, "a.py")
    write(root, "src/a.py")
    (root / "src" / "loop").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "out.py").symlink_to(outside / "a.py")
    (root / "again.py").symlink_to(root / "src" / "a.py")
    (root / "broken.py").symlink_to(root / "nothing")
    folder = Folder(root)
    assert walked(folder) == ["src/a.py"]
    assert Folder(root).admits("out/a.py") == Folder(root).admits("src/loop/src/a.py") == "symbolic link"
    assert folder.read("out/a.py") == Skipped("symbolic link")
    assert folder.read("out.py") == Skipped("not a regular file")
    (tmp_path / "link").symlink_to(root)
    assert walked(Folder(tmp_path / "link")) == ["src/a.py"], "the root itself may be one"


def test_strange_names_break_nothing(tmp_path):
    write(tmp_path, "a.py", "a b.py", "größe.py", "x" * 250 + ".py")
    for raw in (b"\xff\xfe.py", b"new\nline.py", b"bell\x07.py"):
        (tmp_path / os.fsdecode(raw)).write_bytes(b"x = 1\n")
    write(tmp_path, "\udcff/b.py")
    os.mkfifo(tmp_path / "pipe.py")
    listed = walked(Folder(tmp_path))
    assert sorted(listed) == sorted(["a.py", "a b.py", "größe.py", "x" * 250 + ".py"])
    assert all(name.encode() for name in listed)


def test_depth_is_limited(tmp_path):
    path = tmp_path
    for _ in range(MAX_DEPTH + 6):
        path = path / "d"
        path.mkdir()
        (path / "a.py").write_text("x = 1\n")
    assert len(walked(Folder(tmp_path))) == MAX_DEPTH


def test_a_root_that_is_not_there(tmp_path):
    folder = Folder(tmp_path / "gone")
    assert walked(folder) == []
    assert folder.admits("a.py") == ""
    assert folder.read("a.py") == Skipped("gone")


def test_roots_in_roots(tmp_path):
    write(tmp_path, "a.py", "inner/b.py", "inner/core/c.py", "innermost.py")
    roots = [tmp_path, tmp_path / "inner", tmp_path / "inner" / "core", tmp_path]
    folders = open_folders(roots)
    assert [walked(folder) for folder in folders] == [["a.py", "innermost.py"], ["b.py"], ["c.py"]]
    assert folders[0].admits("inner/b.py") == "in another root"
    (tmp_path / "link").symlink_to(tmp_path / "inner")
    assert len(open_folders([tmp_path / "inner", tmp_path / "link"])) == 1


def test_relative(tmp_path):
    folder = Folder(tmp_path / "root")
    assert folder.relative(tmp_path / "root" / "a" / "b.py") == "a/b.py"
    assert folder.relative(tmp_path / "root") == ""
    assert folder.relative(tmp_path / "root2" / "a.py") is None
    assert folder.relative(tmp_path / "root" / ".." / "a.py") is None


def test_rules_are_read_again_when_asked(tmp_path):
    write(tmp_path, "a.py", "gen/b.py")
    folder = Folder(tmp_path)
    assert walked(folder) == ["a.py", "gen/b.py"]
    (tmp_path / ".gitignore").write_text("gen\n")
    assert folder.admits("gen/b.py") == ""
    folder.refresh_rules()
    assert folder.admits("gen/b.py") == "ignored"
    assert walked(folder) == ["a.py"]


def test_what_came_in_the_place_of_a_folder(tmp_path):
    write(tmp_path, "lib/a.py", "lib/sub/b.py")
    folder = Folder(tmp_path)
    assert len(walked(folder)) == 2
    (tmp_path / "lib" / "pyvenv.cfg").write_text("")
    folder.forget("lib")
    assert folder.admits("lib/sub/b.py") == "installed packages or a cache"


def test_read(tmp_path):
    secret = "password = '" + "Xk9" + "#mQ2vL8pR'"
    write(tmp_path, "a.py", text=CODE + secret + "\r\nlast = 1\r\n")
    source = Folder(tmp_path).read("a.py")
    assert source.text == CODE + "\nlast = 1\n"
    assert source.masked_lines == 1
    assert source.mtime_ns == (tmp_path / "a.py").stat().st_mtime_ns
    assert source.size_bytes == (tmp_path / "a.py").stat().st_size
    assert len(source.digest) == 16
    assert Folder(tmp_path).read("a.py") == source


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"x = '" + b"a" * 2000 + b"'\n", "minified"),
        (b"\0\1\2", "binary"),
        (b"# @generated\nx = 1\n", "generated"),
        (b"a" * 1_000_001, "too large"),
    ],
)
def test_left_out_by_content(tmp_path, data, reason):
    (tmp_path / "a.py").write_bytes(data)
    assert Folder(tmp_path).read("a.py") == Skipped(reason)


def test_ten_thousand_files_take_no_time(tmp_path):
    for number in range(500):
        write(tmp_path, *(f"pkg{number % 20}/mod{number}/file_{index}.py" for index in range(20)), text="x = 1\n")
    lines = [line for number in range(30) for line in (f"*.x{number}", f"/foo{number}/bar", f"name{number}/")]
    (tmp_path / ".gitignore").write_text("\n".join(lines))
    folder = Folder(tmp_path)
    began = time.thread_time()
    assert len(walked(folder)) == 10_000
    assert time.thread_time() - began < 1.0  # about 0.2 s
