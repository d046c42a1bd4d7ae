"""The sandbox as its callers see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.evaluate import sandbox
from coder_lsp.evaluate.sandbox import Limits, cgroup, processes, runner, seccomp
from coder_lsp.evaluate.sandbox.order import NOBODY, Means, Order

LIMITS = Limits(seconds=20.0, memory_mb=256)
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


def python(text, limits=LIMITS, stdin="", means=None, **files):
    command = [sys.executable, "-S", "main.py"]
    return sandbox.run(command, files={"main.py": text, **files}, stdin=stdin, limits=limits, means=means)


def weaker():
    """Means without namespaces, None where this system has no others."""
    means = runner.available()
    return replace(means, namespaces=False) if means.seccomp and means.landlock else None


@pytest.fixture(params=["all", "weaker"])
def means(request):
    if request.param == "all":
        return None
    found = weaker()
    if found is None:
        pytest.skip("this system has neither Landlock nor seccomp")
    return found


def test_a_program_has_its_files_and_input_and_says_what_it_found(means):
    outcome = python(
        "import sys\nprint(open('lib/data.txt').read() + sys.stdin.read())\nprint('told', file=sys.stderr)",
        stdin="inpüt\n",
        means=means,
        **{"lib/data.txt": "däta "},
    )
    assert (outcome.status, outcome.returncode) == ("passed", 0)
    assert (outcome.stdout, outcome.stderr) == ("däta inpüt\n\n", "told\n")
    assert 0 < outcome.seconds < 20
    assert "rlimits" in outcome.enforced


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("raise SystemExit(7)", "failed", 7),
        ("1 / 0", "failed", 1),
        ("import os; os.abort()", "failed", -6),
        ("import os; os.kill(os.getpid(), 11)", "failed", -11),
        ("import os; os.kill(os.getpid(), 9)", "killed", -9),
    ],
)
def test_how_it_ended(text, status, code, means):
    outcome = python(text, means=means)
    assert (outcome.status, outcome.returncode) == (status, code)


def test_a_program_that_goes_on_for_ever_is_ended(means):
    outcome = python("print('begun', flush=True)\nwhile True: pass", replace(LIMITS, seconds=0.5), means=means)
    assert (outcome.status, outcome.reason) == ("timeout", "0.5 s")
    assert outcome.stdout == "begun\n"


def test_what_starts_children_and_ends_takes_them_along(means):
    """Else it would go on until the limit: the child holds stdout open."""
    outcome = python("import os, time\nif os.fork() == 0:\n    time.sleep(600)\nprint('done')", means=means)
    assert (outcome.status, outcome.stdout) == ("passed", "done\n")


def test_long_output_is_cut_and_endless_output_ends(means):
    limits = replace(LIMITS, output_bytes=1000)
    long = python("print('x' * 5000)", limits, means=means)
    assert (long.status, len(long.stdout)) == ("passed", 1000)
    endless = python("while True: print('x' * 1000)", limits, means=means)
    assert (endless.status, endless.reason, len(endless.stdout)) == ("killed", "output", 1000)


def test_a_program_gets_more_input_than_a_pipe_holds(means):
    outcome = python("import sys\nprint(len(sys.stdin.read()))", stdin="x" * 1_000_000, means=means)
    assert outcome.stdout == "1000000\n"


def test_memory_is_limited_for_one_process_and_for_all(means):
    one = python("x = bytearray(1 << 30)", means=means)
    assert one.status == "failed"
    assert "MemoryError" in one.stderr
    together = """
import os, sys, time
for _ in range(6):
    if os.fork() == 0:
        kept = bytearray(b"x") * (100 << 20)
        time.sleep(1)
        os._exit(0)
sys.exit(any(os.wait()[1] for _ in range(6)))
"""
    assert python(together, means=means).status in {"killed", "failed"}


def test_the_folder_is_limited(means):
    outcome = python(
        "for n in range(100):\n    open(f'f{n}', 'wb').write(bytes(1 << 20))\nimport time\ntime.sleep(600)",
        replace(LIMITS, files_mb=8),
        means=means,
    )
    assert outcome.status in {"failed", "killed"}
    assert "No space" in outcome.stderr or outcome.reason == "files"


def test_files_count_that_are_deleted_and_open(means):
    """Without a file system of its own nothing of them is seen in the folder."""
    hidden = """
