"""What git is asked, and that a hostile repository gets nothing started."""

from __future__ import annotations

import os
import shutil
import zlib

import pytest
from support.repositories import commit, git, repository, write

from coder_lsp.errors import InputError
from coder_lsp.workspace import git as workspace_git
from coder_lsp.workspace.git import find_repository


def test_entries_with_odd_names_links_and_submodules(tmp_path):
    inner = repository(tmp_path / "inner", [{"a.py": "a\n"}])
    folder = repository(tmp_path / "r", [{"a.py": "x = 1\n", "b\nc.py": "y = 2\n", "d/größe.py": "z\n"}])
    (folder / "link.py").symlink_to("a.py")
    git(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "sub")
    commit(folder, {})
    found = find_repository(folder)
    entries = {entry.path: (entry.kind, entry.size_bytes) for entry in found.files(found.branch().commit)}
    assert entries["a.py"] == ("file", 6)
    assert entries["b\nc.py"] == ("file", 6)
    assert entries["d/größe.py"] == ("file", 2)
    assert entries["link.py"][0] == "link"
    assert entries["sub"][0] == "submodule"


def test_changes_come_newest_first_and_merges_count_when_they_landed(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "1\n", "b.py": "1\n"}, {"a.py": "2\n"}])
    git(folder, "checkout", "-q", "-b", "side")
    commit(folder, {"side.py": "1\n"}, date="2024-01-05T00:00:00Z")
    git(folder, "checkout", "-q", "main")
    commit(folder, {"c.py": "1\n"}, date="2024-03-01T00:00:00Z")
    git(folder, "merge", "-q", "--no-ff", "side", "-m", "merge", date="2024-03-09T00:00:00Z")
    found = find_repository(folder)
    changes = list(found.changed(found.branch().commit))
    assert [path for path, _ in changes] == ["side.py", "c.py", "a.py", "a.py", "b.py"]
    times = [time for _, time in changes]
    assert times == sorted(times, reverse=True)
    assert times[0] == 1709942400  # 2024-03-09, when it was merged


def test_contents_of_blobs_in_the_order_they_are_asked_for(tmp_path):
    texts = {f"f{number}.py": f"x = {number}\n" * number for number in range(200)}
    folder = repository(tmp_path / "r", [texts])
    found = find_repository(folder)
    entries = list(found.files(found.branch().commit))
    with found.blobs() as blobs:
        names = [entry.blob for entry in entries]
        contents = list(blobs.read([*names, "0" * 40]))
    assert [data.decode() for data in contents[:-1]] == [texts[entry.path] for entry in entries]
    assert contents[-1] is None


def test_the_default_branch_is_the_remotes_then_a_usual_name_then_head(tmp_path):
    origin = repository(tmp_path / "origin", [{"a.py": "1\n"}], branch="release")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    clone = tmp_path / "clone"
    git(clone, "checkout", "-q", "-b", "work")
    commit(clone, {"w.py": "1\n"})
    assert find_repository(clone).branch().name == "release"
    usual = repository(tmp_path / "usual", [{"a.py": "1\n"}])
    git(usual, "checkout", "-q", "-b", "work")
    commit(usual, {"w.py": "1\n"})
    assert find_repository(usual).branch().name == "main"
    assert find_repository(usual).branch("work").name == "work"
    odd = repository(tmp_path / "odd", [{"a.py": "1\n"}], branch="odd")
    assert find_repository(odd).branch().name == "odd"


def test_what_a_local_branch_has_beyond_the_remote_is_read(tmp_path):
    origin = repository(tmp_path / "origin", [{"a.py": "1\n"}])
    git(tmp_path, "clone", "-q", str(origin), "clone")
    commit(tmp_path / "clone", {"new.py": "1\n"})
    found = find_repository(tmp_path / "clone")
    assert "new.py" in {entry.path for entry in found.files(found.branch().commit)}


def test_a_repository_without_commits_or_without_the_branch(tmp_path):
    with pytest.raises(InputError, match="has no commits"):
        find_repository(repository(tmp_path / "empty")).branch()
    folder = repository(tmp_path / "r", [{"a.py": "1\n"}])
    with pytest.raises(InputError, match="no branch or commit '--all'"):
        find_repository(folder).branch("--all")


def test_bare_repositories_and_shallow_clones(tmp_path):
    origin = repository(tmp_path / "origin", [{"a.py": "1\n"}, {"b.py": "1\n"}])
    git(tmp_path, "clone", "-q", "--bare", str(origin), "bare.git")
    bare = find_repository(tmp_path / "bare.git")
    assert {entry.path for entry in bare.files(bare.branch().commit)} == {"a.py", "b.py"}
    assert not bare.is_shallow()
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    shallow = find_repository(tmp_path / "shallow")
    assert shallow.is_shallow()
    assert len({time for _, time in shallow.changed(shallow.branch().commit)}) == 1


