"""Ignore files: what git leaves out is left out, and our own two are stronger."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from coder_lsp.workspace.folder import Folder
from coder_lsp.workspace.git_config import global_excludes


@pytest.fixture(autouse=True)
def no_git_configuration(tmp_path_factory, monkeypatch):
    """Nothing of the machine's: not its excludes, not a repository above the temporary folder."""
    home = tmp_path_factory.mktemp("git-home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    return home


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def walked(root: Path, **settings) -> set[str]:
    return {file.path for file in Folder(root, **settings).walk()}


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("", {"a.py", "build/a.py", "src/a.py", "src/b.py", "src/build/a.py"}),
        ("build/", {"a.py", "src/a.py", "src/b.py"}),
        ("/build/", {"a.py", "src/a.py", "src/b.py", "src/build/a.py"}),
        ("a.py\n!/src/a.py", {"src/a.py", "src/b.py"}),
        ("src/*\n!src/b.py", {"a.py", "build/a.py", "src/b.py"}),
        ("src/\n!src/b.py", {"a.py", "build/a.py"}),
        ("**/build", {"a.py", "src/a.py", "src/b.py"}),
        ("src/**", {"a.py", "build/a.py"}),
        ("# a.py\n\\#a.py\n[", {"a.py", "build/a.py", "src/a.py", "src/b.py", "src/build/a.py"}),
        ("*\n!*/\n!b.py", {"src/b.py"}),
        ("a.py   \r\n", {"src/b.py"}),
    ],
)
def test_patterns(tmp_path, rules, left):
    write(tmp_path, dict.fromkeys(("a.py", "build/a.py", "src/a.py", "src/b.py", "src/build/a.py"), "x = 1\n"))
    (tmp_path / ".gitignore").write_text(rules)
    assert walked(tmp_path) == left


def test_the_nearer_file_wins(tmp_path):
    write(
        tmp_path, {".gitignore": "*.py\n", "a.py": "1", "src/.gitignore": "!b.py\n", "src/a.py": "1", "src/b.py": "1"}
    )
    assert walked(tmp_path) == {"src/b.py"}


def test_our_own_ignore_file_is_the_strongest_and_settings_stronger(tmp_path):
    write(tmp_path, dict.fromkeys(("a.py", "b.py", "c.py", "d.py"), "1"))
    write(tmp_path, {".gitignore": "*.py", ".ignore": "!b.py\n!c.py\n!d.py", ".coderlspignore": "c.py"})
    assert walked(tmp_path) == {"b.py", "d.py"}
    assert walked(tmp_path, exclude=["d.py"]) == {"b.py"}
    assert walked(tmp_path, exclude=["!a.py"]) == {"a.py", "b.py", "d.py"}


def test_including_a_folder_again_includes_only_what_its_own_rules_leave(tmp_path):
    write(tmp_path, {".gitignore": "build/\n*.js\n", ".ignore": "!build/", "build/a.py": "1", "build/a.js": "1"})
    assert walked(tmp_path) == {"build/a.py"}


def test_rules_above_an_opened_folder_hold_but_not_against_itself(tmp_path):
    write(tmp_path, {".git/HEAD": "", ".gitignore": "/pkg/\n*.js\n/pkg/gen/", "pkg/a.py": "1"})
    write(tmp_path, {"pkg/a.js": "1", "pkg/gen/a.py": "1"})
    assert walked(tmp_path) == set()
    assert walked(tmp_path / "pkg") == {"a.py"}


def test_excludes_outside_of_the_tree(tmp_path, no_git_configuration):
    write(tmp_path, {".git/info/exclude": "a.py\n", "a.py": "1", "b.py": "1", "c.py": "1"})
    write(no_git_configuration, {".config/git/ignore": "b.py\n"})
    assert walked(tmp_path) == {"c.py"}
    write(no_git_configuration, {".gitconfig": '[core]\n\texcludesFile = "~/mine" # here\n', "mine": "c.py\n"})
    assert walked(tmp_path) == {"b.py"}
    write(tmp_path, {".git/config": "[core]\n excludesfile = /nowhere\n"})
    assert walked(tmp_path) == {"b.py", "c.py"}