import os, time
kept = []
for n in range(8):
    kept.append(open("f", "wb"))
    os.unlink("f")
    kept[-1].write(bytes(4 << 20))
    kept[-1].flush()
time.sleep(600)
"""
    outcome = python(hidden, replace(LIMITS, files_mb=8), means=means)
    assert outcome.status in {"failed", "killed"}
    assert "No space" in outcome.stderr or outcome.reason == "files"


def test_folders_deeper_than_can_be_looked_at_are_no_hiding_place():
    deep = """
import os, time
for _ in range(40):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
time.sleep(600)
"""
    means = weaker()
    if means is None:
        pytest.skip("this system has neither Landlock nor seccomp")
    outcome = python(deep, replace(LIMITS, files_mb=8), means=means)
    assert (outcome.status, outcome.reason) == ("killed", "files")


def test_what_landlock_does_not_look_at_is_refused(tmp_path):
    """Modes, owners and times: of a file that its user owns, a program could else change them."""
    means = weaker()
    if means is None:
        pytest.skip("this system has neither Landlock nor seccomp")
    mine = tmp_path / "mine"
    mine.write_text("text")
    mine.chmod(0o666)
    attempts = f"""
import os
path, tried = {str(mine)!r}, 0
for attempt in (
    lambda: os.chmod(path, 0o600), lambda: os.chown(path, os.getuid(), os.getgid()), lambda: os.utime(path),
    lambda: os.truncate(path, 0), lambda: os.setxattr(path, "user.x", b"x"),
    lambda: os.utime(path, follow_symlinks=False),
    lambda: os.fchmod(os.open(os.__file__, os.O_RDONLY), 0o600), lambda: os.open(os.__file__, os.O_RDONLY | os.O_TRUNC),
):
    try:
        attempt()
    except PermissionError as error:
        tried += error.errno == 1
print(tried)
open("own", "w").write("first")
open("own", "w").write("second")
print(open("own").read())
"""
    before = mine.stat()
    assert python(attempts, means=means).stdout == "8\nsecond\n"
    assert (mine.stat().st_mode, mine.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root only")
def test_a_program_of_root_runs_as_nobody(means):
    """How many processes root has is never limited. A Python in root's home can be read all the same, nothing else."""
    if means is None and not runner.available().namespaces:
        pytest.skip("this system has no namespaces")
    text = "import os\nprint(os.getresuid(), os.getresgid(), os.getgroups(), flush=True)\nopen('/etc/shadow')"
    outcome = python(text, means=means)
    assert outcome.stdout == f"{(NOBODY,) * 3} {(NOBODY,) * 3} []\n"
    assert outcome.returncode == 1


def test_the_right_to_read_is_given_where_it_is_needed(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").touch()
    monkeypatch.setattr(runner, "_capabilities", lambda: frozenset({1, 2}))
    assert runner._right_to_read(("/usr", "/etc")) is None
    assert runner._right_to_read(("/usr", str(closed / "python"))) == 2
    monkeypatch.setattr(runner, "_capabilities", lambda: frozenset({1}))
    assert runner._right_to_read((str(closed / "python"),)) == 1
    monkeypatch.setattr(runner, "_capabilities", frozenset)
    assert runner._right_to_read((str(closed / "python"),)) is None
    assert not runner._can_be_nobody()


def test_what_is_lent_can_be_read_and_not_written(tmp_path, means):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "lent").mkdir()
    (tmp_path / "lent" / "text").write_text("told")
    (tmp_path / "kept").write_text("not told")
    text = f"""
print(open({str(tmp_path / "lent" / "text")!r}).read())
for path, mode in (({str(tmp_path / "kept")!r}, "r"), ({str(tmp_path / "lent" / "new")!r}, "w")):
    try:
        open(path, mode)
    except OSError:
        print("refused")
"""
    command = [sys.executable, "-S", "main.py"]
    lent = [str(tmp_path / "lent")]
    outcome = sandbox.run(command, files={"main.py": text}, limits=LIMITS, readable=lent, means=means)
    assert outcome.stdout == "told\nrefused\nrefused\n"