def test_nothing_that_a_repository_names_is_started(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "1\n"}])
    trap = tmp_path / "trap"
    write(tmp_path, {"evil": f"#!/bin/sh\ntouch {trap}\ncat\n"})
    evil = tmp_path / "evil"
    evil.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "gpg.program", "core.sshCommand", "diff.external", "filter.x.smudge"):
        git(folder, "config", key, str(evil))
    git(folder, "config", "log.showSignature", "true")
    git(folder, "config", "diff.x.textconv", str(evil))
    write(folder, {".gitattributes": "*.py diff=x filter=x\n"})
    for hook in ("post-checkout", "post-index-change", "reference-transaction"):
        shutil.copy(evil, folder / ".git" / "hooks" / hook)
    # Once a signature is looked at, gpg.program runs: a commit that has one.
    tree = git(folder, "rev-parse", "HEAD^{tree}").strip()
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----"
    signed = f"tree {tree}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n{signature}\n\nm\n"
    (tmp_path / "commit").write_text(signed)
    name = git(folder, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit")).strip()
    git(folder, "-c", f"core.hooksPath={os.devnull}", "update-ref", "refs/heads/main", name)
    trap.unlink(missing_ok=True)
    git(folder, "-c", f"core.hooksPath={os.devnull}", "log", "-1")
    assert trap.exists(), "the trap works: a plain git log starts what the repository names"
    trap.unlink()
    found = find_repository(folder)
    commit_name = found.branch().commit
    entries = list(found.files(commit_name))
    list(found.changed(commit_name))
    with found.blobs() as blobs:
        assert list(blobs.read([entry.blob for entry in entries])) == [b"1\n"]
    assert not trap.exists()


def test_a_folder_that_git_refuses_is_an_error_that_says_why(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "1\n"}])
    (folder / ".git" / "HEAD").write_text("nonsense\n")
    with pytest.raises(InputError, match="git cannot read"):
        find_repository(folder)


def test_what_a_command_prints_comes_by_lines(tmp_path):
    folder = repository(tmp_path / "r", [{"a.py": "1\n"}, {"b.py": "1\n"}])
    found = find_repository(folder)
    lines = list(found.lines("rev-list", found.branch().commit))
    assert b"".join(lines).decode() == git(folder, "log", "--format=%H")
    assert len(lines) == 2
    with pytest.raises(InputError, match="git cannot read"):
        list(found.lines("rev-list", "absent"))


def damage(folder, path, data):
    name = git(folder, "rev-parse", f"HEAD:{path}").strip()
    place = folder / ".git" / "objects" / name[:2] / name[2:]
    place.chmod(0o644)
    place.write_bytes(data)
    return name


def test_a_damaged_object_is_an_error_that_says_which(tmp_path):
    texts = {f"f{number:03}.py": f"x = {number}\n" for number in range(200)}
    folder = repository(tmp_path / "r", [texts])
    found = find_repository(folder)
    commit_name = found.branch().commit
    names = [entry.blob for entry in found.files(commit_name)]
    name = damage(folder, "f005.py", b"damaged")
    with pytest.raises(InputError, match=f"{name} is damaged"):
        list(found.files(commit_name))
    with found.blobs() as blobs:
        contents = list(blobs.read(names))
    assert [number for number, data in enumerate(contents) if data is None] == [5], "as one that is not there"
    # Its head says more than is there: git ends. The names of more than one pipe are still to be asked for.
    name = damage(folder, "f005.py", zlib.compress(b"blob 7000\0" + os.urandom(7000))[:5000])
    with pytest.raises(InputError, match=name), found.blobs() as blobs:
        list(blobs.read(names))


def test_a_partial_clone_fetches_nothing_and_says_what_to_do(tmp_path):
    origin = repository(tmp_path / "origin", [{"a.py": "1\n"}])
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{origin}", "partial")
    found = find_repository(tmp_path / "partial")
    with pytest.raises(InputError, match="git cannot read") as raised:
        list(found.files(found.branch().commit))
    assert "partial clone" in raised.value.hint


def test_not_even_an_older_git_starts_the_program_that_would_fetch(tmp_path, monkeypatch):
    trap = tmp_path / "trap"
    origin = repository(tmp_path / "origin", [{"a.py": "1\n"}])
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{origin}", "partial")
    folder = tmp_path / "partial"
    git(folder, "config", "remote.origin.url", f"ext::touch {trap}")
    git(folder, "config", "protocol.ext.allow", "always")
    safe = workspace_git._environment
    known = ("GIT_NO_LAZY_FETCH",)
    monkeypatch.setattr(
        workspace_git, "_environment", lambda: {name: value for name, value in safe().items() if name not in known}
    )
    found = find_repository(folder)
    with pytest.raises(InputError):
        list(found.files(found.branch().commit))
    assert not trap.exists()
    known = (*known, "GIT_ALLOW_PROTOCOL")
    with pytest.raises(InputError):
        list(found.files(found.branch().commit))
    assert trap.exists(), "the trap works"


def test_no_repository(tmp_path):
    assert find_repository(tmp_path) is None
