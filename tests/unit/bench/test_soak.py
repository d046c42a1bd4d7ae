"""What a soak counts and how it judges, and the repository it works in."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest

from coder_lsp.bench.replay.rpc import Rpc
from coder_lsp.bench.soak import day as day_module
from coder_lsp.bench.soak.day import OTHER_BRANCH, Day, git, make_repository
from coder_lsp.bench.soak.held import Held, held, machine_busy_s
from coder_lsp.bench.soak.report import lines
from coder_lsp.bench.soak.verdict import Minute, Requests, parts, verdict
from coder_lsp.errors import InputError

NONE_LOST = Requests(asked=10, answered=10, cancelled=2, failed=0, doubled=0, lost=0, late=0)


def minutes(count, **growth):
    """A run in which, from minute to minute, a host and a front have so much more of something."""

    def at(number):
        by = {name: step * number for name, step in growth.items()}
        return Held(
            100 + by.get("memory_mb", 0), 20 + by.get("descriptors", 0), 5 + by.get("threads", 0), by.get("children", 0)
        )

    return [
        Minute(60.0 * number, [at(number), at(0)], at(number), 7, [100 + growth.get("waited_ms", 0) * number])
        for number in range(1, count + 1)
    ]


LEAKY = """
import os, sys
kept = []
for line in sys.stdin:
    kept += os.pipe() if line.strip() == "leak" else ()
    print("done", flush=True)