def test_the_environment_is_its_own(means, monkeypatch):
    monkeypatch.setenv("API_KEY", "secret")
    outcome = python("import json, os\nprint(json.dumps(dict(os.environ)))", means=means)
    environment = json.loads(outcome.stdout)
    assert "API_KEY" not in environment
    assert environment["HOME"] == environment["TMPDIR"]
    assert environment["PYTHONHASHSEED"] == "0"


def test_many_run_at_once_and_nothing_is_mixed_up():
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda n: python(f"print({n})"), range(8)))
    assert [outcome.stdout for outcome in outcomes] == [f"{n}\n" for n in range(8)]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_files_stay_in_the_folder(name):
    with pytest.raises(InputError, match="does not name a file"):
        sandbox.run([sys.executable, "main.py"], files={name: ""})


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(InputError, match="no program surely-not-there"):
        sandbox.run(["surely-not-there"], files={})


def test_a_program_that_cannot_be_started_is_an_error(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\0\1\2")
    broken.chmod(0o755)
    outcome = sandbox.run([str(broken)], files={})
    assert outcome.status == "error"
    assert "cannot be started" in outcome.stderr


def test_nothing_runs_without_permission():
    with pytest.raises(InputError, match="nobody has read them") as caught:
        sandbox.require_permission(False)
    assert "--allow-execution" in caught.value.hint
    sandbox.require_permission(True)


def test_what_cannot_be_enforced_is_said(monkeypatch):
    monkeypatch.setattr(runner, "available", lambda: Means(why_no_namespaces="not permitted"))
    monkeypatch.setattr(runner, "_groups", lambda: ())
    said = sandbox.unenforced()
    assert [line.split(":")[0] for line in said][:3] == ["files", "network", "other processes"]
    assert "not permitted" in said[0]
    monkeypatch.setattr(runner, "available", lambda: Means(namespaces=True, seccomp=True, landlock=7))
    monkeypatch.setattr(runner, "_groups", lambda: ("memory", "pids"))
    assert sandbox.unenforced() == []


def test_a_supervisor_that_says_nothing_is_an_error(monkeypatch):
    monkeypatch.setattr(runner.sys, "executable", "/bin/false")
    with pytest.raises(CoderLspError, match="supervisor failed"):
        runner._run(("/bin/true",), {}, "", LIMITS, Means())


def test_an_order_crosses_unchanged():
    order = Order(("a", "b"), {"X": "1"}, {"f": "t\udce4\n"}, "in", LIMITS, Means(landlock=3), (("/a", "/b"),), "/box")
    assert Order.load(order.dump()) == order


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/opt/jdk/bin/java", ["/opt/jdk"]),
        ("/home/me/.venv/bin/python", ["/home/me/.venv"]),
        ("/home/me/tool", ["/home/me/tool"]),
        ("/home/me/.local/bin/node", ["/home/me/.local/bin/node"]),
        ("/home/me/.nvm/v22/bin/node", ["/home/me/.nvm/v22"]),
        ("/home/me/bin/tool", ["/home/me/bin/tool"]),
        ("/home/bin/tool", ["/home/bin/tool"]),
        ("/bin/sh", ["/bin/sh"]),
    ],
)
def test_an_installation_is_readable_and_the_home_is_not(program, expected, monkeypatch):
    monkeypatch.setattr(runner.Path, "home", lambda: Path("/home/me"))
    assert runner._installation(program) == expected


