"""Worker processes: results, crashes, hangs, ends, and that the protocol's pipes stay ours."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from support import pool_jobs

from coder_lsp.retrieval import pool as pools
from coder_lsp.retrieval.pool import CRASHED, HANGS, Pool

TESTS = Path(__file__).parents[2]
PATIENCE_S = 60


@pytest.fixture
def start():
    started = []

    def make(job, **options):
        done = queue.Queue()
        started.append(Pool(job, done.put, **{"workers": 2, **options}))
        return started[-1], done

    yield make
    for pool in started:
        pool.close(timeout_s=10)


def take(done, count):
    return [done.get(timeout=PATIENCE_S) for _ in range(count)]


def gone(pid):
    try:
        psutil.Process(pid).wait(timeout=PATIENCE_S)
    except psutil.NoSuchProcess:
        return True
    return not psutil.pid_exists(pid)


def test_every_item_comes_back_with_its_batch(start):
    pool, done = start(pool_jobs.double)
    pool.submit("a", 100, [1, 2, 3])
    pool.submit("b", 0, [4])
    found = {(one.batch, one.item, one.result, one.reason) for one in take(done, 4)}
    assert found == {("a", 1, 102, ""), ("a", 2, 104, ""), ("a", 3, 106, ""), ("b", 4, 8, "")}


def test_workers_are_children_at_low_priority_and_at_most_two(start):
    pool, done = start(pool_jobs.whoami)
    for _ in range(6):
        pool.submit("a", None, [1] * 5)
    seen = {one.result for one in take(done, 30)}
    assert {pid for pid, _, _ in seen} <= set(pool.pids)
    assert len(seen) <= 2
    # 19 is the lowest priority there is.
    assert {(nice, parent) for _, nice, parent in seen} == {(min(os.nice(0) + 10, 19), os.getpid())}


def test_what_a_job_prints_or_reads_disturbs_nothing(start):
    pool, done = start(pool_jobs.print_and_read, workers=1)
    pool.submit("a", None, [1, 2])
    assert [one.result for one in take(done, 2)] == [(b"", True)] * 2


def test_a_crash_costs_one_item(start, tmp_path):
    pool, done = start(pool_jobs.misbehave, workers=1)
    pool.submit("a", tmp_path / "log", ["one", "crash", "two", "crash again", "three"])
    found = [(one.item, one.result, one.reason) for one in take(done, 5)]
    assert found == [
        ("one", "ONE", ""),
        ("crash", None, CRASHED),
        ("two", "TWO", ""),
        ("crash again", None, CRASHED),
        ("three", "THREE", ""),
    ]
    assert (tmp_path / "log").read_text().split("\n").count("crash") == 2


def test_a_job_that_raises_costs_one_item_and_tells_no_text(start, tmp_path):
    pool, done = start(pool_jobs.misbehave, workers=1)
    pool.submit("a", tmp_path / "log", ["raise secret", "one"])
    found = [(one.item, one.result, one.reason) for one in take(done, 2)]
    assert found == [("raise secret", None, "cannot be parsed (ValueError)"), ("one", "ONE", "")]
    assert (tmp_path / "log").read_text().split("\n").count("raise secret") == 1


def test_a_hang_is_killed_and_tried_once(start, tmp_path):
    pool, done = start(pool_jobs.misbehave, workers=1, limit_s=0.5)
    pool.submit("a", tmp_path / "log", ["hang", "one"])
    found = [(one.item, one.result, one.reason) for one in take(done, 2)]
    assert found == [("hang", None, HANGS), ("one", "ONE", "")]
    assert (tmp_path / "log").read_text().split("\n").count("hang") == 1


def test_a_batch_can_be_dropped(start, tmp_path):
    pool, done = start(pool_jobs.misbehave, workers=1, limit_s=1)
    pool.submit("busy", tmp_path / "log", ["hang"])
    unwanted = object()
    pool.submit(unwanted, tmp_path / "log", ["a", "b"])
    pool.submit("wanted", tmp_path / "log", ["c"])
    pool.forget(unwanted)
    assert [one.item for one in take(done, 2)] == ["hang", "c"]


def test_idle_workers_end_and_new_work_starts_new_ones(start):
    pool, done = start(pool_jobs.whoami, workers=1, idle_s=0.1)
    pool.submit("a", None, [1])
    [first] = take(done, 1)
    assert gone(first.result[0])
    pool.submit("a", None, [1])
    [second] = take(done, 1)
    assert second.result[0] != first.result[0]


def test_closing_is_quick_whatever_the_workers_do(start, tmp_path):
    pool, _ = start(pool_jobs.misbehave)
    log = tmp_path / "log"
    pool.submit("a", log, ["hang"])
    pool.submit("b", log, ["hang"])
    deadline = time.monotonic() + PATIENCE_S
    while not log.exists() or log.read_text().count("hang") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pids = pool.pids
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 1
    assert all(gone(pid) for pid in pids)


def test_without_processes_the_work_is_done_here(start, monkeypatch):
    monkeypatch.setattr(pools.sys, "executable", "/nonexistent/python")
    pool, done = start(pool_jobs.whoami)
    pool.submit("a", None, [1, 2])
    assert {one.result[0] for one in take(done, 2)} == {os.getpid()}


@pytest.mark.parametrize("item", ["one", "hang"])
def test_workers_end_with_a_front_that_is_killed_and_never_had_its_pipes(tmp_path, item):
    """The front's stdout ends when it is killed, although a worker at work lives a little longer."""
    script = """
        import os, sys
        from support import pool_jobs
        from coder_lsp.retrieval.pool import Pool
        import queue, time
        done = queue.Queue()
        pool = Pool(pool_jobs.misbehave, done.put, workers=1, limit_s=2)
        pool.submit("a", sys.argv[1], ["first", sys.argv[2]])
        done.get()
        os.write(1, b"%d\\n" % pool.pids[0])
        time.sleep(600)
    """
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "log"), item]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as front:
        worker = int(front.stdout.readline())
        front.kill()
        assert front.stdout.read() == b""
        assert item == "one" or psutil.pid_exists(worker)
        assert gone(worker)