"""
"""A process that keeps two descriptors each time it is told to leak."""


def missed(figures):
    return {goal["figure"] for goal in figures["goals"] if not goal["met"]}


def test_a_run_in_which_nothing_grows_meets_all_goals():
    figures = verdict(minutes(120), NONE_LOST)
    assert missed(figures) == set()
    assert len(figures["goals"]) == 12
    assert figures["part_minutes"] == 10


@pytest.mark.parametrize(
    ("growth", "figures"),
    [
        ({"memory_mb": 0.05}, {"front.memory_percent", "host.memory_percent"}),
        ({"memory_mb": 0.01}, set()),
        ({"descriptors": 1}, {"front.descriptors", "host.descriptors"}),
        ({"threads": 1}, {"front.threads", "host.threads"}),
        ({"waited_ms": 1}, {"shown.p95_percent"}),
    ],
)
def test_what_grows_is_found_though_it_is_one_window_alone(growth, figures):
    assert missed(verdict(minutes(120, **growth), NONE_LOST)) == figures


@pytest.mark.parametrize(("order", "found"), [("leak", {"host.descriptors"}), ("work", set())])
def test_a_leak_that_is_planted_in_a_process_is_found_and_nothing_without_one(order, found):
    with subprocess.Popen([sys.executable, "-c", LEAKY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        seen = []
        for number in range(1, 25):
            child.stdin.write(f"{order}\n".encode())
            child.stdin.flush()
            assert child.stdout.readline() == b"done\n"
            seen.append(Minute(60.0 * number, [], held(child.pid), child.pid))
    figures = verdict(seen, NONE_LOST)
    assert missed(figures) == found
    assert figures["host"]["descriptors"] == (32 if found else 0)


def test_waits_are_told_for_each_part_and_so_is_what_else_the_machine_did():
    run = minutes(60, waited_ms=10)
    for number, minute in enumerate(run):
        minute.answered, minute.busy_s = 100 * number, 90.0 * number
        minute.host = replace(minute.host, cpu_s=30.0 * number)
    figures = verdict(run, NONE_LOST)
    told = figures["shown"]["parts"]
    assert [part["until_min"] for part in told] == [10, 20, 30, 40, 50, 60]
    assert [part["count"] for part in told] == [10] * 6
    assert (told[0]["p95"], told[-1]["p95"]) == (200, 700)
    assert (told[0]["p95_least"], told[0]["p95_most"]) == (190, 200)
    # 30 s of 60 s for 100 answers, and one core and a half busy in all.
    assert figures["processor"]["last"] == {"host_ms": 300, "fronts_ms": 0, "elsewhere_cores": 1.0}


def test_p95_comes_with_what_it_may_be_by_chance():
    run = [
        Minute(60.0 * number, [], None, 7, list(range(20 * number - 19, 20 * number + 1))) for number in range(1, 61)
    ]
    first = verdict(run, NONE_LOST)["shown"]["first_ms"]
    # Waits 201 to 400: the 184th, the 191st and the 197th of them.
    assert (first["p95_least"], first["p95"], first["p95_most"]) == (384, 391, 397)


def test_a_host_that_was_started_again_has_no_processor_time_to_compare():
    run = minutes(60)
    for number, minute in enumerate(run):
        minute.answered = number
        minute.host = replace(minute.host, cpu_s=0.0 if number == 55 else 10.0 * number)
    run[-1].host = replace(run[-1].host, cpu_s=1.0)
    figures = verdict(run, NONE_LOST)
    assert figures["processor"]["last"] == {}
    assert figures["processor"]["first"]["host_ms"] == 10_000


def test_a_request_lost_doubled_or_failed_and_a_host_that_was_started_again_are_found():
    run = minutes(60)
    run[40].host_pid = 8
    figures = verdict(run, Requests(asked=10, answered=8, cancelled=0, failed=1, doubled=1, lost=1, late=1))
    assert missed(figures) == {"requests.lost", "requests.late", "requests.doubled", "requests.failed", "host.restarts"}
    assert figures["host"]["restarts"] == 2


def test_what_came_before_the_first_part_is_warm_up_and_short_runs_have_short_parts():
    first, last = parts(minutes(120))
    assert [first[0].at_s, first[-1].at_s, last[0].at_s, last[-1].at_s] == [660, 1200, 6660, 7200]
    first, last = parts(minutes(12))
    assert ([each.at_s for each in first], [each.at_s for each in last]) == ([180, 240], [660, 720])


def test_processes_that_could_not_be_looked_at_are_not_judged():
    run = [Minute(60.0 * number, [None], None) for number in range(1, 20)]
    assert {goal["figure"] for goal in verdict(run, NONE_LOST)["goals"]} == {
        "requests.lost",
        "requests.late",
        "requests.doubled",
        "requests.failed",
        "host.restarts",
    }
    assert parts([]) == ([], [])


async def test_an_answer_that_does_not_come_in_time_ends_no_day(monkeypatch, tmp_path):
    """Bug: one did, and with it a soak of hours on a machine that had other work, without a verdict."""
    monkeypatch.setattr(day_module, "ANSWER_S", 0.01)
    day = Day(SimpleNamespace(name="window 1"), tmp_path, tmp_path, Random(1), 1, "model")
    answer = asyncio.get_running_loop().create_future()
    await day._answer("explanation", (7, answer))
    assert [late.split(" at ")[0] for late in day.late] == ["explanation 7 of window 1"]
    answer.set_result(None)
    await day._answer("explanation", (7, answer))
    assert len(day.late) == 1


def test_the_report_says_what_was_missed():
    told = "\n".join(lines({**verdict(minutes(120, threads=1), NONE_LOST), "windows": 2, "done": {"visits": 3}}))
    assert "MISSED  threads of the host" in told
    assert "10 asked, 10 answered" in told


def test_held_sees_a_descriptor_a_thread_and_memory():
    before = held(os.getpid())
    reading, writing = os.pipe()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    # More than what glibc may take from memory that was freed before (its threshold for ``mmap`` grows to 32 MiB).
    ballast = bytearray(os.urandom(1 << 20)) * 64
    after = held(os.getpid())
    stop.set()
    thread.join()
    os.close(reading)
    os.close(writing)
    assert after.descriptors - before.descriptors == 2
    assert after.threads - before.threads == 1
    assert after.memory_mb - before.memory_mb > len(ballast) / 1e6 * 0.8


def test_held_sees_the_processor_time_that_was_spent():
    before, machine_s, own_s = held(os.getpid()), machine_busy_s(), time.process_time()
    while time.process_time() - own_s < 0.2:
        pass
    assert held(os.getpid()).cpu_s - before.cpu_s > 0.15
    assert machine_busy_s() - machine_s > 0.1


def test_a_process_that_is_gone_holds_nothing():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert held(child.pid) is None


def test_branches_differ_and_what_is_typed_waits_on_its_own(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    for number in range(40):
        (project / f"a{number}.py").write_text(f"x = {number}\n")
    root = tmp_path / "copy"
    make_repository(project, root)
    before = {file.name: file.read_text() for file in root.glob("*.py")}
    assert before == {file.name: file.read_text() for file in project.glob("*.py")}
    git(root, "switch", "-q", OTHER_BRANCH)
    other = {file.name: file.read_text() for file in root.glob("*.py")}
    changed = [name for name, text in before.items() if other.get(name) != text]
    assert len(changed) > 10
    assert len(set(before) - set(other)) == 2
    assert len(set(other) - set(before)) == 30


def day(project, root):
    return Day(None, project, root, Random(1), seed=1, model="none")


@pytest.mark.parametrize("changed", [True, False], ids=["something", "nothing"])
def test_a_branch_is_left_and_come_back_to_whatever_is_not_committed(tmp_path, changed):
    """Bug: ``git stash pop`` failed, and with it the soak, where every gap had just been filled in again."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.py").write_text("x = 1\n")
    root = tmp_path / "copy"
    make_repository(project, root)
    text = "x = 2\n" if changed else "x = 1\n"
    (root / "a.py").write_text(text)
    works = day(project, root)
    for _ in range(2):
        works._switch(OTHER_BRANCH)
        assert (root / "new_0.py").exists()
        works._switch("main")
        assert not (root / "new_0.py").exists()
        assert (root / "a.py").read_text() == text
    assert git(root, "stash", "list") == ""


def test_what_git_refuses_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"git switch failed in .*: \w") as raised:
        git(tmp_path, "switch", "none")
    assert "\n" not in raised.value.message


@pytest.fixture
async def talking():
    """A client and a server that says what it is told to, each a line of Python's."""
    program = "import sys\nfor line in sys.stdin.buffer:\n    pass\n"
    said = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    rpc = Rpc(said, lambda _method, _params: None, lambda _method, _params: None)
    yield rpc, rpc._take
    await rpc.close()
    said.stdin.close()
    await said.wait()


async def test_each_request_is_answered_once_and_what_else_comes_is_counted(talking):
    rpc, hears = talking
    numbers = [rpc.ask("x", None)[0] for _ in range(4)]
    assert (rpc.asked, rpc.open) == (4, 4)
    hears({"id": numbers[0], "result": None})
    hears({"id": numbers[0], "result": None})
    hears({"id": numbers[1], "error": {"code": -32800, "message": "cancelled"}})
    hears({"id": numbers[2], "error": {"code": -32603, "message": "broken"}})
    assert (rpc.answered, rpc.unexpected, rpc.cancelled, rpc.failed, rpc.open) == (3, 1, 1, 1, 1)