@linux
def test_nothing_outlives_a_caller_that_is_killed(tmp_path):
    token = f"t{uuid.uuid4().hex}"
    caller = (
        "from coder_lsp.evaluate import sandbox\nimport sys\n"
        f"sandbox.run([sys.executable, '{token}.py'], files={{'{token}.py': 'import time; time.sleep(600)'}}, "
        "limits=sandbox.Limits(seconds=600))"
    )
    root = Path(sandbox.__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", caller], env={**os.environ, "PYTHONPATH": str(root)}) as process:
        deadline = time.monotonic() + 60
        while not (found := _running(token)) and time.monotonic() < deadline:
            assert process.poll() is None
        process.kill()
    assert found
    while _running(token) and time.monotonic() < deadline:
        pass
    assert _running(token) == []


def _running(token):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{token}.py".encode() in words:
            found.append(folder.name)
    return found


@linux
def test_processes_are_found_by_their_parents():
    with subprocess.Popen(["/bin/sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        try:
            child = int(shell.stdout.readline())
            known = processes.table()
            assert child in processes.descendants(shell.pid, known)
            assert child in processes.descendants(os.getpid(), known)
            assert known[child].parent == shell.pid
            assert known[os.getpid()].memory_bytes > 1 << 20
            assert processes.threads_of(os.getuid()) >= 2
        finally:
            os.kill(child, 9)
            shell.kill()


@linux
def test_a_group_is_made_and_removed_where_that_is_allowed():
    group = cgroup.make(Limits())
    if group is None:
        pytest.skip("this user may make no control group")
    assert all(folder.is_dir() for folder in group.folders)
    assert all(Path(join).exists() for join in group.joins)
    group.remove()
    assert not any(folder.exists() for folder in group.folders)


def run_filter(program, number, first=0, second=0, third=0, architecture=0xC000003E):
    """What a filter answers, by an interpreter of the instructions it uses."""
    data = {0: number, 4: architecture, 16: first & 0xFFFFFFFF, 24: second & 0xFFFFFFFF, 32: third}
    at = value = 0
    while True:
        operation, if_true, if_false, constant = program[at]
        at += 1
        if operation == 0x20:
            value = data[constant]
        elif operation == 0x54:
            value &= constant
        elif operation == 0x06:
            return constant
        else:
            tests = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}
            at += if_true if tests[operation] else if_false


ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ((0,), ALLOW),
        ((41, 2), EPERM),
        ((53, 1), ALLOW),
        ((101,), EPERM),
        ((272, 0x10000000), EPERM),
        ((56, 0x11), ALLOW),
        ((56, 0x10000011), EPERM),
        ((435,), ENOSYS),
        ((302, 0), ALLOW),
        ((302, 4711), EPERM),
        ((16, 1, 0x5401), ALLOW),
        ((16, 1, 0x5412), EPERM),
        ((0x40000000 + 1,), ENOSYS),
        ((62, 77, 9), ALLOW),
        ((62, 0, 9), ALLOW),
        ((62, 78, 9), EPERM),
        ((62, -1, 9), EPERM),
        ((90,), EPERM),
        ((452,), EPERM),
        ((437,), ENOSYS),
        ((2, 0, os.O_RDONLY | os.O_TRUNC), EPERM),
        ((2, 0, os.O_WRONLY | os.O_TRUNC | os.O_CREAT), ALLOW),
        ((257, 0, 0, os.O_RDONLY | os.O_TRUNC | os.O_CLOEXEC), EPERM),
        ((257, 0, 0, os.O_RDWR | os.O_TRUNC), ALLOW),
        ((257, 0, 0, os.O_RDONLY), ALLOW),
        ((16, 1, 0x40086602), EPERM),
        ((234, 77, 78), ALLOW),
        ((424, 3, 9), EPERM),
        ((59,), ALLOW),
    ],
)
def test_the_filter_answers_each_call(call, answer):
    program = seccomp._program(seccomp._MACHINES["x86_64"], 77)
    assert run_filter(program, *call) == answer


def test_the_filter_lets_signals_pass_where_nobody_else_is_seen():
    program = seccomp._program(seccomp._MACHINES["x86_64"], None)
    assert run_filter(program, 62, 78, 9) == ALLOW
    assert run_filter(program, 90) == ALLOW
    assert run_filter(program, 62, 78, 9, architecture=0x40000003) == KILL


def test_both_machines_refuse_the_same():
    common = set(seccomp._X86_64) - {"iopl", "ioperm"}
    assert common == set(seccomp._AARCH64)
    for machine in seccomp._MACHINES.values():
        refused = machine.refused + machine.files
        assert len(set(refused)) == len(refused)
    # aarch64 has no calls that are special cases of others.
    older = {"chmod", "chown", "lchown", "utime", "utimes", "futimesat"}
    assert set(seccomp._FILES_X86_64) - older == set(seccomp._FILES_AARCH64)
