"""Watching real folders: what happens on the disk arrives, in batches, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from coder_lsp.workspace.folder import Folder, open_folders
from coder_lsp.workspace.mounts import network_file_system
from coder_lsp.workspace.watch import Changes, Watcher

DEADLINE_S = 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify")


class Log:
    """Collects batches; waits for what must come."""

    def __init__(self) -> None:
        self.batches: list[Changes] = []
        self.threads: set[str] = set()
        self._came = threading.Condition()

    def __call__(self, changes: Changes) -> None:
        with self._came:
            self.batches.append(changes)
            self.threads.add(threading.current_thread().name)
            self._came.notify_all()

    def wait(self, true) -> None:
        with self._came:
            assert self._came.wait_for(lambda: true(self), DEADLINE_S), self.batches

    @property
    def paths(self) -> set[str]:
        return {path for batch in self.batches for path in batch.paths}

    @property
    def rescans(self) -> int:
        return sum(batch.rescan for batch in self.batches)

    def wait_for(self, *paths: str) -> None:
        self.wait(lambda log: log.paths.issuperset(paths))

    def wait_for_rescan(self) -> None:
        self.wait(lambda log: log.rescans)

    def clear(self) -> None:
        with self._came:
            self.batches.clear()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    write(folder, "a.py", "src/b.py", "src/deep/c.py")
    return folder


@pytest.fixture
def watching():
    """Starts watchers, and shows that each one leaves no thread and no descriptor."""
    before = set(threading.enumerate())
    descriptors = len(list(Path("/dev/fd").iterdir()))
    watchers = []

    def start(*roots, **settings):
        log = Log()
        watcher = Watcher([one if isinstance(one, Folder) else Folder(one) for one in roots], log, **settings)
        watcher.start()
        watchers.append(watcher)
        return log

    yield start
    for watcher in watchers:
        watcher.stop()
    assert set(threading.enumerate()) <= before
    assert len(list(Path("/dev/fd").iterdir())) <= descriptors


def write(root, *names, text="x = 1\n"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def drain(reports, enough):
    """Paths and looks at everything, until they are enough."""
    found, rescans, deadline = set(), 0, time.monotonic() + DEADLINE_S
    while not enough(found, rescans) and time.monotonic() < deadline:
        for changes in reports.wait(0.1):
            found |= changes.paths
            rescans += changes.rescan
    return found, rescans


def settle(root, log, name="settled.py"):
    """All that was done before has been reported once this has."""
    write(root, name)
    log.wait(lambda one: name in one.paths or one.rescans)


def test_create_change_and_delete(root, watching):
    log = watching(root)
    write(root, "new.py")
    log.wait_for("new.py")
    write(root, "src/deep/c.py", text="changed\n")
    log.wait_for("src/deep/c.py")
    (root / "a.py").unlink()
    log.wait_for("a.py")
    assert log.rescans == 0
    assert {batch.root for batch in log.batches} == {root}
    assert log.threads == {"coder-lsp watch"}


def test_moves_of_files_are_both_ends(root, watching):
    log = watching(root)
    (root / "a.py").rename(root / "src" / "moved.py")
    log.wait_for("a.py", "src/moved.py")


def test_an_atomic_save_is_a_change_of_its_target(root, watching):
    log = watching(root)
    write(root, ".a.py.swp.tmp", text="saved\n")
    (root / ".a.py.swp.tmp").replace(root / "a.py")
    log.wait_for("a.py")
    assert log.paths == {"a.py"}


def test_a_truncated_and_a_growing_file(root, watching):
    log = watching(root)
    os.truncate(root / "a.py", 1)
    log.wait_for("a.py")
    with (root / "src" / "b.py").open("a") as file:
        file.write("more\n")
        file.flush()
        log.wait_for("src/b.py")


def test_what_is_not_admitted_is_not_reported(root, watching):
    write(root, "node_modules/x/index.js", ".gitignore", text="build/\n")
    (root / "build").mkdir()
    (root / ".git").mkdir()
    log = watching(root)
    write(root, "build/out.py", "node_modules/x/index.js", ".git/objects/a.py", "photo.png", ".env", "secrets.yaml")
    write(root, "node_modules/y/z.js")
    settle(root, log)
    assert log.paths == {"settled.py"}


def test_new_folders_with_what_is_in_them(root, watching, tmp_path):
    log = watching(root)
    write(root, "one/two/three/d.py")
    log.wait_for("one/two/three/d.py")
    write(root, "one/two/three/e.py", "one/f.py")
    log.wait_for("one/two/three/e.py", "one/f.py")
    write(tmp_path, "outside/sub/g.py")
    (tmp_path / "outside").rename(root / "inside")
    log.wait_for("inside/sub/g.py")
    write(root, "inside/sub/h.py")
    log.wait_for("inside/sub/h.py")


def test_many_new_folders_at_once_lose_no_file(root, watching):
    """Files are written into folders before anybody can have watched those."""
    log = watching(root)
    names = [f"n{number % 7}/m{number}/k/file.py" for number in range(300)]
    write(root, *names)
    log.wait(lambda one: one.rescans or one.paths.issuperset(names))


def test_a_moved_folder_is_a_reason_to_look_again(root, watching):
    log = watching(root)
    (root / "src").rename(root / "lib")
    log.wait_for_rescan()
    settle(root, log)
    log.clear()
    write(root, "lib/deep/c.py", text="changed\n")
    log.wait_for("lib/deep/c.py")
    shutil.rmtree(root / "lib")
    write(root, "src/again.py")
    log.wait_for("lib/b.py", "lib/deep/c.py", "src/again.py")


def test_a_folder_moved_out_is_not_watched_any_more(root, watching, tmp_path):
    log = watching(root)
    (root / "src").rename(tmp_path / "away")
    log.wait_for_rescan()
    log.clear()
    write(tmp_path / "away", "b.py", text="changed\n")
    settle(root, log)
    assert log.paths == {"settled.py"}


def test_a_removed_folder_that_comes_back(root, watching):
    log = watching(root)
    for number in range(20):
        shutil.rmtree(root / "src")
        write(root, f"src/deep/c{number}.py")
    log.wait_for("src/deep/c19.py")
    log.clear()
    write(root, "src/deep/last.py", "src/last.py")
    log.wait_for("src/deep/last.py", "src/last.py")


def test_a_branch_switch_is_one_look_at_everything(root, watching):
    """3,000 files: one batch, not one for each moment of quiet."""
    names = [f"pkg{number % 30}/file{number}.py" for number in range(3000)]
    write(root, *names)
    log = watching(root)
    write(root, *names, text="other\n")
    log.wait_for_rescan()
    assert sum(len(batch.paths) for batch in log.batches) <= 2000
    assert log.rescans == 1


def test_a_busy_disk_does_not_hold_changes_back(root, watching):
    """Quiet never comes; the batch does."""
    log = watching(root, debounce_ms=100)
    ended = threading.Event()

    def scribble():
        while not ended.wait(0.01):
            write(root, "a.py", text="again\n")

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        log.wait(lambda one: len(one.batches) >= 2)
    finally:
        ended.set()
        writer.join()


def test_changed_rules_change_what_is_watched(root, watching):
    log = watching(root)
    (root / ".gitignore").write_text("src/\n")
    log.wait_for_rescan()
    settle(root, log, "one.py")
    log.clear()
    write(root, "src/b.py", "src/deep/new.py")
    settle(root, log, "two.py")
    assert "src/b.py" not in log.paths
    (root / ".gitignore").unlink()
    log.wait_for_rescan()
    settle(root, log, "three.py")
    log.clear()
    write(root, "src/deep/c.py", text="changed\n")
    log.wait_for("src/deep/c.py")


def test_a_folder_that_becomes_an_environment(root, watching):
    log = watching(root)
    write(root, "venv/lib/x.py")
    log.wait_for("venv/lib/x.py")
    write(root, "venv/pyvenv.cfg")
    log.wait_for_rescan()
    settle(root, log, "one.py")
    log.clear()
    write(root, "venv/lib/y.py")
    settle(root, log, "two.py")
    assert "venv/lib/y.py" not in log.paths


def test_loops_of_links_end(root, watching):
    (root / "src" / "loop").symlink_to(root)
    log = watching(root)
    (root / "again").symlink_to(root)
    write(root, "src/loop/a.py", text="changed\n")
    log.wait_for("a.py")
    settle(root, log)
    assert log.paths <= {"a.py", "settled.py"}


def test_strange_names_are_survived(root, watching):
    log = watching(root)
    (root / "new\nline").mkdir()
    write(root, "new\nline/a.py", "\udcff.py", "größe.py")
    log.wait_for("größe.py")
    assert log.paths == {"größe.py"}


def test_a_root_that_comes_later_and_goes(tmp_path, watching):
    root = tmp_path / "later"
    log = watching(root)
    write(root, "a.py")
    log.wait_for_rescan()
    log.clear()
    write(root, "b.py")
    log.wait_for("b.py")
    log.clear()
    shutil.rmtree(root)
    log.wait_for_rescan()
    log.clear()
    write(root, "c.py")
    log.wait_for_rescan()
    write(root, "d.py")
    log.wait_for("d.py")


def test_several_roots_and_one_in_another(tmp_path, watching):
    write(tmp_path, "one/a.py", "one/inner/b.py", "two/c.py")
    log = watching(*open_folders([tmp_path / "one", tmp_path / "two", tmp_path / "one" / "inner"]))
    write(tmp_path, "one/a.py", "one/inner/b.py", "two/c.py", text="changed\n")
    log.wait_for("a.py", "b.py", "c.py")
    by_root = {path: batch.root.name for batch in log.batches for path in batch.paths}
    assert by_root == {"a.py": "one", "b.py": "inner", "c.py": "two"}


def test_a_callback_that_fails_does_not_end_the_watching(root, caplog):
    log = Log()

    def fail_once(changes):
        log(changes)
        if len(log.batches) == 1:
            raise ValueError("bad batch")

    watcher = Watcher([Folder(root)], fail_once)
    watcher.start()
    try:
        write(root, "a.py", text="one\n")
        log.wait_for("a.py")
        write(root, "src/b.py", text="two\n")
        log.wait_for("src/b.py")
    finally:
        watcher.stop()
    assert "was not taken in" in caplog.text


def test_no_callback_after_stop(root):
    log = Log()
    watcher = Watcher([Folder(root)], log)
    watcher.start()
    watcher.stop()
    write(root, "a.py", text="late\n")
    watcher.stop()
    assert log.batches == []
    Watcher([Folder(root)], log).stop()


def test_a_saved_file_is_reported_within_a_tenth_of_a_second(root, watching):
    log = watching(root)
    waits = []
    for number in range(10):
        log.clear()
        began = time.monotonic()
        write(root, "a.py", text=f"x = {number}\n")
        log.wait_for("a.py")
        waits.append(time.monotonic() - began)
    assert min(waits) < 0.1


@linux
def test_ignored_folders_cost_no_watch(root):
    from coder_lsp.workspace.inotify import InotifySource
    from coder_lsp.workspace.watch import Reports

    for number in range(50):
        (root / "node_modules" / f"pkg{number}").mkdir(parents=True)
    folder = Folder(root)
    source = InotifySource([folder], Reports([folder], 0.05))
    source.start()
    try:
        assert source.watch_count == 3
    finally:
        source.stop()
    assert source.watch_count == 0


@linux
@pytest.mark.parametrize(
    ("limit", "hint"),
    [
        ("echo 2 > /proc/sys/user/max_inotify_watches", "fs.inotify.max_user_watches"),
        ("echo 0 > /proc/sys/user/max_inotify_instances", "fs.inotify.max_user_instances"),
    ],
)
def test_at_the_systems_limit_it_polls_and_says_how_to_raise_it(root, limit, hint):
    """In a namespace of users, whose limits can be lowered."""
    program = textwrap.dedent("""
        import sys, threading
        from pathlib import Path
        from coder_lsp.workspace.folder import Folder
        from coder_lsp.workspace.watch import Watcher

        root, came = Path(sys.argv[1]), threading.Event()
        def on_change(changes):
            if changes.rescan or "src/deep/c.py" in changes.paths:
                came.set()
        watcher = Watcher([Folder(root)], on_change, poll_ms=50, on_fallback=lambda text: print(text))
        watcher.start()
        (root / "src/deep/c.py").write_text("something else\\n")
        print("came" if came.wait(20) else "lost")
        watcher.stop()
        print("threads", threading.active_count())
    """)
    command = ["unshare", "-Ur", "sh", "-c", f'{limit} && exec "$0" -c "$1" "$2"', sys.executable, program, str(root)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if done.returncode and ("unshare" in done.stderr or "cannot create" in done.stderr):
        pytest.skip("needs a namespace of users")
    said = done.stdout.splitlines()
    assert done.stderr == ""
    assert hint in said[0]
    assert said[1:] == ["came", "threads 1"]


@linux
def test_the_limit_reached_later(root, watching):
    """A source that cannot go on is replaced, told once, and everything is looked at again."""
    from coder_lsp.workspace.inotify import InotifySource

    told = []
    log = Log()
    watcher = Watcher([Folder(root)], log, poll_ms=50, on_fallback=told.append)
    watcher.start()
    try:
        source = watcher._sources[0][0]
        assert isinstance(source, InotifySource)
        source._failure = OSError(28, "no space")
        log.wait_for_rescan()
        write(root, "a.py", text="changed later\n")
        log.wait_for("a.py")
    finally:
        watcher.stop()
    assert len(told) == 1


def test_an_older_watchdog_means_looking_and_is_told_once(root, monkeypatch):
    """A bug once: what was asked of watchdog does not exist for Python 3.10, where coder-lsp could not be installed."""
    monkeypatch.setitem(sys.modules, "coder_lsp.workspace.inotify", None)
    monkeypatch.setitem(sys.modules, "coder_lsp.workspace.observer", None)
    told = []
    log = Log()
    watcher = Watcher([Folder(root)], log, poll_ms=50, on_fallback=told.append)
    watcher.start()
    try:
        write(root, "a.py", text="changed later\n")
        log.wait_for("a.py")
    finally:
        watcher.stop()
    assert len(told) == 1
    assert "cannot be watched with this version" in told[0]


@linux
def test_when_the_kernel_drops_events_everything_is_looked_at(root):
    from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent

    log = Log()
    watcher = Watcher([Folder(root)], log)
    watcher.start()
    try:
        watcher._sources[0][0]._inotify.handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))
        log.wait_for_rescan()
        write(root, "a.py", text="later\n")
        log.wait_for("a.py")
        assert log.rescans == 1
    finally:
        watcher.stop()


def test_polling(root, watching):
    from coder_lsp.workspace.polling import Poller
    from coder_lsp.workspace.watch import Reports

    folder = Folder(root)
    reports = Reports([folder], 0.01)
    poller = Poller([folder], reports, interval_s=0.05)
    poller.start()

    try:
        write(root, "new.py", "src/b.py", text="longer than before\n")
        (root / "a.py").unlink()
        assert drain(reports, lambda paths, _: len(paths) == 3)[0] == {"new.py", "src/b.py", "a.py"}
        (root / "src").rename(root / "lib")
        wanted = {"src/b.py", "lib/b.py", "src/deep/c.py", "lib/deep/c.py"}
        assert drain(reports, lambda paths, _: paths == wanted)[0] == wanted
        (root / ".gitignore").write_text("lib/\n")
        assert drain(reports, lambda _, rescans: rescans)[1], "files that are ignored now have to be let go of"
    finally:
        poller.stop()


def test_watchdogs_own_observer(root):
    """What macOS and Windows use; the library has one for every system."""
    from coder_lsp.workspace.observer import ObserverSource
    from coder_lsp.workspace.watch import Reports

    write(root, ".gitignore", text="build/\n")
    (root / "build").mkdir()
    folder = Folder(root)
    reports = Reports([folder], 0.01)
    source = ObserverSource([folder], reports)
    source.start()
    try:
        write(root, "build/x.py", "a.py", "src/b.py", text="changed\n")
        found, rescans = drain(reports, lambda paths, _: paths == {"a.py", "src/b.py"})
        assert (found, rescans) == ({"a.py", "src/b.py"}, 0)
        (root / "src" / "deep").rename(root / "src" / "deeper")
        assert drain(reports, lambda _, rescans: rescans)[1]
        shutil.rmtree(root)
        source.upkeep()
        assert drain(reports, lambda _, rescans: rescans)[1]
        write(root, "a.py")
        source.upkeep()
        assert drain(reports, lambda _, rescans: rescans)[1]
    finally:
        source.stop()


@linux
def test_network_drives_are_known_by_their_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "/dev/sdb /home/local ext4 rw 0 0\n"
        "//nas/x /mnt/with\\040space cifs rw 0 0\n"
        "host:/ /mnt/ssh fuse.sshfs rw 0 0\n"
        "bad line\n"
    )
    for path, kind in (
        ("/src", ""),
        ("/home/me/src", "nfs4"),
        ("/home/local/src", ""),
        ("/homes", ""),
        ("/mnt/with space/a", "cifs"),
        ("/mnt/ssh", "fuse.sshfs"),
    ):
        assert network_file_system(Path(path), mounts) == kind
    assert network_file_system(tmp_path, tmp_path / "nothing") == ""


def test_a_network_drive_is_polled(root, monkeypatch):
    """Told at once, and why."""
    monkeypatch.setattr("coder_lsp.workspace.watch.network_file_system", lambda _path: "nfs4")
    log, told = Log(), []
    watcher = Watcher([Folder(root)], log, poll_ms=50, on_fallback=told.append)
    watcher.start()
    try:
        write(root, "a.py", text="changed over there\n")
        log.wait_for("a.py")
    finally:
        watcher.stop()
    why = "root is on a network drive (nfs4), which does not report changes."
    assert told == [f"{why} Looking for changes every 0.05 seconds instead."]


def test_a_user_who_wants_no_events_gets_changes_by_looking_and_no_remark(tmp_path):
    remarks, seen, came = [], [], threading.Event()

    def changed(changes):
        seen.extend(changes.paths)
        came.set()

    watcher = Watcher([Folder(tmp_path)], changed, poll_ms=20, events=False, on_fallback=remarks.append)
    watcher.start()
    try:
        (tmp_path / "new.py").write_text("x = 1\n")
        assert came.wait(20)
    finally:
        watcher.stop()
    assert (seen, remarks) == (["new.py"], [])
