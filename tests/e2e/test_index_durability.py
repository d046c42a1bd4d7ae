"""An indexing process that is killed, again and again, in the middle of what it does: nothing is wrong afterwards."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.projects import Hands, contents, difference, make

from coder_lsp.retrieval.indexer import Indexer

TESTS = Path(__file__).parents[1]
PATIENCE_S = 60
LOST_AT_MOST = 64
"""Readings that were done and not yet committed: a batch, what waits for one, and some on their way."""


class IndexProcess:
    """``python -m support.index_process`` in the home of this test."""

    def __init__(self, root):
        command = [sys.executable, "-m", "support.index_process", str(root)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=TESTS
        )

    def until(self, word, least=0):
        """The number behind the first such line that has at least so many."""
        for line in self.process.stdout:
            said, _, number = line.strip().partition(" ")
            if said == word and int(number or 0) >= least:
                return int(number or 0)
            if said == "settled":
                return None
        raise AssertionError("the process ended")

    def kill(self):
        workers = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        gone, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
        assert alive == []
        return len(gone)


@pytest.fixture
def begin():
    started = []

    def start(root):
        started.append(IndexProcess(root))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.kill()


def built(root):
    """What an index has of a root once it is settled, with the database of this home."""
    notices = []
    indexer = Indexer([root], watch="off", workers=2, on_notice=notices.append)
    indexer.start()
    assert indexer.wait_settled(PATIENCE_S)
    found = contents(indexer.index)
    indexer.stop(timeout_s=PATIENCE_S)
    assert notices == []
    return found


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    def build(root):
        with monkeypatch.context() as patch:
            patch.setenv("CODER_LSP_HOME", str(tmp_path / "fresh"))
            return built(root)

    return build


def test_a_first_index_goes_on_where_it_was_killed(begin, fresh, tmp_path):
    root = make(tmp_path / "project", 500)
    process = begin(root)
    done = process.until("done", least=200)
    assert process.kill() > 0
    again = begin(root)
    assert again.until("loaded") >= done - LOST_AT_MOST
    again.kill()
    found, expected = built(root), fresh(root)
    assert found == expected, difference(found, expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_operations_with_kills_in_the_middle(begin, fresh, tmp_path, seed):
    root = make(tmp_path / "project", 100, seed)
    hands, chance = Hands(root, seed), random.Random(seed)
    for _ in range(5):
        process = begin(root)
        # Sometimes in the first look at everything, sometimes amid changes that the watcher reports.
        if chance.random() < 0.5:
            process.until("settled")
        hands.work(chance.randrange(100, 200))
        make(root, chance.randrange(100), seed=chance.randrange(1000))
        # Any moment will do; it should be another one each time.
        with pytest.raises(subprocess.TimeoutExpired):
            process.process.wait(timeout=chance.uniform(0, 1))
        process.kill()
        hands.work(1000 // 5 - 100)
    found, expected = built(root), fresh(root)
    assert len(expected[0]) > 20
    assert found == expected, difference(found, expected)


def test_two_processes_and_one_of_them_killed(begin, fresh, tmp_path):
    root = make(tmp_path / "project", 300)
    one, two = begin(root), begin(root)
    one.until("done", least=50)
    one.kill()
    two.until("settled")
    two.kill()
    found, expected = built(root), fresh(root)
    assert found == expected, difference(found, expected)