def test_the_configuration_of_git_is_followed(tmp_path, no_git_configuration, monkeypatch):
    home = no_git_configuration
    write(home, {".gitconfig": '[user]\nexcludesFile=/no\n[include]\npath = more\n[includeIf "x"]\npath=no\n'})
    write(home, {"more": "[CORE] ExcludesFile = /a\\\n/b ; c\n"})
    assert global_excludes(tmp_path) == Path("/a/b")
    write(home, {"more": "[include]\npath = more\n"})
    assert global_excludes(tmp_path) == home / ".config/git/ignore", "a loop of includes ends"
    write(home, {"other": '[core "sub"]\nexcludesFile=/no\n[core]\nexcludesFile="/with \\"quotes\\""\n'})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "other"))
    assert global_excludes(tmp_path) == Path('/with "quotes"')


def test_a_repository_inside_has_its_own_rules(tmp_path):
    write(tmp_path, {".git/HEAD": "", ".gitignore": "*.js\n", "a.js": "1", "a.py": "1"})
    write(tmp_path, {"sub/.git": "gitdir: ../.git/modules/sub\n", "sub/.gitignore": "*.py", "sub/a.js": "1"})
    write(tmp_path, {"sub/a.py": "1", "sub/b.js": "1", ".git/modules/sub/info/exclude": "b.js\n"})
    assert walked(tmp_path) == {"a.py", "sub/a.js"}


def test_a_work_tree_finds_the_excludes_of_its_repository(tmp_path):
    write(tmp_path, {"main/.git/info/exclude": "b.py", "main/.git/worktrees/w/commondir": "../..\n"})
    write(tmp_path, {"w/.git": f"gitdir: {tmp_path}/main/.git/worktrees/w\n", "w/a.py": "1", "w/b.py": "1"})
    assert walked(tmp_path / "w") == {"a.py"}


def test_strange_ignore_files_are_survived(tmp_path):
    write(tmp_path, {"a.py": "1", "b.py": "1", "c/d.py": "1"})
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbfa.py\n\xff\xfe\0\n!\n/\n[z-\n\\\n")
    (tmp_path / ".ignore").mkdir()
    (tmp_path / "c" / ".coderlspignore").symlink_to("/dev/zero")
    assert walked(tmp_path) >= {"b.py"}
    assert "a.py" not in walked(tmp_path)


@pytest.mark.skipif(shutil.which("git") is None, reason="git says what is right")
@pytest.mark.parametrize("seed", range(40))
def test_equal_to_git_on_random_rules(tmp_path, seed):
    """The same files as ``git ls-files`` on a random tree with random ignore files at random depths."""
    chance = random.Random(seed)
    folders = [""]
    for _ in range(12):
        folders.append(chance.choice(folders) + chance.choice(("a", "b", "lib", "build")) + "/")
    names = ("a.py", "b.py", "x.js", "lib.py", "build.c", "a b.py", "#x.py", "!y.py")
    write(tmp_path, {folder + name: "1" for folder in folders for name in chance.sample(names, 4)})
    parts = ("a", "b", "lib", "build", "*", "**", "*.py", "a.*", "?.py", "[ab].py", "b*", "x.js", "\\#x.py", "\\!y.py")
    for folder in ["", *chance.sample(folders, 3)]:
        lines = [
            chance.choice(("", "", "", "!"))
            + chance.choice(("", "", "/"))
            + "/".join(chance.choices(parts, k=chance.choice((1, 1, 1, 2, 3))))
            + chance.choice(("", "", "/"))
            for _ in range(chance.randint(1, 6))
        ]
        (tmp_path / folder / ".gitignore").write_text("\n".join(lines) + "\n")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    ).stdout
    assert walked(tmp_path) == {name for name in listed.split("\0") if name and not name.endswith(".gitignore")}
